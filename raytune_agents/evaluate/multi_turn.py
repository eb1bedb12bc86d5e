"""BFCL multi-turn: the engine calls BFCL's executable classes, to the last request.

The classes are a world in the sandbox, never in this process (`bfcl_world`). A turn of the user
ends when the model answers without a readable call; an entry is right when after every turn the
state and the results are gold's. Source: BFCL, PMLR 267 (2025), and bfcl-eval 2026.3.23. Left out:
the agentic categories (memory, web search), which need the network.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from raytune_agents import sandbox
from raytune_agents.agents.rollout import CRASHED
from raytune_agents.agents.worlds import Episode, WorldCode, WorldDown
from raytune_agents.calls import parse, turn_of
from raytune_agents.config import MultiTurnConfig
from raytune_agents.evaluate.harness import Asker
from raytune_agents.evaluate.measured import Lines, Measured
from raytune_agents.evaluate.rollouts import EngineSampler, roll_out_all
from raytune_agents.inference import client
from raytune_agents.readers import bfcl
from raytune_agents.readers.shapes import read_tools
from raytune_agents.records import (
    FlatRow,
    JsonObject,
    Message,
    ToolCall,
    ToolSpec,
    Trajectory,
    finish,
    to_row,
)

WORLD = Path(__file__).with_name("bfcl_world.py")
MORE_TOOLS = "I have updated some more functions you can choose from. What about now?"
CLASSES = WorldCode("bfcl_world", "BfclWorld", (WORLD,))
TOO_LONG = "prompt_too_long"
VALUES = ("multi_turn_accuracy", "turn_progress", "steps", "output_tokens")
COMPARED = ("multi_turn_accuracy", "turn_progress")
Turns = list[list[list[list[Any]]]]  # turn -> step -> call: [name, arguments]


def split_of(category: str) -> str:
    return f"bfcl_multi_turn_{category}"


def entries(config: MultiTurnConfig) -> list[JsonObject]:
    """The first `rows` entries of each category with their ground truth, in the package's order.
    Raises SourceError where bfcl-eval is not installed."""
    if not config.rows:
        return []
    found, folder = [], bfcl.data_folder()
    for category in config.categories:
        name = f"BFCL_v4_multi_turn_{category}.json"
        lines = (folder / name).read_text(encoding="utf-8").splitlines()[: config.rows]
        answers = (folder / "possible_answer" / name).read_text(encoding="utf-8").splitlines()
        gold = {a["id"]: a["ground_truth"] for a in map(json.loads, answers)}
        for entry in map(json.loads, lines):
            found.append(entry | {"ground_truth": gold[entry["id"]], "category": category})
    return found


@cache
def documents(name: str) -> tuple[JsonObject, ...]:
    """The functions of one class, as BFCL describes them."""
    from bfcl_eval.constants.executable_backend_config import MULTI_TURN_FUNC_DOC_FILE_MAPPING

    path = bfcl.data_folder() / "multi_turn_func_doc" / MULTI_TURN_FUNC_DOC_FILE_MAPPING[name]
    return tuple(map(json.loads, path.read_text(encoding="utf-8").splitlines()))


def tools_at(entry: JsonObject, turn: int) -> tuple[ToolSpec, ...]:
    """What the model is offered in a turn: functions that are held back come with theirs."""
    # `missed_function`: {turn: names}, the turn in which they are offered.
    missed = entry.get("missed_function", {}).items()
    held = {name for first, names in missed if turn < int(first) for name in names}
    functions = [f for name in entry["involved_classes"] for f in documents(name)]
    return read_tools([f for f in functions if f["name"] not in held])


def request_at(entry: JsonObject, turn: int) -> list[Message]:
    """What the user asks for at the start of a turn."""
    turns = entry["question"][turn]
    return [Message(m["role"], m["content"]) for m in turns] or [Message("user", MORE_TOOLS)]


@dataclass
class Conversation:
    """One conversation, as far as it has come."""

    entry: JsonObject
    max_steps: int  # steps with calls in one turn
    messages: list[Message] = field(default_factory=list)
    turns: Turns = field(default_factory=lambda: [[]])
    end: str = ""
    steps: int = 0
    output_tokens: int = 0
    latency_s: float = 0.0

    def __post_init__(self) -> None:
        self.messages += request_at(self.entry, 0)
        self.episode = Episode.of(CLASSES, entry_facts(self.entry), None)

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

    def take(self, text: str) -> None:
        """The model's answer: its calls are run, or the user goes on with the next turn."""
        parsed = parse(text, tools_at(self.entry, self.turn))
        self.steps += 1
        self.messages.append(turn_of(text, parsed))
        # BFCL too takes what it cannot decode for the end of the turn.
        if parsed.error or not parsed.calls:
            if len(self.turns) == len(self.entry["question"]):
                self.end = "answered"
            else:
                self.turns.append([])
                self.messages += request_at(self.entry, self.turn)
            return
        self.turns[-1].append([[c.name, c.known_args] for c in parsed.calls])
        calls = parsed.calls
        try:
            self.messages += [Message("tool", self.episode.call(c), name=c.name) for c in calls]
        except WorldDown:
            self.end = CRASHED
            return
        if len(self.turns[-1]) > self.max_steps:
            self.end = "max_steps"

    def end_without_request(self, why: str) -> None:
        """Its prompt cannot be asked; where that was the first one, it has no answer at all."""
        self.end = TOO_LONG if why == "too_long" and not self.steps else why


