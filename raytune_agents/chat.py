"""Trajectory -> chat text, token ids and loss labels: the text that the engine is prompted with.

Every prompt, in training and in the engine, comes from `Chat.prompt_ids`, and a training row is
exactly that prompt followed by the answer and the token that ends its turn. The template is the
model's own where it carries tools and calls (`templates`), else ours (`chat_template.jinja`), which
is stored with every adapter.

Left out: which rows are trained on (`mix`) and what a method does with the labels (`train`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import date, datetime, time
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

from raytune_agents import sandbox
from raytune_agents.calls.thoughts import NEAR, opened_thought
from raytune_agents.config import ConfigError, ModelConfig
from raytune_agents.records import JsonObject, Message, Options, RecordError, ToolSpec, Trajectory
from raytune_agents.template_defaults import stored_template
from raytune_agents.templates import (
    REQUEST,
    SYSTEM,
    TOOL,
    Habits,
    ServingOptions,
    one_call_each,
    openai_turns,
    prompt_and_answer,
    same_calls,
    study,
)
from raytune_agents.tokenizer import load_tokenizer

UNLIMITED = 1_000_000  # tokens of a row, where model.max_length is auto and not yet known
IGNORE = -100  # label of tokens without loss
Part = tuple[str, Message | None]
TEMPLATE = Path(__file__).with_name("chat_template.jinja")
OURS = TEMPLATE.read_text(encoding="utf-8").partition("\n")[0]  # how our template begins
CHATML_END = "<|im_end|>"
LOADING = Lock()  # threads that answer shards side by side share what was loaded


@dataclass(frozen=True, slots=True)
class Example:
    """One training example: `input_ids` and `labels`, both [seq]; labels are IGNORE outside
    answers."""

    input_ids: list[int]
    labels: list[int]

    @property
    def trained_tokens(self) -> int:
        return len(self.labels) - self.labels.count(IGNORE)


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


# --- tokenizer and template, once per process ---


class Loaded(NamedTuple):
    """A tokenizer with the template in use, whether that is ours, what it does, and why it stands
    in for the model's own."""

    tokenizer: Any
    ours: bool
    habits: Habits
    instead: str = ""


def written(
    tokenizer: Any, turns: list[JsonObject], tools: Any, generation: bool, options: str
) -> str:
    """The template's text. Raises RecordError with its reason."""
    try:
        return tokenizer.apply_chat_template(
            turns,
            tools=[t.openai() for t in tools] or None,
            add_generation_prompt=generation,
            tokenize=False,
            **{"strftime_now": today} | json.loads(options),
        )
    except Exception as error:  # a template may raise anything; what it refuses is a bad row
        why = (str(error) or type(error).__name__).splitlines()[0]
        raise RecordError(f"template: {why}") from None


def today(form: str) -> str:
    """The time that a template writes: a prompt stays what it is for the whole day."""
    return datetime.combine(date.today(), time()).strftime(form)


@cache
def takes_too_much(template: str) -> str:
    """What a template takes too much of, in words, or "": a model and its adapters have one text,
    which is tried once."""
    probe = openai_turns((SYSTEM, REQUEST), Habits())
    return sandbox.template_fault(template, probe, [TOOL.openai()])


def habits_of(tokenizer: Any, options: str) -> Habits:
    vocabulary = tokenizer.get_vocab()
    return study(
        lambda turns, tools, generation: written(tokenizer, turns, tools, generation, options),
        vocabulary.__contains__,
        tokenizer.eos_token or "",
    )


@cache
def loaded(path: str, template: str, tools: str, options: str = "{}") -> Loaded:
    """Raises ConfigError where the template cannot be used with tools. A Ray worker gets a new
    `Chat` with every stream, so it is kept by what makes it."""
    tokenizer = load_tokenizer(path)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    native = tokenizer.chat_template
    if isinstance(native, dict):  # several by name
        native = native.get("tool_use") or native.get("default")
    native = tokenizer.chat_template = native if isinstance(native, str) else ""
    tried = native and template != "ours" and not native.startswith(OURS)
    if tried and (much := takes_too_much(native)):
        raise ConfigError(
            f"model.template={template!r}: the chat template of {path} takes {much} for a "
            "short question; write model.template=ours"
        )
    habits = habits_of(tokenizer, options) if native and template != "ours" else Habits()
    lack = "" if habits.native else lacking(native, habits, path)
    if lack and (template == "native" or (template == "auto" and habits.unread)):
        # What the template raised helps whoever insists on it; `auto` just takes ours.
        why = f" ({habits.refused})" if habits.refused else ""
        raise ConfigError(f"model.template={template!r}: {lack}{why}; write model.template=ours")
    ours = template == "ours" or bool(lack)
    if ours:
        tokenizer.chat_template = our_template(tokenizer, tools, path)
        habits = habits_of(tokenizer, options)
    if native.startswith(OURS):  # stored with an adapter
        ours = True
    ours_text = replace(habits, text_arguments=True) if ours else habits
    if habits.words_end and habits.words_end != tokenizer.eos_token:
        tokenizer.eos_token = habits.words_end
    return Loaded(tokenizer, ours, ours_text, lack if template == "auto" else "")


