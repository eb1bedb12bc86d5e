"""The one record that flows through every step.

A `Trajectory` is one row: a conversation with its tools, where it came from, what is known about
its outcome, and every label later steps put on it. Tool schemas and call arguments travel as JSON
text, so they survive every format byte for byte. Rows are immutable: a step makes a new one with
`derive`.

Left out on purpose: how a row is tokenised (`chat`), what a valid call is (`calls`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, fields, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    import pyarrow as pa

SCHEMA_VERSION = 1
ROLES = ("system", "user", "assistant", "tool")
SPLITS = ("train", "val", "test_seen", "test_unseen")


# What a dict of another's making is. Values of ours that have fixed fields are dataclasses.
JsonObject = dict[str, Any]  # a JSON object of a file, a vendor or a model
JsonSchema = dict[str, Any]  # a JSON Schema
Arguments = dict[str, Any]  # argument of a call -> value
Options = dict[str, Any]  # option -> value: a library's keyword arguments, a part of a YAML file
FlatRow = dict[str, Any]  # column -> value: a row as Parquet and Ray Data hold it


class RecordError(ValueError):
    """A row that does not have the shape of a trajectory; the message is the reason that is
    counted."""


# what a strange row can bring out in pure code of ours; an outage raises other errors
ROW_FAULTS = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)


OWN_CODE = (Exception, SystemExit)  # what a function of the user's can bring out


def row_reason(error: BaseException) -> str:
    """What a row is counted by where one of ROW_FAULTS, or of OWN_CODE, came out of it."""
    kind = "" if isinstance(error, RecordError) else f"{type(error).__name__}: "
    try:
        return f"{kind}{error}"[:200]
    except OWN_CODE:  # its text is code, too
        return kind.removesuffix(": ")


def scalars_in(value: Any) -> Iterator[tuple[str, Any]]:
    """(dotted path, scalar) for every scalar inside a JSON value, in order."""
    todo = [("", value)]  # no recursion: a row may be nested as deep as Python parses
    while todo:
        path, item = todo.pop()
        if isinstance(item, dict):
            todo += [(f"{path}.{k}" if path else str(k), v) for k, v in reversed(item.items())]
        elif isinstance(item, list):
            todo += [(path, v) for v in reversed(item)]
        else:
            yield path, item


def canonical(value: Any) -> str:
    """JSON text with sorted keys and no spaces; equal values give equal text."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str)


def content_hash(value: Any, length: int = 16) -> str:
    """First `length` hex digits of the SHA-256 of the canonical JSON of `value`."""
    raw = canonical(value).encode("utf-8", "surrogatepass")
    return hashlib.sha256(raw).hexdigest()[:length]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call. `arguments` is JSON text exactly as the source or the model wrote it."""

    name: str
    arguments: str = "{}"
    id: str = ""

    @property
    def args(self) -> Arguments:
        """The parsed arguments. Raises ValueError where the text is not a JSON object."""
        try:
            value = json.loads(self.arguments or "{}")
        except RecursionError:
            raise ValueError(f"arguments of {self.name!r} are nested too deeply") from None
        if not isinstance(value, dict):
            raise ValueError(
                f"arguments of {self.name!r} are {type(value).__name__}, not an object"
            )
        return value

    @property
    def known_args(self) -> Arguments:
        """`args`, {} where the text is not a JSON object."""
        try:
            return self.args
        except ValueError:
            return {}

    @property
    def key(self) -> str:
        """What equal calls share, however their arguments are spelt; text that is no JSON object
        stands for itself."""
        try:
            return canonical([self.name, self.args])
        except ValueError:
            return canonical([self.name, self.arguments])

    @classmethod
    def of(cls, name: str, /, **arguments: Any) -> ToolCall:
        """A call from Python values: `ToolCall.of("add", a=1, b=2)`."""
        return cls(name, json.dumps(arguments, ensure_ascii=False))


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """One tool. `parameters` is the JSON Schema (an object schema) as text."""

    name: str
    description: str = ""
    parameters: str = '{"type": "object", "properties": {}}'

    @property
    def schema(self) -> JsonSchema:
        """The parsed JSON Schema of the parameters."""
        return json.loads(self.parameters)

    def openai(self) -> JsonObject:
        """The tool as OpenAI's `tools` list and chat templates want it."""
        function = {"name": self.name, "description": self.description, "parameters": self.schema}
        return {"type": "function", "function": function}


