"""Methods without training: markers, columns, pairs, weights, rewards, and what is refused."""

from __future__ import annotations

import pickle
from dataclasses import replace
from itertools import chain
from pathlib import Path

import pytest
from method_rows import BAD, GOOD, ROWS, RUNS, answers, costs, section_of, small_chat

from raytune_agents import mix
from raytune_agents.chat import IGNORE, Chat
from raytune_agents.config import Config, ConfigError, NatConfig, load_config, method_options
from raytune_agents.mix import RowKind
from raytune_agents.pipeline.evaluate import arms_of
from raytune_agents.records import Message, ToolCall, Trajectory, finish
from raytune_agents.train import methods, nat, sft, validate_data
from raytune_agents.train.methods import METHODS, Recipe

CHAT = finish(Trajectory((Message("user", "q"), Message("assistant", "Hi")), (), gold="[]"))


@pytest.fixture(scope="module")
def chat() -> Chat:
    return small_chat()


# --- NAT ---


def test_the_table_and_the_config_name_the_same_methods() -> None:
    assert tuple(METHODS) == method_options.METHODS
    for name, method in METHODS.items():
        sections = {option.split(".")[0] for option in method.options or ()}
        assert all(name in method_options.READ_BY[section] for section in sections), name


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
    assert nat.words(NatConfig(**options)) == words


def test_random_markers_come_from_the_seed_and_differ() -> None:
    first, again, other = (
        nat.words(NatConfig(template="random", seed=s, cuts=[0.2, 0.5])) for s in (1, 1, 2)
    )
    assert first == again != other
    assert len(set(first)) == 4


def test_grades_part_the_unit_interval_without_a_gap() -> None:
    def group(grade: float, cuts: list[float]) -> int:
        options = NatConfig(template="a_b", cuts=cuts)
        return nat.group(replace(BAD[0], meta={"grade": grade}), options)

    # the four classes of the paper's code: {0}, (0, 0.4), [0.4, 1), {1}
    assert [group(g, [0, 0.4]) for g in (0.0, 0.01, 0.39, 0.4, 0.99)] == [0, 1, 1, 2, 2]
    assert [group(g, [0.5]) for g in (0.0, 0.49, 0.5)] == [0, 0, 1]
    grades = [k / 1000 for k in range(1000)]
    groups = [group(g, [0.1, 0.2, 0.9]) for g in grades]
    assert groups == sorted(groups)
    assert set(groups) == {0, 1, 2, 3}
    assert nat.group(GOOD[0], NatConfig(cuts=[0, 0.4])) == 3
    known = replace(GOOD[0], fault="", outcome=0.45)  # a read failure: its grade is its outcome
    assert nat.group(known, NatConfig(cuts=[0, 0.4])) == 2


@pytest.mark.parametrize("method", ["nat", "inverse", "nut"])
def test_only_the_question_changes(chat: Chat, method: str) -> None:
    options = section_of("nat.template=a_b")
    for row in (GOOD[0], BAD[0]):
        (plain,) = METHODS["vanilla"].columns(row, chat, options, None)
        (marked,) = METHODS[method].columns(row, chat, options, None)
        word = METHODS[method].marker(row, options)
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
        train_config = section_of(*options)
        (column,) = METHODS[name].columns(GOOD[0], chat, train_config, None)
        asked = chat.prompt_ids(GOOD[0], METHODS[name].inference_marker(train_config))
        assert column["input_ids"][: len(asked)] == asked
    assert METHODS["inverse"].inference_marker(section_of("nat.template=good_bad")) == "[Bad]"


def test_observations_and_markers_carry_no_loss(chat: Chat) -> None:
    row = next(r for r in RUNS if sum(m.role == "tool" for m in r.messages) > 1)
    (column,) = nat.columns(row, chat, section_of(), None)
    trained = chat.tokenizer.decode(answers(column))
    for message in row.messages:
        assert (message.content in trained) or message.role != "assistant"
        assert message.role == "assistant" or message.content not in trained
    assert "Generate a response" not in trained