def lacking(native: str, habits: Habits, path: str) -> str:
    """Why a model's own template cannot be used with tools, in words."""
    if not native:
        return f"{path} has no chat template"
    if habits.unread:
        call = repr(habits.unread[:300])
        return f"the chat template of {path} writes a call as {call}, which cannot be read back"
    return f"the chat template of {path} drops {habits.lacks()}"


def our_template(tokenizer: Any, tools: str, path: str) -> str:
    """Our template for this vocabulary: turns end with a token that it has, and begin with its own
    first token where the tokenizer adds one. Raises ConfigError where there is no such token."""
    text = TEMPLATE.read_text(encoding="utf-8")
    text = text.replace("tool_style = 'signature'", f"tool_style = '{tools}'")
    if CHATML_END not in tokenizer.get_vocab():
        if not tokenizer.eos_token:
            raise ConfigError(
                f"model.name: the tokenizer of {path} has neither <|im_end|> nor an eos_token; "
                "write eos_token into its tokenizer_config.json"
            )
        text = text.replace(CHATML_END, tokenizer.eos_token)
    if tokenizer.bos_token and tokenizer("a")["input_ids"][:1] == [tokenizer.bos_token_id]:
        head, line, rest = text.partition("\n")
        text = f"{head}{line}{{{{- bos_token -}}}}\n{rest}"
    return text


