"""The offline floor: a request from a tool's description, in the user's voice and without its name.

The description gives a verb and an object (`actions`), the parameters give clauses by their kind
("in Lisbon", "from 3 March 2026", "for two guests"), and `data/phrases.yaml` gives the sentences
that they stand in: an order, a thing that is wanted, a question. Left out on purpose: which values
(`arguments`), other words for them (`paraphrase`).
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from raytune_agents.agents import ToolConfig
from raytune_agents.agents.analyse import IN_BRACKETS, Profile
from raytune_agents.agents.phrasing import name_words
from raytune_agents.generate.actions import Action, base_verb, group_of, verb_words
from raytune_agents.generate.arguments import parameters_of
from raytune_agents.generate.clauses import DOCUMENTS, SETTERS, clause_of
from raytune_agents.generate.codes import NoValue
from raytune_agents.generate.complements import PLAYED
from raytune_agents.generate.conditions import condition_clause, in_one
from raytune_agents.generate.descriptions import is_english
from raytune_agents.generate.forms import begun_in, sentence_of
from raytune_agents.generate.frames import EVEN_HABITS, Wish, drawn, form_weights, weighed
from raytune_agents.generate.grammar import (
    DETERMINERS,
    PREPOSITIONS,
    asked,
    is_plural,
    mended,
    with_article,
)
from raytune_agents.generate.known_wording import id_habits, known_clause, with_ids
from raytune_agents.generate.named_clauses import DATES
from raytune_agents.generate.nouns import mentions
from raytune_agents.generate.parameter import NUMBERED, Parameter
from raytune_agents.generate.placing import Placing
from raytune_agents.generate.scenes import Scene
from raytune_agents.generate.surface import HTTP_METHODS, rank, spoken
from raytune_agents.generate.told_in_one import told_in_one
from raytune_agents.generate.tool_actions import (
    METHODS,
    chosen_action,
    decided,
    switched,
    tool_action,
    unlisted,
)
from raytune_agents.generate.wordlists import pattern, phrases, word_data

# --- a wish ---------------------------------------------------------------------------------------


ON = ("on", "enable", "enabled", "active", "activate", "state", "status")
OPPOSITE = {"raise": "lower", "increase": "decrease"}


def _named_verb(
    act: Action, plain: Sequence[Parameter], args: Mapping[str, Any]
) -> tuple[str, Parameter | None]:
    """The one of an action's verbs that is meant where the arguments tell, and the parameter whose
    value it is; "" where any of them will do."""
    for p in plain:
        if p.kind != "choice":
            continue
        value = str(args[p.name]).lower().replace("_", " ")
        acts = p.noun in METHODS
        acts = acts and (not act.makes or any(str(v).lower() in act.verbs for v in p.values))
        known = value in act.verbs or (acts and value in verb_words() and value not in act.head)
        if known and args[p.name] not in HTTP_METHODS:
            return value, p
        turned = switched(value.split()[0]) if len(act.verbs) > 1 and value else ""
        if turned in act.verbs:  # "arm or disarm" + disarmed
            return turned, None if " " in value else p
    if up := next((v for v in act.verbs if OPPOSITE.get(v) in act.verbs), ""):
        return up, None  # numbers are drawn above zero
    told = {str(v).lower() for p in plain if p.words in METHODS for v in p.values}
    others = [v for v in act.verbs if v not in told] if told & {*act.verbs} else []
    return (others[0] if others else ""), None  # "list, create or close a tab" + new


def _any_verb(act: Action, rng: random.Random, habits: Profile) -> tuple[str, str]:
    """One of an action's verbs as the user says it, and its group."""
    opposed = any(v != w and w.endswith(v[2:]) for v in act.verbs for w in act.verbs)
    verb = rng.choice(act.verbs[:1] if opposed else act.verbs)  # "archive or unarchive a task"
    giving = verb == "give" and any(p == "to" for p, _ in act.parts)  # "give a rating to a book"
    group = "" if giving else group_of(verb)
    if verb == "search" and act.parts and act.head.startswith("the "):
        return verb, group  # "search the library for songs" finds no library
    if YES_OR_NO.match(act.head) and group in ("check", "compute", *LISTING):
        return rng.choice(("check", "tell me")), group  # nobody calculates whether
    synonyms = phrases()["groups"][group]["say"] if group else [verb]
    said = synonyms if pattern("manual_verbs").match(verb) else [verb, *synonyms]
    said = ["make"] if verb == "make" else said  # "make edits" creates none
    rooms = group == "book" and not pattern("reserved").search(act.head)
    drops = verb == "drop" and not pattern("dropped").search(act.head)
    said = [verb] if rooms or drops else said  # who drops a course deletes none
    once = [v for v in said if f" {v[:5]}" not in f" {act.head}"]  # no "reserve a reservation"
    same = next((family for family in SAME if group in family), (group,))
    used = {
        v: n
        for v, n in habits.verbs.items()
        if group and group_of(v.split()[0]) in same and not pattern("manual_verbs").match(v)
    }
    return drawn(weighed(Counter(once or said), used), rng), group


