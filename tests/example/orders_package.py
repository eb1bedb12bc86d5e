"""What the clerk's owner adds from outside: one function per door, named in orders_run.yaml as
module:function. (The world is orders_world.py.)"""

from dataclasses import replace

from raytune_agents.evaluate.metrics import Metric
from raytune_agents.records import Message, RecordError, ToolCall, ToolSpec, Trajectory, finish
from raytune_agents.train import sft
from raytune_agents.train.methods import Method

SQL = ToolSpec(
    "sql",
    "Run one SQL statement on the orders.",
    '{"type": "object", "properties": {"statement": {"type": "string"}}, '
    '"required": ["statement"]}',
)


def read_ticket(row):
    """Reader: {"ticket": request, "sql": statement} -> one turn."""
    if "ticket" not in row:
        raise RecordError("no ticket")
    call = ToolCall.of("sql", statement=row["sql"])
    messages = (Message("user", row["ticket"]), Message("assistant", tool_calls=(call,)))
    return finish(Trajectory(messages, (SQL,), source="tickets"))


def write_ticket(row):
    """Writer: the way back."""
    return {"ticket": row.query, "sql": row.calls[0].args["statement"]}


def no_delete(row):
    """Rule: the clerk deletes nothing."""
    deletes = any("DELETE" in call.args.get("statement", "") for call in row.calls)
    return "no_delete:DELETE" if deletes else None


def unfiltered(row, rng):
    """Fault: the statement without its WHERE."""
    *before, last = row.messages
    calls = tuple(
        ToolCall.of(c.name, **{k: str(v).partition(" WHERE")[0] for k, v in c.args.items()})
        for c in last.tool_calls
    )
    if calls == last.tool_calls:
        return None
    return replace(row, messages=(*before, replace(last, tool_calls=calls)))


def brevity(answer, row):
    """Metric and reward: 1 for an answer of at most 80 characters."""
    return float(len(answer) <= 80)


WORDS = Metric("words", "words", unit="words", better="lower", compute=lambda a, r: len(a.split()))


def short_rows(row, chat, config, pairs):
    """Columns of the method: those of sft, of rows with one call."""
    if len(row.calls) != 1:
        raise RecordError("not one call")
    return sft.columns(row, chat, config, pairs)


ONE_CALL = Method(short_rows, sft.trainer, takes=lambda row: not row.failed)


def shout(messages, sampling):
    """Chat client: the last line of what it is asked, in capitals."""
    return messages[-1]["content"].splitlines()[-1].upper()
