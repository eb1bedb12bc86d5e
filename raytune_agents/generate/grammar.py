"""Words of English: determiners, prepositions, plurals, articles, and mended sentences."""

from __future__ import annotations

import re

from raytune_agents.generate.wordlists import pattern, phrases, regex, tidied

DETERMINERS = pattern("determiners")
PREPOSITIONS = regex("prepositions")
IDIOM = regex("idiom")


def is_plural(phrase: str) -> bool:
    """Whether a noun phrase is of many: by the last word of its head."""
    phrase = tidied(re.sub(r"\{\S+\} (?=\w)", "", phrase), "head_noun")
    word = (phrase.split() or [""])[-1].lower()
    one = (
        r"(ss|us|is|^has|^was|^does|news|series|species|physics|mathematics|economics|politics|athletics|"
        r"logistics)$"
    )
    many = word.endswith("s") and not re.search(one, word)
    return many or word in ("people", "children", "men", "women", "teeth", "feet")


def plural(noun: str) -> str:
    """A noun as the word for many of it.

    >>> plural("box")  # "boxes"
    """
    noun, per, each = noun.partition(" per ")
    if per:
        return f"{plural(noun)} per {each}"
    if is_plural(noun):
        return noun
    odd = {"person": "people", "child": "children", "foot": "feet", "tooth": "teeth"}
    if noun in odd:
        return odd[noun]
    ending = "es" if re.search(r"(s|x|z|ch|sh)$", noun) else "s"
    return re.sub(r"(?<=[^aeiou])y$", "ie", noun) + (ending if not noun.endswith("y") else "s")


def asked(clause: str) -> str:
    """The question that a clause reports, "" where it reports none that is so easily asked.

    >>> asked("whether a room is free")  # "is a room free"
    """
    found = re.fullmatch(pattern("reported"), clause)
    return f"{found[2]} {found[1]} {found[3]}" if found else ""


PAST = r"spent|lost|taken|left|sold|bought|paid|made|sent|\w{3,}ed"  # participles behind a noun


def with_article(noun: str, definite: bool) -> str:
    """The noun phrase with an article where it wants one.

    >>> with_article("free room", False)  # "a free room"
    """
    first = noun.split()[0].lower() if noun else ""
    told = re.match(r"(?:what|who|which|when|where|why|how|whether|if)\b", noun)
    if not noun or told or DETERMINERS.match(first) or "{" in first or re.match(r"\d", first):
        return noun
    if re.match(r"(part|half|most|some|all|the rest) of |\w+ing (an?|the) |\w+ing \{", noun):
        return noun
    after = "called|named|titled|related|associated|regarding|concerning"
    head = re.split(rf"\s(?:{PREPOSITIONS}|{after})\s|\s\{{", noun)[0]
    first_of_two = re.split(r"\sand\s", head)[0]
    head = first_of_two if is_plural(first_of_two) else head
    last = re.sub(r"\W", "", head.split()[-1].lower())
    if definite:
        return noun if re.match(r"\w+ \{\S+\}'s ", noun) else f"the {noun}"  # "driver 7's shift"
    if (
        re.search(rf"^{re.escape(head)} \{{", noun)
        or is_plural(head)
        or last in phrases()["mass"]
        or (first in phrases()["mass"] and re.fullmatch(PAST, last))  # "time spent"
        or re.match(r"[A-Z]", noun)
    ):
        return noun
    return f"a {noun}"


def mended(text: str) -> str:
    """ "a email" -> "an email", "1 guests" -> "1 guest", no doubled words or spaces."""
    return tidied(text, "sentence").strip()