SAME = (("show", "give", "list"),)  # groups of verbs that mean the same


YES_OR_NO = re.compile("(?:if|whether) ")
LISTING = ("show", "give", "list", "search")  # groups of verbs whose answer is a list
UNLISTED = 0.6  # share of requests for a list that do not say so: "show me the teams"


def _joined(
    left: Sequence[Parameter],
    flags: Sequence[Parameter],
    args: Mapping[str, Any],
    rng: random.Random,
    habits: Profile,
    verb: str,
    placed: Placing,
    body: str,
    tool: str,
) -> list[str]:
    """The clause of each value that is left, as known requests or else its kind join it, no two
    with the same preposition where there is another."""
    ends = Counter(p.sense for p in left if p.role in ("from", "to"))
    parts = [p for p in left if placed.makes and p.sense in ADDRESS]  # of an address of its own
    alone = len(parts) < 2
    begun, out = begun_in(body) - {"with"}, []
    for p in [*left, *flags]:
        clause = ""
        if alone or p not in parts:
            pair = ends[p.sense] > 1
            clause = (
                known_clause(tool, p, args[p.name], rng, habits)
                or condition_clause(p, verb in SETTERS)
                or clause_of(p, args[p.name], rng, verb, placed.spoken, pair, begun)
            )
        begun.add(clause.partition(" ")[0])
        out.append(clause)
    return out


ADDRESS = ("street", "door_number", "city", "zip", "state", "country", "country_code")
MOST_LIFTED = 3  # fields of an object that are said like parameters of the tool


def _lifted(
    params: Sequence[Parameter], args: Mapping[str, Any], act: Action
) -> tuple[list[Parameter], dict[str, Any]]:
    """The parameters and their values, those of a small object that the description does not speak
    of as its fields: "from 5 to 8 May", not "Date range: start date 5 May and end date 8 May"."""
    out, values = [], dict(args)
    spoken = " ".join([act.head, *(phrase for _, phrase in act.parts)])
    for p in params:
        inner = args[p.name] if isinstance(args[p.name], dict) else {}
        fields = [f for f in p.fields if f.name in inner and not f.is_constant]
        slot = all(f.kind in DATES or f.words == "window" for f in fields)  # said as any day
        whole = p.is_measure or p.role or len(fields) > MOST_LIFTED
        whole = whole or (mentions(spoken, p) and not slot)
        if not fields or whole or any(f.fields or f.items or f.kind in ADDRESS for f in fields):
            out.append(p)
            continue
        for f in fields:
            alone = f.words not in ("id", "name", "key", "value", "type", "number")
            words = f.words if alone else f"{p.words} {f.words}"
            name = f"{p.name}.{f.name}"
            values[name] = inner[f.name]
            out.append(replace(f, name=name, words=words, required=p.required and f.required))
    return out, values


