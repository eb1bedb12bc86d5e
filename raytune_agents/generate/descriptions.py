"""What description and schema of a parameter say of its values: examples, choices, a unit.

Plain text in, plain values out; what the parameter is in the end is decided in `kinds`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from raytune_agents.calls.schema import local_ref
from raytune_agents.generate.actions import verb_words
from raytune_agents.generate.bounds import either_number
from raytune_agents.generate.codes import bare_numbers
from raytune_agents.generate.parameter import json_type
from raytune_agents.generate.wordlists import DATA, pattern, regex, tidied, word_data
from raytune_agents.records import JsonSchema

NAMES = word_data("names")
UNITS = pattern("units")
LASTING = rf"\b(?:{regex('lasting')}|length|break|run ?time)$"
SUFFIXES: dict[str, str] = NAMES["unit_suffixes"]
AREAS: dict[str, str] = NAMES["units_of_two_words"]
_ID = "(?:id|identifier)"
_NUMBERED = re.compile(rf"(?:the |an? |unique )*(?:{_ID} (?:of|for)|(.+?) {_ID})\b", re.I)


def spelled_out(words: str, about: str) -> str:
    """Words with their abbreviations written out: "dest loc" -> "destination location", and of a
    description that says "ID of the customer" "customer" -> "customer id"."""
    words = " ".join(map(_parted, words.split()))
    words = " ".join(NAMES["abbreviations"].get(w, w) for w in words.split())
    numbered = _NUMBERED.match(about)
    its = numbered and (numbered[1] or words).lower() == words.lower()
    coded = re.search(r"\b(ids?|identifier|key|number)$", words)
    return f"{words} id" if its and not coded else words


def measured(words: str) -> tuple[str, str]:
    """A number's name without the unit at its end, and that unit: "altitude m" -> altitude, m."""
    *rest, last = words.split() or [""]
    if len(rest) == 1 and rest[0] in SUFFIXES and last in ("amount", "size", "limit", "quota"):
        return last, SUFFIXES[rest[0]]  # "gb amount"
    for unit, said in AREAS.items():
        if words.endswith(f" {unit}"):
            return words.removesuffix(f" {unit}"), said
    if last in ("min", "minutes") and re.search(LASTING, " ".join(rest)):
        return " ".join(rest), "minutes"  # "duration min"
    if rest and last in SUFFIXES and rest[-1] not in ("max", "min", "per"):
        return words.removesuffix(f" {last}").removesuffix(" l"), SUFFIXES[last]
    return words, ""


def unit_of(words: str, about: str) -> str:
    """The unit that a name or else its description gives, in lower case; "" where neither does."""
    # no unit of its own: "lesson of the day", "12.5 kg bags"
    told = re.sub(r"\b(?:of (?:the|a)|each|every) \w+|\d ?[a-z]+(?= [a-z]+s\b)", " ", about)
    for text in (words, told):
        if found := pattern("per_unit").search(text):
            return found[0].lower()
        whole = re.sub(r"\bper (?:square |cubic )?\w+", " ", text)  # a price per day is no day
        if found := UNITS.search(whole):
            return found[1].lower()
    return ""


def subject_of(about: str) -> str:
    """What a description speaks of: "city" for "The name of the city to look up"."""
    text = tidied(about.lower().strip(), "subject")
    parts = pattern("subject_end").split(text, maxsplit=2)
    first = parts[0].strip()
    general = r"(name|title|type|kind|list|value|text|number|code|id|identifier|path)s?$"
    if re.search(general, first) and len(parts) > 1 and f"{first} of" in text:
        return f"{first} of {re.sub(r'^(the|a|an|your) ', '', parts[1].strip())}"
    return first


_GENERAL = regex("id_words")


def as_written(thing: str, about: str) -> str:
    """The words of a thing, all but the last as the description writes a name: "YouTube video"."""
    *names, last = thing.split() or [""]
    names = [
        found[0] if (found := re.search(rf"\b(?i:{w})\b", about)) and found[0][1:] != w[1:] else w
        for w in names
    ]
    return " ".join([*names, last])


ASIDE = (  # what stands around the thing that a description speaks of
    r"\s*\([^()]*\)|[`\"]|(?<!\w)'|'(?!\w)|^(the|an?) "
    r"|^(?:update|set|change|filter(?: \w+)? by) "
)


