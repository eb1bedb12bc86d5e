"""Methods without training: markers, columns, pairs, weights, rewards, and what is refused."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from raytune_agents import agents, config, mix, models
from raytune_agents.calls import render_calls
from raytune_agents.chat import IGNORE, Chat, tokens
from raytune_agents.config import ConfigError, KtoSection, NatSection, load
from raytune_agents.generate.react import react
from raytune_agents.generate.tasks import tasks
from raytune_agents.negatives import TRAJECTORY_FAULTS, edit
from raytune_agents.pipeline import eto
from raytune_agents.pipeline.evaluate import arms_of
from raytune_agents.records import (
    Message,
    RecordError,
    ToolCall,
    ToolSpec,
    Trajectory,
    finish,
    to_row,
)
from raytune_agents.train import check, dpo, grpo, kto, methods, nat, rewards, sft
from raytune_agents.train.methods import METHODS

GOOD = tasks(agents.load("qa"), 8, 1)
FAULTS = ("wrong_value", "wrong_function", "missing_required", "answered_directly")
BAD = [bad for row, f in zip(GOOD, FAULTS * 2) if (bad := edit(row, f, 1)[0])]
ROWS = {r.id: r for r in (*GOOD, *BAD)}
RUNS = [r for name in agents.shipped() for r in react(agents.load(name), 4, 3)]
FAILED_RUNS = [bad for row in RUNS for f in TRAJECTORY_FAULTS if (bad := edit(row, f, 2)[0])]


@pytest.fixture(scope="module")
def chat() -> Chat:
    section = load(None, ["model.max_length=900"]).model
    return Chat.of(models.resolve(section), section)


def section_of(*overrides: str) -> config.TrainSection:
    return load(None, [f"train.{o}" for o in overrides]).train


def answers(column: dict) -> list[int]:
    return [x for x in column["labels"] if x != IGNORE]


# --- NAT ---


def test_the_table_and_the_config_name_the_same_methods() -> None:
    assert tuple(METHODS) == config.METHODS


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, ["Generate a response that incorrectly answers the request.",
              "Generate a response that correctly answers the request."]),
        ({"template": "good_bad"}, ["[Bad]", "[Good]"]),
        ({"template": "a_b"}, ["[B]", "[A]"]),
        ({"template": "a_b", "cuts": [0.3, 0.6]}, ["[D]", "[C]", "[B]", "[A]"]),
        ({"template": "good_bad", "cuts": [0.5]}, ["[Bad 2]", "[Bad 1]", "[Good]"]),
        ({"positive": "yes", "negative": "no"}, ["no", "yes"]),
        ({"positive": "p", "negative": ["x", "y"], "cuts": [0.5]}, ["x", "y", "p"]),
    ],
)  # fmt: skip
def test_marker_words(options: dict, words: list[str]) -> None:
    assert nat.words(NatSection(**options)) == words


def test_random_markers_come_from_the_seed_and_differ() -> None:
    first, again, other = (
        nat.words(NatSection(template="random", seed=s, cuts=[0.2, 0.5])) for s in (1, 1, 2)
    )
    assert first == again != other
    assert len(set(first)) == 4


def test_grades_part_the_unit_interval_without_a_gap() -> None:
    def group(grade: float, cuts: list[float]) -> int:
        section = NatSection(template="a_b", cuts=cuts)
        return nat.group(replace(BAD[0], meta={"grade": grade}), section)

    # the four classes of the paper's code: {0}, (0, 0.4), [0.4, 1), {1}
    assert [group(g, [0, 0.4]) for g in (0.0, 0.01, 0.39, 0.4, 0.99)] == [0, 1, 1, 2, 2]
    assert [group(g, [0.5]) for g in (0.0, 0.49, 0.5)] == [0, 0, 1]
    grades = [k / 1000 for k in range(1000)]
    groups = [group(g, [0.1, 0.2, 0.9]) for g in grades]
    assert groups == sorted(groups)
    assert set(groups) == {0, 1, 2, 3}
    assert nat.group(GOOD[0], NatSection(cuts=[0, 0.4])) == 3
    known = replace(GOOD[0], fault="", outcome=0.45)  # a read failure: its grade is its outcome
    assert nat.group(known, NatSection(cuts=[0, 0.4])) == 2


@pytest.mark.parametrize("method", ["nat", "inverse", "nut"])
def test_only_the_question_changes(chat: Chat, method: str) -> None:
    section = section_of("nat.template=a_b")
    for row in (GOOD[0], BAD[0]):
        (plain,) = METHODS["vanilla"].columns(row, chat, section, None)
        (marked,) = METHODS[method].columns(row, chat, section, None)
        word = METHODS[method].marker(row, section)
        good, bad = {"nat": ("[A]", "[B]"), "inverse": ("[B]", "[A]"), "nut": ("", "")}[method]
        assert word == (bad if row.failed else good)
        assert answers(plain) == answers(marked)
        text, before = (chat.tokenizer.decode(c["input_ids"]) for c in (marked, plain))
        assert (text.replace(f"\n{word}", "", 1) if word else text) == before
        question = text.split("<|im_start|>user\n")[1].split("<|im_end|>")[0]
        assert question.endswith(f"\n{word}" if word else row.query)


def test_inference_shows_what_good_rows_carried(chat: Chat) -> None:
    for name, options in {
        "nat": ["nat.template=random", "nat.cuts=[0.5]"],
        "inverse": ["nat.template=good_bad"],
        "nut": [],
    }.items():
        section = section_of(*options)
        (column,) = METHODS[name].columns(GOOD[0], chat, section, None)
        asked = chat.prompt_ids(GOOD[0], METHODS[name].asked(section))
        assert column["input_ids"][: len(asked)] == asked
    assert METHODS["inverse"].asked(section_of("nat.template=good_bad")) == "[Bad]"


def test_observations_and_markers_carry_no_loss(chat: Chat) -> None:
    row = next(r for r in RUNS if sum(m.role == "tool" for m in r.messages) > 1)
    (column,) = nat.columns(row, chat, section_of(), None)
    trained = chat.tokenizer.decode(answers(column))
    for message in row.messages:
        assert (message.content in trained) or message.role != "assistant"
        assert message.role == "assistant" or message.content not in trained
    assert "Generate a response" not in trained


def test_one_config_runs_the_whole_comparison_at_an_equal_budget(chat: Chat) -> None:
    tree = load("jobs/configs/nat_comparison.yaml")
    names = {a.method for a in tree.train.arms.values()}
    assert {"vanilla", "nut", "nat", "inverse"} <= names
    assert any(a.ask_unmarked for a in tree.train.arms.values())
    assert len({nat_words(tree, a) for a in ("nat", "nat_k", "nat_random")}) == 3
    # vanilla spends the tokens of the failures on good rows
    cost = dict.fromkeys(ROWS, 10)
    budgets = {}
    for method in ("vanilla", "nut", "nat"):
        costs = methods.costs(method, ROWS, cost, chat, tree.train)
        rows = [(i, ROWS[i].pool, n) for i, n in costs.items()]
        weights = mix.taken({"synthetic": 0.5, "negative": 0.5}, rows)
        chosen = mix.choose(rows, weights, 60, 4.0, 1)
        budgets[method] = sum(chosen.tokens.values())
        assert any(ROWS[i].failed for i in chosen.ids) is (method != "vanilla")
    assert set(budgets.values()) == {60}


def test_every_arm_is_asked_with_its_marker() -> None:
    tree = load("jobs/configs/nat_comparison.yaml")
    asked = {a.name: (a.marker, a.adapter) for a in arms_of(tree, Path("run"))}
    words = {name: marker for name, (marker, _) in asked.items()}
    assert words["base"] == words["vanilla"] == words["nut"] == words["nat-unmarked"] == ""
    assert words["nat"] == words["nat_k"] == nat.SENTENCE.format("correctly")
    assert (words["nat_good_bad"], words["nat_a_b"], words["inverse"]) == ("[Good]", "[A]", "[Bad]")
    assert asked["nat-unmarked"][1] == asked["nat"][1] != asked["nat_k"][1]


def nat_words(tree: config.Config, arm: str) -> str:
    return "|".join(nat.words(tree.train.of(tree.train.arms[arm]).nat))


def test_arms_tokenise_the_same_rows_once(chat: Chat) -> None:
    own = Chat(chat.path, max_length=900)
    whole, _ = methods.build("vanilla", GOOD, own, section_of(), None)
    first = tokens.cache_info()
    again, _ = methods.build("nut", GOOD, own, section_of(), None)
    assert tokens.cache_info().misses == first.misses
    assert tokens.cache_info().hits == first.hits + 2 * len(GOOD)  # a prompt and an answer each
    assert again == whole
    again[0]["input_ids"].clear()  # what a method does with its ids changes no other arm's
    assert methods.build("nut", GOOD, own, section_of(), None)[0] == whole
    travelled = pickle.loads(pickle.dumps(own))
    assert travelled.prompt_ids(GOOD[0]) == own.prompt_ids(GOOD[0])


# --- loss weights ---


def test_loss_weights_by_part_of_the_answer(chat: Chat) -> None:
    call = ToolCall("add", '{"x": 1, "y": 22}')
    turn = Message("assistant", thought="I think so.", tool_calls=(call,))
    row = finish(Trajectory((Message("user", "Add."), turn)))
    section = section_of("sft={reasoning: 2, retrieval: 3, understanding: 5, instruction: 0}")
    (column,) = sft.columns(row, chat, section, None)
    weighed: dict[float, str] = {}
    for token, label, weight in zip(column["input_ids"], column["labels"], column["weights"]):
        assert (weight == 0) or label != IGNORE
        weighed[weight] = weighed.get(weight, "") + chat.tokenizer.decode([token])
    assert weighed[2.0] == "I think so."
    assert weighed[3.0] == "add"
    assert weighed[5.0].strip() == '{"x": 1, "y": 22}}'  # one token holds both braces
    assert sft.columns(row, chat, section_of(), None)[0]["weights"] is None


def test_loss_weights_by_turn(chat: Chat) -> None:
    turns = (Message("user", "a"), Message("assistant", "b", loss=0.5), Message("user", "c"),
             Message("assistant", "d"), Message("user", "e"),
             Message("assistant", "f", loss=0))  # fmt: skip
    (column,) = sft.columns(finish(Trajectory(turns)), chat, section_of(), None)
    kept = [w for w, x in zip(column["weights"], column["labels"]) if x != IGNORE]
    assert kept == [0.5, 0.5, 1.0, 1.0]  # the word and the end of turn; the last turn has no loss


# --- pairs ---


def test_minimal_pairs_become_columns(chat: Chat) -> None:
    section = section_of()
    twins = METHODS["dpo"].twins(ROWS, section)
    assert set(twins) == {r.id for r in BAD}
    (column,) = dpo.columns(BAD[0], chat, section, twins)
    good = ROWS[BAD[0].parents[0]]
    (whole,) = sft.columns(good, chat, section, None)
    assert column["prompt_ids"] + column["chosen_ids"] == whole["input_ids"]
    assert column["prompt_ids"] == chat.prompt_ids(good)
    assert set(column["chosen_mask"]) == {1}
    assert column["trained_tokens"] == len(column["chosen_ids"]) + len(column["rejected_ids"])
    with pytest.raises(RecordError, match="no better row"):
        dpo.columns(GOOD[0], chat, section, twins)


def test_pairs_that_were_read_are_pairs_too(chat: Chat) -> None:
    good = GOOD[0]
    bad = replace(BAD[0], fault="", outcome=0.0, pool="negative.rejected", parents=(good.id,))
    twins = METHODS["dpo"].twins({good.id: good, bad.id: bad}, section_of())
    made, refused = methods.build("dpo", [bad], chat, section_of(), twins)
    assert len(made) == 1
    assert not refused


def test_outcome_pairs_mask_the_environment(chat: Chat) -> None:
    section = section_of("dpo.pairs=outcome")
    runs = {r.id: r for r in (*RUNS, *FAILED_RUNS)}
    twins = METHODS["dpo"].twins(runs, section)
    assert set(twins) == {r.id for r in FAILED_RUNS}
    made, _ = methods.build("dpo", FAILED_RUNS, chat, section, twins)
    masked = next(c for c in made if 0 in c["chosen_mask"])
    pair = twins[masked["row_id"]]
    kept = [t for t, m in zip(masked["chosen_ids"], masked["chosen_mask"]) if m]
    said = chat.tokenizer.decode(kept)
    for i, message in enumerate(pair.chosen.messages):
        if message.role == "tool":
            assert message.content not in said
        elif message.role == "assistant" and i >= pair.shared and message.content:
            assert message.content in said


def test_step_pairs_are_one_turn_each(chat: Chat) -> None:
    section = section_of("dpo.pairs=step")
    runs = {r.id: r for r in (*RUNS, *FAILED_RUNS)}
    twins = METHODS["dpo"].twins(runs, section)
    made, refused = methods.build("dpo", FAILED_RUNS, chat, section, twins)
    assert made
    assert not refused
    for column in made:
        assert set(column["chosen_mask"]) == set(column["rejected_mask"]) == {1}
        for side in ("chosen_ids", "rejected_ids"):
            assert column[side].count(chat.tokenizer.eos_token_id) == 1
    check.parity("dpo", runs, made, chat, section, twins)


def test_a_pair_with_equal_sides_is_refused(chat: Chat) -> None:
    turn = GOOD[0].target
    good = finish(replace(GOOD[0], messages=(*GOOD[0].prompt, replace(turn, thought="Hm."))))
    same = replace(turn, content="Hm.")  # other fields, the same text
    bad = replace(BAD[0], messages=(*good.prompt, same), parents=(good.id,))
    pool = {good.id: good, bad.id: bad}
    twins = METHODS["dpo"].twins(pool, section_of())
    made, refused = methods.build("dpo", [bad], chat, section_of(), twins)
    assert refused == ["the two sides of a pair are equal"]
    with pytest.raises(ConfigError, match=r"sides of a pair are equal.*check mix"):
        check.before("dpo", [bad], made, refused, chat, section_of(), twins)


def test_pairs_cost_both_sides(chat: Chat) -> None:
    costs = methods.costs("dpo", ROWS, dict.fromkeys(ROWS, 1), chat, section_of())
    assert all(costs[r.id] == 0 for r in GOOD)
    for bad in BAD:
        both = (sft.columns(r, chat, section_of(), None)[0] for r in (bad, ROWS[bad.parents[0]]))
        assert costs[bad.id] == sum(c["trained_tokens"] for c in both)


# --- KTO ---


@pytest.mark.parametrize(
    ("good", "bad", "options", "weights"),
    [
        (10, 10, {}, (1.0, 1.0)),
        (30, 10, {}, (1.0, 3.0)),
        (10, 30, {}, (3.0, 1.0)),
        (30, 10, {"undesirable_weight": 3.0, "desirable_weight": 1.3}, (1.3, 3.0)),
        (10, 20, {"undesirable_weight": 2.0}, (4.0, 2.0)),
        (10, 20, {"desirable_weight": 2.0}, (2.0, 1.0)),
    ],
)
def test_kto_weights(good: int, bad: int, options: dict, weights: tuple) -> None:
    assert kto.weights(good, bad, KtoSection(**options)) == pytest.approx(weights)


def test_kto_refuses_one_class_and_weights_out_of_balance() -> None:
    for good, bad, word in ((5, 0, "negative"), (0, 5, "positive")):
        with pytest.raises(ConfigError, match=f"needs both.*{word}"):
            kto.weights(good, bad, KtoSection())
    wrong = KtoSection(desirable_weight=1.0, undesirable_weight=1.0)
    with pytest.raises(ConfigError, match=r"balance \(3.00.*write 0.333 to 0.444"):
        kto.weights(30, 10, wrong)


def test_kto_answers_are_mismatched_within_a_step() -> None:
    assert kto.rotated(5, 2) == [1, 0, 4, 2, 3]
    assert kto.rotated(4, 4) == [3, 0, 1, 2]
    for count in range(2, 20):
        other = kto.rotated(count, 4)
        assert sorted(other) == list(range(count))
        assert all(i != j for i, j in enumerate(other))


# --- rewards (methods of ToolRL and Tool-N1, worked by hand) ---

SCHEMA = '{"type": "object", "properties": {"x": {"type": "number"}, "y": {"type": "string"}}}'
ADD = ToolSpec("add", "", SCHEMA)


def row_of(*calls: ToolCall, gold: str = "") -> Trajectory:
    target = Message("assistant", tool_calls=calls) if calls else Message("assistant", "Hi")
    tools = (ADD, replace(ADD, name="sub"))
    return finish(Trajectory((Message("user", "q"), target), tools, gold=gold))


ONE = row_of(ToolCall.of("add", x=1, y="a"))
CHAT = row_of(gold="[]")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (render_calls([ToolCall.of("add", x=1, y="a")]), 3.0),
        (render_calls([ToolCall.of("add", p=1, q="a")]), -1.5),  # name only: S = 1 of 4
        (render_calls([ToolCall.of("add", x=2, y="a")]), 1.5),  # one of two values: S = 3 of 4
        (render_calls([ToolCall.of("sub", x=1, y="a")]), -3.0),
        ("It is 1.", -3.0),
        ("<tool_call>{broken", -3.0),
    ],
)
def test_toolrl_by_hand(text: str, value: float) -> None:
    assert rewards.toolrl(text, ONE) == pytest.approx(value)


def test_toolrl_leaves_abstaining_to_the_format() -> None:
    call = render_calls([ToolCall.of("add", x=1)])
    assert [rewards.toolrl(t, CHAT) for t in ("Hi", call)] == [0.0, 0.0]
    assert [rewards.format_reward(t, CHAT) for t in ("Hi", call, "")] == [1.0, 0.0, 0.0]
    assert [rewards.format_reward(t, ONE) for t in ("Hi", call, "<tool_call>{")] == [0.0, 1.0, 0.0]


def test_format_with_thoughts() -> None:
    call = render_calls([ToolCall.of("add", x=1)])
    thought = f"<think>why</think>\n{call}"
    assert rewards.format_reward(call, ONE, think=True) == 0.0
    assert rewards.format_reward(thought, ONE, think=True) == 1.0
    assert rewards.format_reward(thought, ONE) == 1.0
    assert rewards.format_reward(f"<think>a</think><think>b</think>{call}", ONE, think=True) == 0.0


def test_tooln1_by_hand() -> None:
    two = row_of(ToolCall.of("add", x=1, y="a"), ToolCall.of("sub", x=2))
    for text, value in (
        ([ToolCall.of("sub", x=2), ToolCall("add", '{"y": "a", "x": 1}')], 1.0),  # any order
        ([ToolCall.of("add", x=1, y="a")], 0.0),
        ([ToolCall.of("add", x=1, y="a"), ToolCall.of("sub", x=3)], 0.0),
        ([ToolCall.of("add", x=1, y="a"), ToolCall.of("sub", x=2), ToolCall.of("sub", x=2)], 0.0),
    ):
        assert rewards.tooln1(render_calls(text), two) == value
    gold = row_of(gold='[{"add": {"x": [1], "y": ["", "a"]}}]')
    assert rewards.tooln1(render_calls([ToolCall.of("add", x=1)]), gold) == 1.0
    assert rewards.tooln1(render_calls([ToolCall.of("add", x=1.0)]), gold) == 0.0  # 1 is not 1.0
    assert rewards.tooln1("Hi", CHAT) == 1.0
    right = render_calls([ToolCall.of("add", x=1)])
    assert rewards.tooln1(right, gold, think=True) == 0.0
    assert rewards.tooln1(f"<think>x</think>{right}", gold, think=True) == 1.0


def test_irrelevance_is_known_only_where_no_call_is_right() -> None:
    call = render_calls([ToolCall.of("add", x=1)])
    assert rewards.irrelevance(call, ONE) is None
    assert [rewards.irrelevance(t, CHAT) for t in ("Hi", call)] == [1.0, 0.0]


def test_reward_functions_take_what_the_columns_hold(chat: Chat) -> None:
    (column,) = METHODS["grpo"].columns(GOOD[0], chat, section_of(), None)
    made = rewards.functions(["toolrl", "irrelevance"], False)
    assert [f.__name__ for f in made] == ["toolrl", "irrelevance"]
    right = render_calls(GOOD[0].target.tool_calls)
    given = {"completions": [right, "no"], "row": [column["row"]] * 2, "prompts": ["", ""]}
    assert [f(**given) for f in made] == [[3.0, -3.0], [None, None]]
    assert column["prompt"] == chat.prompt_text(GOOD[0])
    assert json.loads(column["row"])["id"] == GOOD[0].id


# --- what is refused, before anything starts ---


@pytest.mark.parametrize(
    ("method", "rows", "words"),
    [
        ("nat", GOOD, "no failures.*negative"),
        ("nut", BAD, "no good rows.*positive"),
        ("sft", [*GOOD, *BAD], "failures.*method: nat"),
        ("kto", GOOD, "KTO needs both"),
        ("grpo", GOOD, None),
    ],
)
def test_methods_refuse_rows_they_cannot_learn_from(
    chat: Chat, method: str, rows: list, words: str | None
) -> None:
    section = section_of()
    made, refused = methods.build(method, rows, chat, section, None)
    if words is None:
        check.before(method, rows, made, refused, chat, section, None)
        return
    with pytest.raises(ConfigError, match=words):
        check.before(method, rows, made, refused, chat, section, None)


def test_all_arms_are_checked_before_the_first_is_trained() -> None:
    arms = "{good: {method: vanilla}, marked: {method: nat}}"
    section = load(None, [f"train.arms={arms}"]).train
    check.arms(section, ROWS, {"good": [GOOD[0].id], "marked": [GOOD[0].id, BAD[0].id]})
    with pytest.raises(ConfigError, match=r"train.arms.marked \(method nat\): no failures"):
        check.arms(section, ROWS, {"good": [GOOD[0].id], "marked": [GOOD[0].id]})


def test_rows_that_are_cut_or_masked_are_refused(chat: Chat) -> None:
    short = Chat(chat.path, max_length=40)
    made, refused = methods.build("vanilla", GOOD, short, section_of(), None)
    with pytest.raises(ConfigError, match=r"no row to train on.*longer than model.max_length=40"):
        check.before("vanilla", GOOD, made, refused, short, section_of(), None)
    with pytest.raises(ConfigError, match="max_length=99999 is longer"):
        check.room(Chat(chat.path, max_length=99_999))
    masked = section_of(
        "sft={reasoning: 1, answer: 0, retrieval: 0, understanding: 0, instruction: 0}"
    )
    made, refused = methods.build("vanilla", GOOD, chat, masked, None)
    with pytest.raises(ConfigError, match="has no trained token"):
        check.before("vanilla", GOOD, made, refused, chat, masked, None)


def test_another_prompt_than_the_engines_is_refused(chat: Chat) -> None:
    made, _ = methods.build("vanilla", GOOD, chat, section_of(), None)
    check.parity("vanilla", ROWS, made, chat, section_of(), None)
    made[0]["input_ids"][3] += 1
    with pytest.raises(ConfigError, match="trained on another prompt"):
        check.parity("vanilla", ROWS, made, chat, section_of(), None)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("train.nat.cuts=[0.5, 0.2]", "rising numbers"),
        ("train.nat.cuts=[0.5, 1.0]", "rising numbers"),
        ("train.nat.cuts=[0, 0.2, 0.5]", "words for 3"),
        ("train.nat={positive: a, negative: a}", "marks failures too"),
        ("train.nat.positive=a", "both positive and negative"),
        ("train.nat={positive: a, negative: [b, c]}", "one marker a group"),
        ("train.dpo={loss_type: [sft], loss_weights: [1]}", "compares no pair"),
        ("train.dpo={loss_type: [robust], loss_weights: [1]}", "label_smoothing"),
        ("train.dpo.loss_type=[sigmod, sft]", "sigmoid_norm"),
        ("train.grpo.reward_weights=[1]", "one weight a reward"),
        ("train.sft={reasoning: 0, retrieval: 0, understanding: 0, instruction: 0, answer: 0}",
         "all loss weights are 0"),
        ("train.arms={a: {method: sft, ask_unmarked: true}}", "no marker"),
        ("train.arms={a: {method: nat, options: {nat.cut: [0.5]}}}", "nat.cut: unknown option"),
        ("train.arms={a: {method: nat, options: {nat.cuts: [2]}}}", "rising numbers"),
        ("train.arms={a: {method: ppo}}", "grpo"),
    ],
)  # fmt: skip
def test_wrong_options_say_what_to_write(override: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load(None, [override])


def test_an_arm_has_its_own_options() -> None:
    train = load(
        None,
        ["train.arms={a: {method: nat, learning_rate: 0.5, options: {nat.template: a_b, "
         "lora.r: 4}}}"],
    ).train  # fmt: skip
    own = train.of(train.arms["a"])
    assert (own.nat.template, own.lora.r, own.learning_rate) == ("a_b", 4, 0.5)
    assert (train.nat.template, train.lora.r) == ("default", 16)


# --- GRPO with executable tools ---

PLAYS = ["grpo={turns: 8, max_tokens: 40, rewards: [goal, executed], reward_weights: [1, 1]}"]


class Policy:
    """Stands for TRL's trainer and its model: draws given answers, a list for each prompt."""

    def __init__(self, chat: Chat, rows: list, answers: list[list[list[int]]]):
        self.chat, self.rows, self.answers, self.turns = chat, rows, answers, 8
        self.args = SimpleNamespace(max_completion_length=40)
        self.asked: list[list[list[int]]] = []

    def _generate_single_turn(self, prompts, images, fields, num_generations):
        """The next answer of each prompt, known by its first tokens."""
        self.asked.append(prompts)
        drawn = []
        for ids in prompts:
            own = (i for i, r in enumerate(self.rows) if ids[: len(first(self.chat, r))]
                   == first(self.chat, r) and self.answers[i])  # fmt: skip
            drawn.append(self.answers[next(own)].pop(0))
        return drawn, None


