"""The search space: what is refused, what a proposal means, and that mixes are mixes."""

import json
import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from proposals import draw
from scipy.stats import chisquare, kstest

from raytune_agents import config
from raytune_agents.config import Config, ConfigError
from raytune_agents.tune.search_space import parse_space

POOLS = ["positive", "synthetic", "negative"]
MIX = {"mix.weights": {"simplex": POOLS}}
FULL = {
    "mix.weights": {"simplex": POOLS, "floors": {"positive": 0.1}},
    "train.learning_rate": {"loguniform": ["3e-4", 3e-3]},  # PyYAML reads 3e-4 as text
    "train.lora.r": {"choice": [4, 8, 16]},
    "train.lora.target_modules": {"choice": ["all-linear", ["q_proj", "v_proj"]]},
    "train.lora.lora_dropout": {"quniform": [0.0, 0.3, 0.1]},
    "train.global_batch_size": {"randint": [2, 5]},
    "train.max_tokens_per_forward": {"qloguniform": [512, 4096, 256]},
    "train.warmup_ratio": {"uniform": [0.0, 0.2]},
}


@pytest.mark.parametrize(
    ("space", "says"),
    [
        ({}, "tune.space is empty"),
        ({"train.lerning_rate": {"uniform": [0, 1]}}, "did you mean train.learning_rate"),
        ({"train.learning_rate": {"uniform": [1e-3]}}, r"write uniform: \[low, high\]"),
        ({"train.learning_rate": {"uniform": [1e-3, float("inf")]}}, "not a finite number"),
        ({"train.learning_rate": {"uniform": [1e-3, 1e-4]}}, "low below high"),
        ({"train.learning_rate": {"uniform": [1e-3, 1e-3]}}, "low below high"),
        ({"train.learning_rate": {"loguniform": [0, 1e-3]}}, "low end above 0"),
        ({"train.learning_rate": {"lognormal": [0, 1]}}, "write one of"),
        ({"train.learning_rate": 0.1}, "write one of"),
        ({"train.learning_rate": {"uniform": [0.1, 1], "choice": [1, 2]}}, "write one of"),
        ({"train.learning_rate": {"uniform": [0.1, 1], "floors": {}}}, "does not take"),
        ({"train.learning_rate": {"uniform": [0.1, 1], "prior": "natural"}}, "no trial can use"),
        ({"train.learning_rate": {"uniform": [0.1, 1], "prior": 2}}, "write a value of"),
        ({"train.lora.r": {"choice": [8, 16], "prior": 4}}, "write a value of"),
        ({"train.lora.r": {"choice": [8, 16], "strength": 2}}, "does not take"),
        ({"train.learning_rate": {"uniform": [-1.0, 1.0]}}, "no trial can use"),
        ({"train.global_batch_size": {"uniform": [1, 8]}}, "no trial can use"),
        ({"train.global_batch_size": {"randint": [1.5, 8]}}, "whole numbers"),
        ({"train.lora.lora_dropout": {"quniform": [0, 0.3, 0]}}, "step above 0"),
        ({"train.lora.lora_dropout": {"quniform": [0.11, 0.19, 0.1]}}, "fewer than two"),
        ({"train.lora.r": {"choice": [8]}}, "two values"),
        ({"train.lora.r": {"choice": [8, "many"]}}, "no trial can use"),
        ({"generate.rows": {"randint": [8, 96]}}, "would change nothing"),
        ({"train.arms": {"choice": [{}, {"a": {}}]}}, "would change nothing"),
        ({"tune.method": {"choice": ["sft", "rlhf"]}}, "no trial can use"),
        ({"train.nat.template": {"choice": ["default", "a_b", "random"]},
          "train.nat.seed": {"choice": [1, 2, 3]}}, "9 tokenised pools"),
        ({"tune.method": {"choice": ["sft", "nat"], "when": {"train.lora.r": 8}},
          "train.lora.r": {"choice": [8, 16]}}, "only on"),
        ({**MIX, "negatives.per_positive": {"uniform": [0, 2]}}, "searched twice"),
        ({"train.num_train_epochs": {"uniform": [1, 2]}}, "would change nothing"),
        ({"train.kto.beta": {"uniform": [0.1, 1]}}, "method nat does not read it, but kto"),
        ({"mix.tokens": {"randint": [8, 96]}}, "set tune.tokens"),
        ({"mix.weights": {"simplex": POOLS, "epochs": {"posit": 4}}}, "over"),
        ({"mix.weights": {"simplex": POOLS, "epochs": {"positive": 0}}}, "above 0"),
        ({"mix.weights": {"simplex": ["positive"]}}, "two or more"),
        ({"mix.weights": {"simplex": ["positive", "positive"]}}, "two or more"),
        ({"mix.weights": {"simplex": POOLS, "prior": "flat"}}, "uniform or natural"),
        ({"mix.weights": {"simplex": POOLS, "floors": {"posit": 0.1}}}, "over"),
        ({"mix.weights": {"simplex": POOLS, "floors": {"positive": 2}}}, "between 0 and 1"),
        ({"mix.weights": {"simplex": POOLS, "floors": dict.fromkeys(POOLS, 0.4)}}, "no mix fits"),
        ({**MIX, "train.lora.r": {"choice": [4, 8], "when": {"train.method": "nat"}}},
         "did you mean tune.method"),
    ],
)  # fmt: skip
def test_a_wrong_space_is_refused_with_what_to_write(space, says):
    with pytest.raises(ConfigError, match=says):
        parse_space(space)


