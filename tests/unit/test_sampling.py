"""What a run samples: shares of pools, near requests, checks of rows, one edit per row."""

from collections import Counter
from dataclasses import replace

import pytest

from raytune_agents import agents, negatives
from raytune_agents.agents import parse_spec
from raytune_agents.agents.init import init_spec, to_yaml
from raytune_agents.config import (
    ConfigError,
    EngineConfig,
    GenerateConfig,
    NegativesConfig,
    load_config,
)
from raytune_agents.generate import POOLS, rewrite, sampling, validate_rows
from raytune_agents.generate.tasks import tasks
from raytune_agents.negatives import choice
from raytune_agents.records import Message, ToolCall, Trajectory, finish
from raytune_agents.sandbox import run_calls

EVEN = GenerateConfig(rows=20 * len(POOLS), pools=dict.fromkeys(POOLS, 1.0))


def test_shares_sum_to_one_and_an_unknown_pool_names_the_nearest() -> None:
    assert sampling.pool_shares({"tflan": 3, "react": 1, "noisy": 0}) == {
        "tflan": 0.75,
        "react": 0.25,
    }
    with pytest.raises(ConfigError, match=r"generate.pools.reakt: .* did you mean react\?"):
        sampling.pool_shares({"reakt": 1.0})
    with pytest.raises(ConfigError, match=r"pools: .* cannot be normalised"):
        load_config(None, ["generate.pools={tflan: -1}"])


def test_rows_are_split_by_largest_remainders() -> None:
    assert sampling.apportion(10, {"a": 0.5, "b": 0.25, "c": 0.25}) == {"a": 5, "b": 3, "c": 2}
    assert sampling.apportion(7, {"a": 1, "b": 1, "c": 1}) == {"a": 3, "b": 2, "c": 2}
    assert sampling.apportion(0, {"a": 1.0}) == {"a": 0}


def test_every_pool_gets_its_share_over_all_agents() -> None:
    drawn = sampling.sample_rows(EVEN, 17)
    assert Counter(map(sampling.pool_of, drawn.rows)) == dict.fromkeys(POOLS, 20)
    assert {r.source for r in drawn.rows} == {f"agent/{n}" for n in agents.shipped()}
    assert len({r.id for r in drawn.rows}) == 20 * len(POOLS)
    assert all(r.split == "train" for r in drawn.rows)
    assert [r.id for r in drawn.rows] == [r.id for r in sampling.sample_rows(EVEN, 17).rows]
    assert {r.id for r in drawn.rows}.isdisjoint(r.id for r in sampling.sample_rows(EVEN, 18).rows)


def test_few_rows_of_a_pool_are_of_different_kinds() -> None:
    few = sampling.sample_rows(EVEN.model_copy(update={"rows": 6 * len(POOLS)}), 17).rows
    assert len({r.meta["cell"] for r in few if "cell" in r.meta}) >= 5
    assert len({tuple(r.meta["goals"]) for r in few if sampling.pool_of(r) == "react"}) > 1
    assert {bool(r.calls) for r in few if sampling.pool_of(r) == "followup"} == {True, False}


def test_candidates_are_cut_where_the_answer_does_not_name_them() -> None:
    drawn = sampling.sample_rows(EVEN.model_copy(update={"tools": 2}), 3)
    for row in drawn.rows:
        names = {t.name for t in row.tools}
        assert {c.name for c in row.calls} <= names
        if row.meta.get("near") and row.meta.get("refuse") != "nonexistent_tool":
            assert row.meta["near"] in names
        if sampling.pool_of(row) in ("tflan", "masked", "gradual"):
            assert len(names) == 2
        if sampling.pool_of(row) == "distracted":
            assert len(names) == 7


def test_a_request_too_near_to_an_earlier_one_gives_way() -> None:
    near = sampling.too_near(
        [("a", "run the tests in src/login with pytest"), ("a", "run the tests in src/login with "
         "pytest."), ("b", "run the tests in src/login with pytest"),
         ("a", "draw a pie chart of sales by region")], 0.2)  # fmt: skip
    assert near == [False, True, False, False]
    assert sampling.too_near([("a", "x"), ("a", "x")], 0.0) == [False, False]
    many = EVEN.model_copy(update={"rows": 300, "pools": {"tflan": 1.0}, "min_distance": 0.4})
    drawn = sampling.sample_rows(many, 1)
    assert drawn.similar["tflan"] > 10
    assert len(drawn.rows) + drawn.short["tflan"] == 300
    loose = sampling.sample_rows(many.model_copy(update={"min_distance": 0.0}), 1)
    given_way = {r.id for r in loose.rows} - {r.id for r in drawn.rows}
    assert 0 < len(given_way) <= drawn.similar["tflan"]


