"""All doors from outside the package: a reader, writer, rule, fault, metric, reward, method, chat
client (and the world of test_user_worlds), named in one config as module:function."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from method_rows import small_chat

from raytune_agents import filters, negatives, readers
from raytune_agents.config import Config, ConfigError, load_config
from raytune_agents.config.lookup import user_object
from raytune_agents.evaluate.own_metrics import load_metrics
from raytune_agents.exports import writer_named
from raytune_agents.generate.rewrite import ChatClient
from raytune_agents.inference.client import EngineDown, Sampling
from raytune_agents.mix import validate_weights
from raytune_agents.negatives.choice import edited
from raytune_agents.pipeline.keys import outside
from raytune_agents.records import Message, to_row
from raytune_agents.train import methods, rewards
from raytune_agents.train.tokenized import tokenize_rows

EXAMPLE = Path(__file__).parents[1] / "example"
TICKET = {"ticket": "How many lamps?", "sql": "SELECT count FROM orders WHERE item = 'lamp'"}
FAULT = "orders_package:unfiltered"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.syspath_prepend(str(EXAMPLE))
    monkeypatch.chdir(EXAMPLE)
    return load_config("orders_run.yaml")


def tickets(run: Config, tmp_path: Path, *rows: dict) -> list:
    path = tmp_path / "tickets.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = run.read.sources[0].model_copy(update={"path": str(path)})
    return list(readers.read_source(source))


def test_reader_and_writer_are_each_others_way_back(run: Config, tmp_path: Path) -> None:
    good, bad = tickets(run, tmp_path, TICKET, {"sql": "SELECT 1"})
    assert [writer_named("orders_package:write_ticket")(row) for row in good.rows] == [TICKET]
    assert (bad.rows, bad.error) == ((), "no ticket")


def test_rule_gives_its_reason(run: Config, tmp_path: Path) -> None:
    kept, left = tickets(run, tmp_path, TICKET, TICKET | {"sql": "DELETE FROM orders"})
    reasons = [filters.label(r.rows[0], run.label).reject_reason for r in (kept, left)]
    assert reasons == ["", "no_delete:DELETE"]


def test_fault_is_kept_where_the_checker_calls_it_wrong(run: Config, tmp_path: Path) -> None:
    (found,) = tickets(run, tmp_path, TICKET)
    row = found.rows[0]
    bad, reason = negatives.edit(row, FAULT, seed=1)
    assert (reason, bad.pool, bad.outcome) == ("", f"negative.{FAULT}", 0.0)
    assert bad.calls[0].args == {"statement": "SELECT count FROM orders"}
    same = replace(row, gold='[{"sql": {"statement": ["SELECT count FROM orders", '
                             f'"{TICKET["sql"]}"]}}}}]')  # fmt: skip
    assert negatives.edit(same, FAULT, seed=1) == (None, "still_right")
    made, _ = edited([row], {}, run.negatives.model_copy(update={"per_positive": 1.0}), 1)
    assert [r.fault for r in made] == [FAULT]
    validate_weights({f"negative.{FAULT}": 1.0}, "mix.weights", own=True)
    with pytest.raises(ConfigError, match=r"faults='orders_package:none' cannot be loaded"):
        negatives.fault_named("orders_package:none")


def test_metrics_are_named_and_computed(run: Config) -> None:
    found = load_metrics(run.evaluate.metrics)
    assert {name: m.compute("two words", None) for name, m in found.items()} == {
        "brevity": 1.0, "words": 2}  # fmt: skip
    assert found["words"].better == "lower"


def test_reward_sees_the_answer_and_the_end_of_a_roll_out(run: Config, tmp_path: Path) -> None:
    (found,) = tickets(run, tmp_path, TICKET)
    row = json.dumps(to_row(found.rows[0]))
    _, own = rewards.functions(run.train.grpo.rewards, False)
    assert own.__name__ == "brevity"
    assert own(completions=["short", "x" * 81], row=[row] * 2) == [1.0, 0.0]
    turns = (*found.rows[0].messages, Message("assistant", "Three."))
    ended = replace(found.rows[0], messages=turns)
    assert own(completions=["x" * 81], row=[row], rollout=[json.dumps(to_row(ended))]) == [1.0]


def test_method_makes_its_columns(run: Config, tmp_path: Path) -> None:
    (found,) = tickets(run, tmp_path, TICKET)
    name, two = run.train.arms["own"].method, negatives.edit(found.rows[0], "extra_call", 1)[0]
    made, refused = methods.build_columns(name, [*found.rows, two], small_chat(), run.train, None)
    assert [column["row_id"] for column in made] == [found.rows[0].id]
    assert refused == ["not one call"]
    _, facts = tokenize_rows([two], methods.Recipe(name, run.train, small_chat()), None)
    assert facts["tokens"].to_pylist() == [0]
    with pytest.raises(ConfigError, match=r"method='orders_package:WORDS' is no train\.methods"):
        methods.method_named("orders_package:WORDS")


def test_chat_client_is_asked_and_its_errors_are_outages(run: Config) -> None:
    from orders_package import shout

    ask = [{"role": "user", "content": "Say this:\nthree lamps"}]
    client = ChatClient(small_chat(), run.engine, use_teacher=True, own=shout, concurrency=2)
    replies = client.ask([ask, ask], [Sampling(max_tokens=4), Sampling(max_tokens=4, n=2)])
    assert [r.texts for r in replies] == [["THREE LAMPS"], ["THREE LAMPS"] * 2]
    broken = replace(client, own=lambda messages, sampling: 1 / 0)
    with pytest.raises(EngineDown, match="division by zero"):
        broken.ask([ask], [Sampling(max_tokens=4)])


def test_what_is_named_belongs_to_the_steps_key(run: Config) -> None:
    own = EXAMPLE / "orders_package.py"
    for step in ("generate", "label", "train", "evaluate"):
        assert own in {p.resolve() for p in outside(run, step)}, step


def test_an_unknown_name_says_what_to_write() -> None:
    for option, near in (
        ("train.arms={a: {method: dpoo}}", "dpo"),
        ("train.grpo={rewards: [formt], reward_weights: [1]}", "format"),
    ):
        said = rf"did you mean {near}\? write one of .*, or module:NAME"
        with pytest.raises(ConfigError, match=said):
            load_config(None, [option])




def test_an_edited_function_of_the_user_is_loaded_anew(tmp_path, monkeypatch):
    """Within one process too: the step that is run again must not get the old one."""
    monkeypatch.syspath_prepend(str(tmp_path))
    for text in ("def rule(row): return 'old'\n", "def rule(row): return 'newer'\n"):
        (tmp_path / "edited_rules.py").write_text(text)
        assert f"return {user_object('edited_rules:rule', 'label.rules')(None)!r}" in text
