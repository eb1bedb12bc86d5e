"""Which rows are asked: unseen agents, other sources, perturbed twins; and what is refused."""

import json
import random
from dataclasses import replace
from io import StringIO

import pytest
from finished import finish_step
from rich.console import Console

from raytune_agents import exports
from raytune_agents.calls import judge, render_calls
from raytune_agents.config import Config, ConfigError, LabelConfig, SourceConfig, load_config
from raytune_agents.dedup.leaks import LeakIndex
from raytune_agents.evaluate import suites
from raytune_agents.evaluate.perturb import PERTURBATIONS, number_formats, perturb, typos
from raytune_agents.pipeline.context import Context
from raytune_agents.pipeline.evaluate import check_bases, rows_to_ask
from raytune_agents.progress import Display
from raytune_agents.records import Message, ToolCall, ToolSpec, Trajectory, finish
from raytune_agents.split import gold_tools
from raytune_agents.storage import write_json, write_rows

PAY = ToolSpec("pay", "Pay an amount.", json.dumps({"type": "object", "required": ["amount"],
    "properties": {"amount": {"type": "number"}, "who": {"type": "string"}}}))  # fmt: skip
SEE = ToolSpec("see", "Look.", '{"type": "object", "properties": {"at": {"type": "string"}}}')


def row(text: str, *calls: ToolCall, split: str = "test_seen", **more) -> Trajectory:
    said = (Message("user", text), Message("assistant", "" if calls else "no", tool_calls=calls))
    return finish(Trajectory(said, (PAY, SEE), source="t", split=split, **more))


PAID = row(
    "Please transfer exactly 1234.5 dollars quickly to somebody named Smith.",
    ToolCall.of("pay", amount=1234.5, who="Smith"),
)


@pytest.mark.parametrize("name", PERTURBATIONS)
def test_a_right_answer_stays_right(name):
    catalogue = [ToolSpec("other", "Another tool.")]
    made = perturb(PAID, name, 3, catalogue)
    assert made.parents == (PAID.id,)
    assert made.meta["perturbation"] == name
    assert (made.split, made.pool, made.id != PAID.id) == (PAID.split, PAID.pool, True)
    assert judge(render_calls(made.calls), made).ok
    assert perturb(PAID, name, 3, catalogue) == made
    if name in ("typos", "paraphrase"):
        assert "Smith" in made.query
        assert made.query != PAID.query
    if name == "distractors":
        assert {t.name for t in made.tools} == {"pay", "see", "other"}


def test_a_perturbed_row_is_never_the_row_itself():
    short = finish(replace(row("Look.", ToolCall.of("see")), tools=(SEE,)))
    made = [perturb(short, "names_noised", seed, ()) for seed in range(60)]
    assert all(m is None or m.id != short.id for m in made)
    assert sum(m is not None for m in made) > 40


def test_numbers_as_german_writes_them():
    rng = random.Random(0)
    asked = "Pay 1,234.5 or 0.25 or 1,000,000 on 2024-05-02 at 10:30 to v1.2.3 with id 12345."
    made = number_formats(row(asked, ToolCall.of("pay", amount=1234.5)), rng, ())
    said = "Pay 1.234,5 or 0,25 or 1.000.000 on 2024-05-02 at 10:30 to v1.2.3 with id 12345."
    assert made.query == said
    text = row("See 1.5 of it.", ToolCall.of("see", at="part 1.5"))
    assert number_formats(text, rng, ()) is None  # gold wants it as text
    assert number_formats(row("Pay it.", ToolCall.of("pay", amount=1)), rng, ()) is None


def test_typos_leave_values_alone_and_need_a_word():
    for seed in range(20):
        made = typos(PAID, random.Random(seed), ())
        assert "1234.5" in made.query
        assert "Smith" in made.query
        changed = sum(a != b for a, b in zip(PAID.query.split(), made.query.split()))
        assert changed == 1  # 8 words are free, one in six of them
    assert typos(row("Pay 3 to X", ToolCall.of("pay", amount=3)), random.Random(0), ()) is None


