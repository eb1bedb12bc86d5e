"""What is checked before the first step, on the driver, for any method: there is something to train
on, no row is wholly masked or cut, training prompts are those that the engine is asked, and right
answers come back from the template."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from raytune_agents import models
from raytune_agents.calls import judge, render_calls
from raytune_agents.chat import IGNORE, Chat
from raytune_agents.config import ConfigError, TrainConfig
from raytune_agents.mix import RowKind
from raytune_agents.records import RecordError, Trajectory
from raytune_agents.train.methods import Recipe, method_named

PARITY_ROWS = 16  # rows whose prompt is compared token by token


def validate_length(chat: Chat) -> None:
    """model.max_length must not be more than the model reads. Raises ConfigError."""
    limit = models.max_positions(chat.path)
    if chat.max_length > limit:
        raise ConfigError(
            f"model.max_length={chat.max_length} is longer than the model; write {limit} or less"
        )


def gold_comes_back(rows: Iterable[Trajectory], chat: Chat, max_error_share: float) -> str:
    """Gold, written as the template writes it and read as an engine's answer is, must be judged
    right: else base and arms score 0, and right answers are mined as failures. Says how many were.
    Raises ConfigError where none is, or more than the share are not; a row that the template
    refuses is not wrong, but counted where it is used."""
    right, wrong, refused = 0, [], []
    for row in rows:
        if not row.calls or row.failed or row.target is None:
            continue
        if not judge(render_calls(row.target.tool_calls), row).ok:
            continue  # it is not gold in any template
        try:
            prompt, text = chat.turn(row.prompt, row.target, row.tools)
        except RecordError as error:
            refused.append((row.id, "", str(error)))
            continue
        text = chat.answer_text(chat.ids(text), chat.ids(prompt))
        verdict = judge(text, row)
        if verdict.ok:
            right += 1
        else:
            wrong.append((row.id, text, f"{verdict.error} {verdict.detail}".strip()))
    total = right + len(wrong)
    if (wrong and len(wrong) > max_error_share * total) or (refused and not total):
        row_id, text, why = (wrong or refused)[0]
        what = (
            f"is written as {text[:300]!r}, which is read as: {why}"
            if text
            else f"is refused: {why}"
        )
        instead = "native" if chat.ours else "ours"
        raise ConfigError(
            f"model.template={chat.template!r}, the chat template of {chat.path}: right answers of "
            f"{len(wrong) + len(refused)} of {total + len(refused)} rows do not come back; row "
            f"{row_id} {what}; write model.template={instead}"
        )
    left = f", {len(refused)} rows are refused: {refused[0][2]}" if refused else ""
    return f"{right} of {total} right answers come back from the template{left}"


def validate_arms(config: TrainConfig, chosen: Mapping[str, Sequence[RowKind]]) -> None:
    """The rows of every arm, before the first arm is trained. Raises ConfigError naming the arm."""
    for name, kinds in chosen.items():
        arm = config.arms[name]
        try:
            method_named(arm.method).validate_data(kinds, config.of(arm))
        except ConfigError as error:
            raise ConfigError(f"train.arms.{name} (method {arm.method}): {error}") from None


def validate_columns(made: Sequence[dict[str, Any]], limit: int) -> None:
    """No row is wholly masked or longer than `limit`. Raises ConfigError."""
    for row in made:
        size = next((len(row[k]) for k in ("input_ids", "prompt_ids") if k in row), 0)
        weights = row.get("weights")
        if row["trained_tokens"] < 1 or (weights is not None and not any(weights)):
            raise ConfigError(
                f"row {row['row_id']} ({row['pool']}) has no trained token; raise train.sft weights"
            )
        if size > limit:
            raise ConfigError(f"row {row['row_id']} has {size} tokens, model.max_length={limit}")


def prompt_ids(column: Mapping[str, Any], chat: Chat) -> list[int]:
    """The tokens of a row of columns before its first trained one."""
    if "prompt" in column:
        return chat.ids(column["prompt"])
    if "prompt_ids" in column:
        return list(column["prompt_ids"])
    labels = column["labels"]
    return list(column["input_ids"][: next(i for i, x in enumerate(labels) if x != IGNORE)])


def parity(
    recipe: Recipe,
    rows: Mapping[str, Trajectory],
    made: Sequence[dict[str, Any]],
    shared: Mapping[str, int],
) -> None:
    """The prompts of the first rows are, token by token, what the engine would be asked for them.
    `shared`: of a rejected row, the messages that its pair begins with. Raises ConfigError."""
    chat = recipe.chat
    # Reversed, so that a row of several examples keeps its first; its keys end with the first rows.
    first = {c["row_id"]: c for c in reversed(made)}
    for row_id in list(first)[-PARITY_ROWS:]:
        row = rows[row_id]
        if row_id in shared:
            end = shared[row_id]
        elif "shown" in first[row_id]:
            end = first[row_id]["shown"]
        else:
            # The first message is no answer to anything, whatever its role says.
            end = next(i for i, m in enumerate(row.messages) if m.trained and i)
        shown = row.messages[:end]
        marker = recipe.how.marker(row, recipe.config)
        expected = chat.prompt_ids(replace(row, messages=shown), marker)
        if expected != prompt_ids(first[row_id], chat):
            raise ConfigError(
                f"model.template={chat.template!r}: row {row_id} is trained on another prompt than "
                "the engine is asked; write model.template=ours"
            )
