"""Preference rows: a prompt with a better and a worse answer; and prompt + completion.

TRL, ETO, OpenAI's preference files, LLaMA-Factory, ms-swift and the like: each part is a list of
turns (ETO's hold environment turns inside), one turn, or plain text. A pair gives the better row,
and the worse one (pool "negative.rejected") with the better as its parent. Where only the worse
answer has a field of its own, the prompt's turns end in the better one. A completion may have a
label, or the rating that people gave an interaction: a share of the scale below `min_rating` makes
the row a failure (pool "negative.rated").
"""

from __future__ import annotations

import re
from itertools import chain
from typing import Any

from raytune_agents.readers import aliases
from raytune_agents.readers.fields import Fields, Names, blank, names_of, note, object_of
from raytune_agents.readers.outcomes import BETTER, WORSE, outcome_mark, outcome_of
from raytune_agents.readers.shapes import known_role
from raytune_agents.readers.spans import exported_value
from raytune_agents.readers.strict import as_text
from raytune_agents.readers.template_text import template_turns
from raytune_agents.readers.turns import Transcript, messages_of, transcript
from raytune_agents.records import JsonObject, RecordError, Trajectory

PROMPT = names_of("prompt", "turns", "other_prompt")
COMPLETION = Names("completion response answer output")


def is_pair(row: JsonObject) -> bool:
    """Whether a row holds an answer that is called worse than another one, or a prompt and the
    answer that was chosen: of a table, not every row has both."""
    fields = Fields(row)
    worse, better = fields.peek(WORSE), fields.peek(BETTER)
    if blank(worse):
        named = (fields.have(BETTER) or [""])[0].startswith(("chosen", "preferred"))
        lone = bool(fields.have(WORSE)) or not isinstance(better, str)  # a text may be a choice
        asked = lone and bool(fields.have(PROMPT))
        return named and asked and is_answer(better) and outcome_mark(better) is None
    return is_answer(worse) and (is_answer(better) or outcome_mark(worse) is None)


def is_answer(value: Any) -> bool:
    """Whether a value is an answer, rather than a mark or a remark: `rejected: true`."""
    if isinstance(value, dict):
        return bool(Fields(value).have(aliases.ROLE + aliases.CONTENT + aliases.CALLS))
    return isinstance(value, str | list)


def read(row: JsonObject) -> Trajectory | list[Trajectory]:
    """One row: two trajectories of a pair, one of a completion. Raises RecordError."""
    fields = Fields(row)
    prompt, tools, system = _request(fields)
    better, worse = (
        fields(names) if is_answer(fields.peek(names)) else None for names in (BETTER, WORSE)
    )
    key = as_text(fields(aliases.ROW_ID))
    if worse is None and better is None and "instruction" in row:
        better, worse = _ranked(fields)
    if worse is None and better is None:
        answer, (outcome, word) = _first(fields(COMPLETION)), outcome_of(fields)
        made = with_answer(prompt, answer, tools, system)
        return made.trajectory(fields.rest(), source_id=key, outcome=outcome, outcome_word=word)
    if blank(better):
        prompt, better = _last_answer(prompt)
    kinds = [(word, as_text(fields(f"{word}_type"))) for word in ("chosen", "rejected")]
    chosen, rejected = (", ".join(filter(None, kind)) for kind in kinds)  # When2Call has types
    meta = fields.rest()

    def answered(answer: Any, outcome: float, word: str, **more: Any) -> Trajectory:
        made = with_answer(prompt, answer, tools, system)
        return made.trajectory(meta, source_id=key, outcome=outcome, outcome_word=word, **more)

    good = answered(better, 1.0, chosen)
    answers = [] if blank(worse) else _several(worse)
    bad = [answered(a, 0.0, rejected, pool="negative.rejected", parents=("@0",)) for a in answers]
    if any(row.messages == good.messages for row in bad):
        raise RecordError("the chosen and the rejected answer are the same")
    return [good, *bad]


def _ranked(fields: Fields) -> tuple[Any, Any]:
    """LLaMA-Factory's answers to an instruction, the best one first, and the others."""
    answers = fields.peek("output")
    if not _are_texts(answers):
        return None, None
    return answers[0], fields("output")[1:]


def _are_texts(answers: Any) -> bool:
    several = isinstance(answers, list) and len(answers) > 1
    return several and all(isinstance(a, str) for a in answers)


def _first(answer: Any) -> Any:
    """The first of several answers."""
    if _are_texts(answer):
        note("output", answer[1:])
        return answer[0]
    return answer


def _several(worse: Any) -> list[Any]:
    """The rejected answers: most sets have one, some a list of texts or of conversations."""
    kinds = set(map(type, worse)) if isinstance(worse, list) else None
    return worse if kinds in ({str}, {list}) else [worse]