def test_one_config_runs_the_whole_comparison_at_an_equal_budget(chat: Chat) -> None:
    tree = load_config("jobs/configs/nat_comparison.yaml")
    names = {a.method for a in tree.train.arms.values()}
    assert {"vanilla", "nut", "nat", "inverse"} <= names
    assert any(a.ask_unmarked for a in tree.train.arms.values())
    assert len({nat_words(tree, a) for a in ("nat", "nat_k", "nat_random")}) == 3
    # vanilla spends the tokens of the failures on good rows
    budgets = {}
    for method in ("vanilla", "nut", "nat"):
        cost = costs(method, ROWS, chat, tree.train)
        rows = [(i, ROWS[i].pool, 10 * bool(n)) for i, n in cost.items()]
        weights = mix.usable_weights({"synthetic": 0.5, "negative": 0.5}, rows)
        chosen = mix.choose_rows(rows, weights, 60, 4.0, 1)
        budgets[method] = sum(chosen.tokens.values())
        assert any(ROWS[i].failed for i in chosen.ids) is (method != "vanilla")
    assert set(budgets.values()) == {60}


def test_every_arm_is_asked_with_its_marker() -> None:
    tree = load_config("jobs/configs/nat_comparison.yaml")
    asked = {a.name: (a.marker, a.adapter) for a in arms_of(tree, Path("run"))}
    words = {name: marker for name, (marker, _) in asked.items()}
    assert words["base"] == words["vanilla"] == words["nut"] == words["nat-unmarked"] == ""
    assert words["nat"] == words["nat_k"] == nat.SENTENCE.format("correctly")
    assert (words["nat_good_bad"], words["nat_a_b"], words["inverse"]) == ("[Good]", "[A]", "[Bad]")
    assert asked["nat-unmarked"][1] == asked["nat"][1] != asked["nat_k"][1]


def nat_words(tree: Config, arm: str) -> str:
    return "|".join(nat.words(tree.train.of(tree.train.arms[arm]).nat))


def test_a_row_is_the_tokens_of_its_parts_one_by_one(chat: Chat) -> None:
    turns = (
        Message("user", "Weather in Rome?"),
        Message("assistant", tool_calls=(ToolCall.of("weather", city="Rome"),)),
        Message("tool", "18 C", name="weather"),
        Message("assistant", "It is 18 C, the sun sets at 7."),
    )
    for row in (*GOOD, replace(GOOD[0], messages=turns)):
        for parts, example in zip(chat.parts(row), chat.encode(row), strict=True):
            alone = [chat.ids(text) for text, _ in parts]
            assert example.input_ids == list(chain(*alone))
            labels = [[IGNORE] * len(i) if m is None else i for i, (_, m) in zip(alone, parts)]
            assert example.labels == list(chain(*labels))
            assert example.trained_tokens == sum(x != IGNORE for x in example.labels)
    travelled = pickle.loads(pickle.dumps(chat))
    assert travelled.prompt_ids(GOOD[0]) == chat.prompt_ids(GOOD[0])


# --- loss weights ---


def test_loss_weights_by_part_of_the_answer(chat: Chat) -> None:
    call = ToolCall("add", '{"x": 1, "y": 22}')
    turn = Message("assistant", thought="I think so.", tool_calls=(call,))
    row = finish(Trajectory((Message("user", "Add."), turn)))
    options = section_of("sft={reasoning: 2, retrieval: 3, understanding: 5, instruction: 0}")
    (column,) = sft.columns(row, chat, options, None)
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
    method: str, rows: list, words: str | None
) -> None:
    kinds, validate = [RowKind.of(row) for row in rows], METHODS[method].validate_data
    if words is None:
        validate(kinds, section_of())
        return
    with pytest.raises(ConfigError, match=words):
        validate(kinds, section_of())