def test_pools_without_rows_and_budgets_beyond_the_epochs_are_refused():
    with pytest.raises(ConfigError, match=r"\['synthetic'\] hold no rows"):
        parse_space(MIX, sizes={"positive": 10, "negative.wrong_value": 5})
    capped = {"mix.weights": {"simplex": POOLS, "epochs": 2}}
    sizes = {"positive": 100, "synthetic": 100, "negative": 100}
    with pytest.raises(ConfigError, match="no mix fits"):
        parse_space(capped, sizes, tokens=1000)
    space = parse_space(capped, sizes, tokens=400)  # caps of 2 * 100 / 400 = 0.5
    rng = random.Random(0)
    assert (
        max(max(space.resolve(draw(space, rng))["mix.weights"].values()) for _ in range(200))
        <= 0.5
    )
    with pytest.raises(ConfigError, match="none that is known"):
        parse_space(capped).resolve({f"mix.weights:{p}": 0.5 for p in POOLS})


def test_a_pool_counts_what_no_more_specific_pool_of_the_mix_takes():
    sizes = {"positive": 50, "negative": 30, "negative.wrong_value": 20, "negative.extra_call": 10}
    pools = ["positive", "negative", "negative.wrong_value"]
    inner = parse_space({"mix.weights": {"simplex": pools}}, sizes).simplex()
    assert inner.sizes == {"positive": 50, "negative": 10, "negative.wrong_value": 20}
    del sizes["negative"]  # leaves only
    assert (
        parse_space({"mix.weights": {"simplex": pools[:2]}}, sizes).simplex().sizes["negative"]
        == 30
    )


def test_mixes_are_uniform_on_the_simplex():
    """Dirichlet(1): the 16 triangles of the 4-fold grid have equal area (chi-square, p > 0.01)."""
    space, rng = parse_space(MIX), random.Random(5)
    cells = Counter()
    for _ in range(4000):
        weights = space.resolve(draw(space, rng))["mix.weights"]
        cells[tuple(int(4 * weights[p]) for p in POOLS)] += 1
    assert len(cells) == 16
    assert chisquare(list(cells.values())).pvalue > 0.01
    natural = {"mix.weights": {"simplex": POOLS, "prior": "natural"}}
    skewed = parse_space(natural, {"positive": 1.0, "synthetic": 1.0, "negative": 100.0})
    near = Counter()
    for _ in range(1600):
        weights = skewed.resolve(draw(skewed, rng))["mix.weights"]
        near[tuple(int(4 * weights[p]) for p in POOLS)] += 1
    assert chisquare([*near.values(), *[0] * (16 - len(near))]).pvalue < 1e-6  # the test can fail


