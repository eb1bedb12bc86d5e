"""The model that is trained: base in bf16 or fp32, LoRA on top; saving an adapter that loads
anywhere."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from raytune_agents.chat import Chat
from raytune_agents.config import ConfigError, LoraSection


def load(path: str, dtype: str, lora: LoraSection, seed: int) -> Any:
    """Base model with a fresh LoRA adapter (fp32 weights). Raises ConfigError where no module
    matches."""
    torch.manual_seed(seed)
    base = AutoModelForCausalLM.from_pretrained(
        path,
        dtype=torch.float32 if dtype == "float32" else torch.bfloat16,
        use_safetensors=True,
        trust_remote_code=False,
    )
    base.config.use_cache = False
    config = LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=lora.targets,
        use_rslora=lora.rslora,
        use_dora=lora.dora,
        task_type="CAUSAL_LM",
    )
    try:
        return get_peft_model(base, config)
    except ValueError as error:
        names = sorted(
            {
                n.rsplit(".", 1)[-1]
                for n, m in base.named_modules()
                if isinstance(m, torch.nn.Linear)
            }
        )
        raise ConfigError(
            f"train.lora.targets={lora.targets!r}: {str(error).splitlines()[0]}; "
            f"write some of {names} or all-linear"
        ) from None


def save_adapter(model: Any, chat: Chat, out: Path) -> None:
    """Adapter (safetensors), tokenizer and chat template into `out`, atomically."""
    work = out.with_name(out.name + ".tmp")
    shutil.rmtree(work, ignore_errors=True)
    model.save_pretrained(work, safe_serialization=True)
    chat.save(work)
    shutil.rmtree(out, ignore_errors=True)
    os.replace(work, out)


def peak_memory_mib() -> float:
    """Largest memory so far: of the GPU where there is one, else of this process (RSS)."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
