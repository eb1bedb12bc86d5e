"""Two runs against each other: what is paired, what is refused, what the command prints."""

import json
import re

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from raytune_agents.cli.app import app
from raytune_agents.config import ConfigError
from raytune_agents.evaluate import ab
from raytune_agents.evaluate.estimates import Resampling

FAST = Resampling(resamples=200)


def make_run(
    folder, wins: dict[str, list[float]], seed=1, model="m", skip=(), split="test_seen", fold=0
):
    """A run whose arm answered rows r0 ... with these exact matches; even rows are of source x."""
    (folder / "evaluate").mkdir(parents=True)
    config = {"seed": seed, "model": {"name": model, "revision": None, "dtype": "auto"}}
    config["read"] = {"split": {"fold": fold}}
    (folder / "config.json").write_text(json.dumps(config))
    lines = [
        {"arm": arm, "split": split, "id": f"r{i}", "source": "x" if i % 2 == 0 else "y",
         "failed": "infra_failed" if i in skip else "",
         "exact_match": None if i in skip else value, "format_adherence": 1.0}
        for arm, values in wins.items() for i, value in enumerate(values)
    ]  # fmt: skip
    for line in lines:
        rest = ("function_accuracy", "parameter_accuracy", "hallucination_rate")
        line |= dict.fromkeys(rest, 0.0)
    pq.write_table(pa.Table.from_pylist(lines), folder / "evaluate/answers.parquet")
    return str(folder)


def test_paired_by_row_with_its_categories(tmp_path):
    a = make_run(tmp_path / "a", {"sft": [0, 0, 0, 0, 1, 1, 0, 0]})
    b = make_run(tmp_path / "b", {"sft": [1, 0, 1, 0, 1, 0, 1, 0, 1]})
    one, two = ab.load_side(a), ab.load_side(b)
    assert ab.base_difference(one, two) == ""
    chosen = ab.arm_pairs(one, two, None, None)
    [cell] = ab.compare_sides(one, two, chosen, "exact_match", "test_seen")
    d = cell.difference
    # of 8 common rows three are won (0, 2, 6) and one is lost (5): 4/8 against 2/8
    assert (d.n, d.wins, d.losses, d.value) == (8, 3, 1, 0.25)
    assert (cell.a, cell.b, cell.one_side_only) == (0.25, 0.5, 1)
    assert d.p == d.p_holm == 0.625  # 2 * P(X >= 3), X ~ Binomial(4, 1/2)
    parts = [(s, c.value) for s, c in cell.categories.items()]
    assert parts == [("y", -0.25), ("x", 0.75)]  # the regression first


def test_failed_rows_are_left_out_of_both(tmp_path):
    a = make_run(tmp_path / "a", {"sft": [1, 1, 1]}, skip=(0,))
    b = make_run(tmp_path / "b", {"sft": [0, 1, 1]})
    one, two = ab.load_side(a), ab.load_side(b)
    [cell] = ab.compare_sides(one, two, [("sft", "sft")], "exact_match", "test_seen")
    assert (cell.difference.n, cell.difference.value, cell.one_side_only) == (2, 0.0, 1)
    assert one.failures() == {"infra_failed": 1}


def test_holm_over_the_arms(tmp_path):
    wins = {"base": [0] * 8, "sft": [0] * 8, "nat": [0] * 8}
    a = make_run(tmp_path / "a", wins)
    b = make_run(tmp_path / "b", wins | {"sft": [1] * 6 + [0] * 2, "nat": [1] * 3 + [0] * 5})
    one, two = ab.load_side(a), ab.load_side(b)
    chosen = ab.arm_pairs(one, two, None, None)
    assert chosen == [("sft", "sft"), ("nat", "nat")]
    found = ab.compare_sides(one, two, chosen, "exact_match", "test_seen")
    sft, nat = (c.difference for c in found)
    assert sft.p == 2 / 64
    assert sft.p_holm == 4 / 64
    assert nat.p == nat.p_holm == 0.25


def test_seeds_are_a_random_factor(tmp_path):
    runs = [make_run(tmp_path / f"a{s}", {"sft": [0, 1] * 4}, seed=s) for s in (1, 2, 3)]
    same = [make_run(tmp_path / f"b{s}", {"sft": [1, 1] * 4}, seed=s) for s in (1, 2, 3)]
    one, two = ab.load_side(",".join(runs)), ab.load_side(",".join(same))
    [cell] = ab.compare_sides(one, two, [("sft", "sft")], "exact_match", "test_seen", FAST)
    assert (cell.difference.value, cell.difference.few_seeds) == (0.5, False)
    two = ab.load_side(",".join(same[:2]))
    [cell] = ab.compare_sides(one, two, [("sft", "sft")], "exact_match", "test_seen", FAST)
    assert cell.difference.few_seeds
    with pytest.raises(ConfigError, match="has seed 1 and fold 0 like another"):
        ab.load_side(f"{runs[0]},{same[0]}")


def test_folds_are_put_together_and_compared_with_their_own_base(tmp_path):
    # rows r0 to r3: fold 0 asked the first two of them, fold 1 the last three
    none = {"base": [0, 0, 0, 0], "sft": [1, 1, 0, 1]}
    first = make_run(tmp_path / "a0", none, fold=0, skip=(2, 3))
    second = make_run(tmp_path / "a1", none | {"sft": [1, 0, 0, 1]}, fold=1, skip=(0,))
    side = ab.load_side(f"{first},{second}")
    # r1 was asked by both: right in one of them
    assert side.values("sft", "exact_match", "test_seen") == {
        1: {"r0": 1.0, "r1": 0.5, "r2": 0.0, "r3": 1.0}
    }
    pairs = ab.arm_pairs(side, side, None, None)
    assert pairs == [("base", "sft")]
    [cell] = ab.compare_sides(side, side, pairs, "exact_match", "test_seen", FAST)
    assert (cell.difference.n, cell.difference.value) == (4, 0.625)
    assert "base / sft" in run(f"{first},{second}").output
    with pytest.raises(ConfigError, match="seed 1 and fold 0 like another"):
        ab.load_side(f"{first},{first}")
    alone = ab.load_side(make_run(tmp_path / "b", {"base": [0]}))
    with pytest.raises(ConfigError, match="has the arms base; write two of them"):
        ab.arm_pairs(alone, alone, None, None)


