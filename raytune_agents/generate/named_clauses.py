"""Clauses that the very name of a parameter makes: "until", "group by", "including tax".

A day or an order by its name, a value that only its noun tells about ("in seconds", "on Yahoo",
`data/idioms.yaml`), a switch. Left out on purpose: kinds with words of their own (`clauses`).
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from raytune_agents.generate.actions import base_verb
from raytune_agents.generate.descriptions import KNOWN_WORDS
from raytune_agents.generate.grammar import PAST, PREPOSITIONS, is_plural, with_article
from raytune_agents.generate.kind_table import Kind
from raytune_agents.generate.kinds import PERIODS
from raytune_agents.generate.parameter import Parameter
from raytune_agents.generate.wordlists import pattern, phrases, regex, tidied, word_data

DONE_TO_IT = "forward|move|copy|send|ship|deliver|assign|share|save|label|tag"
DOING = {  # names that are orders themselves: "avoid" + tolls
    "avoid": "avoiding",
    "include": "including",
    "ignore": "ignoring",
    "omit": "omitting",
    "skip": "skipping",
}
CUT = re.compile(r"\b(first|last|top|latest|most recent) (?:n|x) ([a-z]+)", re.I)
DATES = ("date", "datetime", "time")
OWN_WORD = regex("own_word")
SITE = regex("site")
LOCATIVE = regex("locative")


DATED_CLAUSES = (  # how the name of a day or a time joins it
    (r"(?:occurr|happen)ed (?:at|on)", "on {x}"),
    (r"(clos|start|end|open)e?s (?:at|on)", r"\1ing on {x}"),
    (rf"({PAST}|\w+en|read|found|built) (?:at|on)", r"\1 on {x}"),
    (r"effective(?: date| from| on)?", "effective {x}"),
    (r"((?:week|month|quarter|year) (?:of|from|starting|beginning))", r"for the \1 {x}"),
    (r"(depart|arriv|leav|return|report)e?s? (?:at|on)", r"\1ing {on} {x}"),
)


def _dated_clauses(p: Parameter, head: str) -> Sequence[str]:
    """Clauses that the name of a day or a time makes: "hired after", "week of", "resume on"."""
    on = "at" if p.kind == "time" else "on"
    for name, clause in DATED_CLAUSES:
        if found := re.fullmatch(name, p.words):
            return (found.expand(clause).replace("{on}", on),)
    whose = re.fullmatch(r"(\w+) (dob|date of birth|birth ?(date|day))", p.words)
    if whose and p.role == "birth":
        return (f"for a {whose[1]} born on {{x}}",)
    acts = re.fullmatch(r"(\w+) (?:at|on)", p.words)
    if acts and not p.role and base_verb(acts[1]) == acts[1]:
        return (f"and {acts[1]} it {on} {{x}}",)  # "resume on"
    if re.fullmatch(r"\w+ (until|since|after|before|from)|as of", p.words):
        return (f"{p.words.removeprefix('date ')} {{x}}",)  # "hired after", "from"
    if re.fullmatch(r"(?!check|drop|pick|valid)\w+ start", p.words) and p.role != "to":
        return ("starting {x}",)  # "slot start"
    ends = re.fullmatch(r"(?!check|drop|pick|valid)\w+ end", p.words)  # "trial end"
    of_head = re.search(rf"\b{p.words.split()[0]}", head)  # "tickets" + ticket date
    if ends or not (p.role or of_head or pattern("plain_date").search(p.words)):
        return ("",)  # "last day"
    return ()


def _ordered_clause(p: Parameter, sense: Kind) -> str:
    """The clause of a name that is an order itself: "forward to", "remind after days"."""
    later = re.fullmatch(r"(remind|notify|warn|alert) (after|before|every) (\w+)", p.words)
    if later and later[3] in PERIODS:
        return f"and {later[1]} them {later[2]} {{x}} {later[3]}"
    if re.fullmatch(rf"expires?( in| after)? ({'|'.join(PERIODS)})", p.words):
        return f"expiring after {{x}} {sense.kind}"
    act = re.fullmatch(rf"({DONE_TO_IT}) (to|as|with)", p.words)
    if act and not p.items:  # "forward to" + an address
        return f"and {act[1]} it {act[2]} {{x}}"
    return ""


def named_clauses(p: Parameter, value: Any, sense: Kind, head: str) -> Sequence[str]:
    """Clauses that the very name of a parameter makes: "until", "days before", "group by"."""
    if p.kind in DATES and re.search(r"\d( to | - | – |/|\.\.)\d{4}", str(value)):
        return ("from {x}",) if " to " in str(value) else ("for {x}",)  # two days
    if re.match(r"(exclud(e|ed|ing)|ignored?|without|skip)\b \w", p.words):
        return ("excluding {x}",)
    if found := re.match(rf"({'|'.join(DOING)})(?= \w+s$|$)", p.words):
        return (f"{DOING[found[1]]} {{x}}",)
    if some := CUT.search(p.about):
        return (f"but only the {some[1].lower()} {{x}} {some[2]}",)
    if (p.items or p).kind == "choice" and (clause := chosen_clause(p, value)):
        return (clause,)
    unit = " {unit}" if p.unit else ""
    end = re.fullmatch(r"(from|to|after|before|until) (\w+(?: \w+)??)(?: id)?", p.words)
    if end and p.kind in ("id", "id_number", "position"):  # "to location" + DEPOT-5
        return (f"{end[1]} {end[2]} {{x}}",)
    if (found := pattern("compared").fullmatch(p.words)) and (found["thing"] or " " in p.words):
        thing = f"with {found['thing']} " if found["thing"] else ""
        return (f"{thing}{found['how']} {{x}}{found['unit'] or unit}",)
    inside = re.fullmatch(r"(in|at|by|near|under|inside) \w+", p.words)
    if inside and sense.placed and not p.items:  # "in channel" + #sales
        return (f"{inside[1]} {{x}}",)
    recent = p.words == sense.kind and re.match(r"(the )?(recent|latest|past) ", head)
    if sense.kind in PERIODS and (recent or pattern("looks_back").search(f"{p.words}. {p.about}")):
        return (f"for the last {{x}} {sense.kind}",)
    if found := re.fullmatch(r"(tail|last|first|head)( lines| rows| entries)", p.words):
        return (
            f"(the {found[1].replace('tail', 'last').replace('head', 'first')} {{x}}{found[2]})",
        )
    if ordered := _ordered_clause(p, sense):
        return (ordered,)
    if sense.kind == "quantity" and re.fullmatch("units|pieces|bags|boxes|packs|doses", p.words):
        return ("for {x} {noun}",)
    if p.words == "count" and sense.range:
        return ("(count: {x})",)
    if re.fullmatch(r"\w+ed by", p.words) and not p.items:
        return (f"({p.words} {{x}})",)
    if re.fullmatch(r"(on|in|at|by|under) \w+ (of|for|from|with)", p.words):  # "on application of"
        party = isinstance(value, str) and value.islower() and not is_plural(value)
        return (f"{p.words} the {{x}}" if party else f"{p.words} {{x}}",)
    if p.words == "locale" and not p.items:
        return ("for the {x} locale",)  # "in it" says nothing
    if pattern("fetched").fullmatch(p.words) and re.match(r"\w", head):
        return ("from {x}",)
    if p.words in ("min", "max") and sense.range:
        return (f"with a {p.words}imum of {{x}}{unit}",)
    if re.fullmatch(r"(?:in )?reply to(?: id)?", p.words):
        return ("in reply to {x}",)
    until = p.words == "to" and p.kind in DATES  # said by its role
    if (re.fullmatch(OWN_WORD, p.words) and not until) or (p.words == "at" and p.unit):
        return (f"{p.words} {{x}}{unit}",)
    if re.fullmatch(r"\w+s (before|after|ahead|ago|in advance|earlier|later)", p.words):
        return (f"{{x}} {p.words}",)
    if found := re.fullmatch(r"(group|sort|order|filter|rank|split)(?:ed)? by", p.words):
        return (f"{found[1]}ed by {{x}}".replace("splited", "split"),)
    if p.kind in DATES and (clause := _dated_clauses(p, head)):
        return clause
    return _placed_clauses(p, value)


def _placed_clauses(p: Parameter, value: Any) -> Sequence[str]:
    """Clauses of a name that says where or for how long: "start seconds", "zone", "depot"."""
    of, _, period = p.words.rpartition(" ")
    if of in ("extra", "additional") and period in PERIODS:
        return (f"by {{x}} {period}",)
    if of in ("position", "offset", "start", "at") and period in PERIODS:
        return (f"at {{x}} {period}",)
    if of and period in PERIODS and not pattern("spans").search(of):
        return ("",)  # "follow up days"
    if re.search(LOCATIVE, p.words) and p.kind in ("id", "id_number", "amount", "choice", ""):
        coded = p.kind not in ("choice", "") or len(str(value)) <= 3 or re.search(r"\d", str(value))
        return ("in {noun} {x}",) if coded else ("in the {x} {noun}",)
    if p.kind == "choice" and re.search(r"\b(term|semester|season|shift)$", p.words):
        return ("for the {x} {noun}",)
    if re.search(SITE, p.words) and p.kind in ("", "choice", "id", "id_number", "amount"):
        worded = p.kind == "" and not re.search(r"\d", str(value))
        at = f"at {p.noun} {{x}}"
        return ("at the {x} {noun}",) if worded and p.noun not in str(value) else (at,)
    return ()


NO_NOUNS = ("type", "kind", "mode", "status", "goal", "option", "level", "state", "topic", "action")
MONTHS = frozenset(calendar.month_name[1:])


@dataclass(frozen=True)
class Idiom:
    """One line of `data/idioms.yaml`."""

    noun: re.Pattern[str]  # what the parameter's words end with
    value: re.Pattern[str]  # the whole value
    say: tuple[str, ...]
    asks: bool  # where something is asked for alone


@cache
def _idioms() -> tuple[Idiom, ...]:
    lines: Any = word_data("idioms")
    return tuple(
        Idiom(
            re.compile(rf"(?:^|\b)(?:{line['noun']})$"),
            re.compile(line.get("value", ".+")),
            tuple(line["say"]),
            line.get("asks", False),
        )
        for line in lines
    )


def idiom_clauses(p: Parameter, value: Any, asks: bool) -> Sequence[str]:
    """The clauses of a value by the parameter's noun, () where no idiom is known; `asks`: the
    sentence asks for something, so that "in dollars" says how it is wanted."""
    if not isinstance(value, str) or p.items is not None or p.role:
        return ()
    text = value.replace("_", " ")
    whole = re.fullmatch(r"(\w+) (?:type|kind|category|class)", p.words)
    if whole and re.search(rf"\w\W{whole[1]}$", text):
        return ("for a {x}", "in a {x}")  # the cell type "liver cell"
    for idiom in _idioms():
        usable = asks or not idiom.asks
        if usable and idiom.noun.search(p.words) and idiom.value.fullmatch(text):
            return idiom.say
    adjectives = sum(pattern("adjective").fullmatch(str(v)) is not None for v in p.values)
    told = pattern("adjective").fullmatch(text) and 2 * adjectives >= len(p.values)
    if told and p.noun.split()[-1:] and p.noun.split()[-1] not in NO_NOUNS:
        article = "" if with_article(p.noun, False) == p.noun else "a "
        return (f"with {article}{{x}} {p.noun}",)  # "with local coverage"
    return ()


def chosen_clause(p: Parameter, value: Any) -> str:
    """The clause of a choice that is a time or a room, as its values say; "" for any other."""
    values = [str(v) for v in (p.items or p).values]
    if values and all(pattern("weekday").fullmatch(v) for v in values):
        return "on {x}"
    if values and set(values) <= MONTHS:
        return "in {x}"
    times = ("morning", "afternoon", "evening", "midday", "noon", "night")
    if values and set(values) <= {*times}:
        return "at {x}" if value in ("midday", "noon", "night") else "in the {x}"
    if isinstance(value, str) and pattern("relative_day").match(value):
        return "for {x}" if pattern("stretch").search(p.words) else "{x}"  # "for this month"
    if values and {v.lower() for v in values} <= {"am", "pm"}:
        return "({x})"
    if value in ("metric", "imperial") and re.search(r"\b(units?|system)\b", p.words):
        return "in {x} units"
    if re.search(r"\b(reason|cause)( code)?$", p.words):
        return "({noun}: {x})"
    end = re.search(r"\b(?:destination|(origin))$", p.words)
    if end and isinstance(value, str):  # "to the crematorium"
        return f"{'from' if end[1] else 'to'} {'the ' if value.islower() else ''}{{x}}"
    aim = re.search(r"\b(goal|aim|objective|intent)$", p.words)
    if aim and isinstance(value, str) and base_verb(value) == value:
        return "with the {noun} to {x}"  # "lose", "maintain"
    if re.search(r"\brooms?$", p.words) and any(v.endswith("room") for v in values):
        return "in the {x}"
    return ""


def _described(p: Parameter) -> str:
    """What a switch with an abbreviated name does, as its description says it: "copy the project
    manager" for cc_pm; "" for any other."""
    told = re.fullmatch(r"(\w+) (?:the |an? |all |it |them )[a-z -]+", p.about.lower().rstrip("."))
    short = any(w not in KNOWN_WORDS for w in p.words.split())
    if told and told[1] == p.words:  # the verb alone: "announce"
        return told[0]
    return told[0] if told and short and base_verb(told[1]) == told[1] else ""


