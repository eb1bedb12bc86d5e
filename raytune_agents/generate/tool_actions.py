"""What a tool does in one call: its description's action with what its parameters say of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from raytune_agents.agents import ToolConfig
from raytune_agents.agents.phrasing import name_words
from raytune_agents.generate.actions import Action, action, base_verb
from raytune_agents.generate.arguments import parameters_of
from raytune_agents.generate.grammar import is_plural
from raytune_agents.generate.kind_table import kind_named
from raytune_agents.generate.parameter import Parameter

WRITES = ("create", "update", "delete")
ONE = re.compile("an? (?:(?:new|existing|single) )?")
SENTENCE = 120  # characters: where a description says what a tool does
METHODS = ("method", "action", "operation", "op", "command")


def chosen_action(tool: ToolConfig, args: Mapping[str, Any]) -> Action | None:
    """What a tool of several methods does where an argument names one: "list_workflow_runs"."""
    for p in parameters_of(tool):
        if p.kind == "choice" and p.words in METHODS and p.name in args:
            verb, *rest = name_words(str(args[p.name])).split() or [""]
            if rest and base_verb(verb) and "=" not in str(args[p.name]):
                return action("", " ".join([verb, *rest]))
            act, told = tool_action(tool), tool.description[:SENTENCE].lower()
            if verb in WRITES and sum(w in told for w in WRITES) > 1 and ONE.match(act.head):
                one = ONE.sub("", act.head)  # "create a new or update an existing issue"
                whose = "a new" if verb == "create" else "an existing"
                return replace(act, verbs=(verb,), head=f"{whose} {one}")
    return None


def tool_action(tool: ToolConfig) -> Action:
    """What a tool does, with what it needs where its description says too little: "Turns off" needs
    an entity, and "Cover position", which must be given, is set."""
    act = action(tool.name, tool.told)
    needed = [p for p in parameters_of(tool) if p.required and p.kind != "flag"]
    if act.verbs and not act.head and needed:
        return replace(act, head=f"the {needed[0].noun}")
    given = (p.noun for p in needed if kind_named(p.kind).range or p.kind == "amount")
    if not act.sure and act.head.split(" ")[-1] in given:
        return replace(act, verbs=("set",), sure=True)
    return act


def unlisted(act: Action) -> Action:
    """The action on a list's things, not on the list: "a list of all stores" -> "all stores"."""
    if not re.fullmatch(r"((an?|the) )?(complete |full )?list", act.head) or not act.parts:
        return act
    (preposition, things), *rest = act.parts
    whole = preposition == "of" and is_plural(things)
    return replace(act, head=things, parts=tuple(rest)) if whole else act


def decided(
    act: Action, flags: list[Parameter], args: Mapping[str, Any]
) -> tuple[Action, list[Parameter]]:
    """The action and the flags left where one says which complement is meant: "as draft or ready
    for review" + draft."""
    for p in flags:
        for k, (preposition, phrase) in enumerate(act.parts):
            yes, _, no = phrase.partition(" or ")
            turned = no.startswith(f"{p.words} ")  # "in ascending or descending order"
            if turned:
                yes, no = no, f"{yes}{no.removeprefix(p.words)}"
            if turned or (no and yes == p.words):
                parts = [*act.parts[:k], (preposition, yes if args[p.name] else no)]
                rest = act.parts[k + 1 :] if not args[p.name] else ()
                return replace(act, parts=(*parts, *rest)), [f for f in flags if f is not p]
    return act, flags


def switched(words: str) -> str:
    """The verb of a flag: "lock" of locked."""
    return base_verb(words) or base_verb(re.sub(r"ed$", "", words)) or base_verb(words.rstrip("d"))
