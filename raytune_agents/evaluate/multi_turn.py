"""BFCL multi-turn: the engine talks to BFCL's executable classes, to the last request.

All conversations of a shard go step by step together, so that the engine answers them in one
batch. The classes run in the sandbox, never in this process (`bfcl_world`). A turn ends when the
model answers without a readable call; an entry is right when after every turn the state and the
results are gold's. Source: BFCL, PMLR 267 (2025), and bfcl-eval 2026.3.23. Left out: the agentic
categories (memory, web search), which need the network.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from raytune_agents import sandbox
from raytune_agents.calls import parse
from raytune_agents.chat import Chat
from raytune_agents.config import EngineConfig, EvaluateConfig, MultiTurnConfig
from raytune_agents.evaluate.bfcl_world import MODULES
from raytune_agents.evaluate.harness import Arm, Cells, Lines, differences, means
from raytune_agents.inference import engine
from raytune_agents.readers import bfcl
from raytune_agents.readers.shapes import tools_of
from raytune_agents.records import Message, ToolCall, ToolSpec, Trajectory, finish, to_row

WORLD = Path(__file__).with_name("bfcl_world.py")
MORE_TOOLS = "I have updated some more functions you can choose from. What about now?"
TOO_LONG, CRASHED = "prompt_too_long", "tool_crashed"
VALUES = ("multi_turn_accuracy", "turn_progress", "steps", "output_tokens", "latency_s")
COMPARED = ("multi_turn_accuracy", "turn_progress")
Entry = dict[str, Any]
Turns = list[list[list[list[Any]]]]  # turn -> step -> call: [name, arguments]


def split_of(category: str) -> str:
    return f"bfcl_multi_turn_{category}"


def entries(section: MultiTurnConfig) -> list[Entry]:
    """The first `rows` entries of each category with their ground truth, in the package's order.
    Raises SourceError where bfcl-eval is not installed."""
    if not section.rows:
        return []
    found, folder = [], bfcl.data_folder()
    for category in section.categories:
        name = f"BFCL_v4_multi_turn_{category}.json"
        lines = (folder / name).read_text(encoding="utf-8").splitlines()[: section.rows]
        answers = (folder / "possible_answer" / name).read_text(encoding="utf-8").splitlines()
        gold = {a["id"]: a["ground_truth"] for a in map(json.loads, answers)}
        for entry in map(json.loads, lines):
            found.append(entry | {"ground_truth": gold[entry["id"]], "category": category})
    return found


@cache
def documents(name: str) -> tuple[dict[str, Any], ...]:
    """The functions of one class, as BFCL describes them."""
    path = bfcl.data_folder() / "multi_turn_func_doc" / f"{MODULES[name]}.json"
    return tuple(map(json.loads, path.read_text(encoding="utf-8").splitlines()))


def tools_at(entry: Entry, turn: int) -> tuple[ToolSpec, ...]:
    """What the model is offered in a turn: functions that are held back come with theirs."""
    held = {
        name
        for first, names in entry.get("missed_function", {}).items()
        for name in names
        if turn < int(first)
    }
    functions = [f for name in entry["involved_classes"] for f in documents(name)]
    return tools_of([f for f in functions if f["name"] not in held])


def said_at(entry: Entry, turn: int) -> list[Message]:
    """What the user says at the start of a turn."""
    said = entry["question"][turn]
    return [Message(m["role"], m["content"]) for m in said] or [Message("user", MORE_TOOLS)]


@dataclass
class Talk:
    """One conversation, as far as it has come."""

    entry: Entry
    most: int  # steps with calls in one turn
    messages: list[Message] = field(default_factory=list)
    turns: Turns = field(default_factory=lambda: [[]])
    end: str = ""
    steps: int = 0
    output_tokens: int = 0
    latency_s: float = 0.0

    def __post_init__(self) -> None:
        self.messages += said_at(self.entry, 0)

    @property
    def turn(self) -> int:
        return len(self.turns) - 1

    @property
    def row(self) -> Trajectory:
        """The conversation so far, with the tools of its turn."""
        return Trajectory(
            tuple(self.messages),
            tools_at(self.entry, self.turn),
            source=f"bfcl/multi_turn_{self.entry['category']}",
            source_id=self.entry["id"],
            split=split_of(self.entry["category"]),
        )

    def take(self, text: str) -> bool:
        """The model's answer; whether it made calls that must be run now."""
        parsed = parse(text)
        self.steps += 1
        if parsed.error or not parsed.calls:
            self.messages.append(Message("assistant", text))
            if len(self.turns) == len(self.entry["question"]):
                self.end = "said"
            else:
                self.turns.append([])
                self.messages += said_at(self.entry, self.turn)
            return False
        self.messages.append(Message("assistant", thought=parsed.text, tool_calls=parsed.calls))
        self.turns[-1].append([[c.name, _arguments(c)] for c in parsed.calls])
        return True

    def told(self, outcome: sandbox.Outcome) -> None:
        """What the calls of the last step gave."""
        if outcome.error:
            self.end = CRASHED
            return
        names = [name for name, _ in self.turns[-1][-1]]
        self.messages += [Message("tool", t, name=n) for n, t in zip(names, outcome.value)]
        if len(self.turns[-1]) > self.most:
            self.end = "max_steps"


def _arguments(call: ToolCall) -> dict[str, Any]:
    try:
        return call.args
    except ValueError:
        return {}


