"""New rows out of good ones: other names, other order, other candidates, same meaning.

Masking and noise rename functions and parameters everywhere at once (tools, calls, gold), and the
map is kept in `meta.mask`, so that `unmask` restores the row byte for byte. Sources: Hammer (arXiv
2410.04587, section 3) for masking and irrelevance, RoTBench (arXiv 2401.08326, section 3) for
noise. A row that could not be restored exactly gives None.
"""

from __future__ import annotations

import json
import random
import string
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from raytune_agents.agents.script import listed
from raytune_agents.agents.word_banks import shown
from raytune_agents.agents.wording import survives
from raytune_agents.records import (
    Arguments,
    JsonObject,
    JsonSchema,
    Message,
    ToolCall,
    ToolSpec,
    Trajectory,
    derive,
)

LETTERS = string.ascii_letters + string.digits + "_."
STYLES: list[dict[str, Any]] = [
    {"ensure_ascii": a, "separators": s} for a in (False, True) for s in ((", ", ": "), (",", ":"))
]
Names = dict[str, str]
TRAINED_NOISE = ("slight", "medium", "union")
NOISE = (*TRAINED_NOISE, "heavy")
MASKED = 2 / 3  # share of rows that Hammer masks
CANNOT = (
    "None of my tools can do this.",
    "I cannot do that with the tools at hand.",
    "There is no fitting tool here.",
)
NAMED = 3  # tools that a refusal still names: of more it would be a list


class Unusual(ValueError):
    """JSON text that no style of `STYLES` writes byte for byte."""


def rewritten(text: str, change: Callable[[Any], Any]) -> str:
    """JSON text with its value changed, in the same style. Raises Unusual."""
    value = json.loads(text)
    for style in STYLES:
        if json.dumps(value, **style) == text:
            return json.dumps(change(value), **style)
    raise Unusual(text[:80])


# --- renaming -------------------------------------------------------------------------------------


def _keys(item: JsonObject, names: Names) -> JsonObject:
    return {names.get(k, k): v for k, v in item.items()}


def _schema(schema: JsonSchema, names: Names) -> JsonSchema:
    out = dict(schema)
    if isinstance(schema.get("properties"), dict):
        out["properties"] = _keys(schema["properties"], names)
    if isinstance(schema.get("required"), list):
        out["required"] = [names.get(r, r) for r in schema["required"]]
    return out


Change = Callable[[str, Any], Any]  # (name of a tool, JSON value that is of it) -> new value


def _changed(
    row: Trajectory, call: Change, tool: Change, gold: Change, names: Names | None = None
) -> Trajectory:
    """The row with other arguments of calls, schemas of tools and entries of the gold, and with
    tools under other `names`. Raises Unusual."""
    names = names or {}

    def new_call(c: ToolCall) -> ToolCall:
        text = rewritten(c.arguments, lambda v: call(c.name, v))
        return replace(c, name=names.get(c.name, c.name), arguments=text)

    def new_tool(t: ToolSpec) -> ToolSpec:
        text = rewritten(t.parameters, lambda v: tool(t.name, v))
        return replace(t, name=names.get(t.name, t.name), parameters=text)

    messages = tuple(
        replace(m, name=names.get(m.name, m.name), tool_calls=tuple(map(new_call, m.tool_calls)))
        for m in row.messages
    )
    text = row.gold and rewritten(
        row.gold, lambda es: [{names.get(n, n): gold(n, a) for n, a in e.items()} for e in es]
    )
    return replace(row, messages=messages, tools=tuple(map(new_tool, row.tools)), gold=text)


def rename(row: Trajectory, tools: Names, args: Mapping[str, Names]) -> Trajectory:
    """The row with tools and their arguments under other names; `args` goes by the old tool name.

    Text (requests, thoughts, descriptions, observations) stays. Raises Unusual.
    """

    def keys(tool: str, value: JsonObject) -> JsonObject:
        return _keys(value, args.get(tool, {}))

    return _changed(row, keys, lambda tool, v: _schema(v, args.get(tool, {})), keys, tools)


def _value(old: Any, rng: random.Random) -> Any:
    """Hammer's new default: an integer 1 to 4 larger, a float moved, a text of five letters."""
    if isinstance(old, int):
        return old + rng.randint(1, 4)
    if isinstance(old, float):
        return round(old + rng.random() + 0.01, 3)
    return "".join(rng.choices(string.ascii_lowercase, k=5))


def _silent_defaults(row: Trajectory, rng: random.Random) -> dict[str, dict[str, list[Any]]]:
    """Tool -> argument -> [default, new one], where a call uses a default that nobody said."""
    user_text = " ".join(m.content for m in row.messages if m.role == "user")
    found: dict[str, dict[str, list[Any]]] = {}
    for c in row.calls:
        tool = next((t for t in row.tools if t.name == c.name), None)
        properties = tool.schema.get("properties", {}) if tool else {}
        for name, value in c.args.items():
            old = properties.get(name, {}).get("default")
            plain = type(old) in (int, float, str) and old != "" and "enum" not in properties[name]
            used = plain and type(value) is type(old) and value == old
            if used and not survives(shown(old), user_text):
                found.setdefault(c.name, {})[name] = [old, _value(old, rng)]
    return found