def test_what_is_refused(tmp_path):
    a = make_run(tmp_path / "a", {"base": [0], "sft": [1]})
    b = make_run(tmp_path / "b", {"base": [0], "nat": [1]}, model="other")
    one, two = ab.load_side(a), ab.load_side(b)
    assert ab.base_difference(one, two) == "model.name 'm' against 'other'"
    with pytest.raises(ConfigError, match="share no arm"):
        ab.arm_pairs(one, two, None, None)
    with pytest.raises(ConfigError, match="has no arm 'nat'; it has base, sft"):
        ab.arm_pairs(one, two, "nat", None)
    assert ab.arm_pairs(one, two, "sft", "nat") == [("sft", "nat")]
    with pytest.raises(ConfigError, match=r"answers\.parquet"):
        ab.load_side(str(tmp_path))
    c = make_run(tmp_path / "c", {"sft": [1]}, seed=2, model="other")
    with pytest.raises(ConfigError, match="another base model"):
        ab.load_side(f"{a},{c}")


def run(*words: str):
    return CliRunner().invoke(app, ["compare", *words])


def test_the_command_warns_of_a_small_set_and_refuses_other_bases(tmp_path):
    a = make_run(tmp_path / "a", {"sft": [0, 1, 0, 1]})
    b = make_run(tmp_path / "b", {"sft": [1, 1, 0, 1]}, model="other")
    done = run(a, b)
    assert done.exit_code == 2
    assert "--any-base" in done.output
    done = run(a, b, "--any-base")
    assert done.exit_code == 0, done.output
    text = re.sub(r"\s+", " ", done.output)
    assert "sft: not told apart, nor shown to be equal: 4 paired rows" in text
    assert "+25.0" in text
    assert "sft y: 0.0" in text
    done = run(a, a, "--metric", "exact")
    assert done.exit_code == 2
    assert "hallucination_rate" in done.output
    other = make_run(tmp_path / "c", {"sft": [1]}, split="val")
    done = run(a, other)
    assert done.exit_code == 2
    assert "share no answered row" in done.output


def test_a_large_regression_is_named(tmp_path):
    a = make_run(tmp_path / "a", {"sft": [1] * 80})
    b = make_run(tmp_path / "b", {"sft": [0, 1] * 40})
    text = run(a, b).output
    assert re.search(r"sft x: −100\.0 .*REGRESSION", text)
    assert "not told apart" not in text


def test_what_b_lost_against_a_is_said(tmp_path):
    """100 no-call rows, all right before and 60 right after, beside 100 rows with calls."""

    def run_of(name: str, right: int) -> str:
        folder = tmp_path / name
        path = make_run(folder, {"sft": [1.0] * 100})
        lines = pq.read_table(folder / "evaluate/answers.parquet").to_pylist()
        more = [
            line | {"id": f"n{i}", "split": "irrelevance", "irrelevance": float(i < right),
                    "relevance": None, "exact_match": float(i < right)}
            for i, line in enumerate(lines)
        ]  # fmt: skip
        lines = [line | {"irrelevance": None, "relevance": 1.0} for line in lines]
        table = pa.Table.from_pylist([*lines, *more])
        pq.write_table(table, folder / "evaluate/answers.parquet")
        return path

    a, b = run_of("a", 100), run_of("b", 60)
    text = re.sub(r"\s+", " ", run(a, b).output)
    assert "sft of B: not shown to be better, but lost against sft of A: irrelevance −40.0" in text
    same = re.sub(r"\s+", " ", run(a, a).output)
    assert "that nothing was lost against sft of A is not proven: instruction following" in same


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.json", "[]"),
        ("config.json", '{"seed": 1, "model": {}}'),
        ("config.json", '{"seed": [1], "read": {"split": {}}, "model": {}}'),
        ("evaluate/answers.parquet", "PAR1 no table"),
        ("evaluate/metrics.json", '{"mine": {"label": 3}}'),
        ("evaluate/metrics.json", "[" * 100_000),
    ],
)
def test_a_damaged_file_of_a_side_is_named(tmp_path, name, content):
    a = make_run(tmp_path / "a", {"sft": [0, 1]})
    (tmp_path / "a" / name).write_text(content)
    with pytest.raises(ConfigError, match=f"{name} is damaged: .*run again"):
        ab.load_side(a)


def test_answers_of_other_columns_are_damaged(tmp_path):
    a = make_run(tmp_path / "a", {"sft": [0, 1]})
    pq.write_table(pa.table({"arm": ["sft"]}), tmp_path / "a/evaluate/answers.parquet")
    with pytest.raises(ConfigError, match=r"answers\.parquet is damaged"):
        ab.load_side(a)


def test_a_value_that_is_no_number_is_none(tmp_path):
    a = make_run(tmp_path / "a", {"sft": [0.0, float("nan"), float("inf"), 1.0]})
    assert ab.load_side(a).values("sft", "exact_match") == {
        1: {"test_seen/r0": 0.0, "test_seen/r3": 1.0}
    }
