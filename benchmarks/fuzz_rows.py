"""Mutated rows through read, label, mix and export: no crash, every row counted, none slow.

    python benchmarks/fuzz_rows.py --rows 100000 [--seed 1] [--processes 2]

Rows of every format (written out here, and real ones where ../shared/data/samples is there) get
one to six changes each: values of other types and sizes, text that looks like markup, JSON or a
secret, nesting, keys that go, come or are spelt otherwise, schemas that loop, lines that are cut or
no UTF-8. A row must end as bad with a reason, labelled, or kept; a kept one is tokenised, mixed and
written by every exporter, which may refuse it with a reason. Anything else is a crash, and more
than `--limit` seconds of CPU for one row is one, too. Prints one JSON object: crashes (by place,
with the shortest line that brings each out), uncounted, slowest_s, and what became of the rows;
exit 1 on a fault.
"""

from __future__ import annotations

import argparse
import copy
import json
import logging
import random
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa

from raytune_agents import exports, mix, readers
from raytune_agents.chat import Chat
from raytune_agents.config import Config, LabelConfig, ReadConfig, SourceConfig
from raytune_agents.dedup.leaks import LeakIndex
from raytune_agents.pipeline.label import label_rows
from raytune_agents.pipeline.read import flat_row, parsed_table
from raytune_agents.readers import decode
from raytune_agents.records import (
    ROW_FAULTS,
    Message,
    RecordError,
    Trajectory,
    arrow_schema,
    from_row,
)

SAMPLES = Path(__file__).parents[2] / "shared/data/samples"
LONGEST_SEED = 60_000  # characters of a real row
CHUNK = 1_000  # rows of one task
SOURCE = SourceConfig(path="fuzz.jsonl", rating_max=5.0)
LABEL = LabelConfig(
    rules=["default", "pii"], languages=["en"], max_chars=1_000_000, evaluation_sets=[]
)
Row = dict[str, Any]

# --- rows to start from -----------------------------------------------------------------------

_SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}, "days": {
    "type": "integer", "minimum": 1}}, "required": ["city"]}
_TOOL = {"type": "function", "function": {"name": "get_weather", "description": "Weather.",
                                          "parameters": _SCHEMA}}
_FLAT = {"name": "get_weather", "description": "Weather.", "parameters": {
    "city": {"type": "str"}, "days": {"type": "int, optional", "default": 3}}}
_ARGS = {"city": "Paris", "days": 2}
_CALL = {"name": "get_weather", "arguments": _ARGS}
_ASK = {"role": "user", "content": "Weather in Paris for 2 days?"}
_SAY = {"role": "assistant", "content": "It is 20 C."}
_ASKED = {"role": "assistant", "content": None, "tool_calls": [
    {"id": "c1", "type": "function", "function": {"name": "get_weather",
                                                  "arguments": json.dumps(_ARGS)}}]}
