"""What is known of an agent before its rows are made: values that exist, and what is missing.

Values come from the user's own rows, from the literals of the tool module (read, not run) and from
what its look-up tools answer in the sandbox. `gaps` names the tools that no row can be made of,
`single_values` the texts that never differ, and what to add.
"""

from __future__ import annotations

import ast
import random
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raytune_agents import sandbox
from raytune_agents.agents import AgentSpec, ToolConfig
from raytune_agents.agents.analyse import Profile, analyse
from raytune_agents.agents.phrasing import name_words
from raytune_agents.generate import actions, arguments, descriptions, kinds
from raytune_agents.generate.codes import NoValue
from raytune_agents.generate.parameter import Parameter
from raytune_agents.generate.quantities import plain_number
from raytune_agents.generate.scenes import Scene
from raytune_agents.generate.tool_actions import tool_action
from raytune_agents.records import ToolCall, Trajectory

MOST = 40  # values kept of one field
DRAWS = 8  # of a parameter, to see whether its values differ
MORE = "give more examples in its description, or values in the spec"
PROBES = 3  # calls of each look-up tool
CODED = ("id", "barcode")  # kinds of one form in all tools of a catalogue
VAGUE = ("type", "kind", "mode", "name", "value", "option", "action", "state", "op")
LOOK_UPS = ("show", "search", "list")  # groups of verbs that change nothing


FOREIGN_ROWS = (
    "your rows are not in English, the language of our templates: they alone are varied, in their "
    "own language; add wordings of your own (requests) for more"
)
FOREIGN = (
    "its description is not in English, the language of our templates; add wordings of your own "
    "(requests), or good rows: they are varied in their own language"
)


@dataclass(frozen=True)
class Gap:
    """A tool that no row is made of: the parameter at fault ("" = the tool) and what to add."""

    tool: str
    parameter: str
    advice: str

    @property
    def where(self) -> str:
        return f"{self.tool}.{self.parameter}" if self.parameter else self.tool

    def __str__(self) -> str:
        return f"{self.where}: {self.advice}"


# --- the state of a module ------------------------------------------------------------------------


def _singular(name: str) -> str:
    words = name_words(name.lower())
    for ending, other in (("ies", "y"), ("ses", "s"), ("s", "")):
        if words.endswith(ending) and not words.endswith("ss"):
            return words[: -len(ending)] + other
    return words


