"""The preset `literature`: axes with published effects, each with where its prior comes from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from raytune_agents.records import Options

AXES: Options = {
    # Mixes around the natural one in square roots (RegMix), at most 4 epochs a pool (Olmix). The
    # share of negatives stands for their number a positive (NAT ships two for each).
    "mix.weights": {
        "simplex": ["positive", "synthetic", "negative"],
        "prior": "natural",
        "floors": {"positive": 0.1},
        "epochs": 4,
    },
    # With and without the failures' marker (NAT, arXiv 2402.11651), and pairs of them (DPO).
    "tune.method": {"choice": ["sft", "nat", "dpo"], "prior": "nat"},
    # Two grades of failures beat one where failures are twice the positives (NAT, HotpotQA).
    "train.nat.cuts": {"choice": [[], [0.0]], "prior": [], "when": {"tune.method": "nat"}},
    # 0.1 is the usual strength (ETO, Iterative RPO); ETO takes 0.5 on ALFWorld.
    "train.dpo.beta": {"loguniform": [0.05, 0.5], "prior": 0.1, "when": {"tune.method": "dpo"}},
    # The weight of the NLL of the chosen answer: 1 (Iterative RPO), 0.2 (Llama 3), 0 (DPO).
    "train.dpo.loss_weights": {
        "choice": [[1.0, 0.0], [1.0, 0.2], [1.0, 1.0]],
        "prior": [1.0, 1.0],
        "when": {"tune.method": "dpo"},
    },
    # LoRA on function calls: 1e-4 (xLAM and Tool-N1 recipes); models far below 1B take more.
    "train.learning_rate": {"loguniform": [5e-5, 3e-3], "prior": 3e-4},
    "train.lora.r": {"choice": [8, 16, 32], "prior": 16},
}


def axes(preset: str, own: Mapping[str, Any]) -> Options:
    """The axes of a preset under the `own` ones; those of a method that is not searched are left
    out."""
    if preset == "none":
        return dict(own)
    method = own.get("tune.method", AXES["tune.method"])
    methods = method.get("choice") if isinstance(method, Mapping) else None

    def kept(axis: Mapping[str, Any]) -> bool:
        return axis.get("when", {}).get("tune.method") in (None, *(methods or ()))

    return {key: axis for key, axis in AXES.items() if kept(axis)} | dict(own)