def _of_things(act: Action, rng: random.Random) -> Action:
    """The action on the things of a list: always, where the list itself is no answer."""
    listing = act.makes or act.group in LISTING
    return unlisted(act) if rng.random() < UNLISTED or not listing else act


def _led(
    act: Action,
    by_method: bool,
    plain: Sequence[Parameter],
    flags: Sequence[Parameter],
    args: Mapping[str, Any],
    rng: random.Random,
    habits: Profile,
) -> tuple[Action, str, str, Parameter | None]:
    """The action, its verb and the verb's group where a method, an argument or a flag of the call
    may say which of several it is, and that parameter."""
    verb, chosen = _named_verb(act, plain, args)
    verb, group = (verb, group_of(verb)) if verb else _any_verb(act, rng, habits)
    if by_method:  # the verb is an argument's
        chosen = next(p for p in plain if p.words in METHODS and p.kind == "choice")
        verb, group = act.verbs[0], act.group
    two = len(act.verbs) == 2  # "enable or disable wifi" + on
    turns = [p for p in flags if switched(p.words) in act.verbs[:1] or (two and p.words in ON)]
    for chosen in turns[:1]:  # "follow or unfollow an artist" + follow
        verb = act.verbs[0] if args[chosen.name] else (*act.verbs, verb)[1]
    if chosen and verb in ("remove", "delete") and act.verbs[:1] == ("add",):
        away = tuple(("from" if to == "to" else to, phrase) for to, phrase in act.parts)
        act = replace(act, verbs=(verb,), parts=away)  # "add a sub-issue to an issue" + remove
    return act, verb, group, chosen


def compose(
    tool: ToolConfig,
    args: Mapping[str, Any],
    scene: Scene,
    rng: random.Random,
    form: str = "",
    habits: Profile = EVEN_HABITS,
) -> Wish:
    """A wish for a call of the tool with these arguments, in a form that suits it where none is
    asked for. Raises NoValue where its description and name give no words for it."""
    usual = tool_action(tool)
    act = chosen_action(tool, args) or usual
    if not (act.verbs and act.head and habits.english and is_english(tool.description)):
        raise NoValue(f"{tool.name}: neither name nor description says what it does")
    given = [p for p in parameters_of(tool) if p.name in args]
    given, args = _lifted(given, args, act)
    present = sorted(given, key=rank)
    anchors = {p.name: spoken(p, args[p.name], scene, rng) for p in present}
    present = told_in_one(present, args, anchors, act)
    flags = [p for p in present if isinstance(args[p.name], bool) and p.words != "value"]
    plain = [p for p in present if p not in flags and args[p.name] not in ("", None, [], {})]
    plain = [p for p in plain if not p.is_constant and anchors.get(p.name, "-").strip()]
    act, verb, group, chosen = _led(act, act != usual, plain, flags, args, rng, habits)
    flags = [p for p in flags if p != chosen]
    act, flags = decided(act, flags, args)
    plain = [p for p in plain if p != chosen]
    absent = [p for p in parameters_of(tool) if p.name not in args]
    act = _of_things(act, rng)
    plain = in_one(plain, args, anchors, verb in SETTERS)
    placed = Placing(act, plain, absent, verb)
    body, left = placed.body(rng), placed.left
    for p in [p for p in plain if p.items and len(args[p.name]) == 1]:  # "patients P-1"
        body = re.sub(rf"\b({re.escape(p.noun.rstrip('s'))})s {p.slot}", rf"\1 {p.slot}", body)
    ask = bool(group and phrases()["groups"][group].get("ask")) or not act.sure
    entity = placed.first is not None and placed.first.sense in NUMBERED  # "what is the user 4711?"
    looked_for = group == "search" or verb in PLAYED
    searched = looked_for and placed.query
    form = form or ("order" if chosen or searched else _form(ask, act, rng, entity, habits))
    whole = "{" not in placed.head  # else it says which one: "message 5 with this text"
    if form == "order" and looked_for and whole and (query := placed.query):
        left.remove(query)
        verb, body = _searched(verb, body, placed.head, query.slot, rng)
    clauses = _joined(left, flags, args, rng, habits, verb, placed, body, tool.name)
    inline, rest = sentence_of(left + flags, clauses, verb, body, act.head, form == "order", rng)
    text, reported = _formed(form, verb, group, body, act)
    text = _unnamed(text, tool.name)
    tail = " ".join(inline).replace(") (", ", ")
    pieces = [*(f"{t} {tail}".strip() for t in (text, reported)), rest]
    pieces = _with_values(pieces, plain, args, anchors, rng, habits)
    listed = " ".join(c for c in inline if IN_BRACKETS.match(c))
    bracketed = tuple(p.name for p in left if p.slot in listed)
    return Wish(form, pieces[0], pieces[2], anchors, pieces[1] if reported else "", bracketed)


