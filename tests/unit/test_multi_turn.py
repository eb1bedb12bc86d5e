"""BFCL multi-turn on its executable classes: our verdicts against the official checker's, what a
turn offers, what ends a conversation.

The official checker runs with the interpreter named by BFCL_PYTHON (see evaluate/bfcl_official.py).
"""

import ast
import copy
import json
import os
import random
import subprocess
from functools import lru_cache

import pytest

from raytune_agents.agents.worlds import Episode, WorldDown
from raytune_agents.agents.worlds.process import box_of
from raytune_agents.calls import render_calls
from raytune_agents.config import Config, MultiTurnConfig
from raytune_agents.evaluate import multi_turn
from raytune_agents.evaluate.estimates import Resampling
from raytune_agents.evaluate.result_files import KINDS
from raytune_agents.readers import bfcl
from raytune_agents.records import ToolCall
from raytune_agents.sandbox import Limits

pytestmark = pytest.mark.skipif(not bfcl.installed(), reason="needs the package bfcl-eval")
CATEGORIES = ["base", "miss_func", "miss_param", "long_context"]
SECTION = Config().evaluate.model_copy(update={"resamples": 200})
HOW = Resampling(resamples=200)
ROWS = 12


@lru_cache(maxsize=1)
def entries() -> list:
    return multi_turn.entries(MultiTurnConfig(rows=ROWS, categories=CATEGORIES))


@lru_cache
def parameters(classes: tuple[str, ...]) -> dict[str, list[str]]:
    docs = [d for name in classes for d in multi_turn.documents(name)]
    return {d["name"]: list(d["parameters"]["properties"]) for d in docs}


def call(text: str, entry: dict) -> list:
    """[name, arguments] of a gold call; BFCL writes some arguments by place."""
    node = ast.parse(text, mode="eval").body
    name = node.func.id
    places = parameters(tuple(entry["involved_classes"]))[name]
    given = dict(zip(places, map(ast.literal_eval, node.args)))
    return [name, given | {k.arg: ast.literal_eval(k.value) for k in node.keywords}]


def gold(entry: dict) -> list:
    """Gold as a model's turns: each call a step of its own."""
    return [[[call(text, entry)] for text in turn] for turn in entry["ground_truth"]]


def edited(turns: list, entry: dict, rng: random.Random) -> list:
    """The turns with one seeded edit; some stay right."""
    turns = copy.deepcopy(turns)
    full = [i for i, turn in enumerate(turns) if turn]
    i = rng.choice(full)
    kind = rng.choice(("drop", "value", "extra", "swap", "empty", "unknown", "late", "joined"))
    if kind == "drop":
        turns[i].pop(rng.randrange(len(turns[i])))
    elif kind == "value":
        step = rng.choice(turns[i])
        key = next(iter(step[0][1]), None)
        step[0][1] = step[0][1] | ({key: "other"} if key else {"zz": 1})
    elif kind == "extra":
        name = rng.choice(("pwd", "ls", "no_such_function"))
        turns[i].insert(0, [[name, {}]])
    elif kind == "swap":
        turns[i] = turns[i][::-1]
    elif kind == "empty":
        turns[i] = []
    elif kind == "unknown":
        turns[i].append([["run", {"a": 1}]])
    elif kind == "late" and i + 1 < len(turns):
        turns[i + 1] = [turns[i].pop(), *turns[i + 1]]
    elif kind == "joined":
        turns[i] = [[c for step in turns[i] for c in step]]
    return turns


@lru_cache(maxsize=1)
def jobs() -> list:
    """(entry, turns): gold and edits of every entry."""
    out = []
    for entry in entries():
        right = gold(entry)
        out += [(entry, right)]
        out += [
            (entry, edited(right, entry, random.Random(f"{entry['id']}/{k}"))) for k in range(4)
        ]
    return out


@lru_cache(maxsize=1)
def ours() -> list:
    out = multi_turn.entry_verdicts(jobs())
    assert not [o.error for o in out if o.error]
    return [o.value for o in out]