def first(chat: Chat, row: Trajectory) -> list[int]:
    """The tokens that a play of the row begins with."""
    return chat.ids(chat.prompt_text(grpo.asked(row, chat, section_of(*PLAYS))))


def test_a_perfect_play_is_the_training_row_of_its_task(chat: Chat) -> None:
    from raytune_agents.train.play import rollout

    rows = [RUNS[0], GOOD[0], RUNS[5]]
    known = [chat.parts(r)[0] for r in rows]
    drawn = [[chat.ids(text) for text, turn in parts if turn is not None] for parts in known]
    policy = Policy(chat, rows, drawn)
    out = rollout([chat.tokenizer.decode(first(chat, r)) for r in rows], policy)
    for i, row in enumerate(rows):
        (example,) = chat.encode(row)
        assert out["prompt_ids"][i] + out["completion_ids"][i] == example.input_ids
        labels = example.labels[len(out["prompt_ids"][i]) :]
        assert out["env_mask"][i] == [int(label != IGNORE) for label in labels]
    assert out["logprobs"] is None
    assert [len(x) for x in policy.asked][:2] == [3, 2]  # a plain row is answered once
    made = rewards.functions(["goal", "executed", "toolrl"], False)
    given = {"completions": ["", render_calls(GOOD[0].target.tool_calls), ""],
             "row": [json.dumps(to_row(r)) for r in rows], "played": out["played"]}  # fmt: skip
    assert [f(**given) for f in made] == [[1.0, None, 1.0], [1.0, None, 1.0], [None, 3.0, None]]


