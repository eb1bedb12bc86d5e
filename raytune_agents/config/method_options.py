"""The options of the training methods, and of an arm: one method on one mix."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Literal

from pydantic import Field, field_validator, model_validator

from raytune_agents.config.base import BaseConfig, Positive, Share, Weights
from raytune_agents.records import Options

METHODS = ("sft", "vanilla", "nut", "nat", "inverse", "dpo", "kto", "grpo", "rloo", "rounds")
# Section of train -> the methods that read it. Rounds train by any method of these.
READ_BY = {
    "sft": ("sft", "vanilla", "nut", "nat", "inverse", "rounds"),
    "nat": ("nat", "inverse", "rounds"),
    "dpo": ("dpo", "rounds"),
    "kto": ("kto", "rounds"),
    "grpo": ("grpo", "rloo", "rounds"),
    "rounds": ("rounds",),
}
REWARDS = ("toolrl", "format", "tooln1", "irrelevance", "progress", "goal", "executed")


def known_or_own(name: str, known: Sequence[str]) -> str:
    """The name, where it is known or a user's own ("module:NAME", which is looked up before the
    run starts). Raises ValueError."""
    if name not in known and ":" not in name:
        near = "".join(f"did you mean {n}? " for n in get_close_matches(name, known, 1))
        write = f"write one of {', '.join(known)}, or module:NAME"
        raise ValueError(f"{name!r} is unknown; {near}{write}")
    return name


def unread(option: str, methods: Sequence[str]) -> str:
    """What to say of an option of train (dotted) that none of `methods` reads, else ""."""
    readers = READ_BY.get(option.split(".")[0])
    if not readers or any(m in readers or m not in METHODS for m in methods):
        return ""
    return f"method {' or '.join(methods)} does not read it, but {', '.join(readers)}"


class LoraConfig(BaseConfig):
    r: Positive = Field(16, description="rank")
    lora_alpha: Positive = Field(32, description="scale = alpha / r")
    lora_dropout: Share = Field(0.0, lt=1, description="share of the adapter's inputs set to 0")
    target_modules: list[str] | Literal["all-linear"] = Field(
        "all-linear", description="module names"
    )
    start: str | None = Field(None, description="folder of an adapter of this base to go on from")
    use_rslora: bool = Field(False, description="scale by alpha / sqrt(r) (arXiv 2312.03732)")
    use_dora: bool = Field(False, description="weight-decomposed LoRA (arXiv 2402.09353)")


class SftConfig(BaseConfig):
    """Loss weights of the parts of an answer (Agent-FLAN, arXiv 2403.12881, appendix A)."""

    reasoning: float = Field(1.0, ge=0, description="loss weight of thoughts")
    retrieval: float = Field(1.0, ge=0, description="loss weight of the tool's name")
    understanding: float = Field(1.0, ge=0, description="loss weight of arguments")
    instruction: float = Field(1.0, ge=0, description="loss weight of call format and end of turn")
    answer: float = Field(1.0, ge=0, description="loss weight of words for the user")

    @model_validator(mode="after")
    def _some(self) -> SftConfig:
        if not any(self.model_dump().values()):
            raise ValueError("all loss weights are 0; write at least one above 0")
        return self


class NatConfig(BaseConfig):
    template: Literal["default", "good_bad", "a_b", "random"] = Field(
        "default", description="wording of the markers; random = strings drawn by nat.seed"
    )
    positive: str = Field("", description="own marker of good rows; empty = the template's")
    negative: str | list[str] = Field(
        "", description="own marker of failures, or one a grade, worst first; empty = template"
    )
    cuts: list[float] = Field(
        [],
        description="NAT-k: grades of failures in [0, 1) where a better group begins; "
        "0 parts grade 0 from the rest",
    )
    seed: int = Field(0, ge=0, description="seed of random markers")

    @model_validator(mode="after")
    def _groups(self) -> NatConfig:
        if self.cuts != sorted(set(self.cuts)) or any(not 0 <= c < 1 for c in self.cuts):
            raise ValueError(
                f"cuts={self.cuts}: write rising numbers from 0 to below 1, for example [0, 0.4]"
            )
        groups, own = len(self.cuts) + 1, self.negative
        count = len(own) if isinstance(own, list) else groups if not own else 1
        if count != groups or (isinstance(own, list) and not all(own)):
            raise ValueError(f"negative={own!r}: write one marker a group, {groups}, worst first")
        if self.template == "default" and groups > 3 and not own:
            raise ValueError(
                f"cuts={self.cuts} make {groups} groups, the default wording has words for 3; "
                "write template: a_b, good_bad or random, or your own negative: [...]"
            )
        if bool(self.positive) != bool(own):
            raise ValueError("write both positive and negative, or neither")
        if own and self.positive in ([own] if isinstance(own, str) else own):
            raise ValueError(f"positive={self.positive!r} marks failures too; write another word")
        return self


class DpoConfig(BaseConfig):
    beta: float = Field(0.1, gt=0, description="strength of the reference (of ipo: tau)")
    loss_type: list[Literal["sigmoid", "sigmoid_norm", "ipo", "robust", "hinge", "sft"]] = Field(
        ["sigmoid", "sft"], min_length=1, description="TRL loss names, summed; sft is the anchor"
    )
    loss_weights: list[float] = Field([1.0, 1.0], description="one weight a loss")
    label_smoothing: float = Field(
        0.0, ge=0, lt=0.5, description="share of pairs thought to be the wrong way round (robust)"
    )
    pairs: Literal["minimal", "outcome", "step"] = Field(
        "minimal",
        description="minimal: a failure and the row it was made from; outcome: a task's best and "
        "worse runs (ETO); step: either, cut to the turn where they part",
    )
    precompute_ref_log_probs: bool = Field(
        True, description="reference log-probs once before training, not at every step"
    )

    @model_validator(mode="after")
    def _same(self) -> DpoConfig:
        if len(self.loss_type) != len(self.loss_weights):
            raise ValueError(
                f"loss_weights={self.loss_weights} of {self.loss_type}: write one weight a loss"
            )
        if self.loss_type == ["sft"] or not any(self.loss_weights):
            raise ValueError(
                f"loss_type={self.loss_type} compares no pair; write for example [sigmoid, sft]"
            )
        if "robust" in self.loss_type and not self.label_smoothing:
            raise ValueError("loss_type robust needs label_smoothing; write 0.1")
        return self


class KtoConfig(BaseConfig):
    beta: float = Field(0.1, gt=0, description="strength of the reference")
    loss_type: Literal["kto", "apo_zero_unpaired"] = Field("kto", description="TRL's loss name")
    desirable_weight: float | None = Field(None, gt=0, description="of good rows; none = balanced")
    undesirable_weight: float | None = Field(None, gt=0, description="of failures; none = balanced")


class RewardHackingConfig(BaseConfig):
    """Signs that a policy earns its reward otherwise than meant, at which training stops: means
    over the last `window` steps against those of the first; 0 = that sign stops nothing."""

    window: Positive = Field(10, description="steps of each mean")
    length: float = Field(3.0, ge=0, description="answers so many times as long as at the start")
    no_call: Share = Field(0.3, description="rise of the share without a call where one is due")
    entropy: Share = Field(
        0.05, description="share of the start's entropy that is left, and no more reward than then"
    )


class GrpoConfig(BaseConfig):
    OPERATIONAL = frozenset({"vllm_gpu_memory_utilization", "stop"})

    rewards: list[str] = Field(
        ["toolrl", "format", "irrelevance"],
        min_length=1,
        description="rule rewards of train/rewards.py, or module:function (answer, row) -> number "
        "or None; each in metrics.jsonl",
    )
    reward_weights: list[float] = Field([1.0, 1.0, 0.0], description="one each; 0 = reported only")
    think: bool = Field(False, description="format and tooln1 ask for <think>...</think> first")
    num_generations: int = Field(4, ge=2, description="answers (or roll-outs) sampled for a prompt")
    turns: Positive = Field(
        1,
        description="answers in a roll-out: above 1, tasks of an agent with a world are rolled out "
        "in it, their calls run for real (rewards goal, executed); other rows are answered once",
    )
    temperature: float = Field(1.0, gt=0, description="sampling temperature")
    max_tokens: Positive = Field(96, description="longest answer in tokens")
    beta: float = Field(0.0, ge=0, description="KL to the reference; 0 = none (ToolRL)")
    epsilon: float = Field(0.2, gt=0, lt=1, description="clip of the probability ratio")
    epsilon_high: float | None = Field(
        None, gt=0, description="its upper clip (DAPO: 0.28); none = epsilon"
    )
    scale_rewards: Literal["group", "batch", "none"] = Field(
        "group", description="whose deviation divides rewards (grpo; Dr. GRPO: none)"
    )
    mask_truncated_completions: bool = Field(True, description="cut answers teach nothing (DAPO)")
    num_iterations: Positive = Field(1, description="optimiser steps on one batch of answers")
    loss_type: Literal["grpo", "dapo", "dr_grpo", "bnpo"] = Field(
        "dapo", description="how token losses are averaged"
    )
    stop: RewardHackingConfig = RewardHackingConfig()
    use_vllm: Literal["auto"] | bool = Field(
        "auto",
        description="answers by vLLM in the training process; auto = on a GPU, where TRL supports "
        "the installed vLLM",
    )
    vllm_gpu_memory_utilization: Share = Field(0.3, description="memory of vLLM beside training")

    @field_validator("rewards")
    @classmethod
    def _named(cls, value: list[str]) -> list[str]:
        return [known_or_own(name, REWARDS) for name in value]

    @model_validator(mode="after")
    def _same(self) -> GrpoConfig:
        if len(self.rewards) != len(self.reward_weights) or not any(self.reward_weights):
            raise ValueError(
                f"reward_weights={self.reward_weights}: write one weight a reward, one above 0"
            )
        rolled_out = any(n in ("goal", "executed") for n in self.rewards)
        own = any(":" in n or n == "progress" for n in self.rewards)  # it may be about either
        if rolled_out > (self.turns > 1) or (self.turns > 1) > (rolled_out or own):
            raise ValueError(
                f"turns={self.turns} with rewards={self.rewards}: goal and executed are what a "
                "roll-out is worth; write one of them and turns above 1, or neither and turns: 1"
            )
        return self


class RoundsConfig(BaseConfig):
    """Learning from failure in rounds, from the arm's start (rounds.py)."""

    max: Positive = Field(3, description="rounds of answer, draw, train; the gate may end them")
    method: Literal["sft", "nat", "dpo", "kto", "grpo", "rloo"] = Field(
        "dpo", description="how a round's rows become loss; its options are the method's own"
    )
    select: Literal["failure", "random"] = Field(
        "failure",
        description="where new tasks come from: the tools and arguments that failed; random = the "
        "control, as many of the same candidates at random, whatever their success rate",
    )
    tasks: Positive = Field(64, description="training tasks answered in a round")
    new_tasks: int = Field(32, ge=0, description="new tasks of a round; 0 = own rows only (ETO)")
    samples: int = Field(
        4, ge=1, le=1024, description="answers sampled for each task: its success rate"
    )
    temperature: float = Field(0.7, gt=0, description="sampling temperature of these answers")
    max_tokens: Positive = Field(64, description="longest of these answers in tokens")
    band: tuple[Share, Share] = Field((0.2, 0.85), description="success rates of the trained tasks")
    retire: Share = Field(0.95, description="a task above this success rate is not asked again")
    tokens: int | None = Field(None, ge=1, description="tokens of all rounds; none = each row once")
    val_rows: Positive = Field(32, description="val rows that decide on going on")
    instruction_rows: int = Field(28, ge=0, description="instructions that the gate asks; 0 = none")
    patience: Positive = Field(2, description="rounds without a better val score that end it")

    @model_validator(mode="after")
    def _rates(self) -> RoundsConfig:
        low, high = self.band
        if not low < high <= self.retire:
            raise ValueError(
                f"band={list(self.band)} with retire={self.retire}: a task is trained on inside "
                "the band and retired above it; write for example band: [0.2, 0.85], retire: 0.95"
            )
        between = [k / self.samples for k in range(self.samples + 1)]
        if not any(low <= rate <= high for rate in between):
            raise ValueError(
                f"samples={self.samples}: no success rate ({between}) lies in band="
                f"{list(self.band)}; write samples: 4, or a wider band"
            )
        return self


