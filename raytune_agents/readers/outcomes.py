"""What a source says about how good a row or an answer is, in the words that sources use."""

from __future__ import annotations

from typing import Any

from raytune_agents.readers.fields import Fields, Names, fold, names_of, object_of, words_of
from raytune_agents.readers.strict import as_text, value_of, value_or
from raytune_agents.records import JsonObject


def _answer_names(words: str) -> Names:
    """`chosen`, `chosen_response`, `response_chosen` and so on for each of the words."""
    pairs = [f"{w}{a} {a}{w}" for w in words_of(words) for a in words_of("answers")]
    return names_of(words) + Names(*pairs) + names_of(f"{words}_alone")


BETTER, WORSE = _answer_names("better"), _answer_names("worse")
REWARDS, LABELS, FAILURES = names_of("rewards"), names_of("labels"), names_of("failures")
ABOUT, VOTES = names_of("about_row"), names_of("votes")
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


def outcome_of(fields: Fields) -> tuple[float | None, str]:
    """The outcome that a row states, and the source's own word for it: "label=False".

    A class label ("weather", 7) is none of these: it stays unread. What stands in an object about
    the row (NAT's `info`) counts too, and stays in `meta` as well.
    """
    if found := _stated(fields, OUTCOMES):
        fields.skip(found[0])
        return found[1], found[2]
    for name in fields.have(ABOUT):
        if found := _stated(Fields(_object(fields.peek(name))), OUTCOMES):
            fields.keep(name)
            return found[1], found[2]
    return None, ""


def metadata_fields(fields: Fields) -> Fields:
    """What stands in the objects about a row."""
    found = (_object(fields.item[fields.left[name]]) for name in fields.have(ABOUT))
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
    found = _stated(fields, _MARKS)
    value = fields.peek(found[0]) if found and found[0] in VOTES.every else None
    if value == 0 and value is not False:
        return False  # a count of votes
    if found:
        fields.skip(found[0])
    return found is not None and found[1] < 0.5


def _stated(fields: Fields, rules: tuple[Any, ...]) -> tuple[str, float, str] | None:
    """The field that states an outcome, folded; the outcome; and both as the source has them."""
    for names, known, wrong in rules:
        for name in fields.have(names):
            value = fields.peek(name)
            if isinstance(value, list) and len(value) == 1:  # of one run
                value = value[0]
            found = None if isinstance(value, dict | list | None) else known(value)
            if found is not None:
                return name, 1.0 - found if wrong else found, f"{fields.left[name]}={value}"
    return None
