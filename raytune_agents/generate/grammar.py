"""Words of English: determiners, prepositions, plurals, articles, and mended sentences."""

from __future__ import annotations

import re
from functools import cache

import yaml

from raytune_agents.generate.kind_table import DATA
from raytune_agents.records import JsonObject

DETERMINERS = re.compile(
    r"(everything|anything|everyone|a|an|the|all|my|your|this|that|these|those|one|each|every|"
    r"any|some|our|its|their|multiple|"
    r"several|it|them|him|her|me|us|you|two|more|many|various|whether|if|how|who|what|when|where|which|why)$"
)
PREPOSITIONS = (
    "on behalf of|for|of|in|at|on|from|to|between|by|with|near|about|against|into|within|during|"
    "using|based on|matching|given|via|through|per|along with|according to|across|around|as|after|"
    "before|over|under|inside|below|above|beside|onto|until|till|since|among|amongst|towards?|"
    "behind|beyond|without|out of"
)
IDIOM = (  # after a preposition: "at hand"
    r"(?:hand|stock|file|question|use|once|least|most|call|duty|hold|sale|demand|site|transit|"
    r"advance)"
)


@cache
def phrases() -> JsonObject:
    """The verbs and shapes of `data/phrases.yaml`."""
    return yaml.safe_load((DATA / "phrases.yaml").read_text("utf-8"))


def is_plural(phrase: str) -> bool:
    """Whether a noun phrase is of many: by the last word of its head."""
    # "dishes one can cook": the relative clause says nothing of how many.
    phrase = re.sub(
        r"\s+(?:one|you|we|I|they|people|users?|(?:an?|the) \w+)\s+(?:can|could|may|must|should|"
        rf"has|have|had|is|are|was|were|will|would|do|does|did)\b.*$|\s+(?:at|in|on)\s+{IDIOM}$",
        "",
        phrase,
    )
    phrase = re.sub(
        r"\s+(used|available|related|needed|associated|located|scheduled|found|nearby|\w+[ai]ble|"
        r"sent|made|currently|matching|\w{3,}ed|close to|next to)\b.*$",
        "",
        phrase,
    )
    word = (phrase.split() or [""])[-1].lower()
    one = (
        r"(ss|us|is|news|series|species|physics|mathematics|economics|politics|athletics|"
        r"logistics)$"
    )
    many = word.endswith("s") and not re.search(one, word)
    return many or word in ("people", "children", "men", "women")


def with_article(noun: str, definite: bool) -> str:
    """The noun phrase with an article where it wants one.

    >>> with_article("free room", False)  # "a free room"
    """
    first = noun.split()[0].lower() if noun else ""
    if not noun or DETERMINERS.match(first) or "{" in first or re.match(r"\d", first):
        return noun
    head = re.split(rf"\s(?:{PREPOSITIONS}|called|named|titled)\s|\s\{{", noun)[0]
    last = re.sub(r"\W", "", head.split()[-1].lower())
    if definite:
        return f"the {noun}"
    if (
        re.search(rf"^{re.escape(head)} \{{", noun)
        or is_plural(head)
        or last in phrases()["mass"]
        or re.match(r"[A-Z]", noun)
    ):
        return noun
    return f"a {noun}"


def mended(text: str) -> str:
    """ "a email" -> "an email", "1 guests" -> "1 guest", no doubled words or spaces."""
    text = " ".join(text.split(" ")).replace(" ,", ",")
    text = re.sub(r" \.(?=\s|$)", ".", text)
    text = re.sub(r" :(?=[ \n])", ":", text)
    text = re.sub(
        r"(\ba|^A|(?<=[.?!\n] )A) "
        r"(?=[aeioAEIO]\w|u[bdghlmnpsrt]\w*[^s\W]|hour|honest|[FHLMNRSX]\b)",
        r"\1n ",
        text,
    )
    text = re.sub(r"\b([Aa])n (?=[bcdfgjklmnpqrstvwxyz][a-z])", r"\1 ", text)
    text = re.sub(r"\b(a)n (?=(one|uni|use|euro|url)\w*)", r"\1 ", text, flags=re.I)
    text = re.sub(
        r"(?<![\w.,/-])(1|one) (night|guest|adult|room|bed|bedroom|bathroom|ticket|seat|"
        r"passenger|day|week|month|year|hour|minute|result|item|person|replica|unit|worker|"
        r"traveler|traveller|point)s\b",
        r"\1 \2",
        text,
    )
    text = re.sub(r"\b1 (people|persons)\b", "1 person", text)
    text = re.sub(r"\b([A-Za-z]{2,}) (?=\1[-_#]?\d)", "", text, flags=re.I)  # sku SKU-1
    text = re.sub(r"\b(in|for|to|from|of) (?=United [SK]|Netherlands)", r"\1 the ", text)
    text = re.sub(r"\b1 children\b", "1 child", text)
    text = re.sub(r"\b(\w+) \1\b(?= )", lambda m: m[1] if m[1].islower() else m[0], text)
    return re.sub(r"[ \t]{2,}", " ", text).strip()
