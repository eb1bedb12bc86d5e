"""Trajectory -> chat text, token ids and loss labels; the same text that the engine is prompted
with.

Every prompt, in training and in the engine, comes from `Chat.prompt_ids`, and a training row is
exactly that prompt followed by the answer. The template is the model's own where it renders tools,
else ours (`chat_template.jinja`), which is stored with every adapter.

Left out: which rows are trained on (`mix`) and what a method does with the labels (`train`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from raytune_agents.config import ConfigError, ModelConfig
from raytune_agents.records import Message, RecordError, ToolSpec, Trajectory

IGNORE = -100  # label of tokens without loss
KEPT_TEXTS = 32_768  # the last texts, whose tokens are kept
Part = tuple[str, Message | None]
TEMPLATE = Path(__file__).with_name("chat_template.jinja")


@dataclass(frozen=True, slots=True)
class Example:
    """One training example: `input_ids` and `labels`, both [seq]; labels are IGNORE outside
    answers."""

    input_ids: list[int]
    labels: list[int]

    @property
    def trained_tokens(self) -> int:
        return sum(label != IGNORE for label in self.labels)


def mark(messages: Sequence[Message], marker: str) -> tuple[Message, ...]:
    """Add a NAT marker to the user turn that holds the question: the last one before the first
    trained answer. Never the system turn, never an answer (NAT, arXiv 2402.11651, section 3.2)."""
    if not marker:
        return tuple(messages)
    first = next((i for i, m in enumerate(messages) if m.trained), len(messages))
    users = [i for i, m in enumerate(messages[:first]) if m.role == "user"]
    if not users:
        raise RecordError("no user turn before the first answer to hold a marker")
    out = list(messages)
    out[users[-1]] = replace(out[users[-1]], content=f"{out[users[-1]].content}\n{marker}")
    return tuple(out)


def as_openai(message: Message, text_arguments: bool) -> dict[str, Any]:
    """The message as chat templates take it; arguments as JSON text (ours) or as objects
    (native)."""
    content = "\n".join(part for part in (message.thought, message.content) if part)
    out: dict[str, Any] = {"role": message.role, "content": content}
    if message.tool_calls:
        out["tool_calls"] = [
            {
                "type": "function",
                "function": {
                    "name": c.name,
                    "arguments": c.arguments if text_arguments else c.args,
                },
            }
            for c in message.tool_calls
        ]
    if message.name:
        out["name"] = message.name
    return out


@cache
def loaded(path: str, template: str, tools: str) -> tuple[Any, bool]:
    """The tokenizer with its template, and whether that is ours; once a process, as a Ray worker
    gets a new `Chat` with every stream. Raises ConfigError."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=False)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    native = tokenizer.chat_template or ""
    ours = template == "ours" or (template == "auto" and "tools" not in native)
    if ours:
        if "<|im_end|>" not in tokenizer.get_vocab():
            raise ConfigError(
                f"model.template={template!r}: {path} has no <|im_end|> token; "
                "write model.template=native"
            )
        text = TEMPLATE.read_text(encoding="utf-8")
        tokenizer.chat_template = text.replace(
            "tool_style = 'signature'", f"tool_style = '{tools}'"
        )
    elif not native:
        raise ConfigError(
            f"model.template={template!r}: {path} has no chat template; write model.template=ours"
        )
    return tokenizer, ours


@lru_cache(KEPT_TEXTS)
def tokens(path: str, template: str, tools: str, text: str) -> list[int]:
    """Token ids of a text: the mix, its check and all arms tokenise it once."""
    return loaded(path, template, tools)[0](text, add_special_tokens=False)["input_ids"]