_SEEN = {"role": "tool", "tool_call_id": "c1", "content": "20 C"}
_TEXT_CALL = f"<tool_call>\n{json.dumps(_CALL)}\n</tool_call>"
SEEDS: list[Row] = [
    {"messages": [_ASK, _ASKED, _SEEN, _SAY], "tools": [_TOOL], "reward": 1.0},
    {"messages": [_ASK, {"role": "assistant", "content": [
        {"type": "thinking", "thinking": "Hm."},
        {"type": "tool_use", "id": "t", "name": "get_weather", "input": _ARGS}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": [
            {"type": "text", "text": "20 C"}]}]}, _SAY], "system": "Be brief.", "tools": [
        {"name": "get_weather", "input_schema": _SCHEMA}]},
    {"conversations": [{"from": "human", "value": "Weather?"}, {"from": "gpt", "value": _TEXT_CALL},
                       {"from": "tool", "value": "<tool_response>\n20 C\n</tool_response>"},
                       {"from": "gpt", "value": "20 C."}], "tools": json.dumps([_TOOL])},
    {"id": 1, "query": "Weather in Paris?", "tools": json.dumps([_FLAT]),
     "answers": json.dumps([_CALL])},
    {"id": "simple_0", "question": [[_ASK]], "function": [_FLAT | {"parameters": _SCHEMA}],
     "ground_truth": [{"get_weather": {"city": ["Paris"], "days": [2, ""]}}]},
    {"prompt": [_ASK], "chosen": [_SAY], "rejected": "No idea."},
    {"messages": [_ASK, _SAY], "rejected_response": "No.", "label": True},
    {"input": {"messages": [_ASK], "tools": [_TOOL]}, "preferred_output": [_SAY],
     "non_preferred_output": [_ASKED]},
    {"contents": [{"role": "user", "parts": [{"text": "Weather?"}]}, {"role": "model", "parts": [
        {"functionCall": {"name": "get_weather", "args": _ARGS}}]}, {"role": "user", "parts": [
            {"functionResponse": {"name": "get_weather", "response": {"result": "20 C"}}}]},
        {"role": "model", "parts": [{"text": "20 C."}]}],
     "tools": [{"functionDeclarations": [{"name": "get_weather", "parameters": _SCHEMA}]}]},
    {"responses_create_params": {"input": "Weather?", "tools": [_TOOL["function"]]}, "response": {
        "output": [{"type": "function_call", "call_id": "c", "name": "get_weather",
                    "arguments": json.dumps(_ARGS)},
                   {"type": "function_call_output", "call_id": "c", "output": "20 C"},
                   {"type": "message", "role": "assistant", "content": [
                       {"type": "output_text", "text": "20 C."}]}]}, "reward": 1.0},
    {"system": f"Tools: {json.dumps([_FLAT])}", "conversations": [
        {"from": "user", "value": "Weather?"},
        {"from": "assistant", "value": '[get_weather(city="Paris", days=2)]'}]},
    {"id": "a", "conversations": [
        {"from": "human", "value": "Go."},
        {"from": "gpt", "value": "Thought: look\nAction: search[Paris]"},
        {"from": "human", "value": "Observation: 20 C"},
        {"from": "gpt", "value": "Thought: done\nAction: finish[20 C]"}]},
    {"input": "Weather?", "output": "20 C.", "rating": 4, "task_type": "weather"},
    {"messages": [{"role": "system", "content": "x", "functions": json.dumps([_FLAT])}, _ASK,
                  {"role": "assistant", "function_calls": 'get_weather(city="Paris")'},
                  {"role": "environment", "content": "20 C"}, _SAY]},
]