@dataclass(eq=False)
class Chat:
    """A tokenizer with its template. Pickles by path, so it can travel to Ray workers."""

    path: str | Path
    template: str = "auto"
    tools: str = "signature"
    max_length: int = UNLIMITED
    chat_template_kwargs: Options = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.path = str(self.path)
        self.options = json.dumps(self.chat_template_kwargs, sort_keys=True)

    @classmethod
    def of(cls, path: Path, config: ModelConfig) -> Chat:
        own = config.chat_template_kwargs
        return cls(path, config.template, config.tools, config.max_length or UNLIMITED, own)

    @property
    def arguments(self) -> Options:
        """What makes an equal `Chat`, as JSON holds it."""
        return asdict(self)

    @property
    def _loaded(self) -> Loaded:
        with LOADING:
            return loaded(str(self.path), self.template, self.tools, self.options)

    @property
    def tokenizer(self) -> Any:
        return self._loaded.tokenizer

    @property
    def ours(self) -> bool:
        """Whether the template is ours."""
        return self._loaded.ours

    @property
    def instead(self) -> str:
        """Why our template stands in for the model's own; "" where it does not."""
        return self._loaded.instead

    @property
    def habits(self) -> Habits:
        """What the template does."""
        return self._loaded.habits

    @property
    def end_ids(self) -> list[int]:
        """The tokens that end an answer; the tokenizer's own first."""
        habits, tokenizer = self.habits, self.tokenizer
        own = [tokenizer.eos_token_id] if tokenizer.eos_token_id is not None else []
        found = [tokenizer.convert_tokens_to_ids(e) for e in habits.ends if e]
        return list(dict.fromkeys(own + found))

    @property
    def serving(self) -> ServingOptions:
        """What an engine that serves the model must know of its template."""
        habits = self.habits
        return ServingOptions(
            habits.parser, habits.reasoning_parser, tuple(self.end_ids), self.options
        )

    # --- text ---

    def write(self, turns: list[JsonObject], tools: Any, generation: bool) -> str:
        return written(self.tokenizer, turns, tools, generation, self.options)

    def render(
        self, messages: Sequence[Message], tools: Sequence[ToolSpec], generation: bool
    ) -> str:
        """The chat as text; with `generation`, ending where the model goes on. Raises RecordError
        where the template refuses it."""
        return self.write(openai_turns(messages, self.habits), tools, generation)

    def ids(self, text: str) -> list[int]:
        """Token ids of rendered text (special tokens are in the text already)."""
        return self.ids_of([text])[0]

    def ids_of(self, texts: Sequence[str]) -> list[list[int]]:
        """The same of several texts, which takes a tokenizer less time than one by one."""
        coded = self.tokenizer(list(texts), add_special_tokens=False, return_attention_mask=False)
        return coded["input_ids"]

    def prompt_text(self, row: Trajectory, marker: str = "") -> str:
        """What the engine is asked for this row: everything before the target, markers included.
        Raises RecordError where the template refuses it."""
        return self.render(mark(row.prompt, marker), row.tools, generation=True)

    def prompt_ids(self, row: Trajectory, marker: str = "") -> list[int]:
        """Token ids of `prompt_text`, [prompt]. Raises RecordError."""
        return self.ids(self.prompt_text(row, marker))

    def prompt_length(self, row: Trajectory) -> int | None:
        """Tokens of the prompt; None where the template refuses the row."""
        try:
            return len(self.prompt_ids(row))
        except RecordError:
            return None

    def chat_ids(self, messages: Sequence[JsonObject]) -> list[int]:
        """Token ids of a plain chat (no tools) that asks for one more assistant turn. Raises
        RecordError."""
        return self.ids(self.render([Message(**m) for m in messages], (), generation=True))

    def tools_text(self, row: Trajectory) -> str:
        """The row's tools as the engine is told them (`client.Sampling.tools`)."""
        return json.dumps([t.openai() for t in row.tools]) if row.tools else ""

    def answer_text(self, ids: Sequence[int], prompt: Sequence[int]) -> str:
        """What the model answered with these tokens: the marks of its dialect are kept, its end is
        not, and a thought that the prompt opened begins with the mark that opened it."""
        ends = set(self.end_ids)
        stop = next((i for i, token in enumerate(ids) if token in ends), len(ids))
        opened = opened_thought(self.tokenizer.decode(list(prompt)[-NEAR:]))
        return opened + self.tokenizer.decode(list(ids)[:stop])

    # --- training examples ---

    def encode(self, row: Trajectory, marker: str = "") -> list[Example]:
        """Training examples of the row: one, or several where the template rewrites earlier turns
        (then one for each answer). Raises RecordError: nothing to train on, or longer than the
        model."""
        return [self.label(parts) for parts in self.parts(row, marker)]

    def parts(self, row: Trajectory, marker: str = "") -> list[list[Part]]:
        """The text of each training example in parts: (text, the message it is the answer of, or
        None where it carries no loss). Raises RecordError: nothing to train on, or the template
        cannot say it."""
        messages, habits = mark(row.messages, marker), self.habits
        if not habits.parallel:
            messages = one_call_each(messages)
        examples: list[list[Part]] = []
        done = ""
        for i, message in enumerate(messages):
            if not message.trained or not i:  # a greeting before any request answers nothing
                continue
            prompt, answer = self.turn(messages[:i], message, row.tools)
            native = not self.ours and message.tool_calls
            if native and not same_calls(answer, message.tool_calls, row.tools):
                raise RecordError("template: its calls do not come back from what it writes")
            if not examples or not prompt.startswith(done):
                examples.append([])
                done = ""
            examples[-1] += [(prompt[len(done) :], None), (answer, message)]
            done = prompt + answer
        if not examples:
            raise RecordError("no answer to train on")
        return examples

    def turn(
        self, before: Sequence[Message], message: Message, tools: Sequence[ToolSpec]
    ) -> tuple[str, str]:
        """The prompt and, behind it, the answer up to and with the token that ends its turn, which
        is added where the template writes none; what it writes after is not trained. Raises
        RecordError."""
        if len(message.tool_calls) > 1 and not self.habits.parallel:
            raise RecordError(
                f"template: it writes one call per turn, not {len(message.tool_calls)}"
            )
        prompt, text = prompt_and_answer(self.write, before, message, tools, self.habits)
        end = self.habits.end_of(message) or self.tokenizer.eos_token or ""
        head, found, _ = text.rpartition(end) if end else (text, "", "")
        while end and head.rstrip().endswith(end):  # it writes its end twice
            head = head.rstrip().removesuffix(end)
        body = head if found else text
        own = (body, message.content, message.thought, *(c.arguments for c in message.tool_calls))
        for early in filter(None, {end, *self.habits.ends}):
            if any(early in text for text in own):
                raise RecordError(f"template: {early!r} within the answer would end it")
        return prompt, body + end

    def written_turn(self, row: Trajectory) -> str:
        """The last turn as the model writes it, without its end token. Raises RecordError."""
        _, text = self.turn(row.prompt, row.answer, row.tools)
        end = self.habits.end_of(row.answer) or self.tokenizer.eos_token or ""
        return text.removesuffix(end) if end else text

    def label(self, parts: Sequence[Part]) -> Example:
        """Parts -> ids and labels. Raises RecordError past max_length."""
        input_ids: list[int] = []
        labels: list[int] = []
        for (_, message), ids in zip(parts, self.ids_of([text for text, _ in parts])):
            input_ids += ids
            labels += [IGNORE] * len(ids) if message is None else ids
        if len(input_ids) > self.max_length:
            raise RecordError(f"longer than model.max_length={self.max_length} tokens")
        example = Example(input_ids, labels)
        if not example.trained_tokens:
            raise RecordError("no answer tokens to train on")
        return example

    def save(self, folder: Path, marker: str = "") -> None:
        """Tokenizer, template and the tokens that end an answer, so that whoever serves the model
        renders and stops the same. `chat_template_kwargs` and the marker of good answers are
        written into the template as its defaults."""
        tokenizer = self.tokenizer
        own = tokenizer.chat_template
        try:
            tokenizer.chat_template = stored_template(own, self.chat_template_kwargs, marker, OURS)
            tokenizer.save_pretrained(folder)
        finally:
            tokenizer.chat_template = own
        text = json.dumps({"eos_token_id": self.end_ids}, indent=2)
        (Path(folder) / "generation_config.json").write_text(text, encoding="utf-8")
