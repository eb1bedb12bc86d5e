"""What is known of an arm beside its answers to the tests: perplexity, instructions that a program
checks, general ability, energy."""

import math
import sys

import pytest

from raytune_agents.calls import render_calls
from raytune_agents.config import Config, ConfigError, load_config
from raytune_agents.evaluate import general, instructions, suites
from raytune_agents.evaluate.estimates import Resampling
from raytune_agents.evaluate.result_files import KINDS
from raytune_agents.evaluate.scoring import score_answer
from raytune_agents.inference.client import EngineUsage
from raytune_agents.infra import energy
from raytune_agents.pipeline.evaluate import engine_costs
from raytune_agents.records import ToolCall

SECTION = Config().evaluate
HOW = Resampling(resamples=200)


# --- perplexity ---


def test_likelihoods_are_paired_and_lost_rows_are_left_out():
    def line(arm: str, key: str, nll: float | None) -> dict:
        facts = {"arm": arm, "split": "val", "id": key, "tokens": 2.0, "nll": nll}
        return facts | {"failed": "" if nll is not None else "prompt_too_long"}

    lines = [line("base", "a", 2.0), line("base", "b", 1.0), line("base", "c", None)]
    lines += [line("nat", "a", 1.5), line("nat", "b", 1.0), line("nat", "c", None)]
    cells = KINDS["likelihood"].scores(lines, HOW)
    assert cells["base"]["val"]["perplexity"].value == pytest.approx(math.exp(1.5))
    assert cells["base"]["val"]["perplexity"].n == 2
    gain = KINDS["likelihood"].differences(lines, HOW)["nat"]["val"]["nll"]
    assert (gain.value, gain.n, gain.losses) == (-0.25, 2, 1)


# --- instructions ---


@pytest.mark.parametrize(
    ("name", "value", "good", "bad"),
    [
        ("sentences", 2, "It rains. I walk!", "It rains."),
        ("at_most_words", 3, "one two three", "one two three four"),
        ("at_least_words", 3, "one two three", "one two"),
        ("include", "river", "The River runs.", "The rivers run."),
        ("avoid", "z", "a walk", "a Zoo"),
        ("no_commas", "", "no comma", "a, b"),
        ("lower_case", "", "all small 1.", "Not small"),
        ("upper_case", "", "ALL BIG 1.", "NOT big"),
        ("bullets", 2, "- a\n- b", "- a\n- b\n- c"),
        ("ends_with", "That is all.", "Words. That is all.", "That is all. More."),
        ("json", "", '{"a": 1}', '```json\n{"a": 1}\n```'),
        ("quotes", "", '"said"', '"said'),
    ],
)
def test_checks(name, value, good, bad):
    assert instructions.instructions_followed(f" {good}\n", [[name, value]]) == [True]
    assert instructions.instructions_followed(bad, [[name, value]]) == [False]
    assert instructions.instructions_followed("", [[name, value]]) == [False]


def test_rows_ask_for_one_or_two_instructions_and_are_scored():
    assert instructions.CHECKS.keys() == instructions.WORDS["instructions"].keys()
    assert instructions.CHECKS.keys() >= {name for pair in instructions.PAIRS for name in pair}
    rows = instructions.instruction_rows(48, 3)
    assert instructions.instruction_rows(48, 3) == rows
    assert {r.split for r in rows} == {"instructions"}
    assert {c[0] for r in rows for c in r.meta["instructions"]} == set(instructions.CHECKS)
    assert {len(r.meta["instructions"]) for r in rows} == {1, 2}
    names = {r.id: [c[0] for c in r.meta["instructions"]] for r in rows}
    two = next(r for r in rows if names[r.id] == ["lower_case", "no_commas"])
    got = score_answer("a walk, in the rain", two).values
    assert (got["instruction_following"], got["instructions_all"]) == (0.5, 0.0)
    assert score_answer("a walk", two).values["instructions_all"] == 1.0
    assert score_answer(None, two).values["instruction_following"] == 0.0
    called = score_answer(render_calls([ToolCall.of("f", a=1)]), two).values
    assert (called["irrelevance"], called["exact_match"]) == (None, 0.0)  # no tool was offered
    config = SECTION.model_copy(update={"perturbations": ["typos"]})
    assert suites.perturbed_rows(rows, config, 1) == ([], {})  # the words are the task


# --- general ability ---


