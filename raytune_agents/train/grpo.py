"""Group-relative policy optimisation (GRPO, arXiv 2402.03300) and RLOO (arXiv 2402.14740) with rule
rewards: several answers to each prompt, the advantage of an answer is its reward against those of
its group (GRPO: over their standard deviation too; RLOO: against the mean of the others).

PPO (arXiv 1707.06347): TRL 1.16 has none, neither in `trl` nor in `trl.experimental`. GRPO keeps
PPO's clipped ratio (train.grpo.epsilon, more than one step on a batch by train.grpo.updates) and
takes the group's mean where PPO trains a value model; rule rewards are one number at the end of an
answer, so a critic has no earlier reward to predict, and ToolRL measured GRPO above PPO at
every size (BFCL V3, Qwen2.5-7B: 58.4 against 46.7). So GRPO stands in for it.

Answers are sampled in the training process by transformers; with `use_vllm` by vLLM beside it on
the same GPU (TRL's colocate mode, weights synchronised at every step). TRL's `tools=` is not used:
it has one tool list for all prompts and needs a template that it can parse, where every row here
shows its own tools; so a step is one answer, rewarded by its calls.
"""

from __future__ import annotations

import json
from typing import Any

from raytune_agents.calls import gold_of
from raytune_agents.chat import Chat
from raytune_agents.config import ConfigError, TrainSection
from raytune_agents.records import RecordError, Trajectory, to_row
from raytune_agents.train import rewards


def columns(row: Trajectory, chat: Chat, section: TrainSection, twins: Any) -> list[dict[str, Any]]:
    """prompt (text, as the engine is asked) and row (JSON). trained_tokens are those of the known
    answer, so that budgets compare; what is trained are the sampled answers.
    Raises RecordError: no gold, or longer than the model with its answer."""
    try:
        gold_of(row)
    except ValueError as error:
        raise RecordError(f"no gold to score answers by: {error}") from None
    if row.target is None and not row.gold:
        raise RecordError("no gold to score answers by")
    prompt = chat.prompt_text(row)
    length = len(chat.ids(prompt)) + section.grpo.max_tokens
    if length > chat.max_length:
        raise RecordError(
            f"longer than model.max_length={chat.max_length} tokens with train.grpo.max_tokens"
        )
    known = chat.encode(row)[-1].trained_tokens if row.target else section.grpo.max_tokens
    return [
        {
            "row_id": row.id,
            "pool": row.pool,
            "prompt": prompt,
            "row": json.dumps(to_row(row)),
            "length": length,
            "trained_tokens": known,
        }
    ]


def shared(tokenizer: Any, arguments: dict[str, Any], section: TrainSection) -> dict[str, Any]:
    """The options that GRPOConfig and RLOOConfig both have."""
    rl = section.grpo
    out = arguments | {
        "warmup_steps": arguments["warmup_steps"] * rl.generations,
        "remove_unused_columns": False,
        "num_generations": rl.generations,
        "temperature": rl.temperature,
        "max_completion_length": rl.max_tokens,
        "num_iterations": rl.updates,
        "epsilon": rl.epsilon,
        "beta": rl.beta,
        "reward_weights": rl.reward_weights,
        "use_vllm": rl.use_vllm,
    }
    if rl.use_vllm:
        out |= {"vllm_mode": "colocate", "vllm_gpu_memory_utilization": rl.vllm_memory_share}
    return out


def trainer(
    model: Any, tokenizer: Any, data: Any, arguments: dict[str, Any], section: TrainSection
):
    """TRL's GRPO trainer. `batch_rows` counts answers: prompts a step * generations."""
    from trl import GRPOConfig, GRPOTrainer

    from raytune_agents.train.trainers import drop_fresh_reference

    config = GRPOConfig(**shared(tokenizer, arguments, section), loss_type=section.grpo.loss_type)
    made = GRPOTrainer(
        model=model,
        reward_funcs=rewards.functions(section.grpo.rewards, section.grpo.think),
        args=config,
        train_dataset=data,
        processing_class=tokenizer,
    )
    drop_fresh_reference(made)
    return made


def rloo_trainer(
    model: Any, tokenizer: Any, data: Any, arguments: dict[str, Any], section: TrainSection
):
    """TRL's RLOO trainer."""
    from trl import RLOOConfig, RLOOTrainer

    from raytune_agents.train.trainers import drop_fresh_reference

    made = RLOOTrainer(
        model=model,
        reward_funcs=rewards.functions(section.grpo.rewards, section.grpo.think),
        args=RLOOConfig(**shared(tokenizer, arguments, section)),
        train_dataset=data,
        processing_class=tokenizer,
    )
    drop_fresh_reference(made)
    return made


def check(rows: list[Trajectory], section: TrainSection) -> None:
    """Whole groups in a step, and vLLM only on a GPU. Raises ConfigError."""
    count, rl = section.batch_rows, section.grpo
    if count % rl.generations:
        fits = max(1, count // rl.generations) * rl.generations
        raise ConfigError(
            f"train.batch_rows={count} is not a multiple of train.grpo.generations="
            f"{rl.generations}; write for example {fits}"
        )
    if rl.use_vllm:
        import torch

        if not torch.cuda.is_available():
            raise ConfigError("train.grpo.use_vllm=true: no GPU here; write use_vllm: false")