def test_what_a_play_is_worth_and_what_ends_it(chat: Chat) -> None:
    from raytune_agents.train.play import rollout

    row, end = RUNS[0], "<|im_end|>"
    wrong = f"{render_calls([ToolCall.of('no_such_tool', a=1)])}{end}"
    right = f"{render_calls(row.calls[:1])}{end}"
    cases = {  # answers -> goal, executed, answers drawn
        (wrong, right, f"Done.{end}", "never"): (0.0, 0.5, 3),
        (f"I cannot.{end}", "never"): (0.0, 0.0, 1),
        (right.removesuffix(end), "never"): (0.0, 0.0, 1),  # cut off: its call is not run
        (wrong, wrong, wrong, "never"): (0.0, 0.0, 3),  # a loop
    }
    for texts, (goal, executed, count) in cases.items():
        policy = Policy(chat, [row], [[chat.ids(t) for t in texts]])
        out = rollout([chat.tokenizer.decode(first(chat, row))], policy)
        made = rewards.functions(["goal", "executed"], False)
        given = {"completions": [""], "row": [""], "played": out["played"]}
        assert [f(**given) for f in made] == [[goal], [executed]]
        assert len(policy.asked) == count
        trained = [t for t, m in zip(out["completion_ids"][0], out["env_mask"][0]) if m]
        assert trained == [t for text in texts[:count] for t in chat.ids(text)]


