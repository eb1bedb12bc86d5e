"""ToolBench: answer trees (`tree`, `win`) and converted runs (`answer.answer_details`).

A tree gives the path to its final answer, and every branch that ended elsewhere as a failed run
of its own (pool "negative.dead_branch"). "Finish" is a tool there: giving an answer is the
success that the source knows (`win`, return_type give_answer), giving up and running out of steps
are failures.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from raytune_agents.readers.shapes import read_tools, rest_of
from raytune_agents.readers.strict import as_text, value_or
from raytune_agents.readers.turns import episode, messages_of
from raytune_agents.records import JsonObject, Message, RecordError, ToolCall, Trajectory

CUT_CALL = re.compile(r"\{'name': '([^']*)', 'arguments': '(.*?)(?:', 'respon.*|'?)", re.DOTALL)
RETURN_TYPE = re.compile(r'"return_type":\s*"(\w+)"')


def read(row: JsonObject) -> list[Trajectory]:
    about = row["answer_generation"]
    win, finish = bool(row["win"]), as_text(about.get("finish_type"))
    shown = messages_of((about.get("train_messages") or [[]])[0][:2])
    prompt = shown or [Message("user", as_text(about.get("query")))]
    tools = read_tools(about.get("function"))
    name = as_text(row.get("file"))
    paths = list(_paths(row["tree"]["tree"], []))
    answers = [i for i, path in enumerate(paths) if path[-1].get("observation_code") == 3]
    best = answers[0] if win and answers else None
    if win and best is None:
        raise RecordError("win, but no branch of the tree gives an answer")
    rows = []
    if best is not None:
        meta = rest_of(row, "tree", "compare_candidates", "answer_generation")
        word, run = f"win, {finish}", [*prompt, *_turns(paths[best])]
        rows = [episode(run, tools, source_id=name, outcome=1.0, outcome_word=word, meta=meta)]
    parents = ("@0",) if rows else ()
    rows += [
        episode(
            [*prompt, *_turns(path)],
            tools,
            source_id=f"{name}#{i}",
            outcome=0.0,
            outcome_word="pruned" if path[-1].get("pruned") else "not the answer",
            pool="negative.dead_branch",
            parents=parents,
        )
        for i, path in enumerate(paths)
        if i != best
    ]
    return rows


def _paths(node: JsonObject, before: list[JsonObject]) -> Iterator[list[JsonObject]]:
    """The nodes from the root to every leaf. Recursive: rows are at most MAX_DEPTH deep."""
    path = [*before, node]
    children = node.get("children") or []
    if not children and len(path) > 1:
        yield path
    for child in children:
        yield from _paths(child, path)


def _turns(path: list[JsonObject]) -> list[Message]:
    out, thoughts, action = [], [], ""
    for node in path:
        kind, text = node["node_type"], as_text(node.get("description"))
        if kind == "Thought":
            thoughts.append(text)
        elif kind == "Action":
            action = text
        elif action:
            call = ToolCall(action, text or "{}")
            out.append(Message("assistant", "", "\n".join(thoughts), (call,)))
            if node.get("observation") is not None:
                out.append(Message("tool", as_text(node["observation"]), name=action))
            thoughts, action = [], ""
    return out + ([Message("assistant", "\n".join(thoughts))] if thoughts else [])


def runs(row: JsonObject) -> Trajectory:
    answer = row["answer"]
    final = as_text(answer.get("final_answer"))
    messages: list[Message] = []
    nodes = list(answer["answer_details"])
    while nodes:
        node = nodes[-1]
        messages += _run_turns(node, row, final)
        nodes = node.get("next") or []
    return_type = (RETURN_TYPE.findall(final) or [""])[0]
    return episode(
        messages,
        read_tools(row.get("available_tools")),
        source_id=as_text(row.get("id")),
        outcome=float(return_type == "give_answer"),
        outcome_word=return_type or "no final answer",
        meta=rest_of(row, "id", "query", "available_tools", "answer")
        | {"method": answer.get("method"), "total_steps": answer.get("total_steps")},
    )


def _run_turns(node: JsonObject, row: JsonObject, final: str) -> list[Message]:
    """A node of a converted run. A tool node is a Python dict as text, which some copies cut
    short.
    """
    role, message = node["role"], node["message"]
    if role == "user":
        return [Message("user", as_text(row.get("query")) or as_text(message))]
    if role == "tool":
        call, seen = _call(message)
        if call.name == "Finish":
            return [Message("assistant", tool_calls=(ToolCall("Finish", final or call.arguments),))]
        return [Message("assistant", tool_calls=(call,)), Message("tool", seen, name=call.name)]
    return [Message(role, as_text(message))] if message else []


def _call(message: Any) -> tuple[ToolCall, str]:
    value = value_or(message)
    if isinstance(value, dict) and isinstance(value.get("name"), str):
        arguments = value.get("arguments", {})
        return ToolCall(value["name"], as_text(arguments) or "{}"), as_text(value.get("response"))
    found = CUT_CALL.match(as_text(message))
    if not found:
        raise RecordError(f"a tool step that names no tool: {as_text(message)[:60]!r}")
    return ToolCall(found[1], found[2].replace("\\n", "\n") or "{}"), ""