def thing_of(words: str, about: str) -> str:
    """What a person calls a parameter whose name says less than its description: "node" for
    name = "Name of the node", "pipe diameter" for d, "pull request" for pull; "" for any other.

    >>> thing_of("name", "Name of the node to get logs from")  # "node"
    """
    text = re.sub(ASIDE, "", about.lower()).replace("_", " ")
    short = re.sub(rf"(?<=\w) {_GENERAL}$", "", words)
    code = re.match(r"(?:python|sql|source|html|javascript|shell) code\b", text)
    if words in ("title", "label", "key") or code:
        return ""
    if re.fullmatch(r"(file )?path|file( ?name)?", words):  # "path to the manifest file"
        of_file = pattern("of_file").match(text)
        return of_file[1] if of_file and of_file[1] not in NAMES["anything"] else ""
    if told := _counted(words, text) or _fuller(words, short, text):
        return told
    known = any(w[:4] in ENGLISH_STEMS for w in short.split())
    # "upl id", "affected" of "numbers of the affected meters"
    if re.fullmatch(rf"{_GENERAL}|\w+ed", words) or (short != words and not known):
        called = re.search(r"\bwhat the (\w+) is called", text)
        if found := pattern("named_thing").search(text) or called:
            thing = re.sub(rf"(?<=\w) {_GENERAL}$", "", found[1])
            return "" if thing in NAMES["anything"] else thing
        coded = rf"^(?:(?:unique|specific|given|particular) )*(\w+(?: \w+)?) {_GENERAL}\b.*$"
        text = re.sub(coded, r"\1", text)
        said = re.fullmatch(r"(?!unique|the)\w+( \w+)?", text) and text != words
        return text if said and text not in NAMES["anything"] else ""
    subject = _bare_subject(words, re.sub(r" (in|as|per) [\w/° ]+$", "", subject_of(text)))
    subject = re.sub(rf"^(unique|new) |(?<=\w)( or)? {_GENERAL}$", "", subject)
    clause = re.search(r"\b(who|what|when|where|which|why|how|whether|if|that)\b", subject)
    if (
        clause
        or UNITS.fullmatch(subject)
        or re.fullmatch(r"degrees?|\w{1,2}", subject)
        or {words, subject} & {*NAMES["short"], *NAMES["anything"]}
        or not re.fullmatch(r"[a-z][a-z'-]*( [a-z'-]+){0,3}", subject)
    ):
        return ""
    opaque = len(words) <= 2 or words in NAMES["opaque"] or not re.search(r"[aeiouy]", words)
    richer = subject.startswith(f"{short} ") or re.fullmatch(rf"{re.escape(short)}[a-z]+", subject)
    richer = richer and len(subject.split()) <= 3
    foreign = not any(w[:4] in ENGLISH_STEMS or w in subject for w in words.split())
    if foreign or ((opaque or richer) and not is_meta(subject)):
        subject = subject.partition(" of ")[0] if words in subject.split() else subject
        return subject if subject != words else ""
    return ""


def _counted(words: str, text: str) -> str:
    """What a bare count is of: "number of seats" for count = "How many seats are wanted"."""
    counted = re.match(r"(?:number of|how many) ([a-z]+)(?: [a-z]+ed\b)?", text)
    bare = re.fullmatch(r"\w|count|num|number|total", words)
    return f"number of {counted[1]}" if counted and bare else ""


def _fuller(words: str, short: str, text: str) -> str:
    """ "lead passenger" for lead_name = "Name of the lead passenger"."""
    fuller = re.match(rf"{_GENERAL} of (?:the )?({re.escape(short)} \w+)$", text)
    return fuller[1] if fuller and short != words else ""


def _bare_subject(words: str, subject: str) -> str:
    """A subject without what is told of it: "activities undertaken", "radius within"."""
    aside = rf" (?:whose|within|under|affecting|undertaken)\b.*$|(?<=^{re.escape(words)}) or .*$"
    return re.sub(r"(?<=\w) \w{3,}(ed|ing)$", "", re.sub(aside, "", subject))


def _words_of(*names: str) -> set[str]:
    """The words of some of our word lists."""
    texts = ((DATA / f"{name}.yaml").read_text("utf-8").lower() for name in names)
    return {word for text in texts for word in re.findall("[a-z]{2,}", text)}


KNOWN_WORDS = {word for word in _words_of("kinds", "values", "phrases", "names") if len(word) > 2}
# a name of other words is of another language, or rare
ENGLISH_STEMS = {word[:4] for word in _words_of("kinds", "values", "phrases")}