def _with_values(
    pieces: Sequence[str],
    plain: Sequence[Parameter],
    args: Mapping[str, Any],
    anchors: Mapping[str, str],
    rng: random.Random,
    habits: Profile,
) -> list[str]:
    """The pieces of a request with their values, quoted and with "ID" as the known requests are."""
    marked = [p.name for p in plain if isinstance(args[p.name], str) and p.sense not in BARE]
    marks = _marks({name: anchors[name] for name in marked}, rng, habits)
    spoken_ids = id_habits(habits)
    told = plain if spoken_ids["ID"] and drawn(weighed({"": 1}, spoken_ids), rng) else ()
    return [_filled(with_ids(t, told), anchors, marks) for t in pieces]


def _marks(texts: Mapping[str, str], rng: random.Random, habits: Profile) -> dict[str, str]:
    """The quotation mark around each text, as often as the known requests have it."""
    mark = drawn(weighed({"": 1}, habits.marks), rng)
    return {name: mark for name, text in texts.items() if mark not in text} if mark else {}


# What nobody puts in quotation marks, even who does so with other texts.
BARE = frozenset(word_data("names")["bare_kinds"])


def _unnamed(text: str, name: str) -> str:
    """The order with an article where verb and object are the very words of the tool's name:
    "refund payment P-1" of refund_payment -> "refund the payment P-1"."""
    words = name_words(name).split()
    if len(words) < 2 or not base_verb(words[0]):
        return text
    if re.fullmatch(rf"{PREPOSITIONS}|off|up|down|out", words[1]) or DETERMINERS.match(words[1]):
        return text  # "list all airports"
    if re.match(r"\S+ [A-Z]", text):
        return text  # "assign Copilot"
    pattern = rf"^({re.escape(words[0])}) ({' '.join(map(re.escape, words[1:]))})\b"
    return re.sub(pattern, r"\1 the \2", text, count=1, flags=re.I)


def _searched(verb: str, body: str, head: str, slot: str, rng: random.Random) -> tuple[str, str]:
    """Verb and object of a search for a text: "search the invoices for X", "find X near Oslo"."""
    if verb in PLAYED:
        return verb, body.replace(head, slot, 1)  # "play jazz piano"
    bare = re.sub(r"^(a|an|the|all|for)\s+", "", body)
    if not DOCUMENTS.search(head):
        return rng.choice(("find", "look for", "search for")), body.replace(head, slot, 1)
    things = f"the {bare}" if is_plural(bare) and " " not in bare else bare
    inside = f"{slot} in {things}" if things.startswith("the ") else f"{bare} on {slot}"
    options = (("search", f"{things} for {slot}"), ("look for", inside))
    return rng.choice((*options, ("find", f"{bare} about {slot}")))


