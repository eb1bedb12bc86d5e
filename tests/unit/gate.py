"""Checks of generated rows that share no code with what made them: jsonschema, plain text, and the
tools' own functions. Each returns "" or what is wrong."""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from jsonschema import Draft202012Validator

from raytune_agents import agents
from raytune_agents.agents.script import ToolError
from raytune_agents.agents.worlds import world_code
from raytune_agents.agents.worlds.process import class_of
from raytune_agents.records import Message, Trajectory

Call = tuple[str, dict[str, Any]]
NUMBER = re.compile(r"[\w./-]*\d[\w./-]*")
PAYLOAD = re.compile(r"<tool_call>(.*?)(?:</tool_call>|$)", re.S)


def calls_of(message: Message) -> list[Call]:
    return [(c.name, json.loads(c.arguments)) for c in message.tool_calls]


def scalars(value: Any) -> Iterator[Any]:
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from scalars(item)
    else:
        yield value


SAME = {"sum": ("total",), "mean": ("average",)}  # what a request says for an enum's word


# --- positives ------------------------------------------------------------------------------------

SQL = {"select", "from", "where", "group", "order", "by", "as", "desc", "asc", "limit", "max",
       "min", "sum", "avg", "count", "and", "or"}  # fmt: skip


MONTHS = ["january", "february", "march", "april", "may", "june", "july", "august", "september",
          "october", "november", "december"]  # fmt: skip
NUMBERS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
           "eleven", "twelve"]  # fmt: skip


def other_words(value: Any) -> list[str]:
    """How else a day, a time, a number or an enum's word may be said, as patterns."""
    text = str(value)
    if day := re.fullmatch(r"(\d{4})-(\d\d)-(\d\d)", text):
        month, number = MONTHS[int(day[2]) - 1], int(day[3])
        name = f"({month}|{month[:3]})"
        return [rf"\b{number}(st|nd|rd|th)? of {name} {day[1]}", rf"\b{number} {name} {day[1]}",
                rf"{name} {number}, {day[1]}"]  # fmt: skip
    if clock := re.fullmatch(r"(\d\d):(\d\d)", text):
        hour, minute = int(clock[1]), "" if clock[2] == "00" else f":{clock[2]}"
        return [rf"\b{(hour - 1) % 12 + 1}{minute} {'pm' if hour > 11 else 'am'}"]
    if isinstance(value, int) and 0 <= value <= 12:
        return [rf"\b{NUMBERS[value]}\b"]
    return [re.escape(text.lower().replace("_", " "))] if "_" in text else []


def said(value: Any, heard: str) -> bool:
    """A value stands in the text; of a sentence every token with a digit and half of the words."""
    if value is None or isinstance(value, bool):
        return True
    text, heard = str(value).lower(), heard.lower()
    short = [f"{value:g}"] if isinstance(value, float) else []
    if any(word in heard for word in (text, *short, *SAME.get(text, ()))):
        return True
    if any(re.search(pattern, heard) for pattern in other_words(value)):
        return True
    tokens = [t for t in re.findall(r"[\w./-]+", text) if t not in SQL]
    exact = all(t.strip(".") in heard for t in tokens if re.search(r"\d", t))
    return exact and len(tokens) > 2 and sum(t in heard for t in tokens) >= len(tokens) / 2


def valid_and_grounded(row: Trajectory) -> str:
    """Every call fits the schema that the row shows; every value was said or observed before. In a
    run, which of a schema's own words (find, escalate) serves is proved by the goal."""
    tools = {t.name: json.loads(t.parameters) for t in row.tools}
    own = [p for s in tools.values() for p in s["properties"].values()]
    free = [p["default"] for p in own if "default" in p]
    free += [v for p in own for v in p.get("enum", []) if "world" in row.meta]
    heard = ""
    for message in row.messages:
        if message.role != "assistant":
            heard += "\n" + message.content
        if message.loss is False:  # a mistake that the row repairs
            continue
        for name, args in calls_of(message):
            if name not in tools:
                return f"{name} is no candidate"
            schema = tools[name] | {"additionalProperties": False}
            for error in Draft202012Validator(schema).iter_errors(args):
                return f"{name}: {error.message}"
            for value in scalars(args):
                if not said(value, heard) and value not in free:
                    return f"{name}: nobody said {value!r}"
    return ""