def test_a_play_without_room_for_one_more_answer_ends(chat: Chat) -> None:
    from raytune_agents.train.play import rollout

    row = RUNS[0]
    drawn = [chat.ids(text) for text, turn in chat.parts(row)[0] if turn is not None]
    small = Chat(chat.path, max_length=len(first(chat, row)) + len(drawn[0]) + 40)
    policy = Policy(small, [row], [drawn])
    out = rollout([chat.tokenizer.decode(first(chat, row))], policy)
    assert (out["completion_ids"][0], set(out["env_mask"][0])) == (
        chat.ids(chat.parts(row)[0][1][0]), {1})  # fmt: skip


def test_plays_need_tasks_rewards_and_workers_that_may_differ(chat: Chat) -> None:
    section = section_of(*PLAYS)
    made, refused = methods.build("grpo", [*RUNS, *GOOD], chat, section, None)
    shown = {c["row_id"]: c["shown"] for c in made}
    assert shown[RUNS[0].id] == 1 < len(RUNS[0].prompt)
    assert shown[GOOD[0].id] == len(GOOD[0].prompt)
    check.before("grpo", [*RUNS, *GOOD], made, refused, chat, section, None)
    for method, rows, options, words in (
        ("grpo", GOOD, PLAYS, "none of 8 rows is a task of an agent with a world.*react"),
        ("rloo", RUNS, PLAYS, "rloo answers once; write method: grpo"),
        ("grpo", RUNS, [*PLAYS, "sharding=fsdp"], "turns.*write sharding: ddp or zero2"),
    ):
        with pytest.raises(ConfigError, match=words):
            METHODS[method].check(rows, section_of(*options))
    for grpo_options in ("{turns: 2}", "{rewards: [goal], reward_weights: [1]}"):
        with pytest.raises(ConfigError, match="what a play is worth"):
            section_of(f"grpo={grpo_options}")