def flag_clause(p: Parameter, value: bool) -> str:
    """The words for a boolean that is given."""
    if done := _described(p):
        return f"and {done}" if value else f"and don't {done}"
    words = tidied(p.words, "switch") or p.words
    negated = "" if value else "not "
    if direction := re.fullmatch(r"(?:sort(?:ed)? )?(ascending|descending)(?: order)?", words):
        other = {"ascending": "descending", "descending": "ascending"}[direction[1]]
        return f"in {direction[1] if value else other} order"
    ordered = re.fullmatch(r"(\w+) (next|first|now|later|again|out|in|off|down|up|back)", words)
    if ordered and base_verb(ordered[1]) == ordered[1]:  # "play next", "fade out"
        it = "" if ordered[2] in ("out", "in", "off", "back") else " it"
        return f"and {'' if value else 'do not '}{ordered[1]}{it} {ordered[2]}"
    if able := re.fullmatch(r"can (\w[\w ]*)", words):  # "can edit"
        return f"({'can' if value else 'cannot'} {able[1]})"
    if marked := re.fullmatch(r"mark (?:as )?(\w+)", words):
        return f"and {'mark' if value else 'do not mark'} it as {marked[1]}"
    if re.match(rf"(?:{PREPOSITIONS}) \w", words):
        return f"({negated}{words})"  # "on view"
    if found := re.fullmatch(r"(.+) (allowed|required|needed)", words):
        return f"({found[1]} {negated}{found[2]})"
    if found := re.fullmatch(r"(.+) only|only (.+)", words):
        ones = "" if found[1] or is_plural(found[2]) else " ones"
        return f"({negated}{words})" if found[1] else f"({negated}only {found[2]}{ones})"
    # "include comments", "needs parking"
    said = re.match(r"(includ\w+|with|has|have|needs?|requires?|wants?) \w", p.words)
    if base_verb(words.split()[0]) and not said and words not in ("draft", "return", "open now"):
        noun = words.split()[0] in phrases()["nouns_too"]  # "gift wrap"
        if len(words.split()) > 1 and not noun:
            verb, thing = words.split(maxsplit=1)
            whole = re.search(rf"^({PREPOSITIONS})\b|(ing|ed|ly|now|again|later)$", thing)
            thing = thing if whole else with_article(thing, not is_plural(thing))
            return f"and {verb} {thing}" if value else f"and don't {verb} {thing}"
        if not noun:
            return f"and {words} it" if value else f"and don't {words} it"
    if re.match(r"includ(e|ing) (\w+ed|partial|inactive|empty|hidden|private|internal)$", p.words):
        words += " ones"  # "archived"
    if re.search(r"\b(include|includes|including|with|included|add)\b", p.words):
        return f"{'including' if value else 'without'} {words}"
    if pattern("state").search(p.words):
        return f"({negated}{re.sub('^non ', 'non-', words)})"
    if words in ("everything", "all"):
        return f"({negated}{words})"
    if words == "value":
        return f"to {'true' if value else 'false'}"
    if re.search(r"\b(run|draft|preview|test|backup|gift)$", words):
        return f"{negated}as a {words}"
    return f"{'with' if value else 'without'} {words}"