def test_pools_that_a_spec_cannot_give_are_counted_as_short(tmp_path) -> None:
    spec = tmp_path / "own.yaml"
    spec.write_text(
        "name: own\ndescription: d\ntools:\n- {name: add, description: Adds., parameters: "
        "{type: object, properties: {a: {type: integer}}, required: [a]}}\n"
    )
    config = EVEN.model_copy(update={"agents": [str(spec)], "rows": 26})
    drawn = sampling.sample_rows(config, 1)
    assert drawn.short["react"] == drawn.short["dialogue"] == drawn.short["dependent"] == 2
    assert len(drawn.rows) + drawn.short.total() == 26


def test_sampled_rows_pass_format_and_execution() -> None:
    executor = validate_rows.executor(GenerateConfig())
    for row in sampling.sample_rows(EVEN, 5).rows:
        assert validate_rows.format_fault(row) == ""
        assert executor.fault(row) == ""


ROW = tasks(agents.load_spec("security"), 1, 1)[0]


def called(row, call: ToolCall):
    return finish(replace(row, messages=(*row.prompt, Message("assistant", tool_calls=(call,)))))


def test_what_format_and_execution_refuse() -> None:
    executor = validate_rows.executor(GenerateConfig(agents=["security"]))
    assert validate_rows.format_fault(called(ROW, ToolCall.of("nothing"))) != ""
    assert validate_rows.format_fault(called(ROW, ToolCall.of("scanner", target=3))) != ""
    assert validate_rows.format_fault(replace(ROW, messages=ROW.prompt)) == "no_answer"
    assert executor.fault(called(ROW, ToolCall.of("scanner", target=3))).startswith("scanner: ")
    run = POOLS["react"](agents.load_spec("security"), 1, 1)[0]
    at = next(i for i, m in enumerate(run.messages) if m.role == "tool")
    lie = replace(run.messages[at], content='{"ok": "made up"}')
    forged = replace(run, messages=(*run.messages[:at], lie, *run.messages[at + 1 :]))
    assert executor.fault(run) == ""
    assert executor.fault(forged) == "unreal"
    cut = POOLS["dependent"](agents.load_spec("security"), 1, 1)[0]
    at = next(i for i, m in enumerate(cut.messages) if m.role == "tool")
    forged = replace(cut, messages=(*cut.messages[:at], lie, *cut.messages[at + 1 :]))
    assert (executor.fault(cut), executor.fault(forged)) == ("", "unreal")


TOOLS = '''
import os
def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b
def peek(a: int) -> str:
    """Wants a secret."""
    return os.environ["OPENAI_API_KEY"]
'''