def test_each_weight_has_the_marginal_of_its_dirichlet():
    """Dirichlet(a) has Beta(a_i, A - a_i) marginals; natural: a_i = 3 * sqrt(n_i) / sum."""
    sizes = {"positive": 400.0, "synthetic": 400.0, "negative": 900.0}
    spec = {"mix.weights": {"simplex": POOLS, "prior": "natural"}}
    simplex = parse_space(spec, sizes).simplex()
    drawn = simplex.weights(np.random.default_rng(0).random((3000, 3)))
    for column, alpha in zip(drawn.T, (6 / 7, 6 / 7, 9 / 7)):
        assert kstest(column, "beta", (alpha, 3.0 - alpha)).pvalue > 0.01
    with pytest.raises(ConfigError, match="prior natural"):
        parse_space(spec).resolve({f"mix.weights:{p}": 0.5 for p in POOLS})


@settings(deadline=None)  # the first call loads scipy
@given(st.lists(st.floats(0, 1), min_size=3, max_size=3))
def test_weights_sum_to_one_inside_their_bounds_through_save_and_restore(u):
    """2 epochs of 100 tokens within 400 are a cap of a half."""
    spec = FULL["mix.weights"] | {"epochs": {"synthetic": 2}}
    space = parse_space({"mix.weights": spec}, dict(zip(POOLS, (900, 100, 900))), tokens=400)
    sample = dict(zip(space.simplex().names(), u))
    weights = space.resolve(sample)["mix.weights"]
    assert sum(weights.values()) == pytest.approx(1.0, abs=1e-9)
    assert weights["positive"] >= 0.1 - 1e-9
    assert -1e-12 <= weights["synthetic"] <= 0.5 + 1e-9
    restored = json.loads(json.dumps({"sample": sample, "weights": weights}))
    assert restored["weights"] == weights
    assert space.resolve(restored["sample"])["mix.weights"] == weights


@settings(deadline=None)
@given(
    st.lists(st.floats(0.0, 1.0), min_size=3, max_size=3).filter(lambda w: sum(w) > 0.01),
    st.sampled_from(["uniform", "natural"]),
)
def test_a_mix_can_be_proposed_exactly(raw, prior):
    spec = {"mix.weights": {"simplex": POOLS, "prior": prior}}
    simplex = parse_space(spec, dict(zip(POOLS, (9000, 10, 100)))).simplex()
    wanted = {p: round(w / sum(raw), 3) for p, w in zip(POOLS, raw)}
    total = sum(wanted.values())
    back = simplex.value(simplex.invert(wanted))
    assert back == pytest.approx({p: w / total for p, w in wanted.items()}, abs=1e-6)


def test_baselines_are_the_natural_stratified_and_positives_only_mixes():
    sizes = {"positive": 60.0, "synthetic": 30.0, "negative.a": 6.0, "negative.b": 4.0}
    space = parse_space(
        MIX | {"train.lora.r": {"choice": [4, 8]}, "train.learning_rate": {"uniform": [2, 4]}},
        sizes,
    )
    samples = space.baseline_samples(Config())
    assert [s["train.learning_rate"] for s in samples] == [3.0] * 3  # 1e-3 is outside: the middle
    mixes = [space.resolve(s)["mix.weights"] for s in samples]
    assert mixes[0] == pytest.approx({"positive": 0.6, "synthetic": 0.3, "negative": 0.1}, abs=1e-9)
    assert mixes[1] == pytest.approx(dict.fromkeys(POOLS, 1 / 3), abs=1e-9)
    assert mixes[2] == {"positive": 1.0, "synthetic": 0.0, "negative": 0.0}
    assert list(space.baselines()) == ["natural", "stratified", "positives_only"]
    floored = parse_space(
        {"mix.weights": {"simplex": POOLS, "floors": {"negative": 0.2}}}
    ).baselines()
    assert floored["positives_only"] == pytest.approx(
        {"positive": 0.8, "synthetic": 0.0, "negative": 0.2}
    )


def test_baselines_take_the_other_options_from_the_base_config():
    space = parse_space(FULL)
    base = config.load_config(
        None, ["train.lora.r=8", "train.global_batch_size=4", "train.learning_rate=1e-3"]
    )
    for sample in space.baseline_samples(base):
        options = space.resolve(sample)
        assert (options["train.lora.r"], options["train.global_batch_size"]) == (8, 4)
        assert options["train.learning_rate"] == 1e-3
        assert options["train.lora.target_modules"] == "all-linear"