def _fields(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """(words of a field, scalar) of a table: the keys go by the table's own name."""
    if isinstance(value, dict):
        if value and all(isinstance(v, dict) for v in value.values()):
            yield from ((name, key) for key in value)
            for row in value.values():
                yield from _record(row)
        elif value and all(isinstance(k, str) for k in value):
            yield from ((name, key) for key in value)
    elif isinstance(value, list | tuple | set):
        for item in value:
            yield from _record(item) if isinstance(item, dict) else ((name, item),)


def _record(row: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in row.items():
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            yield name_words(str(key)), value
        elif isinstance(value, list | dict):
            yield from _fields(_singular(str(key)), value)


def module_values(path: Path) -> dict[str, list[Any]]:
    """Field -> values that the module's own tables hold, such as the keys of ROOMS for "room".

    The file is parsed, never run; what is no literal is passed over.
    """
    found: dict[str, list[Any]] = defaultdict(list)
    for node in ast.parse(path.read_bytes()).body:
        if not isinstance(node, ast.Assign | ast.AnnAssign) or node.value is None:
            continue
        try:
            value = ast.literal_eval(node.value)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            continue
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        for target in targets:
            if isinstance(target, ast.Name):
                for words, item in _fields(_singular(target.id), value):
                    found[words].append(item)
    return {k: list(dict.fromkeys(v))[:MOST] for k, v in found.items()}


def probed_values(
    spec: AgentSpec, module: Path, limits: sandbox.Limits, seed: int
) -> dict[str, list[Any]]:
    """Field -> values that the agent's look-up tools answer with, run in the sandbox."""
    calls: list[ToolCall] = []
    for tool in spec.tools:
        act = actions.action(tool.name, tool.told)
        if not act.verbs or act.group not in LOOK_UPS:
            continue
        for k in range(PROBES):
            rng = random.Random(f"{seed}/{spec.name}/probe/{tool.name}/{k}")
            try:
                required = tool.parameters.get("required", [])
                args, _ = arguments.sample_known(tool, required, rng)
            except NoValue:
                break
            calls.append(ToolCall.of(tool.name, **args))
    found: dict[str, list[Any]] = defaultdict(list)
    for outcome in sandbox.run_calls(module, calls, limits).outcomes if calls else ():
        value = outcome.value if isinstance(outcome.value, list) else [outcome.value]
        for words, item in _fields("", value):
            found[words].append(item)
    return {k: list(dict.fromkeys(v))[:MOST] for k, v in found.items() if k}


def _matching(p: Parameter, fields: Mapping[str, Sequence[Any]]) -> list[Any]:
    """The values of the field that a parameter is named after."""
    names = (p.words, p.noun, f"{p.noun} id", f"{p.noun} name")
    values = next((fields[n] for n in names if fields.get(n)), [])
    types: dict[str, Any] = {"string": str, "integer": int, "number": (int, float)}
    wanted = types.get(p.type)
    return [v for v in values if wanted is None or isinstance(v, wanted)]


# --- the agent with what is known -----------------------------------------------------------------


def own_rows(spec: AgentSpec, rows: Sequence[Trajectory]) -> list[Trajectory]:
    """The rows that show a tool of the agent under its name."""
    names = {t.name for t in spec.tools}
    return [r for r in rows if names & {t.name for t in r.tools}]


def with_known(
    spec: AgentSpec,
    rows: Sequence[Trajectory] = (),
    module: Path | None = None,
    limits: sandbox.Limits | None = None,
    seed: int = 0,
) -> AgentSpec:
    """The spec with the habits of the user's rows and the values that exist in its module."""
    fields: dict[str, list[Any]] = {}
    if module is not None:
        fields = module_values(module)
        fields = probed_values(spec, module, limits or sandbox.Limits(), seed) | fields
    tools = [_with_values(tool, fields) for tool in spec.tools] if fields else spec.tools
    choices = named_choices(tools)
    tools = [_with_values(tool, choices, unknown_only=True) for tool in tools]
    mine = own_rows(spec, rows)
    profile: Profile | None = analyse(mine) if mine and spec.profile is None else spec.profile
    if profile is not None and mine:
        english = descriptions.is_english(" ".join(row.query for row in mine))
        profile = profile.model_copy(update={"english": english})
        if module is not None:  # which runs: of ids that nobody named it knows nothing
            tools = [_with_named_ids(tool, profile) for tool in tools]
    return spec.model_copy(update={"tools": tools, "profile": profile})


def _with_named_ids(tool: ToolConfig, profile: Profile) -> ToolConfig:
    """The tool whose ids are those that the rows name, in its own calls or else in others."""
    values, mine = dict(tool.values), profile.arguments.get(tool.name, {})
    for p in arguments.parameters_of(tool):
        every = [mine] if p.name in mine else profile.arguments.values()
        seen = [args[p.name] for args in every if p.name in args]
        named: list[Any] = [text for a in seen for text in a.texts]
        named += [plain_number(number) for a in seen for number in a.numbers]
        if p.name not in values and p.kind in ("id", "") and named:
            values[p.name] = list(dict.fromkeys(named))
    return tool.model_copy(update={"values": values})


def named_choices(tools: Sequence[ToolConfig]) -> dict[str, list[Any]]:
    """Words of a parameter -> the values that a tool of the catalogue allows it, the ids that it
    quotes in words ("light.living_room"), or texts of the kind that it describes: another tool that
    calls a parameter the same, and says nothing of its values, means the same."""
    found: dict[str, list[Any]] = defaultdict(list)
    params = [p for tool in tools for p in arguments.parameters_of(tool) if p.words not in VAGUE]
    unsaid = {p.words for p in params if not (p.examples or p.items or p.fields)}
    unknown = {p.words for p in params if not (p.kind or p.examples or p.items or p.fields)}
    for p in params:
        worded = p.kind == "id" and not re.search(r"\d", " ".join(p.examples))
        if p.kind == "choice" or worded:
            found[p.words] += p.values
            continue
        coded = p.kind in CODED and p.examples and p.words != "id"  # the form of all
        told = (p.kind and p.words in unknown) or (p.examples and p.words in unsaid)
        if coded or (told and p.type == "string"):
            scene = Scene(random.Random(p.words), p.words)
            with suppress(NoValue):  # its schema may want what nobody knows
                count = MOST if coded else DRAWS
                found[p.words] += [arguments.value(scene, p) for _ in range(count)]
    return {words: list(dict.fromkeys(values))[:MOST] for words, values in found.items()}


def _with_values(
    tool: ToolConfig, fields: Mapping[str, Sequence[Any]], unknown_only: bool = False
) -> ToolConfig:
    values = dict(tool.values)
    for p in arguments.parameters_of(tool):
        quoted = p.kind in CODED and p.words in fields
        quoted |= kinds.unlike_bank(p.kind, fields.get(p.words, ()))  # another's "cherry picker"
        if unknown_only and (p.examples or not (quoted or p.kind in ("", "name"))):
            continue
        found = [v for v in _matching(p, fields) if "{" not in str(v)]
        if found and p.name not in values and p.kind != "choice":
            values[p.name] = found
    return tool.model_copy(update={"values": values})


def gaps(spec: AgentSpec) -> list[Gap]:
    """Every tool that no row can be made of, by its first fault."""
    return [gap for tool in spec.tools for gap in _gaps_of(tool, spec.habits)]


def _gaps_of(tool: ToolConfig, habits: Profile) -> list[Gap]:
    if not tool.requests and not habits.english:
        return [Gap(tool.name, "", FOREIGN_ROWS)]
    if not tool.requests and not descriptions.is_english(tool.description):
        return [Gap(tool.name, "", FOREIGN)]
    seen, params = habits.arguments.get(tool.name, {}), arguments.parameters_of(tool)
    plain = {p.name for p in params if not (p.items or p).fields}
    named = {n for n, a in seen.items() if n in plain and (a.texts or a.numbers)}
    missing = [p for p in kinds.unknown(params) if p.name not in named | set(tool.values)]
    if missing:
        faults = map(kinds.unknown_field, missing)
        return [Gap(tool.name, path, kinds.advice(p)) for path, p in faults]
    try:
        required = tool.parameters.get("required", [])
        arguments.sample_known(tool, required, random.Random(tool.name), habits)
    except NoValue as error:
        name, _, why = str(error).removeprefix(f"{tool.name}.").partition(": ")
        return [Gap(tool.name, name if name != tool.name else "", why or str(error))]
    act = tool_action(tool)
    if not tool.requests and (not act.verbs or not act.head):
        return [Gap(tool.name, "", "say what it does in its description, with a verb")]
    return []


def gap_lines(found: Sequence[Gap]) -> list[str]:
    """The gaps in words, tools with the same fault in one line."""
    tools: dict[str, list[str]] = defaultdict(list)
    for gap in found:
        tools[gap.advice].append(gap.where)
    return [f"{', '.join(where)}: {advice}" for advice, where in tools.items()]


def single_values(spec: AgentSpec) -> list[Gap]:
    """Every text of which one value alone is known: each request would say the same."""
    out = []
    for tool in spec.tools:
        rng = random.Random(tool.name)
        params = arguments.parameters_of(tool)
        unknown = set(kinds.unknown(params))
        free = [p.name for p in params if not (p.closed or p in unknown)]
        drawn: dict[str, set[str]] = defaultdict(set)
        try:
            for _ in range(DRAWS):
                if drawn and all(len(v) > 1 or "" in v for v in drawn.values()):
                    break  # every text differs
                made, _ = arguments.sample_known(tool, free, rng, spec.habits)
                for name, value in made.items():
                    drawn[name].add(value if isinstance(value, str) else "")
        except NoValue:
            continue  # `gaps` names it
        for name, values in drawn.items():
            if len(values) == 1 and (value := values.pop()):
                out.append(Gap(tool.name, name, f"{value!r}; {MORE}"))
    return out