def _other_defaults(row: Trajectory, found: Mapping[str, Mapping[str, list[Any]]]) -> Trajectory:
    """The row with other defaults, in the schema, the calls and the gold. Raises Unusual."""

    def swap(item: Any, pair: list[Any]) -> Any:
        return pair[1] if type(item) is type(pair[0]) and item == pair[0] else item

    def schema(tool: str, value: JsonSchema) -> JsonSchema:
        if tool not in found:
            return value
        properties = dict(value["properties"])
        for name, pair in found[tool].items():
            detail = properties[name]
            properties[name] = detail | {"default": swap(detail["default"], pair)}
        return value | {"properties": properties}

    def keyed(tool: str, value: Arguments) -> Arguments:
        pairs = found.get(tool, {})
        return {k: swap(v, pairs[k]) if k in pairs else v for k, v in value.items()}

    def allowed(tool: str, value: Arguments) -> Arguments:
        pairs = found.get(tool, {})
        return {k: [swap(x, pairs[k]) for x in v] if k in pairs else v for k, v in value.items()}

    return _changed(row, keyed, schema, allowed)


def _random_name(rng: random.Random, low: int, high: int) -> str:
    return rng.choice(string.ascii_letters) + "".join(
        rng.choices(LETTERS, k=rng.randint(low, high) - 1)
    )


def _distinct(names: Sequence[str], make: Callable[[str], str]) -> Names | None:
    """old -> new with no two alike, or None where ten draws do not separate them."""
    for _ in range(10):
        out = {n: make(n) for n in names}
        if len(set(out.values())) == len(out):
            return out
    return None


def _augmented(row: Trajectory, pool: str, **changes: Any) -> Trajectory:
    """The row changed, in `synthetic.POOL`."""
    changes = {"outcome": row.outcome} | changes
    return derive(row, pool=f"synthetic.{pool}", step="generate.augment", **changes)


def _renamed(
    row: Trajectory,
    pool: str,
    make_tool: Callable[[str], str],
    make_arg: Callable[[str], str],
    found: JsonObject,
    **meta: Any,
) -> Trajectory | None:
    tools = _distinct([t.name for t in row.tools], make_tool)
    new_names = {
        t.name: _distinct(list(t.schema.get("properties", {})), make_arg) for t in row.tools
    }
    args = {name: names for name, names in new_names.items() if names is not None}
    if not tools or len(args) < len(new_names):
        return None
    kept = row.meta | {"mask": {"tools": tools, "args": args, "defaults": found}} | meta
    try:
        made = replace(rename(_other_defaults(row, found), tools, args), meta=kept)
        back = unmask(made)
    except Unusual:
        return None
    if (back.messages, back.tools, back.gold) != (row.messages, row.tools, row.gold):
        return None
    changes = {"messages": made.messages, "tools": made.tools, "gold": made.gold, "meta": kept}
    return _augmented(row, pool, **changes)


def descriptions_differ(row: Trajectory) -> bool:
    """Whether descriptions alone say which tool is which, and which parameter of a called tool
    among those of one type: what is renamed must be readable there, or the row asks for a guess."""

    def differ(texts: Sequence[str]) -> bool:
        normalized = [" ".join(text.casefold().split()) for text in texts]
        return len(normalized) < 2 or (all(normalized) and len(set(normalized)) == len(normalized))

    called = {call.name for call in row.calls}
    alike: dict[tuple[str, str], list[str]] = {}
    for tool in row.tools:
        for detail in tool.schema.get("properties", {}).values() if tool.name in called else ():
            key = (tool.name, str(detail.get("enum") or detail.get("type")))
            alike.setdefault(key, []).append(str(detail.get("description", "")))
    return differ([t.description for t in row.tools]) and all(map(differ, alike.values()))


def mask(row: Trajectory, rng: random.Random) -> Trajectory | None:
    """Hammer: random names (functions 5-15 characters, parameters 4-10) and silent defaults; None
    where descriptions do not tell tools and parameters apart."""
    if not descriptions_differ(row):
        return None

    def name(low: int, high: int) -> Callable[[str], str]:
        return lambda _: _random_name(rng, low, high)

    return _renamed(row, "masked", name(5, 15), name(4, 10), _silent_defaults(row, rng))


def hammer(row: Trajectory, rng: random.Random) -> Trajectory | None:
    """Masked with Hammer's probability, else as it is."""
    if rng.random() < MASKED:
        return mask(row, rng)
    return _augmented(row, "masked")


