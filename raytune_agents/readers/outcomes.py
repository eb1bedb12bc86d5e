"""What a source says about how good a row or an answer is, in the words that sources use."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from raytune_agents.readers.fields import (
    Fields,
    Names,
    blank,
    fold,
    names_of,
    object_of,
    short,
    words_in,
    words_of,
)
from raytune_agents.readers.strict import as_text, value_of, value_or
from raytune_agents.records import JsonObject

Stated = tuple[str, float, str]  # the field, folded; the outcome; both in the source's words
Rules = tuple[Any, ...]  # (names, what a value says, whether that is inverted)


def _answer_names(words: str) -> Names:
    """`chosen`, `chosen_response`, `response_chosen` and so on for each of the words."""
    pairs = [f"{w}{a} {a}{w}" for w in words_of(words) for a in words_of("answers")]
    return names_of(words) + Names(*pairs) + names_of(f"{words}_alone")


BETTER, WORSE = _answer_names("better"), _answer_names("worse")
REWARDS, LABELS, FAILURES = names_of("rewards"), names_of("labels"), names_of("failures")
ABOUT, VOTES, SETTINGS = names_of("about_row"), names_of("votes"), names_of("settings")
SCORES = Names("scores score metrics")
ERRORS, NO_ERROR = names_of("names_error"), words_of("says_no_error")
OF_GOOD, OF_BAD = {*words_of("of_success"), *words_of("of_verdict")}, {*words_of("of_failure")}
BESIDE = {*words_of("beside_mark")}
WORDS = dict.fromkeys(words_of("says_good"), 1.0) | dict.fromkeys(words_of("says_bad"), 0.0)


def outcome_score(value: Any) -> float | None:
    """A reward as an outcome in [0, 1]: booleans, numbers, words; None where it is not known."""
    if isinstance(value, bool):
        return float(value)
    if isinstance(value, str):
        word = fold(value.strip())
        if word in WORDS:
            return WORDS[word]
        try:
            value = float(value.strip())
        except ValueError:
            return None
    if not isinstance(value, int | float) or value != value:
        return None
    return float(min(max(value, 0), 1))


def outcome_mark(value: Any) -> float | None:
    """`score` of a value that says good or bad by itself: a boolean, 0, 1, -1, or one of WORDS."""
    if isinstance(value, str) and value.strip() in ("0", "1", "-1", "0.0", "1.0", "-1.0"):
        value = float(value)
    word = isinstance(value, str) and fold(value.strip()) in WORDS
    return outcome_score(value) if word or value in (True, False, -1) else None


def _object(value: Any) -> JsonObject:
    """An object, JSON text of one, or a list of scores by name; {} for anything else."""
    value = value_or(value) if isinstance(value, str) and value[:1] == "{" else value
    if isinstance(value, list):
        scores = [Fields(s) for s in value if isinstance(s, dict)]
        value = {as_text(s("name", "key")): s("value", "score") for s in scores}
    return object_of(value)


_MARKS = ((LABELS, outcome_mark, False), (FAILURES, outcome_mark, True))
OUTCOMES = ((REWARDS, outcome_score, False), *_MARKS)  # names, what a value says, whether inverted


@lru_cache(maxsize=4096)
def _speaks_of_success(name: str) -> int:
    """1 for a name that says how good something is, -1 for how bad, 0 for any other."""
    words = words_in(name)
    if not words & (OF_GOOD | OF_BAD) or words - OF_GOOD - OF_BAD - BESIDE:
        return 0
    return -1 if words & OF_BAD else 1


def _called_bad(fields: Fields) -> Stated | None:
    """A field by a name of its own that says that a row or turn is bad. Of a good one it says too
    little: a score of 1 may be one of 5."""
    for name, key in fields.left.items():
        sign, value = _speaks_of_success(str(key)), _only(fields.item[key])
        mark = outcome_mark(value) if sign else None
        if name in ERRORS.every and isinstance(value, str | dict | list):
            mark = float(not blank(value) and str(value).lower() not in NO_ERROR)
        if mark is not None and mark == (sign < 0):
            return name, 0.0, f"{key}={short(value)}"
    return None


def _scored_bad(name: str, body: JsonObject) -> Stated | None:
    """Scores under names of their own that all say bad: {match: {value: 0}}."""
    marks = [outcome_mark(_only(v)) for v in body.values()] if name in SCORES.every else []
    return (name, 0.0, f"{name}={short(body)}") if marks and set(marks) == {0.0} else None


def outcome_of(fields: Fields) -> tuple[float | None, str]:
    """The outcome that a row states, and the source's own word for it: "label=False".

    A class label ("weather", 7) is none of these: it stays unread. What stands in an object about
    the row (NAT's `info`) counts too, and stays in `meta` as well.
    """
    found = _stated(fields, OUTCOMES)
    if found is None and (about := _stated_about(fields, OUTCOMES)):
        fields.keep(about[0])
        return about[1:]
    if found := found or _called_bad(fields):
        fields.skip(found[0])
    return found[1:] if found else (None, "")


def _stated_about(fields: Fields, rules: Rules) -> Stated | None:
    """The outcome that an object about the row or turn states, and that object's name."""
    for name in fields.have(ABOUT):
        body = _object(fields.peek(name))
        inner = Fields(body)
        if found := _stated(inner, rules) or _scored_bad(name, body) or _called_bad(inner):
            return name, *found[1:]
    return None


def metadata_fields(fields: Fields) -> Fields:
    """What stands in the objects about a row, or about how its answer was asked for."""
    found = (_object(fields.item[fields.left[name]]) for name in fields.have(ABOUT + SETTINGS))
    return Fields({k: v for body in found for k, v in body.items()})


def mark_of_answer(turns: Any) -> tuple[float | None, str]:
    """`outcome_of` of the last turn: its own mark, or that it was cut at its limit."""
    items = value_of(turns)
    last = items[-1] if isinstance(items, list) and items else None
    found = _stated(Fields(last), _MARKS) if isinstance(last, dict) else None
    return found[1:] if found else (None, "")


def is_marked_bad(fields: Fields) -> bool:
    """Whether a turn says of itself that it is a bad one or was cut; a step's reward is no such
    mark."""
    found = _stated(fields, _MARKS) or _called_bad(fields) or _stated_about(fields, _MARKS)
    value = fields.peek(found[0]) if found and found[0] in VOTES.every else None
    if value == 0 and value is not False:
        return False  # a count of votes
    if found:
        fields.skip(found[0])
    return found is not None and found[1] < 0.5


def _only(value: Any) -> Any:
    """What a list of one or of equal values holds, as those of one run, or an object {value}."""
    if isinstance(value, list) and value and all(v == value[0] for v in value):
        value = value[0]
    return value.get("value") if isinstance(value, dict) and "value" in value else value


def _stated(fields: Fields, rules: Rules) -> Stated | None:
    """The field that states an outcome by one of the names, or None."""
    for names, known, wrong in rules:
        for name in fields.have(names):
            value = _only(fields.peek(name))
            found = None if isinstance(value, dict | list | None) else known(value)
            if found is not None:
                return name, 1.0 - found if wrong else found, f"{fields.left[name]}={value}"
    return None