def test_all_arms_are_checked_before_the_first_is_trained() -> None:
    arms = "{good: {method: vanilla}, marked: {method: nat}}"
    options = load_config(None, [f"train.arms={arms}"]).train
    good, bad = RowKind.of(GOOD[0]), RowKind.of(BAD[0])
    validate_data.validate_arms(options, {"good": [good], "marked": [good, bad]})
    with pytest.raises(ConfigError, match=r"train.arms.marked \(method nat\): no failures"):
        validate_data.validate_arms(options, {"good": [good], "marked": [good]})


def test_rows_that_are_cut_or_masked_are_refused(chat: Chat) -> None:
    short = Chat(chat.path, max_length=40)
    made, refused = methods.build_columns("vanilla", GOOD, short, section_of(), None)
    assert made == []
    assert all("longer than model.max_length=40" in why for why in refused)
    with pytest.raises(ConfigError, match="max_length=99999 is longer"):
        validate_data.validate_length(Chat(chat.path, max_length=99_999))
    masked = section_of(
        "sft={reasoning: 1, answer: 0, retrieval: 0, understanding: 0, instruction: 0}"
    )
    made, _ = methods.build_columns("vanilla", GOOD, chat, masked, None)
    with pytest.raises(ConfigError, match="has no trained token"):
        validate_data.validate_columns(made, chat.max_length)


def test_another_prompt_than_the_engines_is_refused(chat: Chat) -> None:
    made, _ = methods.build_columns("vanilla", GOOD, chat, section_of(), None)
    validate_data.parity(Recipe("vanilla", section_of(), chat), ROWS, made, {})
    made[0]["input_ids"][3] += 1
    with pytest.raises(ConfigError, match="trained on another prompt"):
        validate_data.parity(Recipe("vanilla", section_of(), chat), ROWS, made, {})


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
        ("train.arms={a: {method: sft, options: {nat.cuts: [0.5]}}}", "method sft does not read"),
        ("train.arms={a: {method: dpo, options: {kto.beta: 1}}}", "does not read it, but kto, rou"),
        ("train.rounds.samples=999999999", "less than or equal to 1024"),
    ],
)  # fmt: skip
def test_wrong_options_say_what_to_write(override: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load_config(None, [override])


def test_an_arm_has_its_own_options() -> None:
    train = load_config(
        None,
        ["train.arms={a: {method: nat, learning_rate: 0.5, options: {nat.template: a_b, "
         "lora.r: 4}}}"],
    ).train  # fmt: skip
    own = train.of(train.arms["a"])
    assert (own.nat.template, own.lora.r, own.learning_rate) == ("a_b", 4, 0.5)
    assert (train.nat.template, train.lora.r) == ("default", 16)


def arms(**own: str) -> list[str]:
    return ["train.arms={" + ", ".join(f"{k}: {{{v}}}" for k, v in own.items()) + "}"]


def test_an_arm_goes_on_from_an_arm_above_it() -> None:
    """And on less data from the arm that had as little."""
    chain = arms(first="method: sft", then="method: dpo, start: first")
    train = load_config(None, [*chain, "train.curve=[0.1]"]).train
    assert list(train.arms) == ["first", "then", "first-10", "then-10"]
    assert train.arms["then-10"].start == "first-10"
    assert train.of(train.arms["then"]).lora.start is None  # where it lies is the run's matter


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (arms(then="start: then"), r"start='then' is no arm above it \(none\)"),
        (arms(a="method: sft", b="start: nobody"), r"is no arm above it \(a\)"),
        (arms(b="start: a", a="method: sft"), "is no arm above it"),
        (arms(a="method: sft", b="start: a, options: {lora.r: 4}"), "has another lora.r"),
        ([*arms(a="method: sft", b="start: a"), "train.parameters=full"], "parameters: lora"),
        ([*arms(a="method: sft", b="start: a"), "train.lora.start=x"], "write one of them"),
    ],
)
def test_what_no_arm_can_go_on_from(options: list[str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load_config(None, options)


# --- rounds ---


def test_rounds_answer_no_known_failure(chat: Chat) -> None:
    cost = costs("rounds", ROWS, chat, section_of())
    assert {i for i, n in cost.items() if n} == {r.id for r in GOOD}