@dataclass(frozen=True, slots=True)
class Message:
    """One turn. `loss` None means the default: assistant turns are trained on, all others never.
    A number is the turn's loss weight, False or 0 none."""

    role: str
    content: str = ""
    thought: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    name: str = ""
    tool_call_id: str = ""
    loss: bool | float | None = None

    @property
    def trained(self) -> bool:
        """Whether the turn carries loss: only assistant turns can."""
        return self.role == "assistant" and (self.loss is None or self.loss > 0)


@dataclass(frozen=True, slots=True)
class Trajectory:
    """One row. See the field comments; `id` is a content hash and is set by `finish` or
    `derive`."""

    messages: tuple[Message, ...] = ()
    tools: tuple[ToolSpec, ...] = ()
    id: str = ""
    source: str = ""  # format and file or set: "bfcl/simple_python", "agent/qa"
    source_id: str = ""  # the source's own id
    pool: str = "positive"  # dotted: positive, synthetic.tflan, negative.wrong_value
    split: str = ""  # one of SPLITS, or "" before the split
    # JSON [{name: {arg: [allowed, ...]}}]; "[]" = no call is right; "" = the target's own calls
    gold: str = ""
    outcome: float | None = None  # success in [0, 1] where the source knows it
    outcome_word: str = ""  # the source's own word for it
    fault: str = ""  # the FAULTS name of a negative row
    reject_reason: str = ""  # "" = accepted so far
    quality: float | None = None  # in [0, 1]
    parents: tuple[str, ...] = ()  # ids of the rows it was made from
    step: str = ""  # the step and stage that made it: "read", "generate.tflan", "negatives.mined"
    config_hash: str = ""
    seed: int = 0
    meta: JsonObject = field(default_factory=dict)  # what the source says and we have no field for

    @property
    def target(self) -> Message | None:
        """The last message when it is an assistant turn: what a single-turn model is asked to
        write."""
        return (
            self.messages[-1] if self.messages and self.messages[-1].role == "assistant" else None
        )

    @property
    def answer(self) -> Message:
        """`target` of a row that is known to end in an assistant turn."""
        return cast(Message, self.target)

    @property
    def prompt(self) -> tuple[Message, ...]:
        """All messages before the target."""
        return self.messages[:-1] if self.target else self.messages

    @property
    def query(self) -> str:
        """The text of the last user turn of the prompt, or ''."""
        return next((m.content for m in reversed(self.prompt) if m.role == "user"), "")

    @property
    def failed(self) -> bool:
        """Whether the row is a failure: it names a fault, or its known outcome is below one
        half."""
        return bool(self.fault) or (self.outcome is not None and self.outcome < 0.5)

    @property
    def calls(self) -> tuple[ToolCall, ...]:
        """All tool calls of all assistant turns, in order."""
        return tuple(c for m in self.messages if m.role == "assistant" for c in m.tool_calls)

    @property
    def trained_calls(self) -> tuple[ToolCall, ...]:
        """The calls that carry loss: a mistake that is shown before its repair need not be
        right."""
        return tuple(c for m in self.messages if m.trained for c in m.tool_calls)


def row_id(row: Trajectory) -> str:
    """Content hash of what makes the row what it is; labels, split and run facts do not count.

    Raises UnicodeEncodeError on a lone surrogate, which no file can hold.
    """
    messages = [
        [m.role, m.content, m.thought, m.name, m.tool_call_id, m.loss]
        + [[c.name, c.arguments, c.id] for c in m.tool_calls]
        for m in row.messages
    ]
    tools = [[t.name, t.description, t.parameters] for t in row.tools]
    what = [row.source, row.source_id, row.pool, row.fault, row.gold]
    raw = json.dumps([SCHEMA_VERSION, *what, messages, tools], ensure_ascii=False)
    return hashlib.sha256(raw.encode()).hexdigest()[:16]


