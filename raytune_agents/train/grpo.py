"""Group-relative policy optimisation (GRPO, arXiv 2402.03300) with rule rewards: several answers to
each prompt, the advantage of an answer is its reward against its group's, over their deviation.

TRL 1.16 has no PPO (arXiv 1707.06347) any more. GRPO keeps its clipped ratio (train.grpo.epsilon,
num_iterations) and has the group's mean for its value model; ToolRL measured it above PPO (BFCL V3,
Qwen2.5-7B: 58.4 against 46.7). Groups of equal reward are dropped (`rollout_func`), signs of reward
hacking stop a training (`reward_hacking`); method `rounds` trains on tasks by their success rate.

Answers are sampled in the training process, on a GPU by vLLM beside it (TRL's colocate mode,
weights synchronised at every step) where TRL supports the installed one (TRL 1.16: vLLM 0.22 to
0.31), else by transformers. With `turns` above 1 a row of an executable agent is rolled out in its
world: the policy's calls are run, and it goes on from their observations (`rollout_func`). TRL's
own `tools=` has one tool list for all prompts.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from raytune_agents.agents.rollout import can_roll_out
from raytune_agents.calls.gold import gold_calls
from raytune_agents.chat import Chat
from raytune_agents.config import ConfigError, TrainConfig
from raytune_agents.mix import RowKind
from raytune_agents.records import Options, RecordError, Trajectory, to_row
from raytune_agents.train import rewards

TRL_OPTIONS = {  # of train.grpo that both trainers have under the same name
    *("num_generations", "num_iterations", "temperature", "beta", "epsilon", "epsilon_high"),
    *("mask_truncated_completions", "reward_weights", "vllm_gpu_memory_utilization"),
}


def policy_prompt(row: Trajectory, chat: Chat, config: TrainConfig) -> Trajectory:
    """What the policy is first shown: of a roll-out everything before the first answer, else
    everything before the target. Raises RecordError where there is nothing to score by."""
    if config.grpo.turns > 1 and can_roll_out(row):
        if len(chat.parts(row)) > 1:
            raise RecordError("template: it rewrites earlier turns, so no one sequence is trained")
        # The known roll-out is one of many right ones: the policy makes its own from the start.
        first = next(i for i, m in enumerate(row.messages) if m.role == "assistant")
        return replace(row, messages=row.messages[:first])
    try:
        gold_calls(row)
    except ValueError as error:
        raise RecordError(f"no gold to score answers by: {error}") from None
    return replace(row, messages=row.prompt)


def columns(row: Trajectory, chat: Chat, config: TrainConfig, pairs: Any) -> list[dict[str, Any]]:
    """prompt (text, as the engine is asked: of the first `shown` messages) and row (JSON).
    trained_tokens are those of the known answers, so that budgets compare; what is trained are the
    sampled ones. Raises RecordError: no gold, or longer than the model with its answer."""
    task = policy_prompt(row, chat, config)
    prompt = chat.prompt_text(task)
    length = len(chat.ids(prompt)) + config.grpo.max_tokens
    known = chat.encode(row)[-1] if row.target else None
    if known is not None and len(task.messages) < len(row.prompt):
        length = max(length, len(known.input_ids))  # a roll-out is about as long as the known one
    if length > chat.max_length:
        raise RecordError(
            f"longer than model.max_length={chat.max_length} tokens with train.grpo.max_tokens"
        )
    return [
        {
            "row_id": row.id,
            "pool": row.pool,
            "prompt": prompt,
            "row": json.dumps(to_row(row)),
            "shown": len(task.messages),
            "length": length,
            "trained_tokens": known.trained_tokens if known else config.grpo.max_tokens,
        }
    ]


def shared(arguments: Options, config: TrainConfig) -> Options:
    """The options that GRPOConfig and RLOOConfig both have."""
    from raytune_agents.train.rollout_func import samples_by_vllm

    rl = config.grpo
    return arguments | {
        **rl.model_dump(include=TRL_OPTIONS),
        # Counted in rows of the mix, which are prompts; a step counts answers.
        "warmup_steps": arguments["warmup_steps"] * rl.num_generations,
        "max_completion_length": rl.max_tokens,
        "use_vllm": samples_by_vllm(config),
    }


def trainer(model: Any, tokenizer: Any, data: Any, arguments: Options, config: TrainConfig) -> Any:
    """TRL's GRPO trainer. `global_batch_size` counts answers: prompts per step * generations."""
    from trl import GRPOConfig

    from raytune_agents.train.rollout_func import RolloutTrainer, sample_rollouts

    own = config.grpo.model_dump(include={"loss_type", "scale_rewards"})
    trl_config = GRPOConfig(**shared(arguments, config), **own)
    made = partial(RolloutTrainer, model=model, processing_class=tokenizer, train_dataset=data)
    if config.grpo.turns > 1:
        made = partial(made, rollout_func=sample_rollouts)
    return with_rewards(made, trl_config, config)


def with_rewards(made: Callable[..., Any], trl_config: Any, config: TrainConfig) -> Any:
    """The trainer with our rewards, and no copy of a fresh adapter."""
    from raytune_agents.train.trainers import drop_fresh_reference

    functions = rewards.functions(config.grpo.rewards, config.grpo.think)
    trainer = made(reward_funcs=functions, args=trl_config)
    drop_fresh_reference(trainer)
    return trainer


def validate_data(rows: Sequence[RowKind], config: TrainConfig) -> None:
    """Whole groups in a step, tasks for roll-outs, vLLM only on a GPU. Raises ConfigError."""
    count, rl = config.rows_per_step(), config.grpo
    if rl.turns > 1 and not any(row.task for row in rows):
        raise ConfigError(
            f"train.grpo.turns={rl.turns}: none of {len(rows)} rows is a task of an agent with a "
            "world; write generate.pools with react, or turns: 1"
        )
    # Sharded workers meet in every forward pass of generation.
    if rl.turns > 1 and config.sharding in ("fsdp", "zero3"):
        raise ConfigError(
            f"train.grpo.turns={rl.turns} with train.sharding={config.sharding}: its workers must "
            "answer in step, and roll-outs end at different turns; write sharding: ddp or zero2"
        )
    if count % rl.num_generations:
        fits = max(1, count // rl.num_generations) * rl.num_generations
        raise ConfigError(
            f"train.global_batch_size={count} is not a multiple of train.grpo.num_generations="
            f"{rl.num_generations}; write for example {fits}"
        )
    if rl.use_vllm is True:
        import torch

        if not torch.cuda.is_available():
            raise ConfigError("train.grpo.use_vllm=true: no GPU here; write use_vllm: false")