def test_grpo_needs_whole_groups() -> None:
    with pytest.raises(ConfigError, match=r"multiple of train.grpo.generations=4; write .* 8"):
        METHODS["grpo"].check(GOOD, section_of("batch_rows=10"))


# --- ETO ---


def test_an_eto_arm_starts_from_an_arm_above_it() -> None:
    arms = "{first: {method: vanilla}, then: {method: eto, options: {eto.start: first}}}"
    eto.check(load(None, [f"train.arms={arms}"]))
    for start in ("then", "nobody"):
        wrong = f"{{then: {{method: eto, options: {{eto.start: {start}}}}}}}"
        with pytest.raises(ConfigError, match=f"eto.start='{start}' is no arm above it"):
            eto.check(load(None, [f"train.arms={wrong}"]))
    with pytest.raises(ConfigError, match="write parameters: lora"):
        eto.check(load(None, ["train.arms={a: {method: eto}}", "train.parameters=full"]))


def test_eto_explores_different_tasks_with_calls() -> None:
    rows = [*GOOD, *GOOD, CHAT]
    drawn = eto.tasks(rows, 5, "1/1")
    assert len({r.id for r in drawn}) == 5
    assert all(r.calls for r in drawn)
    assert eto.tasks(rows[::-1], 5, "1/1") == drawn
    assert eto.tasks(rows, 5, "1/2") != drawn
    assert len(eto.tasks(rows, 99, "1/1")) == len(GOOD)


def test_eto_trains_on_no_known_failure(chat: Chat) -> None:
    costs = methods.costs("eto", ROWS, dict.fromkeys(ROWS, 1), chat, section_of())
    assert {i for i, n in costs.items() if n} == {r.id for r in GOOD}