def test_lm_eval_samples_become_lines_and_pairs():
    found = {"arc/0": {"arc.acc": 1.0}, "arc/1": {"arc.acc": 0.0}, "wiki/0": {"wiki.ppl": 9.5}}
    base = general.ability_lines("base", found)
    assert [(x["id"], x["arc.acc"], x["wiki.ppl"]) for x in base] == [
        ("arc/0", 1.0, None), ("arc/1", 0.0, None), ("wiki/0", None, 9.5)]  # fmt: skip
    found = {"arc/0": {"arc.acc": 0.0}, "arc/1": {"arc.acc": 0.0}, "wiki/0": {"wiki.ppl": 8.0}}
    arm = general.ability_lines("nat", found)
    cells = KINDS["general"].scores(base + arm, HOW)
    assert cells["base"]["general"]["arc.acc"].value == 0.5
    gain = KINDS["general"].differences(base + arm, HOW)["nat"]["general"]
    assert (gain["arc.acc"].value, gain["arc.acc"].n) == (-0.5, 2)
    assert gain["wiki.ppl"].value == -1.5


def test_without_lm_eval_the_message_says_which_package(monkeypatch, tmp_path):
    config = load_config(None, ["evaluate.general.tasks=[arc_easy]"])
    monkeypatch.setenv("LM_EVAL_PYTHON", "/no/such/python")
    with pytest.raises(ConfigError, match="pip install lm-eval, or set LM_EVAL_PYTHON"):
        suites.validate_evaluation(config)
    suites.validate_evaluation(load_config(None, []))


def test_how_an_arm_is_loaded(tmp_path):
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    assert general.model_args(tmp_path, "", "auto") == f"pretrained={tmp_path},dtype=bfloat16"
    whole = general.model_args(tmp_path, str(adapter), "float32")
    assert whole == f"pretrained={adapter},tokenizer={tmp_path},dtype=float32"
    (adapter / "adapter_config.json").write_text("{}")
    assert f"peft={adapter}" in general.model_args(tmp_path, str(adapter), "float32")


# --- energy ---


def zone(root, name: str, label: str, now: int | str, most: int = 1_000_000_000) -> None:
    folder = root / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "name").write_text(f"{label}\n")
    (folder / "energy_uj").write_text(f"{now}\n")
    (folder / "max_energy_range_uj").write_text(f"{most}\n")


def test_packages_are_added_and_a_counter_may_start_again(tmp_path, monkeypatch):
    monkeypatch.setattr(energy, "nvml", dict)
    zone(tmp_path, "intel-rapl:0", "package-0", 5_000_000)
    zone(tmp_path, "intel-rapl:1", "package-1", 999_000_000)
    zone(tmp_path, "intel-rapl:0:0", "core", 77)  # a part of package-0
    zone(tmp_path, "intel-rapl:2", "psys", 88)  # holds both packages
    meter = energy.Meter(tmp_path)
    assert (meter.joules(), meter.why) == (0.0, "")
    zone(tmp_path, "intel-rapl:0", "package-0", 9_000_000)  # 4 J
    zone(tmp_path, "intel-rapl:1", "package-1", 2_000_000)  # 1 J to 1000 J, then 2 J
    assert meter.joules() == pytest.approx(7.0)
    zone(tmp_path, "intel-rapl:0", "package-0", 9_500_000)
    assert meter.joules() == pytest.approx(7.5)


def test_a_machine_that_does_not_tell_gives_none_and_says_why(tmp_path, monkeypatch):
    monkeypatch.setattr(energy, "nvml", dict)
    zone(tmp_path, "intel-rapl:0", "package-0", "no number")
    meter = energy.Meter(tmp_path)
    assert meter.joules() is None
    assert meter.why == f"this machine tells no energy: no readable RAPL counter in {tmp_path} " \
                        "and no NVML"  # fmt: skip
    assert engine_costs(EngineUsage(), EngineUsage(peak_memory_mib=9.0)) == {
        "energy_j": None, "engine_peak_memory_mib": 9.0}  # fmt: skip


def test_cards_are_read_through_nvml(monkeypatch):
    class Nvml:
        NVMLError = RuntimeError
        nvmlInit = staticmethod(lambda: None)
        nvmlDeviceGetCount = staticmethod(lambda: 2)
        nvmlDeviceGetHandleByIndex = staticmethod(int)

        @staticmethod
        def nvmlDeviceGetTotalEnergyConsumption(card: int) -> int:
            if card:
                raise RuntimeError("not supported")
            return 12_500  # mJ

    monkeypatch.setitem(sys.modules, "pynvml", Nvml)
    assert energy.nvml() == {"gpu:0": (12.5, math.inf)}


def test_what_an_arm_used_is_a_difference():
    def used_between(before, joules):
        return engine_costs(before, EngineUsage(energy_j=joules))["energy_j"]

    assert used_between(EngineUsage(energy_j=5.0), 12.0) == 7.0
    assert used_between(EngineUsage(), 12.0) == 12.0  # the first arm: with the start
    assert used_between(EngineUsage(energy_j=50.0), 3.0) == 3.0  # a new engine