def _form(ask: bool, act: Action, rng: random.Random, entity: bool, habits: Profile) -> str:
    """An order, a thing or a question, by what suits the action and how often each is said."""
    if act.verbs[0] == "search" and act.parts and act.head.startswith("the "):
        return "order"  # "search the library for songs" wants no library
    if YES_OR_NO.match(act.head) and asked(act.head):
        return drawn({f: w for f, w in form_weights(habits).items() if f != "thing"}, rng)
    if not ask or re.match(r"(who|what|when|where|which|why|how|whether|if)\b", act.head):
        return "order"
    vague = pattern("vague").search(act.head)
    askable = not (vague or entity or re.match(r"an? |[A-Z]", act.head))
    return drawn({f: w for f, w in form_weights(habits).items() if askable or f != "question"}, rng)


MEASURED = re.compile(r"\b(?:number|sum|amount|value|total|average|(?:min|max)imum|\w+est)\b")
SWITCHES = ("enable", "disable", "activate", "deactivate")  # "enable international roaming"


def _formed(form: str, verb: str, group: str, body: str, act: Action) -> tuple[str, str]:
    """The body as an order, a thing or a question (and that question reported)."""
    if form == "question" and YES_OR_NO.match(body):
        return asked(body) or f"can you tell me {body}", body
    if re.match(r"(who|what|when|where|which|why|how)\b", body):
        verb = "tell me" if group in ("show", "give", "search", "list") else verb
        return (f"{verb} {body}", "") if form != "question" else (body, body)
    definite = group in ("show", "compute", "delete", "update", "check") or not act.sure
    definite = definite or verb in SETTERS
    made = group in ("create", "add", "generate", "book", "start")
    definite |= re.match(r"[\w' -]+? of ", body) is not None and not made
    definite = definite and not pattern("information").match(body)
    if form == "order":
        bare = re.match(r"(whether|if|how)\b", body) or (verb in SWITCHES and not definite)
        found = body if bare else with_article(body, definite)
        return f"{verb} {found}", ""
    found = with_article(body, definite and not re.match(r"[A-Z{\d]", body))
    if form == "thing":
        return found, ""
    head = re.split(rf"\s(?:{PREPOSITIONS})\s|\s\{{\S*\}}(?!'| \w)", found)[0]
    many = is_plural(head) or " and " in head
    if many and (group in ("search", "list") or found.startswith("all ")):
        bare = re.sub(r"^((the|all|a list of|list of)\s+)+", "", found)
        return f"are there any {bare}", f"if there are any {bare}"
    verb_be = "are" if many else "is"
    located = act.verbs[0] in ("find", "locate") and not MEASURED.search(head)
    if group == "search" and found.startswith("the ") and located:
        return f"where {verb_be} {found}", f"where {found} {verb_be}"
    if group == "search" and not found.startswith("the "):
        return f"is there {found}", f"if there is {found}"
    return f"what {verb_be} {found}", found


def _filled(text: str, anchors: Mapping[str, str], marks: Mapping[str, str]) -> str:
    """The text with every {argument} as it is said, some in quotation marks."""

    def said(m: re.Match[str]) -> str:
        name, mark = m[2], marks.get(m[2], m[1])
        return f"{mark}{anchors[name]}{mark}" if name in anchors else m[0]

    # "for a {service}" + brakes
    alone = rf'\ban? (?="?\{{([^{{}}\s]+)\}}"?(?:$|[,.?!]| \(| (?:{PREPOSITIONS}|and)\b))'
    text = re.sub(alone, lambda m: "" if is_plural(anchors.get(m[1], "")) else m[0], text)
    out = re.sub(r'("?)\{([^{}\s]+)\}\1(?!\'s)', said, text)
    out = re.sub(r"\{([^{}\s]+)\}", lambda m: anchors.get(m[1], m[0]), out)
    return mended(out) if "\n" not in out else out
