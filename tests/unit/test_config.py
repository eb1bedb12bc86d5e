"""The config tree: what it refuses, and that it says key, value and what to write instead."""

from __future__ import annotations

import re

import pytest
import yaml

from raytune_agents.config import Config, ConfigError, known_keys, load_config
from raytune_agents.config.loading import BoundedLoader


def said(*overrides: str) -> str:
    with pytest.raises(ConfigError) as error:
        load_config(None, list(overrides))
    return str(error.value)


def test_numbers_of_yaml() -> None:
    values = "[1_000, -2, 017, 0x1f, 1e-4, 1.5, .inf, 1:30, 1_0_a, _1]"
    found = yaml.load(values, BoundedLoader)
    assert found == [1000, -2, "017", 31, 1e-4, 1.5, float("inf"), "1:30", "1_0_a", "_1"]


def test_defaults_load_and_overrides_are_yaml() -> None:
    assert load_config() == Config()
    tree = load_config(None, ["train.learning_rate=1e-4", "mix.weights={positive: 1}", "name=x"])
    assert tree.train.learning_rate == 1e-4
    assert tree.mix.weights == {"positive": 1.0}  # a weight vector replaces, it is not merged


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("train.lerning_rate=1", "train.learning_rate"),
        ("lerning_rate=1", "train.learning_rate"),
        ("mix.weights={positive: 0}", "cannot be normalised"),
        ("mix.weights={positive: -1, negative: 2}", "cannot be normalised"),
        ("mix.weights={positive: .nan}", "mix.weights.positive=nan"),
        ("read.split={train: 0.9, val: 0.1, test_seen: 0.1}", "sum to 1"),
        ("read.split.unseen_tools=1", "would be empty"),
        ("train.dpo.loss_weights=[1]", "one weight a loss"),
        ("name=../x", "name="),
        ("train.global_batch_size=none", "train.global_batch_size"),
        ("train", "section.option=value"),
    ],
)
def test_wrong_values_say_what_to_write(override: str, words: str) -> None:
    assert words in said(override)


def test_a_config_that_is_not_a_mapping_stops(tmp_path) -> None:
    for text, words in (("- a\n", "not a mapping"), ("a: [", "not YAML"), ("null", None)):
        path = tmp_path / "c.yaml"
        path.write_text(text)
        if words is None:
            assert load_config(path) == Config()
        else:
            with pytest.raises(ConfigError, match=words):
                load_config(path)
    with pytest.raises(ConfigError, match=re.escape("cannot be read")):
        load_config(tmp_path / "none.yaml")


def test_every_option_has_a_dotted_name() -> None:
    keys = known_keys()
    assert {"train.lora.r", "mix.weights", "read.split.train", "tune.space"} <= set(keys)


def test_a_curve_trains_every_arm_on_shares_of_its_data():
    own = "train.arms={a: {tokens: 50}, b: {method: nat, ask_unmarked: true}}"
    arms = load_config(None, ["train.curve=[0.5, 0.1]", own]).train.arms
    less = {"a-10": 0.1, "a-50": 0.5, "b-10": 0.1, "b-50": 0.5}
    assert {name: arm.share for name, arm in arms.items()} == {"a": 1.0, "b": 1.0} | less
    assert (arms["a-10"].tokens, arms["b-10"].method) == (50, "nat")
    assert not arms["b-10"].ask_unmarked
    again = Config.model_validate_json(load_config(None, ["train.curve=[0.5]"]).model_dump_json())
    assert list(again.train.arms) == ["sft", "nat", "sft-50", "nat-50"]
    assert list(load_config(None, []).train.arms) == ["sft", "nat"]  # the defaults are as they were
    assert list(again.train.of(again.train.arms["nat-50"]).arms) == ["this"]