class ArmConfig(BaseConfig):
    method: str = Field(
        "sft", description=f"how rows become loss: {', '.join(METHODS)}; or module:NAME of one"
    )
    start: str | None = Field(
        None,
        description="the arm above whose adapter it goes on from, and which is the frozen "
        "reference (dpo, kto, rounds; grpo with beta): sft, then dpo; none = the base",
    )
    weights: Weights | None = Field(None, description="this arm's own mix.weights")
    no_call: Share | None = Field(None, lt=1, description="this arm's own mix.no_call")
    tokens: int | None = Field(None, ge=1, description="this arm's own mix.tokens")
    share: float = Field(1.0, gt=0, le=1, description="share of its tokens that it is trained on")
    learning_rate: float | None = Field(None, gt=0, description="this arm's train.learning_rate")
    options: Options = Field({}, description="its own options of train, dotted: {nat.cuts: [0.4]}")
    seed: int | None = Field(None, ge=0, lt=2**32, description="its own, of rows and training")
    ask_unmarked: bool = Field(False, description="ask it also without its marker (nat, inverse)")

    @field_validator("method")
    @classmethod
    def _known(cls, value: str) -> str:
        return known_or_own(value, METHODS)

    @model_validator(mode="after")
    def _of_its_method(self) -> ArmConfig:
        if self.ask_unmarked and self.method not in ("nat", "inverse"):
            raise ValueError(
                f"ask_unmarked: an arm of method {self.method} has no marker; write method: nat"
            )
        for option in self.options:
            if why := unread(option, [self.method]):
                raise ValueError(f"options.{option}: {why}; take it out, or write that method")
        return self
