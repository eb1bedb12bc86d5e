"""Preference rows whose answers have no names of their own: two columns (`response_a`,
`response_b`) or a list of answers, and beside them which is better: a winner, an index, a score or
rank of each. They become the rows of `pairs`: prompt, chosen, rejected.

Left out: rows that say of one answer by itself how good it is, on several scales."""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import isfinite
from typing import Any

from raytune_agents.readers.fields import note, short, words_of
from raytune_agents.readers.strict import value_or
from raytune_agents.records import JsonObject, RecordError

PROMPT = words_of("choice_prompt")
SIDES = re.compile(
    r"(?i)(response|answer|completion|output|conversation|human_ref|reply|summary|generation)"
    r"_?([ab012])(?:_response|_text)?"
)
LISTS = ("answers", "completions", "generations", "responses", "summaries", "candidates", "outputs")
NAMED = {"pos": "neg", "positive": "negative", "response_w": "response_l", "y_w": "y_l"}
VERDICT = re.compile(
    r"(?i)winner|choice|preference|preferred|overall_preference|better_response_id|best|labels?"
    r"|chosen_index|best_index"
)
SIDE_WORD = re.compile(r"(?i)(?:.*[ _])?([ab012])")
TEXT, SCORES = ("answer", "response", "text", "content", "completion"), ("score", "rating", "rank")
ASKED = "write prompt, chosen and rejected, or a reader of your own (read.sources.format)"


def with_choice(row: JsonObject) -> JsonObject:
    """The row with `prompt`, `chosen` and `rejected` where it holds answers and a choice of them,
    else the row itself. Raises RecordError where the choice cannot be told, or there is none."""
    asked = asked_field(row)
    found = _named(row) or _two_columns(row) or _listed(row)
    if found is None or not (asked or any("conversation" in key for key in found[2])):
        return row
    better, worse, read = found
    if not better or not worse:
        raise RecordError("two answers, of which one is empty")
    # the verdict is said by what the answers are called now
    kept = {k: v for k, v in row.items() if k not in (asked, *read) and not VERDICT.fullmatch(k)}
    request = {"prompt": _request(row[asked])} if asked else {}
    return kept | request | {"chosen": better, "rejected": worse}


def asked_field(row: JsonObject) -> str:
    """The field of a row whose name says that it is a request, "" for none."""
    return next((k for k in PROMPT if row.get(k)), "")


Found = tuple[Any, Any, tuple[str, ...]]  # the better answer, the worse one, the fields of both


def _named(row: JsonObject) -> Found | None:
    """Two fields whose names say it."""
    for good, bad in NAMED.items():
        if row.get(good) and row.get(bad):
            one, many = row[good], row[bad]
            if isinstance(one, list) and one[1:]:
                note(good, one[1:])
            return (one[0] if isinstance(one, list) else one), many, (good, bad)
    return None


def _two_columns(row: JsonObject) -> Found | None:
    """Two columns of one name, but for the side."""
    sides: dict[str, dict[str, str]] = {}  # stem -> side -> column
    for key in row:
        if found := SIDES.fullmatch(key):
            sides.setdefault(found[1].lower(), {})[found[2].lower()] = key
    for names in sides.values():
        if len(names) == 2 and sorted(names) in (["a", "b"], ["0", "1"], ["1", "2"]):
            first, second = sorted(names)
            better = _better_side(row, first, second)
            worse = second if better == first else first
            pair = (_answer(row[names[better]]), _answer(row[names[worse]]))
            return (*pair, (names[first], names[second]))
    return None


def _better_side(row: JsonObject, first: str, second: str) -> str:
    """Which of the two is better. Raises RecordError where the row does not say."""
    # human preferences of SHP: labels is 1 where A is better, and so is the higher score
    for form in ("score_{}", "{}_score", "rating_{}", "winner_model_{}", "score{}"):
        keys = {k.lower(): v for k, v in row.items()}
        marks = [keys.get(form.format(side)) for side in (first, second)]
        one, two = map(_number, marks)
        if one is not None and two is not None and one != two:
            return first if one > two else second
    for key in (k for k in row if VERDICT.fullmatch(k)):
        value = row[key]
        if isinstance(value, str) and "tie" in value.lower():
            raise RecordError(f"a tie: neither answer is better ({short(value)})")
        if key == "overall_preference" and isinstance(value, int | float) and value:
            return first if value < 0 else second  # HelpSteer3: -3 = the first one
        word = SIDE_WORD.fullmatch(str(value).strip())
        if word and word[1].lower() in (first, second):
            return word[1].lower()
    raise RecordError(f"two answers, and which one is better is not said; {ASKED}")


def _listed(row: JsonObject) -> Found | None:
    """A list of answers with scores or ranks, in them or beside them, or the place of the best."""
    key = next((k for k in LISTS if isinstance(row.get(k), list) and len(row[k]) > 1), "")
    answers = [_answer(item) for item in row[key]] if key else []
    if not answers or not all(isinstance(a, str | list | dict) and a for a in answers):
        return None
    # not before they are answers: another format's steps are no candidates
    verdict = next((k for k in row if VERDICT.fullmatch(k) and type(row[k]) is int), "")
    if verdict and 0 <= row[verdict] < len(answers):
        marks = [float(i == row[verdict]) for i in range(len(answers))]
        return _best(answers, marks, (key, verdict))
    for name, worth in (("scores", 1), ("ratings", 1), ("rewards", 1), ("ranks", -1), ("rank", -1)):
        beside = [_number(v) for v in row[name]] if isinstance(row.get(name), list) else []
        marks = [m * worth for m in beside if m is not None]
        if len(marks) == len(answers):
            return _best(answers, marks, (key, name))
    marks = [m for item in row[key] if (m := _own_mark(item)) is not None]
    return _best(answers, marks, (key,)) if len(marks) == len(answers) else None


def _best(answers: list[Any], marks: list[float], read: tuple[str, ...]) -> Found:
    """Raises RecordError where all are alike."""
    if min(marks) == max(marks):
        raise RecordError("a tie: no answer is better than the others")
    best, least = marks.index(max(marks)), marks.index(min(marks))
    return answers[best], answers[least], read


def _number(value: Any) -> float | None:
    try:
        number = None if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if number is not None and isfinite(number) else None


def _own_mark(item: Any) -> float | None:
    """The score of an answer that says it itself; of a rank, its negative."""
    if not isinstance(item, Mapping):
        return None
    named = ((k, _number(v)) for k, v in item.items() if k.lower().endswith(SCORES))
    key, mark = next(((k, m) for k, m in named if m is not None), ("", None))
    return -mark if mark is not None and key.lower().endswith("rank") else mark


def _answer(item: Any) -> Any:
    """An answer: text, turns, JSON text of a list of one (Chatbot Arena), a record's text or its
    turns (NeMo RL, Gemini)."""
    if isinstance(item, Mapping):
        told = (item[k] for k in TEXT if isinstance(item.get(k), str | list | dict))
        return next(told, None)
    if isinstance(item, str) and item[:2] in ('["', "['"):
        listed = value_or(item)
        return listed[-1] if isinstance(listed, list) and len(listed) == 1 else item
    return item


def _request(value: Any) -> Any:
    """The request: as an answer, and of Anthropic's form its one turn."""
    value = value["full_text"] if isinstance(value, dict) and "full_text" in value else value
    text = _answer(value)
    alone = isinstance(text, str) and re.fullmatch(r"\s*Human: (.*?)\s*Assistant:\s*", text, re.S)
    return alone[1] if alone and "\nHuman: " not in alone[1] else text
