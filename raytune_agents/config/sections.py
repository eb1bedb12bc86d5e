"""Every option, typed, with its default on the field. One tree, one section a step."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, field_validator, model_validator

from raytune_agents.config.base import Auto, Positive, Section, Share, check_weights
from raytune_agents.config.evaluation import (
    GeneralSection,
    JudgedSection,
    MultiTurnSection,
    TrajectoriesSection,
)
from raytune_agents.config.export import ExportSection
from raytune_agents.config.generation import GenerateSection, NegativesSection
from raytune_agents.config.methods import (
    ArmSection,
    DpoSection,
    EtoSection,
    GrpoSection,
    KtoSection,
    LoraSection,
    NatSection,
    SftSection,
)
from raytune_agents.config.resources import ResourcesSection
from raytune_agents.config.search import BudgetSection, TuneSection

FOLDER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class ModelSection(Section):
    name: str = Field(
        "smollm2-135m", description="smollm2-135m (embedded), a hub id, or a local folder"
    )
    revision: str | None = Field(None, description="hub revision")
    dtype: Literal["auto", "bfloat16", "float32"] = Field(
        "auto", description="auto = bfloat16 where the hardware has instructions for it"
    )
    max_length: Positive = Field(768, description="longest prompt + answer in tokens")
    template: Literal["auto", "ours", "native"] = Field(
        "auto", description="auto = the model's own chat template where it renders tools, else ours"
    )
    tools: Literal["signature", "schema"] = Field(
        "signature", description="how our template writes tools: compact, or full JSON Schema"
    )


class SourceSection(Section):
    path: str = Field(
        description="bfcl (from the bfcl-eval package), a file, folder, glob, URL or hub id"
    )
    format: str = Field("auto", description="name in READERS, module:function, or auto")
    limit: int | None = Field(None, ge=1, description="at most this many rows")
    categories: list[str] = Field(
        [], description="BFCL categories; empty = the Python call categories"
    )
    min_rating: Share = Field(
        0.8, description="human ratings below this share of the scale are failures"
    )
    rating_max: float = Field(1.0, gt=0, description="top of the scale of human ratings")


class SplitSection(Section):
    train: Share = Field(0.8, description="share of rows whose tools may be trained on")
    val: Share = Field(0.1, description="share of rows for model choice")
    test_seen: Share = Field(0.1, description="share of test rows whose tools occur in train")
    unseen_tools: Share = Field(0.15, description="share of gold tools kept for test_unseen")

    @model_validator(mode="after")
    def _sums(self) -> SplitSection:
        parts = {"train": self.train, "val": self.val, "test_seen": self.test_seen}
        if abs(sum(parts.values()) - 1.0) > 1e-6:
            raise ValueError(
                f"{parts} sum to {sum(parts.values()):.3f}; write shares that sum to 1, "
                "for example train=0.8 val=0.1 test_seen=0.1"
            )
        empty = [k for k, v in (parts | {"unseen_tools": self.unseen_tools}).items() if v <= 0]
        if empty or self.unseen_tools >= 1:
            raise ValueError(
                f"the split {empty or ['train']} would be empty; write a share between 0 and 1"
            )
        return self


class ReadSection(Section):
    sources: list[SourceSection] = Field([SourceSection(path="bfcl")], min_length=1)
    split: SplitSection = SplitSection()
    max_error_share: Share = Field(
        0.05, description="more bad or lost rows than this share stop a step"
    )


class LabelSection(Section):
    rules: list[str] = Field(
        [], description="names in RULES; empty or the word default = all but pii"
    )
    max_chars: Positive = Field(20_000, description="longest conversation in characters")
    min_outcome: Share = Field(
        0.5, description="positives whose known outcome is lower are rejected"
    )
    languages: list[str] = Field([], description="two-letter languages of requests; empty = any")
    difficulty: bool = Field(
        False, description="quality counts the model's own NLL of the answer (a forward pass a row)"
    )
    contradictions: bool = Field(True, description="label rows of one question with other calls")
    duplicates: Literal["exact", "minhash", "off"] = Field("exact", description="duplicate search")
    minhash_threshold: Share = Field(0.8, description="Jaccard similarity of near duplicates")
    embed: str = Field(
        "", description="module:function, texts -> vectors [texts, n]: semantic duplicates too"
    )
    semantic_threshold: Share = Field(0.95, description="cosine of semantic duplicates")
    decontaminate: bool = Field(
        True, description="label training rows that show a val, test or evaluation-set row"
    )
    evaluation_sets: list[SourceSection] = Field(
        [SourceSection(path="bfcl")],
        description="sets that no training row may show; what is read as a source is left out",
    )
    leak_mismatches: int = Field(
        2, ge=0, le=4, description="words that may differ in a leaked run of ten"
    )
    partitions: Positive = Field(32, description="groups of the distributed duplicate search")

    @model_validator(mode="after")
    def _embeds(self) -> LabelSection:
        if self.embed and self.duplicates != "minhash":
            raise ValueError(
                f"embed={self.embed!r} adds to duplicates=minhash, not to "
                f"{self.duplicates!r}; write duplicates=minhash"
            )
        return self


class MixSection(Section):
    weights: dict[str, float] = Field(
        {"positive": 0.5, "synthetic": 0.2, "negative": 0.3},
        description="share of trained tokens by pool; a dotted name is a family",
    )
    tokens: Positive = Field(12_000, description="trained (answer) tokens in all")
    max_epochs: float = Field(4.0, gt=0, description="a pool is repeated at most this often")
    select: Literal["random", "stratified", "k_center", "facility"] = Field(
        "random", description="which rows of a pool an arm takes first: any, or those that differ"
    )

    @field_validator("weights")
    @classmethod
    def _weights(cls, value: dict[str, float]) -> dict[str, float]:
        return check_weights(value, "mix.weights")


class TrainSection(Section):
    arms: dict[str, ArmSection] = Field(
        {
            "sft": ArmSection(weights={"positive": 0.7, "synthetic": 0.3}),
            "nat": ArmSection(method="nat"),
        },
        min_length=1,
        description="name -> arm; all are trained and compared with the base",
    )
    curve: list[Share] = Field(
        [],
        description="every arm is trained on these shares of its tokens too, as NAME-10 for 0.1: "
        "the sample-efficiency curve",
    )
    learning_rate: float = Field(1e-3, gt=0)
    batch_tokens: Positive = Field(1024, description="padded tokens in one forward pass")
    batch_rows: Positive = Field(8, description="rows in one optimiser step")
    epochs: float = Field(1.0, gt=0, description="passes over the mixed rows")
    max_steps: int = Field(-1, description="stop after this many optimiser steps; -1 = by epochs")
    warmup_share: Share = Field(0.05)
    scheduler: Literal["cosine", "linear", "constant", "constant_with_warmup"] = "cosine"
    weight_decay: float = Field(0.0, ge=0)
    save_steps: Positive = Field(50, description="optimiser steps between checkpoints")
    max_failures: int = Field(2, ge=0, description="restarts of a killed worker")
    workers: Auto | tuple[Positive, Positive] = Field(
        0,
        description="Ray Train workers; auto = one a GPU that shares batch_rows evenly, or one; "
        "[least, most] = as many as Ray has room for, more or fewer as the cluster grows or "
        "shrinks (sharding: ddp)",
    )
    gradient_checkpointing: bool = Field(False, description="less memory, a third more time")
    max_loss: float = Field(
        30.0, gt=0, description="a step's loss (nats) above it stops the run: it has exploded"
    )
    parameters: Literal["lora", "full"] = Field("lora", description="what is trained")
    quantize: Literal["none", "int8", "nf4"] = Field(
        "none", description="base weights under the adapter (QLoRA, arXiv 2305.14314)"
    )
    sharding: Literal["none", "ddp", "fsdp", "zero1", "zero2", "zero3"] = Field(
        "none", description="how workers share the model: copies, FSDP2, DeepSpeed ZeRO"
    )
    offload: bool = Field(False, description="fsdp, zero: optimiser (and weights) in CPU memory")
    score_steps: int = Field(
        0, ge=0, description="score val rows every so many steps and keep the best; 0 = never"
    )
    score_rows: Positive = Field(48, description="val rows scored")
    generate_steps: int = Field(
        0, ge=0, description="let it answer those rows too, every so many steps; 0 = never"
    )
    patience: int = Field(0, ge=0, description="stop after so many scores without a better one")
    track: list[Literal["tensorboard", "mlflow", "wandb"]] = Field(
        ["tensorboard"], description="where curves go besides metrics.jsonl"
    )
    lora: LoraSection = LoraSection()
    sft: SftSection = SftSection()
    nat: NatSection = NatSection()
    dpo: DpoSection = DpoSection()
    kto: KtoSection = KtoSection()
    grpo: GrpoSection = GrpoSection()
    eto: EtoSection = EtoSection()

    @model_validator(mode="after")
    def _curve(self) -> TrainSection:
        if odd := [share for share in self.curve if not 0.005 <= share < 1]:
            raise ValueError(f"curve={odd}: write shares below 1, for example [0.1, 0.5]")
        for name, arm in list(self.arms.items()):
            if arm.share < 1:
                continue
            for share in sorted(self.curve):
                less = arm.model_copy(update={"share": share, "ask_unmarked": False})
                self.arms.setdefault(f"{name}-{share * 100:.0f}", less)
        return self

    @model_validator(mode="after")
    def _arms(self) -> TrainSection:
        for name, arm in self.arms.items():
            if not FOLDER.fullmatch(name) or name.endswith("-unmarked"):
                raise ValueError(
                    f"arms.{name!r} becomes a folder of the run; write letters, digits, . _ and -, "
                    "a letter or digit first, and not -unmarked at the end"
                )
            if arm.options:
                try:
                    self.of(arm)
                except ValueError as error:
                    raise ValueError(f"arms.{name}.options: {error}") from None
        return self

    @property
    def span(self) -> tuple[int, int]:
        """The least and the most workers; one where they are not resolved (auto)."""
        return (self.workers or 1,) * 2 if isinstance(self.workers, int) else self.workers

    def of(self, arm: ArmSection) -> TrainSection:
        """The options of one arm: its own over these, and no other arm. Raises ValueError."""
        tree = self.model_dump()
        for key, value in arm.options.items():
            *path, last = key.split(".")
            place = tree
            for part in path:
                place = place.get(part) if isinstance(place, dict) else None
            if not isinstance(place, dict) or last not in place or path[:1] == ["arms"]:
                raise ValueError(
                    f"{key}: unknown option of train; write names like nat.template or lora.r"
                )
            place[last] = value
        tree["curve"] = []
        tree["arms"] = {"this": arm.model_copy(update={"options": {}}).model_dump()}
        tree["learning_rate"] = arm.learning_rate or tree["learning_rate"]
        return TrainSection(**tree)

    @model_validator(mode="after")
    def _fits(self) -> TrainSection:
        whole = self.sharding in ("fsdp", "zero3")
        least, most = self.span
        wrong = [
            (
                least > most,
                f"workers=[{least}, {most}]: the least stands first; write [{most}, {least}]",
            ),
            (
                most > 1 and self.sharding == "none",
                f"workers={self.workers} with sharding=none; write sharding: ddp (or fsdp, zero2)",
            ),
            (
                least < most and self.sharding != "ddp",
                f"workers=[{least}, {most}] with sharding={self.sharding}, whose checkpoints are "
                f"of one number of workers; write sharding: ddp, or workers: {most}",
            ),
            (
                self.offload and self.sharding in ("none", "ddp"),
                f"offload with sharding={self.sharding}; write sharding: fsdp or zero2",
            ),
            (
                self.quantize != "none" and self.parameters == "full",
                f"quantize={self.quantize} cannot be trained in full; write parameters: lora",
            ),
            (
                self.quantize != "none" and whole,
                f"quantize={self.quantize} with sharding={self.sharding}, which splits weights "
                "that bitsandbytes packs; write sharding: ddp or zero2",
            ),
            (
                self.lora.start is not None and self.parameters == "full",
                "lora.start with parameters=full; write parameters: lora, or merge the adapter "
                "and name the merged folder as model.name",
            ),
            (
                self.patience > 0 and not self.score_steps,
                f"patience={self.patience} without scores; write score_steps: 20",
            ),
            (
                self.generate_steps > 0
                and (not self.score_steps or self.generate_steps % self.score_steps > 0),
                f"generate_steps={self.generate_steps} is no multiple of score_steps="
                f"{self.score_steps}; write for example score_steps: 20 and generate_steps: 100",
            ),
            (
                self.generate_steps > 0 and whole,
                f"generate_steps with sharding={self.sharding}, which splits the weights; write "
                "generate_steps: 0, or sharding: ddp",
            ),
        ]
        for found, said in wrong:
            if found:
                raise ValueError(said)
        return self


class EvaluateSection(Section):
    splits: list[Literal["val", "test_seen", "test_unseen"]] = Field(
        ["test_seen", "test_unseen"], min_length=1
    )
    sources: dict[str, SourceSection] = Field(
        {}, description="more suites, name -> source; each is a split of that name"
    )
    unseen_agents: list[str] = Field(
        [], description="agents left out of generate.agents; their tasks are split unseen_agents"
    )
    unseen_rows: Positive = Field(48, description="tasks of the unseen agents")
    perturbations: list[str] = Field([], description="names in PERTURBATIONS; empty = none")
    perturbed_rows: Positive = Field(
        32, description="rows of each split that are asked again under each perturbation"
    )
    trajectories: TrajectoriesSection = TrajectoriesSection()
    multi_turn: MultiTurnSection = MultiTurnSection()
    instruction_rows: int = Field(
        0, ge=0, description="requests with instructions that a program can check; 0 = none"
    )
    perplexity_rows: int = Field(
        0, ge=0, description="val rows whose perplexity under every arm is measured; 0 = none"
    )
    judge: JudgedSection = JudgedSection()
    general: GeneralSection = GeneralSection()
    limit: int | None = Field(None, ge=1, description="at most this many rows a split")
    max_tokens: Positive = Field(96, description="longest answer in tokens")
    shard_rows: Positive = Field(64, description="rows asked and committed together")
    max_concurrency: int | None = Field(
        None, ge=1, description="shards under way at a time; none = two an engine actor"
    )
    resamples: int = Field(2000, ge=100, description="bootstrap resamples")
    confidence: float = Field(0.95, gt=0.5, lt=1.0)


class EngineSection(Section):
    actors: Auto = Field(
        0, description="engine actors, each with GPUs of its own; auto = as many as they hold"
    )
    tensor_parallel: Auto = Field(
        0, description="GPUs of one actor; auto = the fewest that hold the weights"
    )
    max_model_len: Positive = Field(1024, description="longest prompt + answer the engine takes")
    kv_cache_gib: float = Field(1.0, gt=0, description="CPU memory for the KV cache")
    gpu_memory_share: Share = Field(0.85, description="GPU memory the engine may take")
    max_batched_tokens: Positive = Field(2048)
    retries: int = Field(
        2, ge=0, description="tries after a dead engine; then rows are infra_failed"
    )
    timeout_s: float = Field(900.0, gt=0, description="longest wait for one batch")


class Config(Section):
    name: str = Field(
        "demo", pattern=f"^{FOLDER.pattern}$", description="run folder under runs_dir"
    )
    runs_dir: str = Field(
        "runs", description="where run folders live: a folder, s3://BUCKET/PATH or gs://BUCKET/PATH"
    )
    seed: int = Field(17, ge=0)
    model: ModelSection = ModelSection()
    read: ReadSection = ReadSection()
    generate: GenerateSection = GenerateSection()
    negatives: NegativesSection = NegativesSection()
    label: LabelSection = LabelSection()
    mix: MixSection = MixSection()
    train: TrainSection = TrainSection()
    evaluate: EvaluateSection = EvaluateSection()
    tune: TuneSection = TuneSection()
    budget: BudgetSection = BudgetSection()
    export: ExportSection = ExportSection()
    engine: EngineSection = EngineSection()
    resources: ResourcesSection = ResourcesSection()