def facts(entry: Entry) -> Entry:
    """What the world needs of an entry."""
    return {k: entry[k] for k in ("id", "initial_config", "involved_classes", "ground_truth")}


def run_world(
    name: str, jobs: Sequence[tuple[Entry, Turns]], timeout_s: float = 30.0
) -> list[sandbox.Outcome]:
    """`bfcl_world.NAME` of every job; one that dies costs only itself."""
    calls = [ToolCall.of(name, entry=facts(entry), turns=turns) for entry, turns in jobs]
    out: list[sandbox.Outcome] = []
    while len(out) < len(calls):
        left = calls[len(out) :]
        limits = sandbox.Limits(timeout_s + 0.5 * len(left), memory_mib=1024, output_kib=1 << 16)
        found = sandbox.run(WORLD, left, limits).outcomes
        out += [o for o in found if o.error != "not_run"]
    return out


def talk_shard(
    part: Sequence[Entry],
    chat: Chat,
    arm: Arm,
    section: EvaluateConfig,
    engine_section: EngineConfig,
) -> Lines:
    """Every entry, talked to its end: one line of multi_turn.parquet each. Raises EngineDown."""
    talks = [Talk(entry, section.multi_turn.max_steps) for entry in part]
    room = engine_section.max_model_len - section.max_tokens
    sampling = engine.Sampling(max_tokens=section.max_tokens)
    while live := [t for t in talks if not t.end]:
        prompts = [chat.prompt_ids(t.row, arm.marker) for t in live]
        for talk, ids in zip(live, prompts):
            if len(ids) > room:
                talk.end = "too_long" if talk.steps else TOO_LONG
        asked = [(t, ids) for t, ids in zip(live, prompts) if not t.end]
        replies = engine.ask(
            [ids for _, ids in asked],
            [sampling] * len(asked),
            adapter=arm.adapter,
            timeout_s=engine_section.timeout_s,
        )
        called = []
        for (talk, _), reply in zip(asked, replies):
            talk.output_tokens += reply.output_tokens[0]
            talk.latency_s += reply.latency_s
            if talk.take(reply.texts[0]):
                called.append(talk)
        outcomes = run_world("results", [(t.entry, t.turns) for t in called])
        for talk, outcome in zip(called, outcomes):
            talk.told(outcome)
    return scored([stored(arm.name, t) for t in talks], part)


def stored(arm: str, talk: Talk) -> dict[str, Any]:
    """One line of multi_turn.parquet, before its verdict."""
    lost = talk.end if talk.end in (TOO_LONG, CRASHED) else ""
    return {
        "arm": arm,
        "split": split_of(talk.entry["category"]),
        "id": talk.entry["id"],
        "failed": lost,
        "end": talk.end,
        "turns": json.dumps(talk.turns, ensure_ascii=False),
        "steps": float(talk.steps),
        "output_tokens": float(talk.output_tokens),
        "latency_s": talk.latency_s,
        "row": json.dumps(to_row(finish(talk.row)), ensure_ascii=False),
    }


def failed(arm: str, entry: Entry, why: str) -> dict[str, Any]:
    """An entry that was not asked."""
    line = stored(arm, Talk(entry, 1)) | dict.fromkeys(VALUES) | {"fault": None}
    return line | {"end": why, "failed": why}


def scored(lines: Lines, part: Sequence[Entry]) -> Lines:
    """Lines with their verdicts: multi_turn_accuracy, 1 where every turn is right; turn_progress,
    the share of turns before the first wrong one; `fault`, BFCL's error. None where it failed.

    A talk that was cut (max_steps, too_long) lacks its last turns, which BFCL calls
    force_terminated."""
    known = {entry["id"]: entry for entry in part}
    judged = [line for line in lines if not line["failed"]]
    jobs = []
    for line in judged:
        turns = json.loads(line["turns"])
        jobs.append((known[line["id"]], turns if line["end"] == "said" else []))
    verdicts = {
        (line["arm"], line["id"]): outcome
        for line, outcome in zip(judged, run_world("verdict", jobs))
    }
    return [_verdict(line, verdicts.get((line["arm"], line["id"])), known) for line in lines]


def _verdict(line: Mapping[str, Any], outcome: sandbox.Outcome | None, known: Mapping) -> dict:
    if outcome is None or outcome.error:
        why = line["failed"] or CRASHED
        return dict(line) | dict.fromkeys(COMPARED) | {"fault": None, "failed": why}
    fault, right = outcome.value
    share = right / len(known[line["id"]]["question"])
    return dict(line) | {
        "multi_turn_accuracy": float(not fault),
        "turn_progress": share,
        "fault": fault,
    }


# --- many entries ---


def scores(lines: Lines, section: EvaluateConfig, seed: int) -> Cells:
    """{arm: {split: {metric: cell}}}; `fault.NAME` is the share of entries with that error."""
    faults = sorted({x["fault"] for x in lines if x["fault"]})
    wide = [
        x | {f"fault.{f}": None if x["failed"] else float(x["fault"] == f) for f in faults}
        for x in lines
    ]
    return means(wide, (*VALUES, *(f"fault.{f}" for f in faults)), section, seed)


def gains(lines: Lines, section: EvaluateConfig, seed: int) -> Cells:
    """{arm: {split: {metric: difference to base, paired by entry}}}."""
    return differences(lines, section, seed, COMPARED)
