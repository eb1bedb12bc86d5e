"""In which words a value joins a sentence: "in Lisbon", "until 35 percent", "grouped by zone".

Chosen by the kind of a parameter, or by its name where that is such a word itself. {name} stands
for the value; what is said there is the part of `surface`.
"""

from __future__ import annotations

import random
import re
from collections.abc import Collection, Sequence
from typing import Any

from raytune_agents.generate.actions import READING, group_of
from raytune_agents.generate.descriptions import SUFFIXES, subject_of
from raytune_agents.generate.grammar import is_plural, plural
from raytune_agents.generate.kind_table import ROLE, Kind, bank_of, kind_named, kind_names
from raytune_agents.generate.kinds import PERIODS
from raytune_agents.generate.named_clauses import (
    DATES,
    OWN_WORD,
    SITE,
    flag_clause,
    idiom_clauses,
    named_clauses,
)
from raytune_agents.generate.nouns import mentions, names_deed
from raytune_agents.generate.parameter import Parameter
from raytune_agents.generate.wordlists import pattern, phrases, regex, tidied, word_data

LAST: list[str] = phrases()["last_kinds"]


DOCUMENTS = pattern("documents")
GOES_ALONG = r"\b(photo|image|picture|receipt|screenshot|logo|avatar|thumbnail|proof|scan)\b"
SETTERS: list[str] = phrases()["setters"]
CHANGED = ("", "from", "to", "due", "expires")  # roles of what a thing is set to
GENERAL_SETTERS = ("update", "change", "modify", "amend")  # of a record: not "to" one of its fields
PLACE_KINDS: list[str] = phrases()["place_kinds"]
MEASURES = ("amount", "count", "speed", "height", "weight", "memory", "tempo")
TOWARDS = {"share": "with"} | dict.fromkeys(phrases()["to_whom"], "to")
WRITTEN = pattern("written")
# "work out" is said for calculate
SAID_FOR = {say: name for name, g in phrases()["groups"].items() for say in g["say"]}
INSIDE = ("table", "column", "repo")
OWNING = re.compile("org(ani[sz]ation)?")
TAKES = ("delete", "remove", "export", "copy", "extract", "select", "search", "find", "drop")
WHO = ("email", "person", "username", "phone")


def _set_clause(p: Parameter, sense: Kind, verb: str, head: str, coded: bool) -> str | None:
    """How a verb that changes a thing joins what it is changed to; None where it joins as ever."""
    slot = p.slot
    more = verb in ("raise", "lower", "increase", "decrease")
    if more and p.words in SUFFIXES and not p.items:  # the gain "db"
        return f"by {slot} {SUFFIXES[p.words]}"
    if re.match(r"by (how|what|which)\b", p.about, re.I) and sense.range:
        return f"by {slot} {UNIT_WORDS.get(p.unit, p.unit)}".rstrip()  # not to so many percent
    since = re.fullmatch(OWN_WORD, p.words.removeprefix("valid ").removeprefix("effective "))
    if p.kind in (*DATES, "month") and p.words not in ("from", "to") and since:
        return f"{p.words} {slot}"  # how long it is so, not what it is set to
    if p.kind in DATES and re.match("(from|starting|valid from) ", p.words):
        return f"starting {slot}"  # from when it is so
    itself = head in (f"the {p.noun}", f"the {p.words}") and sense.kind not in LAST
    if verb in GENERAL_SETTERS and itself:
        return f"to {slot}"  # "update the labels of an issue"
    spoken_of = bool({*p.noun.split()[-1:], sense.kind} & set(re.findall(r"\w+", head.lower())))
    listed_change = re.search(LISTED, head)  # "job title, manager or hours": which is said
    general = verb in GENERAL_SETTERS and (listed_change or not spoken_of)
    written = sense.kind == "message" or (sense.kind == "note" and spoken_of)
    text = verb == "set" and sense.kind in LAST and p.words.split()[0] in head.split()
    if text or (verb in GENERAL_SETTERS and written):
        return f'to "{slot}"'
    kept = coded or sense.kind in (*LAST, *PLACE_KINDS) or p.items or re.search(SITE, p.words)
    if (general or listed_change) and not kept:
        return ""
    new = p.words.startswith("new ") or re.match(r"(the )?new (?!.*new)", p.about, re.I)
    if new and coded:
        return f"to {p.noun} {slot}"  # "amend the booking" + new sailing id
    sized = sense.range and (sense.kind not in MEASURES or verb in ("set", "resize"))
    moved = sized or sense.kind in DATES or verb == "move"
    sets = verb == "rename" or new or (spoken_of and not coded)
    sets = sets or (moved and not coded and sense.clauses("to") != sense.say)
    if (new or (not general and p.role in CHANGED)) and sets:
        if sense.kind in DATES:
            return f"{'for' if verb == 'set' and not spoken_of else 'to'} {slot}"
        towards = dict(sense.sayings).get("to", ("to {x}",))[0].replace("{noun}", p.noun)
        unit = f" {UNIT_WORDS.get(p.unit, p.unit)}".rstrip()
        return towards.replace("{x}", slot).replace(" {unit}", unit)
    if p.words == "value" and not p.items:
        return f"to {slot}"
    return None