def test_a_users_tool_module_runs_in_the_sandbox(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    (tmp_path / "tools.py").write_text(TOOLS)
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    tree = {"name": "own", "description": "d", "module": "tools.py", "tools": [
        {"name": n, "description": "Adds.", "parameters": schema} for n in ("add", "peek")
    ]}  # fmt: skip
    path = tmp_path / "own.yaml"
    path.write_text(str(tree))
    executor = validate_rows.executor(GenerateConfig(agents=[str(path)]))
    row = replace(tasks(parse_spec(tree), 1, 1)[0], source="agent/own")
    assert executor.fault(called(row, ToolCall.of("add", a=1, b=2))) == ""
    assert "TypeError" in executor.fault(called(row, ToolCall.of("add", a=1)))
    assert "KeyError" in executor.fault(called(row, ToolCall.of("peek", a=1)))
    path.write_text(str(tree | {"module": "none.py"}))
    with pytest.raises(ConfigError, match=r"none\.py.* does not exist"):
        validate_rows.executor(GenerateConfig(agents=[str(path)]))


HOSTILE = """
import os
def loop(a: int):
    while True: pass
def eat(a: int): return len(bytearray(10 << 30))
def fork(a: int): return os.fork()
def peek(a: int): return [v for v in os.environ.values() if "sk-" in v]
def parent(a: int): return open(f"/proc/{os.getppid()}/environ").read()
def add(a: int): return a + 1
"""


def test_hostile_tool_code_is_stopped_and_counted_and_sees_no_secret(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    (tmp_path / "bad.py").write_text(HOSTILE)
    spec = init_spec(tmp_path / "bad.py")
    path = tmp_path / "bad.yaml"
    path.write_text(to_yaml(spec.model_copy(update={"module": "bad.py"})))
    config = GenerateConfig(agents=[str(path)], tool_timeout_s=1.0)
    names = ("loop", "eat", "fork", "peek", "parent", "add")
    base = Trajectory(tools=spec.toolspecs, source="agent/bad", pool="synthetic.followup")
    turns = [(Message("user", "use it on 1"),
              Message("assistant", tool_calls=(ToolCall.of(n, a=1),))) for n in names]  # fmt: skip
    rows = [finish(replace(base, messages=m, source_id=n)) for m, n in zip(turns, names)]
    voice = rewrite.ChatClient(None, EngineConfig())  # no turn of this pool is reworded
    shard = rewrite.positives(rows, voice, validate_rows.executor(config), config, 1)
    assert [r.source_id for r in shard.rows] == ["peek", "add"]
    assert shard.rejected == {"followup:execution": 4}
    told = {why.split(":")[1]: why for why in shard.notes}
    assert told["loop"] == "execution:loop: timeout"
    assert told["eat"] == "execution:eat: memory"
    assert told["fork"].startswith("execution:fork: forbidden")
    assert told["parent"].startswith("execution:parent: forbidden")
    (seen,) = run_calls(tmp_path / "bad.py", [ToolCall.of("peek", a=1)]).outcomes
    assert (seen.value, seen.error) == ([], "")


def test_every_fault_is_put_into_good_rows_at_most_once_each() -> None:
    good = sampling.sample_rows(GenerateConfig(rows=300), 17).rows
    bad, refused = choice.edited(good, {}, NegativesConfig(per_positive=1.0), 17)
    assert {r.fault for r in bad} == set(negatives.FAULTS)
    assert len({(r.fault, r.parents) for r in bad}) == len({r.id for r in bad}) == len(bad)
    by_id = {r.id: r for r in good}
    assert all(negatives.verified(by_id[r.parents[0]], r, r.fault) == "" for r in bad)
    short = sum(n for why, n in refused.items() if why.endswith("no_row_left"))
    assert len(bad) + short == len(good) >= 290
    assert max(Counter(r.fault for r in bad).values()) <= 12  # 300 over 26 faults
    assert refused["wrong_order still_right"] > 0  # thrown away and counted
    config = NegativesConfig(faults=["wrong_order", "wrong_value"])
    plain = [r for r in good if "goal" not in r.meta]
    bad, refused = choice.edited(plain, {}, config, 17)
    assert {r.fault for r in bad} == {"wrong_value"}
    assert refused["wrong_order no_row_admits"] == 1
    with pytest.raises(ConfigError, match="did you mean wrong_value"):
        negatives.fault_named("wrong_valu")


def test_negatives_that_differ_are_kept() -> None:
    """Of twice as many candidates the choice reaches more tools of each fault than the first ones
    do, and what it leaves is counted."""
    good = sampling.sample_rows(GenerateConfig(rows=120, pools={"tflan": 1.0}), 5).rows
    config = NegativesConfig(per_positive=0.5, faults=["wrong_value", "missing_required"])
    bad, refused = choice.edited(good, {}, config, 5)
    assert Counter(r.fault for r in bad) == {"wrong_value": 30, "missing_required": 30}
    assert refused["wrong_value not_chosen"] == refused["missing_required not_chosen"] == 30
    few = NegativesConfig(per_positive=0.3, faults=["wrong_value"], candidates=3)
    tools = Counter(r.calls[0].name for r in choice.edited(good, {}, few, 5)[0])
    assert len(tools) == len({r.calls[0].name for r in good})
    made = [choice.Candidate(replace(bad[0], id=str(k)), "a") for k in range(8)]
    made += [choice.Candidate(replace(bad[-1], id="odd"), "b")]
    caps = Counter({bad[0].fault: 1}) + Counter({bad[-1].fault: 1})
    assert "odd" in {r.id for r in choice.choose_negatives(made, caps, 1)}
    assert choice.choose_negatives(made[:1], {bad[0].fault: 0}, 1) == []