RUN_TOGETHER = re.compile(r"([a-z]{3,})(code|type|size|mode|count|number|index|name|level)")


def _parted(word: str) -> str:
    """A word that is two, run together: "countrycode" -> "country code", but "barcode"."""
    found = RUN_TOGETHER.fullmatch(word)
    known = found and found[1] in KNOWN_WORDS and word not in KNOWN_WORDS
    return f"{found[1]} {found[2]}" if found and known else word


@lru_cache(maxsize=4096)
def is_english(text: str) -> bool:
    """Whether a text reads as English: it has no foreign words, and none of another script, or as
    many of ours."""
    words = re.findall(r"[^\W\d_]+", text.lower())
    foreign = sum((w in NAMES["foreign"] or not w.isascii()) + (max(w) > "\u024f") for w in words)
    leads = bool(words) and not verb_words().isdisjoint((words[0], words[0].removesuffix("s")))
    return foreign <= leads + sum(w in NAMES["english"] for w in words)


# --- what a description says ----------------------------------------------------------------------

_ONLY = pattern("only_alternatives")
_NOISE = pattern("no_value")
# A sentence that says when a parameter counts quotes values of others.
_CONDITION = pattern("condition")
_META = pattern("kind_named_as_value")
_BLANK = re.compile(r"(?<![A-Za-z])[A-Z][\w-]*?x{3,}[\w-]*")  # "GHSA-xxxx-xxxx", "PRRT_kwDOxxx"


def _filled_in(m: re.Match[str]) -> str:
    """A code with letters and digits in place of its blanks."""
    return re.sub("x{3,}", lambda x: "k7q3m9t4"[: len(x[0])].ljust(len(x[0]), "5"), m[0])


def is_meta(text: Any) -> bool:
    """Whether a quoted text names a kind of value, or is none: "username", "YYYY-MM-DD", "...".

    >>> is_meta("username"), is_meta("ada.l")  # True, False
    """
    return isinstance(text, str) and bool(_META.match(text.strip()) or _NOISE.search(text.strip()))


def _listed(text: str) -> list[str]:
    """The items of "a, b or c": quoted ones alone where there are any."""
    if quoted := pattern("quoted").findall(text):
        return [q for q in quoted if not _NOISE.search(q)]
    parts = re.split(r",\s*(?:or |and )?|\s+or\s+|\s+and\s+|\s*\|\s*", text)
    parts = [re.sub(r"\s+etc\.?$|\.{2,}$", "", p.strip(" \"'`:")) for p in parts]
    # "BOS for Boston"
    parts = [re.sub(r"^([A-Z0-9]{2,5}) (?:for|=) [A-Z].*$", r"\1", p) for p in parts]
    if any(p.count("(") != p.count(")") for p in parts):
        return []  # cut in the middle of code
    return [p for p in parts if p and len(p) <= 40 and len(p.split()) <= 5 and not _NOISE.match(p)]


def examples_in(text: str) -> tuple[list[str], bool]:
    """What a description quotes as values, and whether nothing else is allowed."""
    text = _BLANK.sub(_filled_in, text)
    if found := pattern("told_form").search(text):
        return [found[1] or found[2]], False
    found = pattern("example_list").search(text)
    if found:
        items = _listed(found[1])
        short = all(len(i.split()) <= 3 or re.match(r"[A-Z\d]", i) for i in items)
        sure = bool(pattern("quoted").search(found[1])) or short
        return (items, False) if sure else ([], False)
    text = " ".join(s for s in re.split(r"(?<=[.;])\s|\n", text) if not _CONDITION.search(s))
    if found := pattern("like_example").search(text):
        return [found[1].strip("\"'`.")], False
    if found := pattern("closed_list").search(text):
        items = [i for i in _listed(found[1]) if len(i.split()) <= 3]
        quoted = pattern("quoted").findall(text)
        if len(items) < 2 and len(quoted) > 1:
            return quoted, True  # 'either "hamwi" (default) or "devine"'
        return (items, True) if len(items) > 1 else ([], False)
    quoted = pattern("quoted").findall(text)
    if len(quoted) > 1:
        return quoted, True
    if found := pattern("alternatives").search(text):
        return _listed(found[1]), True
    if found := _ONLY.match(text):  # the description is the list: "Cleaning, filling or checkup."
        worded = re.match(r"[A-Z][a-z]", found[1])  # a sentence's capital; not "S, M or L"
        return _listed(found[1][:1].lower() + found[1][1:] if worded else found[1]), True
    # One word in prose is a name of something; a value has a form.
    formed = quoted and re.search(r"[\d_./:@%#-]|[A-Z]{2}", quoted[0]) and " " not in quoted[0]
    return ([quoted[0]], False) if formed else ([], False)


