"""The model that is trained: the base in bf16, fp32 or quantised, LoRA on top or all of it; saving
it so that it loads anywhere. Only safetensors are read and written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import peft
import torch
from transformers import AutoConfig, AutoModelForCausalLM, BitsAndBytesConfig

from raytune_agents import models
from raytune_agents.chat import Chat
from raytune_agents.config import ConfigError, LoraConfig, TrainConfig
from raytune_agents.records import Options
from raytune_agents.storage import whole_folder
from raytune_agents.train import lora, sharding
from raytune_agents.train.padding_free import PaddingFree, can_unpad


def load_model(path: str, dtype: str, config: TrainConfig, seed: int) -> Any:
    """The model to train: base with a fresh adapter (fp32 weights), with the adapter of
    train.lora.start, or the base itself. Raises ConfigError where a LoRA target matches nothing."""
    # A of LoRA is random: every worker, and one that starts again, must begin with the same.
    torch.manual_seed(seed)
    base = models.causal_lm(path, dtype, **quantisation(config.quantization, dtype))
    # Training reads no KV cache, and one would be held for every layer.
    base.config.use_cache = False
    if config.parameters == "full":
        models.make_saveable(base)  # not only found at the end
        return base
    # Small updates vanish in bf16 weights, so the adapter is fp32 wherever it may be.
    fp32_adapter = not sharding.uniform(config)
    if config.lora.start:
        return peft.PeftModel.from_pretrained(
            base, config.lora.start, is_trainable=True, autocast_adapter_dtype=fp32_adapter
        )
    check_targets(base, config.lora)
    return peft.get_peft_model(base, lora_config(config.lora), autocast_adapter_dtype=fp32_adapter)


def quantisation(kind: str, dtype: str) -> Options:
    """What loads a model as nf4 with double quantisation (QLoRA, section 3), or in int8 rows."""
    if kind == "none":
        return {}
    if kind == "int8":
        return {"quantization_config": BitsAndBytesConfig(load_in_8bit=True)}
    nf4 = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype="bfloat16" if models.bf16(dtype) else "float32",
    )
    return {"quantization_config": nf4}


def lora_config(config: LoraConfig) -> peft.LoraConfig:
    return peft.LoraConfig(**config.model_dump(exclude={"start"}), task_type="CAUSAL_LM")


def check_targets(model: Any, config: LoraConfig) -> None:
    """Every named target must be a module of the model; PEFT is silent where only some are.
    Raises ConfigError."""
    if config.target_modules == "all-linear":
        return
    tied = model.config.get_text_config().tie_word_embeddings
    if tied and any(t.endswith("lm_head") for t in config.target_modules):
        raise ConfigError(
            f"train.lora.target_modules={config.target_modules}: lm_head of this model is its "
            "embedding too (tie_word_embeddings), which merging would change; leave lm_head out"
        )
    names = [n for n, m in model.named_modules() if isinstance(m, torch.nn.Linear)]
    ends = tuple(f".{name}" for name in names)
    lost = [t for t in config.target_modules if not any(end.endswith(f".{t}") for end in ends)]
    if lost or not config.target_modules:
        known = sorted({n.rsplit(".", 1)[-1] for n in names} - {"lm_head"})
        raise ConfigError(
            f"train.lora.target_modules={config.target_modules}: {lost or 'nothing'} matches no "
            f"module of this model; write some of {known} or all-linear"
        )


def skeleton(path: str | Path) -> Any:
    """The model's modules without weights (meta device)."""
    config = AutoConfig.from_pretrained(path, trust_remote_code=False)
    # The names of the modules are all that is asked for: no weights, however large it is.
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config)


def cast_less(model: Any, autocast: bool) -> None:
    """Under bf16 autocast the adapter multiplies bf16 activations by its fp32 weights cast to bf16;
    PEFT would copy every activation to fp32 first and keep the copy for the backward pass."""
    for module in model.modules():
        if hasattr(module, "cast_input_dtype_enabled"):
            module.cast_input_dtype_enabled = not autocast


def quicken(model: Any, config: TrainConfig) -> PaddingFree:
    """The same products with less work: rows without padding where the model and the hardware allow
    it, and the adapter's products with the base's. Workers that split the weights (fsdp, zero3)
    hand each module its own, so there PEFT's way stays."""
    if config.parameters == "lora" and not sharding.uniform(config):
        lora.fuse(model)
    plain = model.get_base_model() if isinstance(model, peft.PeftModel) else model
    return PaddingFree(plain, config.padding_free and can_unpad(plain))


def save(trainer: Any, chat: Chat, out: Path, marker: str = "") -> None:
    """Adapter (or full weights) as safetensors, tokenizer and chat template into `out`, atomically.
    The template writes `marker`, by which the model is asked for good answers, into the question.
    To be called on every rank: the parts of a sharded model are gathered; rank 0 writes."""
    accelerator = trainer.accelerator
    # On every rank: each holds a part of it under fsdp and zero3.
    state = accelerator.get_state_dict(trainer.model_wrapped)
    if trainer.is_world_process_zero():
        model = accelerator.unwrap_model(trainer.model)
        with whole_folder(out) as work:
            model.save_pretrained(work, state_dict=state, safe_serialization=True)
            chat.save(work, marker)
            models.write_old_fields(work)
    accelerator.wait_for_everyone()


def peak_memory_mib() -> float:
    """Largest memory so far: of the GPU where there is one, else of this process (RSS)."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