def test_samples_stay_inside_their_axes_and_build_a_config():
    space, rng, seen = parse_space(FULL), random.Random(1), Counter()
    for _ in range(400):
        options = space.resolve(json.loads(json.dumps(draw(space, rng))))
        assert 3e-4 <= options["train.learning_rate"] <= 3e-3
        assert options["train.max_tokens_per_forward"] % 256 == 0
        assert 512 <= options["train.max_tokens_per_forward"] <= 4096
        for key in ("train.lora.lora_dropout", "train.global_batch_size", "train.lora.r"):
            seen[key, options[key]] += 1
    assert {v for k, v in seen if k == "train.lora.lora_dropout"} == {0.0, 0.1, 0.2, 0.3}
    assert {v for k, v in seen if k == "train.global_batch_size"} == {2, 3, 4, 5}  # both ends
    for key, values in (
        ("train.lora.lora_dropout", 4),
        ("train.global_batch_size", 4),
        ("train.lora.r", 3),
    ):
        assert chisquare([n for (k, _), n in seen.items() if k == key]).pvalue > 0.001, (
            key,
            values,
        )
    tree = {}
    for key, value in options.items():
        config.set_dotted(tree, key, value)
    assert config.build_config(tree).train.global_batch_size == options["train.global_batch_size"]


def test_log_axes_are_uniform_in_the_logarithm():
    space = parse_space({"train.learning_rate": {"loguniform": [1e-4, 1e-2]}})
    rng = random.Random(2)
    logs = [np.log10(draw(space, rng)["train.learning_rate"]) for _ in range(1000)]
    assert kstest(logs, "uniform", (-4, 2)).pvalue > 0.01


def test_an_axis_counts_only_where_its_condition_holds():
    space = parse_space({
        "train.lora.use_rslora": {"choice": [True, False]},
        "train.lora.lora_alpha": {"choice": [8, 16], "when": {"train.lora.use_rslora": False}},
        "train.warmup_ratio": {"uniform": [0, 0.1], "when": {"train.lora.lora_alpha": [8]}},
    })  # fmt: skip
    sample = {"train.lora.use_rslora": True, "train.lora.lora_alpha": 8, "train.warmup_ratio": 0.05}
    assert space.resolve(sample) == {"train.lora.use_rslora": True}
    assert set(space.resolve(sample | {"train.lora.use_rslora": False})) == set(sample)
    other = {
        "train.lora.use_rslora": False,
        "train.lora.lora_alpha": 16,
        "train.warmup_ratio": 0.05,
    }
    assert "train.warmup_ratio" not in space.resolve(other)
    with pytest.raises(ConfigError, match="never"):
        parse_space({"train.lora.lora_alpha": {"choice": [8, 16]},
               "train.lora.r": {"choice": [4, 8],
                                "when": {"train.lora.lora_alpha": 32}}})  # fmt: skip
    with pytest.raises(ConfigError, match="depends on itself"):
        parse_space({"train.lora.r": {"choice": [4, 8], "when": {"train.lora.lora_alpha": 8}},
               "train.lora.lora_alpha": {"choice": [8, 16],
                                         "when": {"train.lora.r": 4}}})  # fmt: skip


def test_a_condition_on_an_option_that_is_not_searched_reads_the_base_config():
    rank = {"train.lora.r": {"choice": [4, 8], "when": {"tune.method": "nat"}}}
    nat = config.load_config(None, ["tune.method=nat"])
    assert [axis.key for axis in parse_space(rank, base=nat).axes] == ["train.lora.r"]
    sft = config.load_config(None, ["tune.method=sft"])
    assert [axis.key for axis in parse_space(MIX | rank, base=sft).axes] == ["mix.weights"]
    below = {"train.warmup_ratio": {"uniform": [0, 0.1], "when": {"train.lora.r": 4}}}
    chained = parse_space(MIX | rank | below, base=sft)
    assert list(chained.resolve(draw(chained, random.Random(0)))) == ["mix.weights"]
    with pytest.raises(ConfigError, match="empty"):
        parse_space(rank, base=sft)