def test_rows_that_a_perturbation_cannot_touch_are_counted():
    config = Config().evaluate.model_copy(update={"perturbations": ["number_formats", "typos"]})
    plain = row("Pay three to nobody.", ToolCall.of("pay", amount=3))
    made, untouched = suites.perturbed_rows([PAID, plain], config, 1)
    assert [m.meta["perturbation"] for m in made] == ["number_formats", "typos", "typos"]
    assert untouched == {"not_applicable:number_formats": 1}


def test_unseen_agents_have_calls_refusals_and_questions():
    rows = suites.unseen_agent_rows(["legal", "qa"], 40, 7)
    assert {r.split for r in rows} == {"unseen_agents"}
    assert {r.source for r in rows} == {"agent/legal", "agent/qa"}
    assert any(r.meta.get("refuse") for r in rows)
    assert any(r.meta.get("ask") for r in rows)
    assert any(len(r.calls) > 1 for r in rows)
    assert 36 <= len(rows) <= 44
    called = row("x", ToolCall.of(min(gold_tools(rows[0]) or {"pytest"})), split="train")
    marked = suites.without_seen_tools(rows, [called])
    assert any(r.reject_reason == "seen_tool" for r in marked)


def test_a_source_is_read_and_loses_what_was_trained_on(tmp_path):
    lines = [
        {"messages": [{"role": "user", "content": text},
                      {"role": "assistant", "content": "", "tool_calls": [
                          {"type": "function", "id": "1",
                           "function": {"name": "pay", "arguments": '{"amount": 5}'}}]}],
         "tools": [PAY.openai()]}
        for text in ("Please transfer five dollars to the gardener of my old neighbour today.",
                     "Settle the open bill of the bakery at the corner: it is five dollars.")
    ]  # fmt: skip
    path = tmp_path / "mine.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)) + "\n{broken\n")
    pay = ToolCall.of("pay", amount=5)
    trained = row(lines[0]["messages"][0]["content"], pay, split="train")
    marked = LeakIndex([trained], LabelConfig()).marked
    found = suites.source_rows("mine", SourceConfig(path=str(path)), marked)
    assert len(found.rows) == 2
    assert found.rejected.total() == 1
    suite = suites.Suite()
    suite.add("mine", found.rows)
    assert [r.split for r in suite.rows] == ["mine"]
    assert "bakery" in suite.rows[0].query
    assert suite.rejected == {"contaminated": 1}


def test_an_empty_split_and_bad_gold_are_refused_with_their_reason():
    suite = suites.Suite()
    with pytest.raises(ConfigError, match="split val has no row"):
        suite.add("val", [])
    bad = row("x", ToolCall.of("pay", amount=1), gold="[{]")
    with pytest.raises(ConfigError, match="bad_gold"):
        suite.add("test_seen", [bad])
    good = [row(f"Pay {i}.", ToolCall.of("pay", amount=i)) for i in range(5)]
    suite = suites.Suite()
    suite.add("test_seen", [*good, bad], limit=3)
    assert len(suite.rows) == 3
    assert suite.rejected == {"bad_gold": 1}
    assert not suites.gold_fault(replace(good[0], messages=good[0].messages[:1]))  # relevance set


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["evaluate.perturbations=[typo]"], "did you mean typos"),
        (["evaluate.metrics=[my_metrics:nope]"], "my_metrics:nope' cannot be loaded"),
        (["evaluate.unseen_agents=[qa]"], "take it out"),
        (["evaluate.unseen_agents=[nobody]"], "nobody"),
        (["evaluate.sources={val: {path: bfcl}}"], "write letters, digits and _"),
        (["evaluate.sources={mine: {path: /none.jsonl}}"], "/none.jsonl"),
        (["evaluate.trajectories.agents=[nobody]"], "neither a shipped spec nor a file"),
        (["evaluate.trajectories={tasks: 2, trials: 3}"], "temperature above 0"),
    ],
)
def test_refused_before_anything_starts(words, said):
    with pytest.raises(ValueError, match=said):
        suites.validate_evaluation(load_config(None, words))


def test_goals_are_spread_over_the_agents_and_drawn_apart_from_training():
    tasks = suites.goals(["qa", "legal"], 5, 7)
    assert [t.source for t in tasks].count("agent/qa") == 3
    assert {t.split for t in tasks} == {"trajectories"}
    assert all(t.meta["goal"] and t.meta["world"] for t in tasks)