def clause_of(
    p: Parameter,
    value: Any,
    rng: random.Random,
    verb: str = "",
    head: str = "",
    paired: bool = False,
    begun: Collection[str] = (),
) -> str:
    """The words that join a parameter to a sentence, with {name} for its value; "" where it is best
    given with its noun as in a form. `verb` and `head` are of the sentence: one sends to somebody,
    shares with somebody, sets something to a value. `paired`: its other end is said too."""
    slot = p.slot
    if isinstance(value, bool):
        return flag_clause(p, value)
    sense = kind_named(p.sense)  # a choice of languages is said like a language
    coded = sense.kind in NUMBERS_OF and not _attribute(p)
    coded = coded and (p.required or mentions(head, p))  # else what it is changed to
    if verb in SETTERS and (change := _set_clause(p, sense, verb, head, coded)) is not None:
        return change
    own = re.search(r"\b(investigator|author|applicant|responsible)\b", p.about, re.I)
    if sense.kind in WHO and verb in TOWARDS and not (p.role or own):
        return f"{TOWARDS[verb]} {slot}"
    group = group_of(verb.partition(" ")[0]) or SAID_FOR.get(verb)
    if sense.kind == "phone" and p.required and group in (*READING, "search"):
        return f"for {slot}"
    if sense.kind == "tag" and verb in ("tag", "label"):
        return f"as {slot}"
    reads = not verb or group in (*READING, "search")
    options = _options(p, value, sense, head, paired, reads) or ("",)
    if not reads and len(options) > 1:  # a bid of up to 490, not under it
        options = [c for c in options if not c.startswith("under ")]
    if sense.kind in ("message", "note"):
        options = _written(options, sense, verb, head)
    lies = sense.kind in ("country", "country_code") and not p.role
    if lies and group not in (*READING, "search") and len(options) > 1:
        options = ["in {x}"]  # who reserves a table for a country
    changes = verb and group_of(verb) not in READING and verb not in TAKES
    inside = (sense.kind in INSIDE and not p.role) or p.role == "owner"
    if changes and (inside or OWNING.fullmatch(p.words)):  # "in", not "of" or "from" it
        options = [c for c in options if c not in ("of {x}", "from {x}")] or options
    if sense.kind == "url" and changes and re.search(GOES_ALONG, p.noun) and not p.role:
        options = ["with the {noun} {x}"]  # a photo that goes along
    if coded and TOWARDS.get(verb) == "to":
        options = [re.sub("^for ", "to ", c) for c in options]
    fresh = _unlike_begun(options, sense, begun)
    text = options[0] if paired else rng.choice(fresh)  # "from Monday to Friday"
    text = text.removeprefix(f"and {verb} it ")  # "publish it" + publish at
    noun = _noun(p, sense)
    counted = sense.kind == "amount" or (sense.kind == "count" and not p.role)
    if counted and "{noun}" in text and not is_plural(noun):
        return ""  # "tail: 5", "maximum altitude: 59 m"
    if "{unit}" in text and not p.unit and "{noun}" not in text:
        return ""  # five of what?
    if p.items is not None and isinstance(value, list) and sense.kind == "id":
        one = noun.removesuffix("s") if is_plural(noun) else noun
        noun = f"{one}s" if len(value) > 1 else one
    if p.unit and "{unit}" in text:
        text = text.replace("{unit}", UNIT_WORDS.get(p.unit, p.unit))
    return text.replace(" {unit}", "").replace("{noun}", noun).replace("{x}", slot)