def test_the_preset_and_the_default_space_parse():
    sizes = {"positive": 9000, "synthetic": 3000, "negative": 4000}
    own = {"train.lora.r": {"choice": [4, 64]}}
    space = parse_space(own, sizes, tokens=4000, preset="literature")
    options = space.resolve(draw(space, random.Random(0)))
    assert options["train.lora.r"] in (4, 64)  # the given axis beats the preset's
    always = {"mix.weights", "tune.method", "train.learning_rate", "train.lora.r"}
    of_method = {"sft": set(), "nat": {"train.nat.cuts"},
                 "dpo": {"train.dpo.beta", "train.dpo.loss_weights"}}  # fmt: skip
    assert set(options) == always | of_method[options["tune.method"]]
    start = space.resolve(space.baseline_samples()[0])
    assert (start["tune.method"], start["train.learning_rate"]) == ("nat", pytest.approx(3e-4))
    assert start["train.nat.cuts"] == []
    two = parse_space({"tune.method": {"choice": ["sft", "nat"]}}, sizes, 4000, preset="literature")
    assert {axis.key for axis in two.axes} == always | {"train.nat.cuts"}
    assert parse_space(Config().tune.space, sizes, Config().tune.tokens).baselines()


def test_a_cap_in_epochs_holds_for_its_source_only():
    """epochs 2 of 50 tokens within 400: at most a quarter; the others are free."""
    sizes = dict(zip(POOLS, (900, 50, 900)))
    spec = {"mix.weights": {"simplex": POOLS, "epochs": {"synthetic": 2}}}
    simplex = parse_space(spec, sizes, tokens=400).simplex()
    assert simplex.box()[1].tolist() == [1.0, 0.25, 1.0]


def test_a_prior_draws_a_normal_around_its_value():
    """loguniform [1e-4, 1e-2] with prior 1e-3: mean 0.5 of the log range, sd 0.25, cut at the ends
    (of a standard normal between -2 and 2 that leaves 0.8796 of the deviation)."""
    spec = {"loguniform": [1e-4, 1e-2], "prior": 1e-3}
    space, rng = parse_space({"train.learning_rate": spec}), random.Random(3)
    drawn = [space.resolve(draw(space, rng))["train.learning_rate"] for _ in range(3000)]
    at = (np.log10(drawn) + 4) / 2
    assert np.mean(at) == pytest.approx(0.5, abs=0.015)
    assert np.std(at) == pytest.approx(0.25 * 0.8796, rel=0.05)
    back = space.axes[0].invert(3e-3)
    assert space.resolve(back)["train.learning_rate"] == pytest.approx(3e-3, rel=1e-6)


def test_a_prior_choice_is_drawn_more_often():
    """The prior has 2 parts of 4."""
    space = parse_space({"train.lora.r": {"choice": [8, 16, 32], "prior": 16}})
    rng, seen = random.Random(0), Counter()
    for _ in range(3000):
        seen[space.resolve(draw(space, rng))["train.lora.r"]] += 1
    assert chisquare([seen[r] for r in (8, 16, 32)], [750, 1500, 750]).pvalue > 0.01
    for rank in (8, 16, 32):
        assert space.resolve(space.axes[0].invert(rank)) == {"train.lora.r": rank}
    assert space.resolve(space.axes[0].middle()) == {"train.lora.r": 16}


def test_a_whole_number_with_a_prior_inverts():
    space = parse_space({"train.global_batch_size": {"randint": [2, 5], "prior": 4}})
    for rows in (2, 3, 4, 5):
        assert space.resolve(space.axes[0].invert(rows)) == {"train.global_batch_size": rows}


def test_a_value_that_left_its_range_comes_back():
    """Population based training multiplies by 1.2 without looking at the ends."""
    space = parse_space({"train.learning_rate": {"uniform": [0.1, 1]}})
    assert space.resolve({"train.learning_rate": 1.2}) == {"train.learning_rate": 1.0}


def test_ray_tune_domains_propose_what_resolve_reads():
    pytest.importorskip("ray.tune")
    space = parse_space(FULL)
    domains = space.tune_space()
    assert set(domains) == set(draw(space, random.Random(0)))
    np.random.seed(0)
    for _ in range(30):
        options = space.resolve({name: domain.sample() for name, domain in domains.items()})
        assert options["train.global_batch_size"] in (2, 3, 4, 5)
        assert sum(options["mix.weights"].values()) == pytest.approx(1.0, abs=1e-9)
        assert options["train.lora.target_modules"] in ("all-linear", ["q_proj", "v_proj"])
        assert options["train.max_tokens_per_forward"] % 256 == 0