def test_arms_of_another_base_are_refused(tmp_path):
    config = load_config(None, ["train.arms={sft: {method: sft}}"])
    with pytest.raises(ConfigError, match="arm 'sft' is not trained"):
        check_bases(config, tmp_path)
    finish_step(tmp_path / "train/sft", {"train": {}, "model": config.model})
    check_bases(config, tmp_path)
    other = load_config(None, ["train.arms={sft: {method: sft}}", "model.name=other/model"])
    with pytest.raises(ConfigError, match=r"trained with model\.name='smollm2-135m', not"):
        check_bases(other, tmp_path)


def test_what_a_round_was_trained_on_is_not_asked(tmp_path):
    """Of six goals one was drawn by a round, as was a row of the source; its tool is a seen one."""
    goals = suites.goals(["support"], 6, 17)
    [unseen] = [r for r in suites.unseen_agent_rows(["security"], 40, 17) if r.calls][:1]
    text = "Please transfer five dollars to the gardener of my old neighbour today."
    pay = row(text, ToolCall.of("pay", amount=5), split="train")
    drawn = [replace(r, split="train", reject_reason="") for r in (goals[2], unseen)]
    folder = tmp_path / "run"
    write_rows(folder / "train/again/round-1/new/rows-00000.parquet", [*drawn, pay])
    (folder / "label").mkdir()
    write_json(folder / "read/manifest.json", {"left_out": {"test_seen": "no rows"}})
    free = row("Settle the open bill of the bakery: it is six euros.", ToolCall.of("pay", amount=6))
    lines = [json.dumps(exports.WRITERS["openai"](r)) for r in (pay, free)]
    (tmp_path / "mine.jsonl").write_text("\n".join(lines))
    config = load_config(None, [
        "name=run", f"runs_dir={tmp_path}", "generate.agents=[support]", "seed=17",
        f"evaluate.sources={{mine: {{path: {tmp_path}/mine.jsonl}}}}", "evaluate.few_shot=0",
        "evaluate.unseen_agents=[security]", "evaluate.unseen_rows=40", "evaluate.val_rows=0",
        "evaluate.irrelevance_rows=0", "evaluate.instruction_rows=0", "evaluate.perturbations=[]",
        "evaluate.trajectories.tasks=6", "evaluate.splits=[test_seen]",
    ])  # fmt: skip
    context = Context(config, Display())
    found = rows_to_ask(context)
    context.close()
    assert [t.query for t in found.tasks] == [g.query for i, g in enumerate(goals) if i != 2]
    assert found.rejected["trained_goal"] == 1
    assert found.rejected["contaminated"] == 1
    assert found.rejected["seen_tool"] > 0
    assert [r.query for r in found.rows if r.split == "mine"] == [free.query]
    assert not {unseen.calls[0].name} & {c.name for r in found.rows for c in r.calls}


@pytest.mark.parametrize("limit", [None, 2])
def test_a_split_without_a_limit_gives_no_more_rows_than_a_driver_holds(
    tmp_path, monkeypatch, limit
):
    asked = [row(f"Pay bill {i}.", ToolCall.of("pay", amount=i)) for i in range(5)]
    write_rows(tmp_path / "run/read/rows-00000.parquet", asked)
    write_json(tmp_path / "run/read/manifest.json", {})
    nothing = {"unseen_agents": [], "irrelevance_rows": 0, "instruction_rows": 0, "few_shot": 0,
               "val_rows": 0, "perturbations": [], "trajectories": {"tasks": 0}}  # fmt: skip
    options = nothing | {"splits": ["test_seen"], "limit": limit}
    said = StringIO()
    context = Context(
        Config(name="run", runs_dir=str(tmp_path), evaluate=options), Display(Console(file=said))
    )
    monkeypatch.setattr("raytune_agents.pipeline.evaluate.MOST_SPLIT_ROWS", 3)
    found = rows_to_ask(context).rows
    context.close()
    assert [r.id for r in found] == sorted(r.id for r in asked)[: limit or 3]
    assert ("evaluate.limit" in said.getvalue()) == (limit is None)
