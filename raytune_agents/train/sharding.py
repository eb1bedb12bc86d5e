"""How the workers share a model, as options of the TRL trainers: copies (DDP), FSDP2, DeepSpeed
ZeRO-1/2/3. Ray Train starts the workers and their process group; accelerate and DeepSpeed find it.

What is added up is the same for all: the rows of a step, their order and the loss, so the curve of
one process is the curve of any of them up to rounding.
"""

from __future__ import annotations

from typing import Any

import torch

from raytune_agents.config import TrainConfig

CLIP = 1.0  # largest norm of a step's gradient


def uniform(config: TrainConfig) -> bool:
    """Whether all weights must have one dtype, the adapter's too: fsdp and zero3 pack them."""
    return config.sharding in ("fsdp", "zero3")


def world_size() -> int:
    """Processes that train together now."""
    group = torch.distributed
    return group.get_world_size() if group.is_available() and group.is_initialized() else 1


def worker_rank() -> int:
    """The number of this process among those that train together."""
    group = torch.distributed
    return group.get_rank() if group.is_available() and group.is_initialized() else 0


def sharding_arguments(
    config: TrainConfig, micro_batch_size: int, gradient_accumulation_steps: int, bf16: bool
) -> dict[str, Any]:
    """Arguments of the trainer's config for `micro_batch_size` rows in a worker's forward pass,
    `gradient_accumulation_steps` of them in a step."""
    if config.sharding == "none":
        return {}
    if config.sharding == "ddp":
        # Every adapter weight has part in every pass; to look for others walks the graph each time.
        return {"ddp_find_unused_parameters": False}
    if config.sharding == "fsdp":
        return {
            "fsdp": True,
            "fsdp_config": {
                "version": 2,
                "reshard_after_forward": True,
                "cpu_offload": config.offload,
                "auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
            },
        }
    return {"deepspeed": zero(config, micro_batch_size, gradient_accumulation_steps, bf16)}


def zero(
    config: TrainConfig, micro_batch_size: int, gradient_accumulation_steps: int, bf16: bool
) -> dict[str, Any]:
    """DeepSpeed's own config. ZeRO-1 splits the optimiser, 2 gradients too, 3 weights too."""
    stage = int(config.sharding.removeprefix("zero"))
    parts: dict[str, Any] = {"stage": stage}
    if config.offload:
        parts["offload_optimizer"] = {"device": "cpu"}
    if stage == 3:
        # accelerate refuses `get_state_dict` without it.
        parts["stage3_gather_16bit_weights_on_model_save"] = True
        if config.offload:
            parts["offload_param"] = {"device": "cpu"}
    return {
        "train_micro_batch_size_per_gpu": micro_batch_size,
        "gradient_accumulation_steps": gradient_accumulation_steps,
        "gradient_clipping": CLIP,
        "bf16": {"enabled": bf16},
        "zero_optimization": parts,
        "zero_allow_untested_optimizer": True,
        # Else an offloaded optimiser must be DeepSpeed's own, which it compiles as it starts.
        "zero_force_ds_cpu_optimizer": False,
        "steps_per_print": 10**9,
    }


def announce(shared: dict[str, Any]) -> Any:
    """Tell transformers of ZeRO-3 before the model is loaded, so that each worker loads its part
    only. The value must be kept while loading."""
    config = shared.get("deepspeed")
    if not config or config["zero_optimization"]["stage"] != 3:
        return None
    from transformers.integrations import HfDeepSpeedConfig

    # transformers keeps a weak reference to it: gone with its last name.
    return HfDeepSpeedConfig(config)