def finish(row: Trajectory) -> Trajectory:
    """Check the shape and set the id. Raises RecordError with the reason."""
    if not row.messages:
        raise RecordError("no messages")
    for message in row.messages:
        if message.role not in ROLES:
            raise RecordError(f"unknown role {message.role!r}")
    if row.outcome is not None and not 0.0 <= row.outcome <= 1.0:
        raise RecordError("outcome outside [0, 1]")
    try:
        row.outcome_word.encode()
        return replace(row, id=row_id(row))
    except UnicodeEncodeError:
        raise RecordError("a lone surrogate is not text") from None


def derive(parent: Trajectory, *others: Trajectory, **changes: Any) -> Trajectory:
    """A new row made from `parent` (and `others`): keeps the split, points back by id, clears
    labels."""
    fresh: dict[str, Any] = {"reject_reason": "", "quality": None}
    fresh |= {"outcome": None, "outcome_word": ""} | changes
    parents = tuple(p.id for p in (parent, *others))
    return finish(replace(parent, **({"parents": parents} | fresh)))


# --- rows <-> objects: nested parts are JSON text, as Arrow cannot unify variant structs ---

COLUMNS = tuple(f.name for f in fields(Trajectory))


def _lean(message: Message) -> JsonObject:
    """A message as a dict without the fields that hold their default."""
    out: JsonObject = {"role": message.role}
    for name in ("content", "thought", "name", "tool_call_id"):
        if value := getattr(message, name):
            out[name] = value
    if message.tool_calls:
        out["tool_calls"] = [
            {"name": c.name, "arguments": c.arguments} | ({"id": c.id} if c.id else {})
            for c in message.tool_calls
        ]
    if message.loss is not None:
        out["loss"] = message.loss
    return out


def to_row(row: Trajectory) -> FlatRow:
    """The flat dict that Parquet and Ray Data hold: scalars, and JSON text for nested parts."""
    out = {name: getattr(row, name) for name in COLUMNS}
    out["messages"] = json.dumps([_lean(m) for m in row.messages], ensure_ascii=False)
    out["tools"] = json.dumps([asdict(t) for t in row.tools], ensure_ascii=False)
    out["parents"] = json.dumps(list(row.parents))
    out["meta"] = json.dumps(row.meta, default=str)  # as ASCII: a surrogate is no harm there
    return out


# Rows of one agent have the same tools: one object for each, however many rows are held.
_shared_tool = lru_cache(maxsize=16_384)(ToolSpec)


def from_row(row: FlatRow) -> Trajectory:
    """The inverse of `to_row`. Unknown columns are ignored."""
    known = {name: row[name] for name in COLUMNS if name in row}
    messages = []
    for m in json.loads(known.get("messages") or "[]"):
        calls = tuple(ToolCall(**c) for c in m.pop("tool_calls", ()))
        messages.append(Message(tool_calls=calls, **m))
    known["messages"] = tuple(messages)
    known["tools"] = tuple(_shared_tool(**t) for t in json.loads(known.get("tools") or "[]"))
    known["parents"] = tuple(json.loads(known.get("parents") or "[]"))
    known["meta"] = json.loads(known.get("meta") or "{}")
    return Trajectory(**known)


def arrow_schema() -> pa.Schema:
    """The Arrow schema of a file of trajectories (pyarrow is imported here, not with the
    module)."""
    import pyarrow as pa

    kinds = {"outcome": pa.float64(), "quality": pa.float64(), "seed": pa.int64()}
    columns = [pa.field(f.name, kinds.get(f.name, pa.string())) for f in fields(Trajectory)]
    return pa.schema(columns, metadata={"raytune_agents.schema_version": str(SCHEMA_VERSION)})


def to_table(rows: Iterable[Trajectory]) -> pa.Table:
    """A pyarrow Table of trajectories in `arrow_schema()`."""
    import pyarrow as pa

    flat, schema = [to_row(r) for r in rows], arrow_schema()
    columns = [pa.array([r[f.name] for r in flat], f.type) for f in schema]
    return pa.Table.from_arrays(columns, schema=schema)
