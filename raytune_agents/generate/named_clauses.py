"""Clauses that the very name of a parameter makes: "until", "days before", "group by"."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from raytune_agents.generate.actions import base_verb
from raytune_agents.generate.grammar import PAST, is_plural
from raytune_agents.generate.idioms import chosen_clause
from raytune_agents.generate.kind_table import Kind
from raytune_agents.generate.kinds import PERIODS
from raytune_agents.generate.parameter import Parameter
from raytune_agents.generate.wordlists import pattern, regex

DONE_TO_IT = "forward|move|copy|send|ship|deliver|assign|share|save|label|tag"
DOING = {  # names that are orders themselves: "avoid" + tolls
    "avoid": "avoiding",
    "include": "including",
    "ignore": "ignoring",
    "omit": "omitting",
    "skip": "skipping",
}
CUT = re.compile(r"\b(first|last|top|latest|most recent) (?:n|x) ([a-z]+)", re.I)
PLAIN_DATE = pattern("plain_date")
DATES = ("date", "datetime", "time")
OWN_WORD = regex("own_word")
COMPARED = pattern("compared")
SITE = regex("site")
LOCATIVE = regex("locative")
SPANS = regex("spans")
LOOKS_BACK = regex("looks_back")
FETCHED = regex("fetched")


def _dated_clauses(p: Parameter, head: str) -> Sequence[str]:
    """Clauses that the name of a day or a time makes: "hired after", "week of", "resume on"."""
    if re.fullmatch("(occurr|happen)ed (at|on)", p.words):
        return ("on {x}",)
    if ends := re.fullmatch(r"(clos|start|end|open)e?s (?:at|on)", p.words):
        return (f"{ends[1]}ing on {{x}}",)
    if done := re.fullmatch(rf"({PAST}|\w+en|read|found|built) (?:at|on)", p.words):
        return (f"{done[1]} on {{x}}",)
    whose = re.fullmatch(r"(\w+) (dob|date of birth|birth ?(date|day))", p.words)
    if whose and p.role == "birth":
        return (f"for a {whose[1]} born on {{x}}",)
    if re.fullmatch(r"effective( date| from| on)?", p.words):
        return ("effective {x}",)
    if re.fullmatch(r"(week|month|quarter|year) (of|from|starting|beginning)", p.words):
        return (f"for the {p.words} {{x}}",)
    if moved := re.fullmatch(r"(depart|arriv|leav|return|report)e?s? (?:at|on)", p.words):
        return (f"{moved[1]}ing {'at' if p.kind == 'time' else 'on'} {{x}}",)
    acts = re.fullmatch(r"(\w+) (?:at|on)", p.words)
    if acts and not p.role and base_verb(acts[1]) == acts[1]:
        on = "at" if p.kind == "time" else "on"
        return (f"and {acts[1]} it {on} {{x}}",)  # "resume on"
    if re.fullmatch(r"\w+ (until|since|after|before|from)|as of", p.words):
        return (f"{p.words.removeprefix('date ')} {{x}}",)  # "hired after", "from"
    if re.fullmatch(r"(?!check|drop|pick|valid)\w+ start", p.words) and p.role != "to":
        return ("starting {x}",)  # "slot start"
    ends = re.fullmatch(r"(?!check|drop|pick|valid)\w+ end", p.words)  # "trial end"
    of_head = re.search(rf"\b{p.words.split()[0]}", head)  # "tickets" + ticket date
    if ends or not (p.role or of_head or PLAIN_DATE.search(p.words)):
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
    if (found := COMPARED.fullmatch(p.words)) and (found["thing"] or " " in p.words):
        thing = f"with {found['thing']} " if found["thing"] else ""
        return (f"{thing}{found['how']} {{x}}{found['unit'] or unit}",)
    inside = re.fullmatch(r"(in|at|by|near|under|inside) \w+", p.words)
    if inside and sense.placed and not p.items:  # "in channel" + #sales
        return (f"{inside[1]} {{x}}",)
    recent = p.words == sense.kind and re.match(r"(the )?(recent|latest|past) ", head)
    if sense.kind in PERIODS and (recent or re.search(LOOKS_BACK, f"{p.words}. {p.about}")):
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
    if re.fullmatch(FETCHED, p.words) and re.match(r"\w", head):
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
    if of and period in PERIODS and not re.search(SPANS, of):
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