class Chat:
    """A tokenizer with its template. Pickles by path, so it can travel to Ray workers."""

    def __init__(
        self,
        path: str | Path,
        template: str = "auto",
        tools: str = "signature",
        max_length: int = 1_000_000,
    ):
        self.path, self.template, self.tools, self.max_length = (
            str(path),
            template,
            tools,
            max_length,
        )

    @classmethod
    def of(cls, path: Path, section: ModelConfig) -> Chat:
        return cls(path, section.template, section.tools, section.max_length)

    @property
    def tokenizer(self) -> Any:
        return loaded(self.path, self.template, self.tools)[0]

    @property
    def ours(self) -> bool:
        """Whether the template is ours."""
        return loaded(self.path, self.template, self.tools)[1]

    def render(
        self, messages: Sequence[Message], tools: Sequence[ToolSpec], generation: bool
    ) -> str:
        """The chat as text; with `generation`, ending where the model goes on."""
        return self.tokenizer.apply_chat_template(
            [as_openai(m, self.ours) for m in messages],
            tools=[t.openai() for t in tools] or None,
            add_generation_prompt=generation,
            tokenize=False,
        )

    def ids(self, text: str) -> list[int]:
        """Token ids of rendered text (special tokens are in the text already)."""
        return list(tokens(self.path, self.template, self.tools, text))

    def prompt_text(self, row: Trajectory, marker: str = "") -> str:
        """What the engine is asked for this row: everything before the target, markers included."""
        return self.render(mark(row.prompt, marker), row.tools, generation=True)

    def prompt_ids(self, row: Trajectory, marker: str = "") -> list[int]:
        """Token ids of `prompt_text`, [prompt]."""
        return self.ids(self.prompt_text(row, marker))

    def chat_ids(self, messages: Sequence[dict[str, Any]]) -> list[int]:
        """Token ids of a plain chat (no tools) that asks for one more assistant turn."""
        return self.ids(self.render([Message(**m) for m in messages], (), generation=True))

    def encode(self, row: Trajectory, marker: str = "") -> list[Example]:
        """Training examples of the row: one, or several where the template rewrites earlier turns
        (then one for each answer). Raises RecordError: nothing to train on, or longer than the
        model."""
        return [self.label(parts) for parts in self.parts(row, marker)]

    def parts(self, row: Trajectory, marker: str = "") -> list[list[Part]]:
        """The text of each training example in parts: (text, the message it is the answer of, or
        None where it carries no loss). Raises RecordError: nothing to train on."""
        messages = mark(row.messages, marker)
        examples: list[list[Part]] = []
        done = ""
        for i, message in enumerate(messages):
            if not message.trained:
                continue
            prompt = self.render(messages[:i], row.tools, generation=True)
            full = self.render(messages[: i + 1], row.tools, generation=False)
            if not full.startswith(prompt):
                raise RecordError("template: the prompt is no prefix of the whole chat")
            answer = self.answer_part(full[len(prompt) :])
            if not examples or not prompt.startswith(done):
                examples.append([])
                done = ""
            examples[-1] += [(prompt[len(done) :], None), (answer, message)]
            done = prompt + answer
        if not examples:
            raise RecordError("no answer to train on")
        return examples

    def answer_part(self, text: str) -> str:
        """The answer up to and with its end-of-turn token; what the template writes after is not
        trained."""
        end = self.tokenizer.eos_token
        head, found, _ = text.rpartition(end)
        return head + found if found else text

    def label(self, parts: Sequence[Part]) -> Example:
        """Parts -> ids and labels. Raises RecordError past max_length."""
        input_ids: list[int] = []
        labels: list[int] = []
        for text, message in parts:
            ids = self.ids(text)
            input_ids += ids
            labels += [IGNORE] * len(ids) if message is None else ids
        if len(input_ids) > self.max_length:
            raise RecordError(f"longer than model.max_length={self.max_length} tokens")
        if all(label == IGNORE for label in labels):
            raise RecordError("no answer tokens to train on")
        return Example(input_ids, labels)

    def save(self, folder: Path) -> None:
        """Tokenizer and template, so that the adapter renders the same text anywhere."""
        self.tokenizer.save_pretrained(folder)