def _request(fields: Fields) -> tuple[Any, Any, Any]:
    """(prompt, tools, system): OpenAI's preference files hold all of them in `input`."""
    prompt = fields(PROMPT)
    tools, system = fields(aliases.TOOLS), fields(aliases.SYSTEM)
    if isinstance(prompt, dict) and not Fields(prompt).peek("role", "from"):
        inner = Fields(prompt, "input")
        prompt = inner(PROMPT)
        tools, system = tools or inner(aliases.TOOLS), system or inner(aliases.SYSTEM)
        inner.rest()
    more = fields.peek("input")  # Alpaca's: an instruction and its input
    if isinstance(prompt, str) and isinstance(more, str) and more and more != prompt:
        prompt = f"{prompt}\n{fields('input')}"
    before = fields.peek("history")  # pairs of a request and its answer
    if isinstance(prompt, str) and before and all(isinstance(p, list) for p in before):
        fields.skip("history")
        said = zip(("user", "assistant") * len(before), [*chain(*before)])
        prompt = [{"role": r, "content": t} for r, t in (*said, ("user", prompt))]
    return prompt, tools, system


def _part(value: Any, role: str) -> list[JsonObject]:
    """A prompt or an answer as turns of its source."""
    if turns := template_turns(value):
        return turns
    listed, marks = value, {"role", "from", "type"}
    if isinstance(value, str) and value.lstrip()[:1] == "[":
        listed, marks = exported_value(value), {"role", "from"}
    if isinstance(listed, list):  # a table's null is no turn
        listed = [t for t in listed if t is not None]
    turns = isinstance(listed, list) and all(marks & object_of(t).keys() for t in listed)
    if turns and (listed or isinstance(value, list)):
        return listed
    if {"role", "from"} & object_of(value).keys():
        return [value]
    return [] if blank(value) else [{"role": role, "content": value}]


def _last_answer(prompt: Any) -> tuple[Any, Any]:
    """ms-swift's prompt ends in the answer that was not rejected."""
    turns = _part(prompt, "user")
    start = max((i for i, t in enumerate(turns) if _user(t)), default=-1) + 1
    if start >= len(turns):
        raise RecordError("a rejected answer, and none that was chosen")
    return turns[:start], turns[start:]


def _user(turn: Any) -> bool:
    return isinstance(turn, dict) and str(turn.get("role", turn.get("from"))) in ("user", "human")


def with_answer(prompt: Any, answer: Any, tools: Any, system: Any) -> Transcript:
    """The conversation with one of its answers; an answer may repeat the prompt in front."""
    request, reply = _part(prompt, "user"), _part(answer, "assistant")
    if not request and isinstance(answer, str):
        reply = _dialogue(answer)
    both = isinstance(prompt, str) and isinstance(answer, str) and not template_turns(answer)
    whole = template_turns(prompt + answer) if both else []
    begun = bool(whole and request) and known_role(request[-1].get("role")) == "assistant"
    if begun or len(whole) > len(request):  # one text of a template, cut in two
        request, reply = [], whole
    if request and any(_user(t) and t in reply for t in request[-1:]):  # the whole conversation
        request = []
    if not any(m.role == "assistant" for m in messages_of(reply)):
        raise RecordError("an answer without an assistant turn")
    return transcript([*request, *reply], tools, system)


def _dialogue(text: str) -> list[JsonObject]:
    """Anthropic's transcripts: a whole dialogue in one text."""
    parts = re.split(r"(?:^|\n\n)(Human|Assistant): ?", text)
    if len(parts) < 5:
        raise RecordError("an answer without a prompt")
    return [{"role": r, "content": t} for r, t in zip(parts[1::2], parts[2::2])]


def rated(row: JsonObject, min_rating: float = 0.8, rating_max: float = 1.0) -> Trajectory:
    """A row of {input, output, task_type, rating}: the outcome is the rating's share of the scale.
    The scale is never guessed. Raises RecordError where a rating is above its top."""
    top = float(row.get("rating_max") or rating_max)
    try:
        rating = float(row["rating"])
    except (TypeError, ValueError):
        raise RecordError(f"rating {row['rating']!r} is not a number") from None
    if not 0 <= rating <= top:
        raise RecordError(
            f"rating {rating:g} is outside the scale 0 to {top:g}; set read.sources.rating_max"
        )
    fields, share = Fields(row), rating / top
    request, answer, tools, key = (fields(n) for n in ("input", "output", "tools", "id"))
    fields.skip("rating")
    return with_answer(request, answer, tools, fields("system")).trajectory(
        fields.rest(),
        source_id=as_text(key),
        outcome=share,
        outcome_word=f"rating={row['rating']}",
        pool="positive" if share >= min_rating else "negative.rated",
    )