def _written(options: Sequence[str], sense: Kind, verb: str, head: str) -> Sequence[str]:
    """The clauses of a text that fit what is done with it."""
    if verb in ("replace", "overwrite", "rewrite"):
        return ('with "{x}"',)
    if sense.kind == "message" and not WRITTEN.search(f"{verb} {head}"):
        return ('with the {noun} "{x}"',)
    if sense.kind == "message" and not WRITTEN.search(head.split()[-1] if head else "x message"):
        return [c for c in options if not c.startswith("that says")]  # of a customer
    return options


def _unlike_begun(options: Sequence[str], sense: Kind, begun: Collection[str]) -> Sequence[str]:
    """The clauses that begin like none before them, all where there is no such one; "of" stands
    right behind what it tells of."""
    if sense.kind == "query" and "for" in begun:
        return ("about {x}", "on {x}")
    taken = {*begun, "of"} if begun else begun
    return [c for c in options if c.partition(" ")[0] not in taken] or options


NUMBERS_OF = ("id", "id_number", "index")  # which thing is meant
ATTRIBUTE = regex("attribute")
OWN_NUMBER = regex("own_number")
PEOPLE = pattern("people")
QUALIFIED = regex("qualified")
LISTED = regex("listed")
NUMBERS = regex("reference_names")


def _attribute(p: Parameter) -> bool:
    """Whether a code says what a thing has; a number that must be given says which one it is."""
    numbered = p.required and p.is_number
    numbered |= p.required and bool(pattern("numbered_thing").match(p.words))
    whose = PEOPLE.fullmatch(f"a {p.noun}")
    return bool(re.search(ATTRIBUTE, p.words)) and not (numbered or whose)


def _options(
    p: Parameter, value: Any, sense: Kind, head: str, paired: bool, reads: bool
) -> Sequence[str]:
    """The clauses that a value can stand in, with {x} for it and {noun} for its name; `reads`:
    something is asked for."""
    noun = _noun(p, sense)
    both = paired and p.kind in DATES and re.search(r" (start|end)$", p.words)
    if not both and (own := named_clauses(p, value, sense, head)):
        return own
    if re.fullmatch(r"(kind|type|category|mode|option)", noun) and p.kind in ("choice", ""):
        return ("({x})",)
    if p.kind == "id" and (paid := re.fullmatch(r"payment( \w+)?", p.noun)):
        return ("with {noun} {x}" if paid[1] else "using {x}",)
    if sense.kind in NUMBERS_OF and pattern("container").search(p.noun) and not (p.items or p.role):
        return ("in {noun} {x}",)
    means = p.kind == "choice" and sense.kind != "format"
    if means and isinstance(value, str) and pattern("by_means").match(value):
        return ("by {x}",)
    known = p.kind not in ("choice", "id", "gender", "period", "")
    worded = sense.kind == "format" and re.fullmatch("[a-z ]{5,}(?<!format)", str(value))
    if worded and value not in bank_of("format"):
        return ("in {x} format",)
    if not (known or sense.say) and (said := idiom_clauses(p, value, reads)):
        return said
    counted = sense.kind in PERIODS and isinstance(value, int)
    chosen = (p.items or p).kind == "choice" and not counted
    if chosen and not (sense.say and sense.spoken and _in_bank(p, sense)):
        return ()
    if sense.kind == "query":
        told = DOCUMENTS.search(head) or (not reads and p.words.rstrip("s") in ("topic", "subject"))
        return ("about {x}", "on {x}") if told else ("for {x}",)
    if sense.kind == "year" and pattern("works").search(head):
        return ("from {x}",)
    if sense.kind == "note" and noun.rstrip("s") in head:
        return (': "{x}"',)  # "add a note"
    if sense.kind in ("id", "id_number") and (re.match(NUMBERS, noun) or names_deed(p)):
        return ()  # of what it is one nobody knows: "keep", "drop"
    if noun.endswith("ID"):
        return ("with the {noun} {x}",)
    if sense.kind in ("id", "id_number") and (_attribute(p) or _own_number(p, head)):
        number = re.sub(r"(?<=\w) no$", " number", p.words)
        return (f"with the {capitals(number, p)} {{x}}",)
    if sense.kind == "reason" and value not in bank_of("reason"):
        return ()  # "checkup" is no clause
    other = p.noun.removesuffix(" name")  # which thing's name it is
    of_head = mentions(head, p)
    if p.words == "name" and head and other != "name" and not of_head:
        return ("for {noun} {x}",)
    if p.words.endswith(" name") and sense.kind in ("task_title", "event_title", "document_title"):
        return ('called "{x}"',) if of_head else (f'for the {other} "{{x}}"',)
    plain = is_plain(p, sense, head)
    since_when = sense.kind not in DATES or p.role != "to" or paired  # "to Friday" from when?
    since_when = since_when and not (sense.kind == "amount" and p.words.startswith("target"))
    alone = p.role == "from" and not paired and re.search(r"pick ?up|ready", p.words)
    role = "" if alone else p.role  # a pick-up without a return begins nothing
    clauses = [c for c in sense.clauses(role) if since_when or not c.startswith("to ")]
    return [c for c in clauses if plain or "{noun}" in c]


