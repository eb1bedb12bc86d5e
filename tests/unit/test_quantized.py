"""The headline arm with its weights in fewer bits: a tiny model is asked, scores by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
from method_rows import GOOD
from tiny_model import save_tiny

from raytune_agents.chat import Chat
from raytune_agents.evaluate.baselines import Arm
from raytune_agents.evaluate.estimates import Resampling
from raytune_agents.evaluate.harness import Asker
from raytune_agents.evaluate.quantized import (
    QuantizedAnswer,
    answer_quantized,
    quantized_scores,
    spread,
)


def test_the_same_rows_are_asked_of_each_kind_of_weights(tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    sizes = {"hidden_size": 64, "intermediate_size": 64, "num_key_value_heads": 2}
    path = Path(save_tiny(tmp_path, **sizes))  # what bitsandbytes' kernels for CPUs divide
    chat, arm = Chat(path, "ours"), Arm("sft")
    found = {
        kind: answer_quantized(path, "float32", Asker(arm, chat, 4, 4000), kind, GOOD[:2])
        for kind in ("none", "int8", "nf4")
    }
    for kind, answers in found.items():
        asked = [(a.arm, a.weights, a.id) for a in answers]
        assert asked == [("sft", kind, row.id) for row in GOOD[:2]]
        assert {a.exact_match for a in answers} == {0.0}  # four tokens of a random model
        assert all(a.end_to_end_ms > 0 for a in answers)
    whole, int8, nf4 = (answers[0].weights_mib for answers in found.values())
    assert whole > int8 > nf4 > 49152 * 64 * 4 / 2**20  # the embeddings stay as they are
    assert answer_quantized(path, "float32", Asker(arm, chat, 4, 9), "none", GOOD[:1]) == []


def test_scores_by_kind() -> None:
    rows = [
        QuantizedAnswer("dpo", kind, "test_seen", str(k), right, ms, mib)
        for kind, ms, mib in (("none", 30.0, 6000.0), ("nf4", 50.0, 1800.0))
        for k, right in enumerate((1.0, 0.0, None, 1.0) if kind == "none" else (1.0, 0.0, 0.0))
    ]
    found = quantized_scores(rows, Resampling(resamples=100))["dpo"]
    assert {kind: cells["exact_match"].n for kind, cells in found.items()} == {"none": 3, "nf4": 3}
    assert found["none"]["exact_match"].value == pytest.approx(2 / 3)
    assert found["nf4"]["exact_match"].value == pytest.approx(1 / 3)
    assert found["nf4"]["end_to_end_ms"].value == 50.0
    assert (found["none"]["weights_mib"].value, found["none"]["weights_mib"].n) == (6000.0, 4)


def test_rows_are_taken_from_all_over() -> None:
    assert spread(list("abcdefgh"), 3) == ["a", "c", "f"]  # type: ignore[arg-type, comparison-overlap]
    assert spread(list("ab"), 3) == ["a", "b"]  # type: ignore[arg-type, comparison-overlap]