_OFFICIAL = """
import json, sys
jobs = json.load(sys.stdin)
out, sys.stdout = sys.stdout, sys.stderr
from bfcl_eval.eval_checker.multi_turn_eval.multi_turn_checker import multi_turn_checker
verdicts = []
for k, (entry, turns) in enumerate(jobs):
    text = [[[f"{n}({','.join(f'{a}={v!r}' for a, v in args.items())})" for n, args in step]
             for step in turn] for turn in turns]
    got = multi_turn_checker(text, entry["ground_truth"], entry, entry["id"], f"model{k}")
    verdicts.append("" if got["valid"] else got["error_type"].removeprefix("multi_turn:"))
json.dump(verdicts, out)
"""


def test_gold_is_right_in_every_category():
    verdicts = [v for (entry, turns), v in zip(jobs(), ours()) if turns == gold(entry)]
    assert {entry["category"] for entry, _ in jobs()} == set(CATEGORIES)
    assert len(verdicts) >= ROWS * len(CATEGORIES)
    assert {v[0] for v in verdicts} == {""}


def test_edits_reach_every_error():
    found = {v[0] for v in ours()}
    assert found == {"", "instance_state_mismatch", "execution_response_mismatch",
                     "empty_turn_model_response"}  # fmt: skip


def test_our_verdicts_are_the_official_ones():
    python = os.environ.get("BFCL_PYTHON")
    if not python:
        pytest.skip("BFCL_PYTHON names no interpreter with bfcl-eval")
    done = subprocess.run(
        [python, "-c", _OFFICIAL], input=json.dumps(jobs()), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    official = json.loads(done.stdout)
    assert len(official) == len(jobs())
    different = [
        (entry["id"], theirs, mine)
        for (entry, _), theirs, mine in zip(jobs(), official, ours())
        if theirs != mine[0]
    ]
    assert different == []


def test_a_function_that_is_held_back_comes_with_its_turn():
    entry = next(e for e in entries() if e["category"] == "miss_func")
    [(turn, names)] = entry["missed_function"].items()
    before = {t.name for t in multi_turn.tools_at(entry, int(turn) - 1)}
    after = {t.name for t in multi_turn.tools_at(entry, int(turn))}
    assert after - before == set(names)
    [request] = multi_turn.request_at(entry, int(turn))
    assert request.content == multi_turn.MORE_TOOLS


def converse(entry: dict, texts: list[str], most: int = 20) -> dict:
    """A conversation with a model that says these texts; calls run in the sandbox."""
    made = multi_turn.Conversation(entry, most)
    for text in texts:
        assert not made.end
        made.take(text)
    [line] = multi_turn.scored_conversations([multi_turn.conversation_line("base", made)], [entry])
    return line


def script(entry: dict) -> list[str]:
    """What a perfect model answers: the calls of a turn one by one, then words."""
    out = []
    for turn in gold(entry):
        out += [render_calls([ToolCall.of(name, **args)]) for [[name, args]] in turn]
        out.append("Done.")
    return out


def test_a_perfect_conversation_and_one_that_stops_early():
    entry = entries()[0]
    line = converse(entry, script(entry))
    assert (line["end"], line["fault"], line["failed"]) == ("answered", "", "")
    assert (line["multi_turn_accuracy"], line["turn_progress"]) == (1.0, 1.0)
    assert line["steps"] == len(script(entry))
    seen = [m for m in json.loads(json.loads(line["row"])["messages"]) if m["role"] == "tool"]
    assert len(seen) == sum(map(len, entry["ground_truth"]))
    words = len(entry["ground_truth"][0]) + 1  # the first turn as it should be, then words alone
    line = converse(entry, script(entry)[:words] + ["I cannot."] * (len(entry["question"]) - 1))
    assert (line["multi_turn_accuracy"], line["fault"]) == (0.0, "empty_turn_model_response")
    assert line["turn_progress"] == 1 / len(entry["question"])


def test_too_many_steps_end_a_conversation():
    entry = entries()[0]
    line = converse(entry, [render_calls([ToolCall.of("pwd")])] * 3, most=2)
    assert (line["end"], line["fault"], line["turn_progress"]) == (
        "max_steps", "force_terminated", 0.0)  # fmt: skip


def test_hostile_arguments_cost_only_their_own_conversation():
    entry = next(e for e in entries() if "GorillaFileSystem" in e["involved_classes"])
    other = multi_turn.Conversation(entry, 9)
    for value in (1e308, None, [[]], "x" * 10**5, {"a": 1}):
        other.take(render_calls([ToolCall.of("mkdir", dir_name=value)]))
    assert other.end == ""
    names = ("__class__", "run", "_load_scenario", "eval", "kill")
    odd = multi_turn.Conversation(entry, 9)
    odd.take(render_calls([ToolCall(name) for name in names]))
    seen = [m.content for m in odd.messages if m.role == "tool"]
    assert len(seen) == 5
    assert all("Error during execution" in text for text in seen)
    maths = {"id": "x_base_0", "involved_classes": ["MathAPI"], "initial_config": {},
             "ground_truth": []}  # fmt: skip
    box_of(multi_turn.CLASSES).limits = Limits(timeout_s=1.0)
    lost, kept = (Episode.of(multi_turn.CLASSES, maths, None) for _ in range(2))
    assert json.loads(kept.call(ToolCall.of("add", a=1, b=2))) == {"result": 3}
    with pytest.raises(WorldDown, match="timeout"):
        lost.call(ToolCall.of("power", base=10**6, exponent=10**9))
    assert json.loads(kept.call(ToolCall.of("add", a=2, b=2))) == {"result": 4}
    huge = [[["power", {"base": 10**6, "exponent": 10**9}]]]
    given = [(maths | {"ground_truth": [[]]}, [huge]), (maths, [])]
    [lost, kept] = multi_turn.entry_verdicts(given, timeout_s=1.0)
    assert (lost.error, kept.value) == ("timeout", ["", 0])


def test_the_world_of_an_entry_knows_gold_s_last_state():
    entry = entries()[0]
    right = Episode.of(multi_turn.CLASSES, multi_turn.entry_facts(entry), None)
    assert right.score("") == 0.0
    for turn in gold(entry):
        for [[name, arguments]] in turn:
            right.call(ToolCall.of(name, **arguments))
    assert right.score("") == 1.0


def test_a_conversation_that_was_not_asked_is_not_scored():
    entry = entries()[0]
    line = multi_turn.lost_conversation("base", entry, "infra_failed")
    [again] = multi_turn.scored_conversations([line], [entry])
    assert again["multi_turn_accuracy"] is None
    assert KINDS["multi_turn"].scores([again], HOW) == {"base": {"bfcl_multi_turn_base": {}}}


def test_scores_and_differences_by_entry():
    def line(arm: str, key: str, right: float) -> dict:
        empty = dict.fromkeys(multi_turn.VALUES, 1.0)
        facts = {"arm": arm, "split": "bfcl_multi_turn_base", "id": key, "failed": ""}
        fault = "" if right else "instance_state_mismatch"
        return empty | facts | {"multi_turn_accuracy": right, "fault": fault}

    lines = [line("base", k, 0.0) for k in "abcd"] + [
        line("nat", k, float(k != "a")) for k in "abcd"
    ]
    cells = KINDS["multi_turn"].scores(lines, HOW)
    assert cells["nat"]["bfcl_multi_turn_base"]["multi_turn_accuracy"].value == 0.75
    assert cells["nat"]["bfcl_multi_turn_base"]["fault.instance_state_mismatch"].value == 0.25
    gains = KINDS["multi_turn"].differences(lines, HOW)["nat"]["bfcl_multi_turn_base"]
    cell = gains["multi_turn_accuracy"]
    assert (cell.value, cell.wins, cell.p) == (0.75, 3, 0.25)
