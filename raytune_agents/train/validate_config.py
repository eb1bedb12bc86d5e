"""What of a training config can be refused before Ray starts: packages, adapters, targets."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from raytune_agents.config import ConfigError, TrainConfig
from raytune_agents.config.lookup import user_object
from raytune_agents.records import JsonObject
from raytune_agents.storage import read_json
from raytune_agents.train.batches import even_rows

WEIGHTS = "adapter_model.safetensors"


def validate_start(model: Path, name: str, config: TrainConfig) -> None:
    """Refuse what `config` asks of `model` (its folder; `name` as configured) and cannot have.
    Raises ConfigError naming key, value and what to write."""
    validate_packages(config)
    for reward in (name for name in config.grpo.rewards if ":" in name):
        user_object(reward, "train.grpo.rewards")
    even_rows(config)  # raises where the workers cannot share them
    if config.lora.start:
        validate_adapter(Path(config.lora.start).expanduser(), model, name, config)
    elif config.parameters == "lora" and config.lora.target_modules != "all-linear":
        from raytune_agents.train.base_model import check_targets, skeleton

        check_targets(skeleton(model), config.lora)


def validate_packages(config: TrainConfig) -> None:
    """Optional packages that an option needs must be there."""
    needs: list[tuple[str, ...]] = []
    bits, sharding = config.quantization, config.sharding
    if bits != "none":
        needs.append(("quantization", bits, "bitsandbytes", "quantize", "quantization: none"))
    if sharding.startswith("zero"):
        needs.append(("sharding", sharding, "deepspeed", "deepspeed", "sharding: fsdp"))
    for tracker in config.report_to:
        module = "tensorboardX" if tracker == "tensorboard" else tracker
        needs.append(("report_to", tracker, module, "track", "report_to: []"))
    for key, value, module, extra, instead in needs:
        if importlib.util.find_spec(module) is None:
            raise ConfigError(
                f"train.{key}={value} needs package {module}: pip install "
                f"'.[{extra}]' in the clone, or write {instead}"
            )


def validate_adapter(start: Path, model: Path, name: str, config: TrainConfig) -> None:
    """The adapter to go on from: safetensors, of this base, with the shape that the config says."""
    key = f"train.lora.start={str(start)!r}"
    if not (start / "adapter_config.json").is_file():
        raise ConfigError(f"{key} has no adapter_config.json; write the folder of a saved adapter")
    if not (start / WEIGHTS).is_file():
        pickles = [p.name for p in sorted(start.iterdir()) if p.suffix in (".bin", ".pt", ".pth")]
        found = f" (only the pickle {pickles[0]}, which is refused)" if pickles else ""
        raise ConfigError(f"{key} holds no {WEIGHTS}{found}; save it with save_pretrained()")
    saved = read_json(start / "adapter_config.json")
    base = str(saved.get("base_model_name_or_path") or "")
    # The same base has another path on another machine: its last part must do.
    if base not in (str(model), name) and Path(base).name != model.name:
        raise ConfigError(
            f"{key} is an adapter of {base}, not of model.name={name!r}; write model.name={base}"
        )
    if changed := changed_ends(saved, model):
        raise ConfigError(
            f"{key} changes {', '.join(changed)}, which this model has once for both ends "
            "(tie_word_embeddings): engines would answer otherwise than PEFT; write another one"
        )
    shape = ("r", "lora_alpha", "use_rslora", "use_dora")
    pairs = {k: (saved.get(k) or False, getattr(config.lora, k)) for k in shape}
    other = [f"{k}={there} (config: {here})" for k, (there, here) in pairs.items() if there != here]
    if other:
        raise ConfigError(
            f"{key} has {', '.join(other)}; write the adapter's values under train.lora"
        )


def changed_ends(saved: JsonObject, model: Path) -> list[str]:
    """The embeddings that an adapter_config.json changes, where the model's two are one."""
    targets = saved.get("target_modules") or []
    names = [*(saved.get("modules_to_save") or []), *(targets if isinstance(targets, list) else [])]
    found = [name for name in names if name.endswith(("lm_head", "embed_tokens"))]
    if not found:
        return []
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(model, trust_remote_code=False)
    return found if config.get_text_config().tie_word_embeddings else []
