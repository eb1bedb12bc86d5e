"""What a caller gets of vLLM's answers to one prompt, in whatever way vLLM was asked, and what a
server would make of them: vLLM's own parser of the family, without the server.

Left out: our own reading of answers in files and rewards (`calls.parse`)."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from raytune_agents.calls.thoughts import NEAR, opened_thought, split_thought
from raytune_agents.inference.client import Reply
from raytune_agents.records import ToolCall
from raytune_agents.templates import ServingOptions

logger = logging.getLogger(__name__)


class ServerParser:
    """vLLM's own parser of a family's answers, as `vllm serve --tool-call-parser` has it."""

    def __init__(self, serving: ServingOptions, tokenizer: Any):
        from vllm.parser.parser_manager import ParserManager

        self.tokenizer, self.kind = tokenizer, None
        self.options = {"chat_template_kwargs": json.loads(serving.chat_template_kwargs)}
        try:
            kind = ParserManager.get_parser(
                serving.tool_call_parser or None,
                serving.reasoning_parser or None,
                enable_auto_tools=True,
                is_harmony=serving.tool_call_parser == "openai",
                tokenizer=tokenizer,
            )
            if kind is not None:
                kind(tokenizer, [], **self.options)  # raises here, not at every answer
            self.kind = kind
        except Exception as error:  # a parser may raise anything: no vocabulary, no mark, no file
            logger.warning("vLLM's parser %s: %s", serving.tool_call_parser, error)

    def calls(self, text: str, ids: Sequence[int], tools: str) -> tuple[ToolCall, ...] | None:
        """The calls of one answer (its text with all marks, and its tokens); None where no parser
        is at hand."""
        from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest

        if self.kind is None or not tools:
            return None
        request = ChatCompletionRequest(messages=[], tools=json.loads(tools))
        # A new one for each answer: parsers keep the state of a stream.
        parser = self.kind(self.tokenizer, list(request.tools or ()), **self.options)
        request = parser.adjust_request(request)
        if request.skip_special_tokens:
            text = self.tokenizer.decode(list(ids), skip_special_tokens=True)
        _, _, found = parser.parse(text, request, True, ids)
        return tuple(ToolCall(c.name, c.arguments) for c in found or ())


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