def seeds() -> list[Row]:
    """The rows above, and real ones of moderate length where they are at hand."""
    real = [json.loads(line) for path in sorted(SAMPLES.glob("*.jsonl"))
            for line in path.read_text(encoding="utf-8").splitlines() if len(line) < LONGEST_SEED]
    return SEEDS * max(1, len(real) // len(SEEDS) // 2) + real


# --- changes ----------------------------------------------------------------------------------

TEXTS = (
    "", "\x00", "\ud800", "\u202e", "a" * 300, "9" * 400, "{}", "[]", "null", "NaN", '{"a":',
    "<tool_call>", _TEXT_CALL, "[f(a=1)]", "Action: f\nAction Input: {", "```json\n{", "\\", "'",
    "/" * 50, "../../x", "\u2028", "\r\n", "(((((((", "Observation: ", "i'm sorry ", "1e999",
    "0x" + "f" * 50, "$ref", ":", "%s%n", "{{7*7}}", "💥" * 20, "\x1b[31m", "<think>", "</think>",
    "[TOOL_CALLS]", "\n" * 3_000, "<tool_response>", "Thought: ", "\u0000\u0001", "é" * 50,
    "sk-" + "a1" * 20, "<|im_end|>", "<|message|>", "True", "-1", "^(a+)+$", "a" * 30 + "!",
)
KEYS = (
    "$ref", "pattern", "type", "properties", "required", "enum", "name", "arguments", "role",
    "content", "parameters", "$defs", "items", "anyOf", "multipleOf", "tool_calls", "function",
    "label", "rejected", "chosen", "messages", "tools", "system", "value", "from", "nullable",
    "tool_call_id", "weight", "reward", "parts", "text", "additionalProperties", "default", "id",
)
SCHEMAS = ("#", "#/properties", "(a+)+$", {"$ref": "#"}, ["a"], 0.1, {"anyOf": [{"$ref": "#"}] * 3},
           {"type": "any"}, {"minimum": 0, "exclusiveMinimum": True}, "object", True)


def scalar(rng: random.Random) -> Any:
    values = (None, True, False, 0, -1, 10**30, -(10**400), 1e308, 1.5, 5e-324, [], {}, [[]],
              {"": {}}, [None], {"type": "text", "text": "x"})
    return rng.choice([*values, *(rng.choice(TEXTS) for _ in range(6)), rng.choice(TEXTS) * 3])


def nested(rng: random.Random) -> Any:
    value: Any = 1
    for _ in range(rng.choice([5, 60, 100, 200])):
        value = [value] if rng.random() < 0.5 else {"a": value}
    return value


def places(value: Any, path: tuple = ()) -> Iterator[tuple]:
    yield path
    inside = value.items() if isinstance(value, dict) else (
        enumerate(value) if isinstance(value, list) else ())
    for key, item in inside:
        yield from places(item, (*path, key))


def at(row: Any, path: tuple) -> Any:
    for key in path:
        row = row[key]
    return row


def put(row: Any, path: tuple, value: Any) -> Any:
    if not path:
        return value
    at(row, path[:-1])[path[-1]] = value
    return row


def changed(value: Any, row: Any, paths: list[tuple], rng: random.Random) -> Any:
    """One value in place of another."""
    kind = rng.randrange(14)
    if kind < 4:
        return scalar(rng)
    if kind == 4:
        return [value] * rng.choice([0, 1, 2, 30])
    if kind in (5, 6):
        return json.dumps(value) if kind == 5 else str(value)
    if kind == 7:
        return nested(rng)
    if kind in (8, 9) and isinstance(value, str):
        i = rng.randrange(len(value) + 1)
        return value[:i] + rng.choice(TEXTS) + value[i if kind == 8 else i + 5 :]
    if isinstance(value, dict) and value and kind in (8, 9, 10, 11):
        out = dict(value)
        key = rng.choice(list(out))
        if kind == 10:  # spelt otherwise
            spelt = [str(key).upper(), f"{key}_", f"_{key}", rng.choice(KEYS)]
            out[rng.choice(spelt)] = out.pop(key)
        elif kind == 11:
            out.pop(key)
        else:
            out[rng.choice(KEYS)] = rng.choice([scalar(rng), value, *SCHEMAS])
        return out
    if isinstance(value, list) and kind in (10, 11):
        out = list(value)
        rng.shuffle(out)
        return out[: rng.randrange(len(out) + 1)]
    return copy.deepcopy(at(row, rng.choice(paths)))


def mutated_line(row: Row, rng: random.Random) -> bytes:
    """A row as a line of a file, with one to six changes."""
    made: Any = copy.deepcopy(row)
    paths = list(places(made))
    for _ in range(rng.choice([1, 1, 1, 2, 3, 6])):
        path = rng.choice(paths)
        try:
            made = put(made, path, changed(at(made, path), made, paths, rng))
        except (KeyError, IndexError, TypeError, RecursionError):
            continue  # an earlier change took the place away
    line = json.dumps(made, ensure_ascii=rng.random() < 0.5)
    if rng.random() < 0.05:
        cut = rng.randrange(len(line) + 1)
        more = rng.choice([*TEXTS, "NaN", "Infinity", '"a":1,"a":2', "\\ud800"])
        line = line[:cut] + (more + line[cut:] if rng.random() < 0.6 else "")
    return line.encode("utf-8", "surrogatepass")


# --- one row through all steps ------------------------------------------------------------------


class TooSlow(BaseException):  # no row boundary of ours may catch it
    """More CPU than a row may take."""


def stop(*_: object) -> None:
    raise TooSlow


class Chain:
    """Read, label, mix and export, with what each needs made once."""

    def __init__(self, model: str | None) -> None:
        self.index = LeakIndex((), LABEL)
        self.chat = Chat(model, max_length=4_096) if model else None
        if self.chat:
            self.chat.encode(Trajectory((Message("user", "q"), Message("assistant", "a"))))
        self.mix = Config().mix
        self.stage = ""

    def outcome(self, line: bytes) -> Iterator[str]:
        """What became of the row, one word per trajectory; "bad row" for one that is none."""
        self.stage = "decode"
        try:
            raw = decode.parse_line(line)
        except RecordError:
            yield "bad row"
            return
        self.stage = "read"
        found = readers.read_raw(raw, "fuzz.jsonl:1", SOURCE) if isinstance(raw, dict) else None
        if found is None or found.error:
            yield "bad row"
            return
        self.stage = "split"
        try:
            flat = [flat_row(row, ReadConfig(), 1) for row in found.rows]
        except ROW_FAULTS:  # as the read step counts it
            yield "bad row"
            return
        self.stage = "label"
        table = parsed_table([f | {"where": "x"} for f in flat]).select(arrow_schema().names)
        labelled = label_rows(pa.Table.from_batches(table.to_batches()), LABEL, self.index)
        if len(labelled) != len(found.rows):
            raise AssertionError(f"{len(found.rows)} rows in, {len(labelled)} labelled")
        for made in labelled.select(arrow_schema().names).to_pylist():
            row = from_row(made)
            words = 3 if row.reject_reason.startswith("label_error") else 1
            yield ":".join(row.reject_reason.split(":")[:words]) or self.used(row)

    def used(self, row: Trajectory) -> str:
        """A kept row in a mix and in every format."""
        self.stage = "mix"
        cost, word = 1, "kept"
        if self.chat:
            try:
                cost = sum(e.trained_tokens for e in self.chat.encode(row))
            except RecordError:
                word = "kept, not tokenised"
        kinds = [(row.id, mix.RowKind.of(row), cost)]
        pooled, weights = mix.with_no_call(kinds, self.mix.weights, self.mix.no_call)
        pool = pooled[0][1]
        if pool in weights:
            mix.choose_rows(pooled, {pool: 1.0}, cost, 1.0, 1)
        for name, write in exports.WRITERS.items():
            self.stage = f"export {name}"
            try:
                json.dumps(write(row), allow_nan=False)
            except RecordError:
                continue
        return word


def run_chunk(seed: int, count: int, model: str | None, limit_s: float) -> dict[str, Any]:
    """`count` rows of one seed."""
    signal.signal(signal.SIGPROF, stop)
    rng, chain, rows = random.Random(seed), Chain(model), seeds()
    outcomes: Counter[str] = Counter()
    crashes: dict[str, tuple[int, str]] = {}
    slowest, slowest_line, uncounted = 0.0, "", 0
    for _ in range(count):
        line = mutated_line(rng.choice(rows), rng)
        told: list[str] = []
        started = time.process_time()
        try:
            signal.setitimer(signal.ITIMER_PROF, limit_s)
            try:
                told = list(chain.outcome(line))
            finally:
                signal.setitimer(signal.ITIMER_PROF, 0)
        except (Exception, TooSlow) as error:
            frames = traceback.extract_tb(error.__traceback__)
            frame = [f for f in frames if "raytune_agents" in f.filename][-1]
            file = Path(frame.filename).name
            place = f"{chain.stage}: {type(error).__name__} {file}:{frame.lineno}"
            seen, shortest = crashes.get(place, (0, ""))
            text = line.decode("utf-8", "replace")
            crashes[place] = seen + 1, min(filter(None, (shortest, text)), key=len)
            told = ["crash"]
        taken = time.process_time() - started
        if taken > slowest:
            slowest, slowest_line = taken, line.decode("utf-8", "replace")
        uncounted += not told
        outcomes.update(told)
    return {"outcomes": outcomes, "crashes": crashes, "slowest_s": slowest,
            "slowest": slowest_line, "uncounted": uncounted, "rows": count}


def found_model() -> str | None:
    """The small model's folder where it was made (`make model`); without it nothing is
    tokenised."""
    from raytune_agents import models

    try:
        return str(models.resolve(Config().model))
    except Exception:  # not made, and no network
        return None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--limit", type=float, default=2.0, help="seconds of CPU of one row")
    given = parser.parse_args()
    counts = [min(CHUNK, given.rows - i) for i in range(0, given.rows, CHUNK)]
    model = found_model()
    jobs = [(given.seed * 1_000_003 + i, n, model, given.limit) for i, n in enumerate(counts)]
    outcomes: Counter[str] = Counter()
    crashes: dict[str, tuple[int, str]] = {}
    done, slowest = 0, max
    worst: dict[str, Any] = {"slowest_s": 0.0, "slowest": ""}
    uncounted = 0
    quiet = {"initializer": logging.disable, "initargs": (logging.CRITICAL,)}
    with ProcessPoolExecutor(given.processes, **quiet) as pool:
        for found in pool.map(run_chunk, *zip(*jobs)):
            outcomes.update(found["outcomes"])
            for place, (n, line) in found["crashes"].items():
                seen, shortest = crashes.get(place, (0, line))
                crashes[place] = seen + n, min(shortest, line, key=len)
            worst = slowest(worst, found, key=lambda f: f["slowest_s"])
            uncounted += found["uncounted"]
            done += found["rows"]
            print(f"{done} rows, {sum(n for n, _ in crashes.values())} crashes, slowest "
                  f"{worst['slowest_s']:.2f} s", file=sys.stderr)
    told = {
        "rows": done, "crashes": sum(n for n, _ in crashes.values()), "uncounted": uncounted,
        "slowest_s": round(worst["slowest_s"], 3), "slowest": worst["slowest"][:2_000],
        "tokenised": model is not None, "outcomes": dict(outcomes.most_common()),
        "places": {p: {"rows": n, "line": line[:2_000]} for p, (n, line) in crashes.items()},
    }
    print(json.dumps(told, ensure_ascii=False))
    return int(bool(told["crashes"] or uncounted or worst["slowest_s"] > given.limit))


if __name__ == "__main__":
    sys.exit(main())