def entry_facts(entry: JsonObject) -> JsonObject:
    """What the world needs of an entry."""
    return {k: entry[k] for k in ("id", "initial_config", "involved_classes", "ground_truth")}


def entry_verdicts(
    jobs: Sequence[tuple[JsonObject, Turns]], timeout_s: float = 30.0
) -> list[sandbox.Outcome]:
    """`bfcl_world.turn_verdict` of every job; one that dies costs only itself."""
    calls = [ToolCall.of("turn_verdict", entry=entry_facts(e), turns=turns) for e, turns in jobs]
    out: list[sandbox.Outcome] = []
    while len(out) < len(calls):
        left = calls[len(out) :]
        # Half a second each beside the start: a verdict runs the whole conversation twice.
        limits = sandbox.Limits(timeout_s + 0.5 * len(left), memory_mib=1024, output_kib=1 << 16)
        found = sandbox.run_calls(WORLD, left, limits).outcomes
        # One that kills the process leaves the rest unrun: they go into the next process.
        out += [o for o in found if o.error != "not_run"]
    return out


def conversation_shard(part: Sequence[JsonObject], asker: Asker, max_steps: int) -> Lines:
    """Every entry, to its last turn: one line of multi_turn.parquet each. Raises EngineDown."""
    conversations = [Conversation(entry, max_steps) for entry in part]
    sampling, name = client.Sampling(max_tokens=asker.max_tokens), asker.arm.name
    roll_out_all(conversations, EngineSampler(asker, lambda _: sampling))
    return scored_conversations([conversation_line(name, c) for c in conversations], part)


def conversation_line(arm: str, conversation: Conversation) -> FlatRow:
    """One line of multi_turn.parquet, before its verdict."""
    not_requested = conversation.end and not conversation.steps
    broken = conversation.end in (CRASHED, client.INFRA_FAILED)
    # Too long at the first prompt is no answer; later it is one that ended too soon.
    lost = conversation.end if not_requested or broken else ""
    return {
        "arm": arm,
        "split": split_of(conversation.entry["category"]),
        "id": conversation.entry["id"],
        "failed": lost,
        "end": conversation.end,
        "turns": json.dumps(conversation.turns, ensure_ascii=False),
        "steps": float(conversation.steps),
        "output_tokens": float(conversation.output_tokens),
        "latency_s": conversation.latency_s,
        "row": json.dumps(to_row(finish(conversation.row)), ensure_ascii=False),
    }


def lost_conversation(arm: str, entry: JsonObject, why: str) -> FlatRow:
    """An entry that was not asked."""
    line = conversation_line(arm, Conversation(entry, 1)) | dict.fromkeys(VALUES) | {"fault": None}
    return line | {"end": why, "failed": why}


def scored_conversations(lines: Lines, part: Sequence[JsonObject]) -> Lines:
    """Lines with their verdicts: multi_turn_accuracy, 1 where every turn is right; turn_progress,
    the share of turns before the first wrong one; `fault`, BFCL's error. None where it failed.

    A conversation that was cut (max_steps, too_long) lacks its last turns, which BFCL calls
    force_terminated."""
    known = {entry["id"]: entry for entry in part}
    jobs = [
        (known[line["id"]], json.loads(line["turns"]) if line["end"] == "answered" else [])
        for line in lines
        if not line["failed"]
    ]
    outcomes, out = iter(entry_verdicts(jobs)), []
    for line in lines:
        outcome = None if line["failed"] else next(outcomes)
        if outcome is None or outcome.error:
            why = line["failed"] or CRASHED
            out.append(line | dict.fromkeys(COMPARED) | {"fault": None, "failed": why})
            continue
        fault, right = outcome.value
        share = right / len(known[line["id"]]["question"])
        values = {"multi_turn_accuracy": float(not fault), "turn_progress": share}
        out.append(line | values | {"fault": fault})
    return out


def conversation_rows(lines: Lines) -> list[Measured]:
    """The values of every conversation; `fault.NAME` is 1 where it has that error."""
    faults = sorted({x["fault"] for x in lines if x["fault"]})
    names = (*VALUES, *(f"fault.{f}" for f in faults))
    wide = [x | {f"fault.{f}": float(x["fault"] == f) for f in faults} for x in lines]
    return [Measured.of_columns(x, names) for x in wide]
