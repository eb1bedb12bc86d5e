"""In which words a value joins a sentence: "in Lisbon", "until 35 percent", "grouped by zone".

Chosen by the kind of a parameter, or by its name where that is such a word itself. {name} stands
for the value; what is said there is the part of `surface`.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from typing import Any

from raytune_agents.generate.actions import base_verb, is_plural, verb_groups
from raytune_agents.generate.descriptions import SUFFIXES
from raytune_agents.generate.kind_table import Kind, kind_named
from raytune_agents.generate.kinds import Parameter
from raytune_agents.generate.scenes import bank_of

LAST = (  # kinds of texts, which end a sentence
    "message",
    "note",
    "reason",
    "translate_text",
    "problem",
    "sql",
    "jql",
    "command",
    "commit_message",
    "description",
)


def _sense(p: Parameter) -> Kind:
    """The kind that words are chosen by: a choice of languages is said like a language."""
    return kind_named(p.sense)


def _flag(p: Parameter, value: bool) -> str:
    words = re.sub(
        r"^(is|should|do|be|set|use|enable|enabled|with|include|includes|including|has|have|"
        r"allow|add|want|needs?|show|return|get)\s+",
        "",
        p.words,
    )
    words = (
        re.sub(r"\s+(included|enabled|flag|allowed|required|needed|only)$", "", words) or p.words
    )
    if base_verb(words.split()[0]) and words not in ("draft", "return"):
        if len(words.split()) > 1:
            return f"and {words}" if value else f"and don't {words}"
        return f"({words}: {'yes' if value else 'no'})"
    if re.search(r"\bonly\b", p.words):
        return f"(only {words} ones)" if value else f"(not only {words} ones)"
    if re.search(r"\b(include|includes|including|with|included|add)\b", p.words):
        return f"{'including' if value else 'without'} {words}"
    if re.search(
        r"^(is |be )|(ed|able|ible|al|ic|ive|ful|en|open|new|public|private|active|urgent|free|"
        r"direct|recursive|verbose|async|silent|hidden|secure)$",
        p.words,
    ):
        return f"({words})" if value else f"(not {words})"
    return f"with {words}" if value else f"without {words}"


DOCUMENTS = re.compile(
    r"\b(e-?mails?|issues?|pages?|papers?|articles?|news|documents?|files?|messages?|posts?|notes?|"
    r"tickets?|books?|videos?|threads?|records?|invoices?|orders?|reports?|information|info|rules|"
    r"regulations?|questions?|verses|headlines?|research|results?|contracts?|cases?)$",
    re.I,
)
SETTERS = (
    "set",
    "update",
    "change",
    "move",
    "reschedule",
    "scale",
    "switch",
    "raise",
    "lower",
    "increase",
    "decrease",
    "postpone",
    "rename",
    "modify",
    "resize",
)
GENERAL_SETTERS = ("update", "change", "modify")  # of a record: not "to" one of its fields
PLACES = "repo repo_name branch namespace folder project environment database channel".split()  # noqa: SIM905
MEASURES = ("amount", "count", "speed", "height", "weight", "memory", "tempo")
TOWARDS = {
    "share": "with",
    "send": "to",
    "forward": "to",
    "assign": "to",
    "email": "to",
    "transfer": "to",
    "submit": "to",
    "deliver": "to",
    "ship": "to",
    "mail": "to",
    "draft": "to",
    "give": "to",
    "write": "to",
    "pay": "to",
    "refund": "to",
}
WHO = ("email", "person", "username", "phone")


def clause_of(p: Parameter, value: Any, rng: random.Random, verb: str = "", head: str = "") -> str:
    """The words that join a parameter to a sentence, with {name} for its value. `verb` and `head`
    are of the sentence: one sends to somebody, shares with somebody, sets something to a value."""
    slot = "{" + p.name + "}"
    if isinstance(value, bool):
        return _flag(p, value)
    sense = _sense(p)
    spoken_of = bool({*p.noun.split()[-1:], sense.kind} & set(re.findall(r"\w+", head)))
    listed_change = re.search(r", | or ", head)  # "job title, manager or hours": which is said
    general = verb in GENERAL_SETTERS and (listed_change or not spoken_of)
    if verb in GENERAL_SETTERS and sense.kind in ("message", "note"):
        return f'to "{slot}"'
    kept = sense.kind in ("id", "id_number", *LAST, *PLACES) or p.fields or p.items
    if general and not kept:
        return f"and set the {_noun(p, sense)} to {slot} {unit_words(p)}".strip()
    if (
        verb in SETTERS
        and (not general or p.words.startswith("new "))
        and (not p.fields or verb == "set")
        and p.role in ("", "from", "to")
        and (sense.kind not in MEASURES or spoken_of)
        and (
            spoken_of
            or verb == "rename"
            or sense.clauses("to") != sense.say
            or p.words.startswith("new ")
        )
    ):
        if sense.kind in ("date", "datetime", "time"):
            return f"{'for' if verb == 'set' and not spoken_of else 'to'} {slot}"
        towards = dict(sense.sayings).get("to", ("to {x}",))[0].replace("{noun}", p.noun)
        return towards.replace("{x}", slot).replace(" {unit}", f" {p.unit}" if p.unit else "")
    if sense.kind in ("email", "phone") and not p.role and _of_records(verb) and not p.items:
        return f"with {_noun(p, sense)} {slot}"
    if sense.kind in WHO and verb in TOWARDS and not p.role:
        return f"{TOWARDS[verb]} {slot}"
    if sense.kind == "tag" and verb in ("tag", "label"):
        return f"as {slot}"
    text = rng.choice(_options(p, value, sense, head))
    noun = _noun(p, sense)
    if "{unit}" in text and not p.unit:
        # Five of what?
        text = text.replace(" {unit}", "") if "{noun}" in text else "with {noun} {x}"
    if p.items is not None and isinstance(value, list) and len(value) > 1 and sense.kind == "id":
        noun = noun if noun.endswith("s") else f"{noun}s"
    if p.items is not None and re.search(r"\{x\}\s+\w", text):
        text = rng.choice(("with the {noun} {x}", "({noun}: {x})"))
        noun = noun if noun.endswith("s") else f"{noun}s"
    if p.unit and "{unit}" in text:
        text = text.replace("{unit}", UNIT_WORDS.get(p.unit, p.unit))
    return text.replace(" {unit}", "").replace("{noun}", noun).replace("{x}", slot)


PLAIN_DATE = re.compile(
    r"^((target|due|event|visit|appointment|start|booking) )?(date|day|time|when|datetime)"
    r"( time)?$|"
    r"\b(for|at|on|by|when)$"
)
OWN_WORD = (  # a name that is itself the word before its value
    "by|until|since|before|after|near|within|between|via|under|over|above|below|around|during|"
    "without|about|against"
)
GRADED = r"(priority|severity|mood|tone|style|size|quality|difficulty|speed|preset|finish|accent)$"
SITE = r"^(site|branch|station|depot|warehouse|store|office|facility|clinic|venue)( id| code)?$"
LOCATIVE = r"(zone|area|region|district|floor|building|aisle|sector|ward|section)$"
CONTAINER = (
    r"\b(channel|folder|project|workspace|board|database|room|group|space|queue|thread|cluster)$"
)
COUNTED_NAME = r"(?!.*eed$)\w{3,}ed"  # "counted", not "speed"
BY_MEANS = re.compile(r"(sms|e-?mail|phone|push|whatsapp|post|letter|mail|call|fax|text)$", re.I)


def _of_records(verb: str) -> bool:
    kept = ("create", "add", "update", "list", "search")  # "customers with the email ..."
    return verb_groups().get(verb) in kept or verb == "register"


def _named_clauses(p: Parameter, value: Any) -> Sequence[str]:
    """Clauses that the very name of a parameter makes: "until", "days before", "group by"."""
    if re.fullmatch(OWN_WORD, p.words) and not p.fields:
        return (f"{p.words} {{x}}" + (" {unit}" if p.unit else ""),)
    if re.fullmatch(r"\w+s (before|after|ahead|ago|in advance|earlier|later)", p.words):
        return (f"{{x}} {p.words}",)
    if found := re.fullmatch(r"(group|sort|order|filter|rank|split)(?:ed)? by", p.words):
        return (f"{found[1]}ed by {{x}}".replace("splited", "split"),)
    if re.fullmatch(COUNTED_NAME, p.words) and isinstance(value, int | float):
        return (f"with {{x}} {p.words}",)
    if (found := re.fullmatch(r"(\w+s) per (\w+)", p.words)) and _sense(p).kind != "speed":
        return (f"{{x}} {found[1]} per {found[2]}",)
    if p.kind in ("date", "datetime", "time"):
        if re.fullmatch(r"\w+ (until|since|after|before|from)|as of", p.words):
            return (f"{p.words} {{x}}",)  # "hired after"
        ends = re.fullmatch(r"(?!check|drop|pick|valid)\w+ (end|start)", p.words)  # "trial end"
        if ends or (not p.role and not PLAIN_DATE.search(p.words)):
            return ("with {noun} {x}", "with the {noun} {x}")  # "last day"
    if re.match(r"excluded? \w", p.words) and not isinstance(value, bool):
        return ("excluding {x}",)
    if len(p.words) <= 3 and p.words in SUFFIXES and not isinstance(value, str | list):
        return (f"({{x}} {SUFFIXES[p.words]})",)
    if re.search(SITE, p.words) and p.kind in ("", "choice", "id"):
        return ("at {noun} {x}",)
    if p.fields and p.words in ("from", "to"):
        return (f"{p.words} {{x}}",)
    return ()


def _options(p: Parameter, value: Any, sense: Kind, head: str) -> Sequence[str]:
    """The clauses that a value can stand in, with {x} for it and {noun} for its name."""
    noun = _noun(p, sense)
    named = ("with {noun} {x}", "with the {noun} {x}", "({noun}: {x})")
    listed = ("with {noun} {x}", "({noun}: {x})")
    if own := _named_clauses(p, value):
        return own
    if p.fields and p.noun.split()[-1:] == head.split()[-1:]:
        return ("with {x}",)  # "create a contact" + contact
    if p.kind == "object" or (p.items is not None and p.items.kind == "object"):
        return ("with {noun} {x}",)
    if value in ("metric", "imperial"):
        return ("in {x} units",)
    if re.fullmatch(r"(kind|type|category|mode|option)", noun) and p.kind in ("choice", ""):
        return ("({x})",)
    if p.kind == "choice" and isinstance(value, str) and BY_MEANS.match(value):
        return ("by {x}",)
    if p.kind == "choice" and re.search(LOCATIVE, noun):
        return ("in {noun} {x}",) if len(str(value)) <= 3 else ("in the {x} {noun}",)
    if p.kind == "choice" and head.startswith("the ") and head.endswith(f" {noun}"):
        return ("as {x}",)  # "record the condition"
    if p.kind == "choice" and not (sense.say and sense.spoken and _in_bank(p, sense)):
        graded = isinstance(value, str) and value.isalpha() and re.search(GRADED, noun)
        return ("with {x} {noun}", "({noun}: {x})") if graded else listed
    if sense.kind == "query":
        return ("about {x}", "on {x}") if DOCUMENTS.search(head) else ("for {x}",)
    if sense.kind == "weight" and re.search(r"\b(body|patient|person)\b", f"{p.words} {p.about}"):
        return ("for a body weight of {x} {unit}",)
    if sense.kind == "note" and noun.rstrip("s") in head:
        return (': "{x}"',)  # "add a note"
    if noun == "ID":
        return ("with the ID {x}",)
    if sense.kind == "reason" and value not in bank_of("reason"):
        return ("({noun}: {x})",)  # "checkup" is no clause
    if p.words == "name" and sense.kind != "name":
        return ('named "{x}"',)  # of what is made
    if p.items is not None and sense.kind == "email" and not re.search(r"mail|recip|to|cc", noun):
        return ("({noun}: {x})",)
    if sense.kind in ("id", "id_number") and re.search(CONTAINER, noun):
        return ("in {noun} {x}",)
    if sense.kind == "money" and not p.role:
        plain = re.search(r"\b(amount|value|total|sum|price|cost|payment)$", noun)
        of = re.search(r"(payment|refund|transfer|donation|deposit|tip|fee|bonus|credit)$", head)
        return (("of {x}",) if of else ("for {x}",)) if plain else ("with a {noun} of {x}",)
    if sense.kind in ("first_name", "last_name") and "name" not in p.words:
        return ("with {noun} {x}",)
    if sense.kind in ("date", "datetime") and (
        word := re.search(r"(^|ed |due )(after|before|since)\b", p.words)
    ):
        return (f"{word[2]} {{x}}",)
    if sense.kind == "date" and re.search(r"\w (after|before)$", p.words):
        return ("with {noun} {x}",)
    found = sense.clauses(p.role) if sense.kind else ()
    return found or (listed if p.items is not None else named)


def _in_bank(p: Parameter, sense: Kind) -> bool:
    """Whether a choice is between values of its kind, as far as we have any of that kind."""
    ours = {str(v).lower() for v in bank_of(sense.kind)}
    if not ours:
        return sense.kind not in ("state", "city", "country", "company")
    return any(str(v).lower().replace("_", " ") in ours for v in p.values)


UNIT_WORDS = {
    "celsius": "degrees",
    "fahrenheit": "degrees",
    "kilometers": "km",
    "kilometres": "km",
    "kilograms": "kg",
    "km": "km",
    "usd": "dollars",
    "eur": "euros",
}


def _noun(p: Parameter, sense: Kind) -> str:
    """The words for a parameter inside a clause: counts without "number of"."""
    words = re.sub(
        r"^(num|number of|no of|n|total|max|maximum|min|minimum|amount of|new)\s+",
        "",
        p.words if sense.range else p.noun,
    )
    words = re.sub(r"\s+(count|number|no|min|max|ids|km|kg|cm|minutes|percent|usd|eur)$", "", words)
    words = ACRONYMS.sub(lambda m: m[0].upper(), words)
    if sense.kind == "people" and re.search(r"party|pax|headcount|covers", words):
        return "people"
    if sense.kind in ("people", "beds", "replicas") and not is_plural(words):
        return {"person": "people", "child": "children"}.get(
            words, words if words.endswith("n") else f"{words}s"
        )
    return words


ACRONYMS = re.compile(
    r"\b(sku|url|pin|vat|ip|iban|isbn|api|cpu|gpu|ram|dns|ssl|pdf|csv|json|sql|gps|vin|sms|crm|cas|id)\b"
)
ENDS = {"to": "destination", "from": "origin"}
DATED_ENDS = {"to": "end", "from": "start"}


def field_noun(p: Parameter) -> str:
    """What stands before the value in a list or a sentence of its own: "due date" for due_by."""
    noun = {"name": "name", "per page": "page size"}.get(p.words) or re.sub(
        r"^starts\b", "start", _noun(p, _sense(p))
    )
    if p.kind in ("date", "datetime"):
        noun = DATED_ENDS.get(noun, noun)
        noun = re.sub(r"^(check in|check out|arrival|departure)$", r"\1 date", noun)
        return re.sub(r"\s+(by|at|on|before)$", " date" if p.kind == "date" else " time", noun)
    return ENDS.get(noun, noun)


def request_noun(p: Parameter) -> str:
    """What a question calls a parameter: "check-in date" for check_in."""
    when = {"to": "end date", "until": "end date", "from": "start date"}
    when |= dict.fromkeys(("when", "on", "at", "before", "after", "since"), "date")
    if p.kind in ("date", "datetime") and p.noun in when:
        return when[p.noun]
    if p.kind in ("date", "datetime") and not re.search(r"date|day|time|start|end", p.noun):
        return f"{p.noun.replace('check ', 'check-')} date"
    if _sense(p).range and not p.items:
        if is_plural(p.noun):
            return f"number of {p.noun}"
        if re.fullmatch(COUNTED_NAME, p.noun):
            return f"number {p.noun}"
    return p.words if p.sense in ("id", "id_number", "uuid") and p.noun != "ID" else p.noun


def unit_words(p: Parameter) -> str:
    """The unit after a number; of money it is part of what is said."""
    if p.sense in ("money", "loan", "salary"):
        return ""
    unit = UNIT_WORDS.get(p.unit, p.unit) or ("degrees" if p.sense == "temperature" else "")
    return "" if p.words.endswith(unit) else unit  # "weekly hours"


def statement(p: Parameter, value: Any, rng: random.Random) -> str:
    """A sentence of its own that gives a value."""
    slot, noun = "{" + p.name + "}", field_noun(p)
    if isinstance(value, list):
        return f"{capital(noun)}: {slot}."
    if isinstance(value, str) and (p.sense in QUOTED or len(value.split()) > 5):
        return f'{capital(noun)}: "{slot}"'
    said = f"{slot} {unit_words(p) if isinstance(value, int | float) else ''}".strip()
    be = "are" if is_plural(noun) else "is"
    return rng.choice((f"The {noun} {be} {said}.", f"{capital(noun)}: {said}."))


QUOTED = (*LAST, "subject", "event_title", "task_title", "document_title", "opinion")


def capital(text: str) -> str:
    """The text with a large first letter."""
    return text[:1].upper() + text[1:]
