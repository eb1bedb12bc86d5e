"""What a caller gets of vLLM's answers to one prompt, in whatever way vLLM was asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from raytune_agents.calls.thoughts import NEAR, opened_thought, split_thought
from raytune_agents.inference.client import Reply
from raytune_agents.inference.server_parser import ServerParser


@dataclass(frozen=True, slots=True)
class Written:
    """One of the `n` answers to a prompt, as vLLM gives it."""

    text: str
    ids: Sequence[int]
    logprob: float | None  # summed over its tokens, where it was asked for
    cut: bool


def without_thought(text: str) -> str:
    """An answer's words. The thought of a text that has none stays: it is all there is."""
    thought = split_thought(text)
    return thought.rest.strip() if thought.text and thought.rest.strip() else text


def reply_of(
    written: Sequence[Written],
    prompt_ids: list[int],
    prompt_logprobs: list[float],
    times_s: tuple[float, float],
    tools: str,
    parser: ServerParser,
) -> Reply:
    """The reply to a prompt; `prompt_logprobs`: of its tokens but the first; `times_s`: from its
    arrival to the first and to the last token."""
    opened = opened_thought(parser.tokenizer.decode(prompt_ids[-NEAR:]))
    texts = [opened + one.text for one in written]
    return Reply(
        texts=texts if tools else [without_thought(text) for text in texts],
        calls=[parser.calls(one.text, one.ids, tools) for one in written],
        output_tokens=[len(one.ids) for one in written],
        input_tokens=len(prompt_ids),
        prompt_ids=prompt_ids,
        logprobs=[one.logprob for one in written if one.logprob is not None],
        prompt_logprobs=prompt_logprobs,
        cut=[one.cut for one in written],
        latency_s=times_s[1],
        first_token_s=times_s[0],
    )