def executed(row: Trajectory) -> str:
    """The tools' functions, called anew from the first state, say what the row says they said; at
    the end the state is the goal's and the answer has its facts."""
    where = row.meta.get("world")
    agent = where["agent"] if where else row.source.removeprefix("agent/")
    world = class_of(world_code(agents.load_spec(agent)))
    state = world.make(random.Random(f"{agent}/{where['task']['seed'] if where else 1}"))
    waiting: list[Any] = []
    seen = [json.loads(m.content) for m in row.messages if m.role == "tool"] if where else []
    for message in row.messages:
        if message.role == "tool" and json.loads(message.content) != waiting.pop(0):
            return "an observation is made up"
        for name, args in calls_of(message) if "mask" not in row.meta else []:
            told = seen.pop(0) if seen else None
            if "error" in row.meta and isinstance(told, dict) and "error" in told:
                waiting.append(told)  # an error that the row repairs: nothing was done
                continue
            try:
                waiting.append(world.tools[name](state, **args))
            except ToolError as error:
                waiting.append({"error": str(error)})
    goal = row.meta.get("goal")
    if not goal:
        return ""
    text = json.dumps(state, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str)
    if hashlib.sha256(text.encode()).hexdigest()[:16] != where["task"]["state"]:
        return "the state is not the goal's"
    answer = row.messages[-1].content
    lost = [f for f in goal["facts"] if str(f).lower() not in answer.lower()]
    return f"the answer lacks {lost}" if lost else ""


def own_tools(row: Trajectory) -> set[str]:
    return {t.name for t in agents.load_spec(row.source.removeprefix("agent/")).tools}


def shape(row: Trajectory, pool: str) -> bool:
    """What the pool promises of the form of a row."""
    last, names = row.messages[-1], {t.name for t in row.tools}
    calls = calls_of(last)
    users = [m for m in row.messages if m.role == "user"]
    results = [m for m in row.messages if m.role == "tool"]
    silent = not calls and bool(last.content)
    promised = {
        "tflan": len(calls) == 1 and len(row.messages) == 2,
        "react": silent and len(results) >= 1 and len(users) == 1,
        "recovery": silent and len(results) >= 2 and len(users) == 1,
        "dialogue": silent and len(results) >= 2 and len(users) == 2,
        "dependent": len(calls) >= 1 and len(results) >= 1,
        "parallel": len({json.dumps(c) for c in calls}) == len(calls) >= 2,
        "followup": (silent and len(users) == 1) or (len(calls) == 1 and len(users) == 2),
        "gradual": len(calls) == 1 and len(users) == 3 and not results,
        "corrected": len(calls) == 1 and len(users) == 2 and not results,
        "notool": silent or row.meta.get("cell") == "tool_tools",
        "masked": len(calls) == 1 and ("mask" in row.meta) != bool(names & own_tools(row)),
        "noisy": len(calls) == 1,
        "reordered": len(calls) == 1 and len(calls[0][1]) > 1,
        "distracted": len(calls) == 1 and len(names - own_tools(row)) == 3,
        "irrelevant": silent
        and bool(names)
        and (len(names) > 3 or any(n in last.content for n in names)),
    }
    return promised[pool]


# --- negatives ------------------------------------------------------------------------------------


def changed(good: list[Call], bad: list[Call]) -> list[tuple[Call, Call]]:
    """The pairs at which two equally long lists differ."""
    pairs = zip(good, bad) if len(good) == len(bad) else []
    return [(g, b) for g, b in pairs if json.dumps(g) != json.dumps(b)]  # True is not 1


def argument_fault(good: Call, bad: Call, schema: dict[str, Any], fault: str) -> bool:
    """Whether one call's arguments differ as the fault says."""
    (name, g), (same, b) = good, bad
    required = schema.get("required", [])
    lost, added = set(g) - set(b), set(b) - set(g)
    moved = [k for k in g if k in b and (g[k] != b[k] or type(g[k]) is not type(b[k]))]
    kept = name == same and not moved
    return {
        "missing_required": kept and not added and len(lost) == 1 and lost <= set(required),
        "missing_optional_needed": kept and not added and len(lost) == 1 and not lost & {*required},
        "extra_argument": kept and not lost and len(added) == 1,
        "wrong_argument_name": kept and len(lost) == len(added) == 1
        and [g[k] for k in lost] == [b[k] for k in added],
        "wrong_value": name == same and not lost | added and len(moved) == 1
        and type(g[moved[0]]) is type(b[moved[0]]),
        "wrong_type": name == same and not lost | added and len(moved) == 1
        and type(g[moved[0]]) is not type(b[moved[0]]),
        "swapped_values": name == same and not lost | added and len(moved) == 2
        and (g[moved[0]], g[moved[1]]) == (b[moved[1]], b[moved[0]]),
    }[fault]  # fmt: skip


