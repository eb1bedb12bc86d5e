"""Options of training that all methods share, and the arms."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from raytune_agents.config.base import FOLDER, Auto, BaseConfig, Positive, Share
from raytune_agents.config.lookup import did_you_mean
from raytune_agents.config.method_options import (
    ArmConfig,
    DpoConfig,
    GrpoConfig,
    KtoConfig,
    LoraConfig,
    NatConfig,
    RoundsConfig,
    SftConfig,
)
from raytune_agents.records import JsonObject

MOST_ROWS, STEPS = 8, 100  # rows per step at most, and steps at least, of global_batch_size=auto
BASE = "base"  # the untrained model's name among the arms
# What an arm may not be called: the other baselines of an evaluation, and Ray's own folder.
TAKEN = (BASE, f"{BASE}_few_shot", f"{BASE}_constrained", "ray")


class TrainConfig(BaseConfig):
    OPERATIONAL = frozenset(
        {"max_tokens_per_forward", "padding_free", "save_steps", "max_failures"}
        | {"gradient_checkpointing", "offload", "max_loss", "report_to", "label_selector"}
    )

    arms: dict[str, ArmConfig] = Field(
        {
            "sft": ArmConfig(weights={"positive": 0.7, "synthetic": 0.3}),
            "nat": ArmConfig(method="nat"),
        },
        min_length=1,
        description="name -> arm; all are trained and compared with the base",
    )
    curve: list[Share] = Field(
        [], description="shares of its tokens that every arm is trained on too, as NAME-10 for 0.1"
    )
    learning_rate: Literal["auto"] | Annotated[float, Field(gt=0, le=100)] = Field(
        "auto", description="the largest; auto = by method and size (train/learning_rates.py)"
    )
    max_tokens_per_forward: Positive = Field(1024, description="tokens in one forward pass")
    global_batch_size: Positive | Literal["auto"] = Field(
        "auto",
        description="rows in one optimiser step; auto = 8, and fewer where the rows of all epochs "
        "would make less than a hundred steps",
    )
    num_train_epochs: float = Field(1.0, gt=0, le=1000, description="passes over the mixed rows")
    max_steps: int = Field(-1, description="stop after this many optimiser steps; -1 = by epochs")
    warmup_ratio: Share = Field(0.05, description="share of the steps in which the rate rises")
    lr_scheduler_type: Literal["cosine", "linear", "constant", "constant_with_warmup"] = Field(
        "cosine", description="how the learning rate falls after its warm-up"
    )
    weight_decay: float = Field(0.0, ge=0, description="of AdamW, on the weights that are trained")
    save_steps: Positive = Field(50, description="optimiser steps between checkpoints")
    max_failures: int = Field(2, ge=0, description="restarts of a killed worker")
    num_workers: Auto | tuple[Positive, Positive] = Field(
        0,
        description="Ray Train workers; auto = one per GPU that shares global_batch_size "
        "evenly, or one; "
        "[least, most] = as many as Ray has room for, more or fewer as the cluster grows or "
        "shrinks (sharding: ddp)",
    )
    label_selector: dict[str, str] = Field(
        {}, description="labels of nodes for training and trials, such as ray.io/market-type: spot"
    )
    padding_free: bool = Field(True, description="compute no padding where model and hardware can")
    gradient_checkpointing: bool = Field(False, description="less memory, a third more time")
    max_loss: float = Field(30.0, gt=0, description="a step's loss (nats) above it stops the run")
    parameters: Literal["lora", "full"] = Field("lora", description="what is trained")
    quantization: Literal["none", "int8", "nf4"] = Field(
        "none", description="base weights under the adapter (QLoRA, arXiv 2305.14314)"
    )
    sharding: Literal["none", "ddp", "fsdp", "zero1", "zero2", "zero3"] = Field(
        "none", description="how workers share the model: copies, FSDP2, DeepSpeed ZeRO"
    )
    offload: bool = Field(False, description="fsdp, zero: optimiser (and weights) in CPU memory")
    eval_steps: int = Field(
        0, ge=0, description="score val rows every so many steps and keep the best; 0 = never"
    )
    eval_rows: Positive = Field(48, description="val rows scored")
    generate_steps: int = Field(
        0, ge=0, description="let it answer those rows too, every so many steps; 0 = never"
    )
    early_stopping_patience: int = Field(
        0, ge=0, description="stop after so many scores without a better one"
    )
    report_to: list[Literal["tensorboard", "mlflow", "wandb", "trackio"]] = Field(
        ["tensorboard"], description="where curves go besides metrics.jsonl"
    )
    lora: LoraConfig = LoraConfig()
    sft: SftConfig = SftConfig()
    nat: NatConfig = NatConfig()
    dpo: DpoConfig = DpoConfig()
    kto: KtoConfig = KtoConfig()
    grpo: GrpoConfig = GrpoConfig()
    rounds: RoundsConfig = RoundsConfig()

    @model_validator(mode="after")
    def _curve(self) -> TrainConfig:
        if odd := [share for share in self.curve if not 0.005 <= share < 1]:
            raise ValueError(f"curve={odd}: write shares below 1, for example [0.1, 0.5]")
        for name, arm in list(self.arms.items()):
            if arm.share < 1:
                continue
            for share in sorted(self.curve):
                end = f"-{share * 100:.0f}"  # an arm that goes on does so from one of as few rows
                start = arm.start and arm.start + end
                own = {"share": share, "ask_unmarked": False, "start": start}
                self.arms.setdefault(name + end, arm.model_copy(update=own))
        return self

    @model_validator(mode="after")
    def _arms(self) -> TrainConfig:
        first: dict[str, str] = {}  # name as a disk that knows no case has it -> as written
        for name, arm in self.arms.items():
            if (twin := first.setdefault(name.casefold(), name)) != name:
                raise ValueError(
                    f"arms.{name!r} and arms.{twin!r} are one folder where case does not count; "
                    "write names that differ in more"
                )
            if not FOLDER.fullmatch(name) or name.endswith("-unmarked") or name.lower() in TAKEN:
                raise ValueError(
                    f"arms.{name!r} becomes a folder of the run and a name in its tables; write "
                    "letters, digits, . _ and -, a letter or digit first, not -unmarked at the "
                    f"end, and not {BASE}, which is the untrained model, nor {', '.join(TAKEN[1:])}"
                )
            if arm.options:
                try:
                    self.of(arm)
                except ValueError as error:
                    raise ValueError(f"arms.{name}.options: {error}") from None
            if arm.start is not None:
                self._can_start(name, arm.start)
        return self

    def _can_start(self, name: str, start: str) -> None:
        """An arm goes on from an adapter of its own shape, trained before it. Raises ValueError."""
        above = list(self.arms)[: list(self.arms).index(name)]
        if start not in above:
            known = ", ".join(above) or "none"
            raise ValueError(
                f"arms.{name}.start={start!r} is no arm above it ({known}); write one, or no start"
            )
        own, before = self.of(self.arms[name]), self.of(self.arms[start])
        if own.lora.start:
            raise ValueError(f"arms.{name}.start={start!r} with lora.start; write one of them")
        if "full" in (own.parameters, before.parameters):
            raise ValueError(
                f"arms.{name}.start={start!r} needs an adapter; write parameters: lora for both"
            )
        shape = ("r", "lora_alpha", "target_modules", "use_rslora", "use_dora")
        if odd := [k for k in shape if getattr(own.lora, k) != getattr(before.lora, k)]:
            raise ValueError(
                f"arms.{name}.start={start!r} has another lora.{odd[0]}; write the same"
            )

    def deciding(self) -> JsonObject:
        """Copies (ddp) share the rows of every optimiser step: any number of them is as one."""
        copies = {"num_workers", "sharding"} if self.sharding in ("none", "ddp") else set()
        return {k: v for k, v in super().deciding().items() if k not in copies}

    @property
    def span(self) -> tuple[int, int]:
        """The least and the most workers; one where they are not resolved (auto)."""
        return (
            (self.num_workers or 1,) * 2 if isinstance(self.num_workers, int) else self.num_workers
        )

    @property
    def shared_by(self) -> int:
        """The least number of rows that every number of workers in the span can share evenly."""
        return math.lcm(*range(self.span[0], self.span[1] + 1))

    def rows_per_step(self, count: int | None = None) -> int:
        """`global_batch_size`, or what `auto` is for `count` rows of all epochs (None: many):
        a power of two, or the next number that the workers can share."""
        if self.global_batch_size != "auto":
            return self.global_batch_size
        # What few rows teach depends on the number of steps more than on the noise of each.
        rows = MOST_ROWS if count is None else min(MOST_ROWS, max(1, count // STEPS))
        return self.shared_by * math.ceil(2 ** int(math.log2(rows)) / self.shared_by)

    def of(self, arm: ArmConfig) -> TrainConfig:
        """The options of one arm: its own over these, and no other arm. Raises ValueError."""
        tree = self.model_dump()
        for key, value in arm.options.items():
            *path, last = key.split(".")
            node = tree
            for part in path:
                node = node.get(part) if isinstance(node, dict) else None
            if not isinstance(node, dict) or last not in node or path[:1] == ["arms"]:
                wrong, known = (last, node) if isinstance(node, dict) else (path[0], tree)
                near = did_you_mean(wrong, known)
                raise ValueError(f"{key}: unknown option of train; {near}")
            node[last] = value
        tree["curve"] = []
        # how it is asked once it is trained is no option of its training
        alone = arm.model_copy(update={"options": {}, "start": None, "ask_unmarked": False})
        tree["arms"] = {"this": alone.model_dump()}
        tree["learning_rate"] = arm.learning_rate or tree["learning_rate"]
        return TrainConfig(**tree)

    def starting_at(self, adapter: Path) -> TrainConfig:
        """The same, going on from this adapter."""
        return self.model_copy(
            update={"lora": self.lora.model_copy(update={"start": str(adapter)})}
        )

    @field_validator("max_steps")
    @classmethod
    def _steps(cls, value: int) -> int:
        if value < -1 or value == 0:
            raise ValueError(f"{value} is no number of steps; write -1 (by epochs), or 1 and more")
        return value

    @model_validator(mode="after")
    def _fits(self) -> TrainConfig:
        for conflict in self._conflicts():
            raise ValueError(conflict)
        return self

    def _conflicts(self) -> Iterator[str]:
        """Options that do not go together, and what to write."""
        sharding, (least, most) = f"sharding={self.sharding}", self.span
        packed = f"quantization={self.quantization}"
        whole, copies = self.sharding in ("fsdp", "zero3"), self.sharding in ("none", "ddp")
        full, quantized = self.parameters == "full", self.quantization != "none"
        every, scored = self.generate_steps, self.eval_steps
        if self.label_selector and not self.num_workers:
            yield "label_selector with num_workers=auto, that counts all GPUs; write num_workers: 4"
        if least > most:
            yield f"num_workers=[{least}, {most}]: the least stands first; write [{most}, {least}]"
        if most > 1 and self.sharding == "none":
            yield f"num_workers={self.num_workers} with {sharding}; write sharding: ddp, or fsdp"
        if least < most and self.sharding != "ddp":
            yield (
                f"num_workers=[{least}, {most}] with {sharding}, whose checkpoints are of one "
                f"number of workers; write sharding: ddp, or num_workers: {most}"
            )
        if self.offload and copies:
            yield f"offload with {sharding}; write sharding: fsdp or zero2"
        if quantized and full:
            yield f"{packed} cannot be trained in full; write parameters: lora"
        if quantized and whole:
            yield f"{packed} with {sharding} splits packed weights; write sharding: ddp or zero2"
        if self.lora.start is not None and full:
            yield "lora.start with parameters=full; write parameters: lora, or merge the adapter"
        if self.early_stopping_patience and not scored:
            patience = f"early_stopping_patience={self.early_stopping_patience}"
            yield f"{patience} without scores; write eval_steps: 20"
        if every and (not scored or every % scored):
            yield f"generate_steps={every} is no multiple of eval_steps={scored}; write one"
        if every and whole:
            yield f"generate_steps with {sharding}; write generate_steps: 0, or sharding: ddp"