PAIRS: dict[str, str] = NAMES["pairs"]


def pair_in(about: str, item: Mapping[str, Any]) -> str:
    """The kind of the pairs of numbers that a list is described to hold, "span" for "[start, end]"
    and "point" for "(x, y)"; "" for another list."""
    of_numbers = {"integer", "number", ""} >= {json_type(item.get("items") or {})}
    if json_type(item) not in ("array", "") or (item and "items" in item and not of_numbers):
        return ""
    return next((kind for kind, form in PAIRS.items() if re.search(form, about, re.I)), "")


# --- the schema beside it -------------------------------------------------------------------------


_Known = dict[tuple[int, int], JsonSchema]  # (part, depth) -> what it is flattened


def flattened(
    schema: Any, root: Mapping[str, Any], depth: int = 0, known: _Known | None = None
) -> JsonSchema:
    """The schema with its local `$ref`, its first usable alternative and its `allOf` put in."""
    if not isinstance(schema, dict) or depth > 8:
        return {}
    # Each part once a depth: some lines of references stand for billions.
    known, place = {} if known is None else known, (id(schema), depth)
    if place not in known:
        known[place] = _flattened(schema, root, depth, known)
    return known[place]


def _flattened(
    schema: JsonSchema, root: Mapping[str, Any], depth: int, known: _Known
) -> JsonSchema:
    if isinstance(schema.get("$ref"), str):
        target = local_ref(schema["$ref"], root)
        rest = {k: v for k, v in schema.items() if k != "$ref"}
        return flattened(target, root, depth + 1, known) | rest
    for key in ("anyOf", "oneOf"):
        options = [o for o in list_of(schema.get(key)) if isinstance(o, dict)]
        options = [o for o in options if o.get("type") != "null"]
        if options:
            rest = {k: v for k, v in schema.items() if k != key}
            return flattened(options[0], root, depth + 1, known) | rest
    for part in list_of(schema.get("allOf")):
        schema = flattened(part, root, depth + 1, known) | dict(schema)
    return schema


def list_of(value: Any) -> Sequence[Any]:
    """A list; none for what a stranger's schema has in its place."""
    return value if isinstance(value, list) else ()


def alternatives(schema: Any) -> list[JsonSchema]:
    """The schema once for each of its first alternatives; null is none."""
    if not isinstance(schema, dict) or "properties" in schema:
        return []
    key = "anyOf" if "anyOf" in schema else "oneOf"
    rest = {k: v for k, v in schema.items() if k != key}
    options = [o for o in list_of(schema.get(key)) if isinstance(o, dict)]
    return [o | rest for o in options[:6] if o.get("type") != "null"]


def _number_in(default: Any, about: str) -> float | int | None:
    """The default of a number that schema or description writes as a text: "50000", "defaults to
    0.05"; None where there is none or the schema has it as a number."""
    if isinstance(default, int | float):
        return None
    told = pattern("default_number").search(about)
    text = default if isinstance(default, str) and default else told[1] if told else ""
    text = text.replace(",", "")
    if not re.fullmatch(r"-?\d+(\.\d+)?", text):
        return None
    return float(text) if "." in text else int(text)


def examples_of(schema: Mapping[str, Any], about: str) -> tuple[list[Any], bool]:
    """Values that schema and description give, and whether they are all there are."""
    if isinstance(schema.get("enum"), list):
        values = [v for v in schema["enum"] if v is not None]
        return values, True
    if "const" in schema:
        return [schema["const"]], True
    own = [*list_of(schema.get("examples")), *([schema["example"]] if "example" in schema else ())]
    examples, closed = examples_in(about) if json_type(schema) != "boolean" else ([], False)
    if json_type(schema) in ("integer", "number"):
        few = either_number(about)
        examples = bare_numbers(examples or few)
        closed = (closed or bool(few)) and len(examples) > 1
    default = schema.get("default")
    if json_type(schema) in ("integer", "number"):
        default = _number_in(default, about)
        own += [] if default is None or closed or default in examples else [default]
    elif isinstance(default, str) and default.strip() and not closed and default not in examples:
        own.append(default)
    return [*own, *examples], closed and not own