def readable(text: str) -> list[Any]:
    """The JSON values between call tags, or in braces; None for one that is broken."""
    found = PAYLOAD.findall(text) or re.findall(r"\{.*\}", text, re.S)
    out = []
    for piece in found:
        try:
            out.append(json.loads(piece))
        except ValueError:
            out.append(None)
    return out


def answer_is(good: Trajectory, bad: Trajectory, fault: str) -> bool:
    """Whether the last turn is wrong as a single-turn fault says."""
    g, b, text = calls_of(good.messages[-1]), calls_of(bad.messages[-1]), bad.messages[-1].content
    names = {t.name: json.loads(t.parameters) for t in bad.tools}
    if fault in ("wrong_function", "hallucinated_function"):
        pairs = changed(g, b)
        known = len(pairs) == 1 and pairs[0][1][0] in names
        return len(pairs) == 1 and pairs[0][0][0] != pairs[0][1][0] and known == (
            fault == "wrong_function")  # fmt: skip
    keys = [json.dumps(c, sort_keys=True) for c in g], [json.dumps(c, sort_keys=True) for c in b]
    more, fewer = Counter(keys[1]) - Counter(keys[0]), Counter(keys[0]) - Counter(keys[1])
    if fault in ("missing_call", "extra_call", "repeated_call"):
        again = more.total() == 1 and next(iter(more)) in keys[0]
        return {
            "missing_call": fewer.total() == 1 and not more and bool(b),
            "extra_call": more.total() == 1 and not fewer and not again,
            "repeated_call": again and not fewer,
        }[fault]
    if fault in ("malformed_json", "wrong_format"):
        values = readable(text)
        proper = [v for v in values if isinstance(v, dict) and isinstance(v.get("arguments"), dict)
                  and "name" in v and "<tool_call>" in text]  # fmt: skip
        whole_tags = text.count("<tool_call>") == text.count("</tool_call>")
        broken = None in values or not values or not whole_tags
        return not b and broken == (fault == "malformed_json") and (broken or not proper)
    if fault == "answered_directly":
        return bool(g) and not b and bool(text) and "<tool_call>" not in text and (
            '"arguments"' not in text)  # fmt: skip
    if fault in ("unneeded_call", "should_ask_violated", "should_refuse_violated"):
        return not g and len(b) == 1
    pairs = changed(g, b)
    schema = names.get(pairs[0][0][0], {}) if pairs else {}
    return len(pairs) == 1 and argument_fault(*pairs[0], schema, fault)


def run_is(good: Trajectory, bad: Trajectory, fault: str) -> bool:
    """Whether a whole run is wrong as a trajectory fault says."""

    def plan(row: Trajectory) -> list[str]:
        return [json.dumps(c) for m in row.messages for c in calls_of(m)]

    g, b, last = plan(good), plan(bad), bad.messages[-1]
    facts = [str(f).lower() for f in bad.meta["goal"]["facts"]]
    before = " ".join(m.content for m in bad.messages[:-1]).lower()
    seen = [m.content for m in bad.messages if m.role == "tool"]
    known = {t.strip("./-") for t in NUMBER.findall(before)}
    invented = [t for t in NUMBER.findall(last.content.lower()) if t.strip("./-") not in known]
    tools = {t.name for t in bad.tools}
    astray = [
        m for m in bad.messages
        for named in [{n for n in tools if re.search(rf"\b{re.escape(n)}\b", m.thought)}]
        if m.tool_calls and named and not named & {c.name for c in m.tool_calls}
    ]  # fmt: skip
    return {
        "wrong_order": Counter(g) == Counter(b) and g != b,
        "looping": any(b[i] == b[i + 1] == b[i + 2] for i in range(len(b) - 2)),
        "premature_finish": len(b) < len(g) and g[: len(b)] == b and not last.tool_calls,
        "no_termination": bool(last.tool_calls) and b[: len(g)] == g,
        "no_recovery_after_error": any(
            x == y and "error" in json.loads(t) for t, x, y in zip(seen, b, b[1:])
        ) and not last.tool_calls,
        "ignore_observation": g == b and any(f not in last.content.lower() for f in facts),
        "fabricated_output": g == b and bool(invented),
        "bad_thought": g == b and bool(astray),
    }[fault]  # fmt: skip