def unmask(row: Trajectory) -> Trajectory:
    """The row before `mask` or `noise`: same messages, tools and gold, byte for byte."""
    kept = row.meta["mask"]
    tools = {new: old for old, new in kept["tools"].items()}
    args = {
        kept["tools"][tool]: {new: old for old, new in names.items()}
        for tool, names in kept["args"].items()
    }
    back = {t: {a: [new, old] for a, (old, new) in d.items()} for t, d in kept["defaults"].items()}
    meta = {k: v for k, v in row.meta.items() if k not in ("mask", "noise")}
    return replace(_other_defaults(rename(row, tools, args), back), meta=meta)


# --- noise ----------------------------------------------------------------------------------------


def _slight(name: str, rng: random.Random) -> str:
    """One letter inserted, left out or changed."""
    at = rng.randrange(1, len(name)) if len(name) > 1 else 0
    kind = rng.choice(["insert", "omit", "change"] if len(name) > 2 else ["insert", "change"])
    middle = "" if kind == "omit" else rng.choice(string.ascii_lowercase)
    return name[:at] + middle + name[at + (kind != "insert") :]


def noise(row: Trajectory, rng: random.Random, level: str = "") -> Trajectory | None:
    """RoTBench's noise in names: slight (a letter), medium (reversed or nonsense), heavy (exchanged
    among the tools and among a tool's parameters), union (slight or medium); "" draws a level.

    Heavy noise makes names lie: it tests, and is never trained on. None where names that say
    nothing leave descriptions that do not tell tools and parameters apart."""
    level = level or rng.choice(NOISE)
    if level in ("medium", "union") and not descriptions_differ(row):
        return None

    def medium(name: str) -> str:
        return name[::-1] if rng.random() < 0.5 else _random_name(rng, 5, 10)

    if level == "heavy":
        names = [t.name for t in row.tools]
        mixed = dict(zip(names, rng.sample(names, len(names))))
        orders = [list(t.schema.get("properties", {})) for t in row.tools]
        swaps = iter([n for order in orders for n in rng.sample(order, len(order))])
        return _renamed(row, "noisy", lambda n: mixed[n], lambda _: next(swaps), {}, noise=level)
    make = {
        "slight": lambda n: _slight(n, rng),
        "medium": medium,
        "union": lambda n: rng.choice([_slight(n, rng), medium(n), n]),
    }[level]
    return _renamed(row, "noisy", make, make, {}, noise=level)


# --- order and candidates -------------------------------------------------------------------------


def shuffle(row: Trajectory, rng: random.Random) -> Trajectory | None:
    """The same row with its tools in another order; None with fewer than two."""
    if len(row.tools) < 2:
        return None
    order = list(row.tools)
    while tuple(order) == row.tools:
        rng.shuffle(order)
    return _augmented(row, "shuffled", tools=tuple(order))


def reorder(row: Trajectory, rng: random.Random) -> Trajectory | None:
    """The arguments of every call in another order; None where no call has two."""

    def call(c: ToolCall) -> ToolCall:
        items = list(c.args.items())
        turn = rng.randrange(1, len(items)) if len(items) > 1 else 0
        return replace(
            c, arguments=rewritten(c.arguments, lambda _: dict(items[turn:] + items[:turn]))
        )

    if not any(len(c.args) > 1 for c in row.calls):
        return None
    try:
        messages = tuple(
            replace(m, tool_calls=tuple(map(call, m.tool_calls))) for m in row.messages
        )
    except Unusual:
        return None
    return _augmented(row, "reordered", messages=messages)


def distract(
    row: Trajectory, rng: random.Random, catalogue: Sequence[ToolSpec], count: int = 3
) -> Trajectory | None:
    """`count` tools of the catalogue among the row's own; None where it has no new name."""
    names = {t.name for t in row.tools}
    others = list({t.name: t for t in catalogue if t.name not in names}.values())
    if not others:
        return None
    tools = [*row.tools, *rng.sample(others, min(count, len(others)))]
    rng.shuffle(tools)
    return _augmented(row, "distracted", tools=tuple(tools))


def irrelevant(
    row: Trajectory, rng: random.Random, others: Iterable[ToolSpec] = ()
) -> Trajectory | None:
    """The called tools are gone from the candidates, so no call is right and the answer says so.

    The first of `others` stand in for them: with fewer candidates than other rows have, their
    number alone would tell that no call is right. None where no tool is left, or where the tools
    were called before the last turn.
    """
    called = {c.name for c in row.target.tool_calls} if row.target else set()
    if not called or len(row.calls) > len(row.answer.tool_calls):
        return None
    known = {t.name for t in row.tools}
    fill = (t for t in others if t.name not in known)
    left = [new for t in row.tools if (new := next(fill, None) if t.name in called else t)]
    if not left:
        return None
    answer = rng.choice(CANNOT)
    if len(left) <= NAMED:
        answer += f" I have {listed([t.name for t in left])}."
    meta = {k: v for k, v in row.meta.items() if k != "mask"} | {"refuse": "irrelevant"}
    messages = (*row.prompt, Message("assistant", answer))
    changes = {"messages": messages, "tools": tuple(left), "gold": "[]", "meta": meta}
    return _augmented(row, "irrelevant", outcome=1.0, **changes)