def _own_number(p: Parameter, head: str) -> bool:
    """Whether an id is one that a new thing gets: the tag of "a newly collared animal"."""
    new = re.match(r"(?:an? )?(?:new|newly \w+) ", head)
    return bool(new and p.required and re.search(OWN_NUMBER, p.words) and not mentions(head, p))


def is_plain(p: Parameter, sense: Kind, head: str) -> bool:
    """Whether a value tells what it is by its kind alone: the name says no more, beside a role and
    what the object speaks of. "date" does, "insured value" does not."""
    if sense.kind in (*DATES, "weekday", "experience", "repo_name", "unix_time"):
        return True  # `named_clauses` knows dates that are not
    words = re.sub("|".join(ROLE.values()), " ", p.words).split()
    core = " ".join(w for w in words if w not in re.findall(r"\w+", head))
    core = re.sub(r" (spent|worked|logged|taken)$", "", core)
    if sense.form and sense.form.fullmatch(p.about.lower().rstrip(".")):
        return True  # "Customer company"
    if sense.money and re.match(r"estimated|expected|planned|(hour|dai|night|\w+th)ly\b", core):
        return False  # nothing costs it yet, or in all
    core = re.sub(QUALIFIED, "", core)
    names = kind_names(sense.kind)
    if all(any(n is not None and n.fullmatch(w) for n in names) for w in core.split()):
        return True  # "minutes duration"
    short = sense.about is not None and sense.about.fullmatch(subject_of(p.about))  # "family"
    if sense.kind not in WHO and any(n is not None and n.search(core) for n in names):
        short = None  # "image url" says of what
    return not core or bool(short) or any(n is not None and n.fullmatch(core) for n in names)


def _in_bank(p: Parameter, sense: Kind) -> bool:
    """Whether a choice is between values of its kind, as far as we have any of that kind."""
    ours = {str(v).lower() for v in bank_of(sense.kind)}
    if not ours:
        return sense.kind not in ("state", "city", "country", "company")
    values = [str(v).lower().replace("_", " ") for v in (p.items or p).values]
    return any(v in ours or (len(v) > 2 and one.startswith(v)) for v in values for one in ours)


UNIT_WORDS: dict[str, str] = word_data("names")["unit_words"]


def _noun(p: Parameter, sense: Kind) -> str:
    """The words for a parameter inside a clause: counts without "number of"."""
    words = tidied(p.words if sense.range and not p.said else p.noun, "counted_noun")
    words = re.sub(r"\s+number$", "", words) if sense.range else words
    words = capitals(words, p)
    if sense.kind == "people" and re.search(r"party|pax|headcount|covers", words):
        return "people"
    return plural(words) if sense.kind in ("people", "beds", "replicas") else words


def capitals(noun: str, p: Parameter) -> str:
    """A noun whose acronyms are in capitals, as those that the description writes so."""
    written = re.findall(r"\b[A-Z]{2,5}\b", p.about)
    words = [w.upper() if w.upper() in written else w for w in noun.split(" ")]
    return pattern("acronyms").sub(lambda m: m[0].upper(), " ".join(words))
