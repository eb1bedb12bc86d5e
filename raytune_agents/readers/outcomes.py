"""What a source says about how good a row or an answer is, in the words that sources use."""

from __future__ import annotations

from typing import Any

from raytune_agents.readers.fields import Fields, Names, blank, fold
from raytune_agents.readers.strict import value_of
from raytune_agents.records import RecordError

# an answer that is better or worse than another one of the same row
BETTER = Names("chosen", "chosen_response", "chosen_messages", "preferred_output", "preferred",
                 "preferred_response", "response_chosen", "chosen_answer", "winner", "accepted",
                 "positive_response", "good_response")
WORSE = Names("rejected", "rejected_response", "rejected_messages", "non_preferred_output",
                "non_preferred", "non_preferred_response", "dispreferred", "dispreferred_output",
                "dispreferred_response", "response_rejected", "rejected_answer", "loser",
                "negative_response", "bad_response")
# a mark of the whole row; of numbers only rewards and scores of runs are free, a label is 0 or 1
REWARDS = Names("resolved", "reward", "final_reward", "success", "is_success", "passed",
                  "is_resolved", "solved", "task_success")
LABELS = Names("label", "kto_tag", "kto_label", "desirable", "is_desirable", "is_good", "good",
                 "correct", "is_correct", "is_preferred", "preference", "thumbs_up", "thumbs",
                 "feedback", "liked", "upvoted", "accepted", "approved", "is_approved", "outcome",
               "verdict", "judgement", "judgment", "quality", "quality_label", "status", "result",
               "vote", "reaction", "grade", "is_valid", "valid", "helpful", "is_helpful",
               "user_feedback", "human_feedback")
FAILURES = Names("rejected", "is_rejected", "undesirable", "is_undesirable", "failed",
                   "is_failure", "is_bad", "bad", "thumbs_down", "incorrect", "is_negative")

ABOUT = Names("info", "metadata", "meta", "extra_info")

_GOOD = ("true success succeeded successful pass passed yes good correct right positive up "
         "thumbsup desirable desired chosen preferred accepted accept like liked solved resolved "
         "win")
_BAD = ("false failure failed fail unsuccessful no bad incorrect wrong negative down thumbsdown "
        "undesirable undesired rejected reject dispreferred nonpreferred dislike disliked unsolved "
        "unresolved loss lost error")
WORDS = dict.fromkeys(_GOOD.split(), 1.0) | dict.fromkeys(_BAD.split(), 0.0)


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


def _object(value: Any) -> dict[str, Any]:
    """An object, or JSON text of one; {} for anything else."""
    try:
        found = value_of(value) if isinstance(value, str) and value[:1] == "{" else value
    except RecordError:
        return {}
    return found if isinstance(found, dict) else {}


def outcome_of(fields: Fields) -> tuple[float | None, str]:
    """The outcome that a row states, and the source's own word for it: "label=False".

    A class label ("weather", 7) is none of these: it stays unread.
    """
    for names, known, wrong in ((REWARDS, outcome_score, False), (LABELS, outcome_mark, False),
                                (FAILURES, outcome_mark, True)):
        for name in fields.have(names):
            value = fields.peek(name)
            found = None if isinstance(value, dict | list | None) else known(value)
            if found is not None:
                key, value = fields.pair(name)
                return (1.0 - found if wrong else found), f"{key}={value}"
    for name in fields.have(ABOUT):  # NAT's `info`; it stays in `meta` as well
        about = _object(fields.peek(name))
        reward = about.get("reward")
        if not blank(reward) and (told := outcome_score(reward)) is not None:
            return told, f"reward={reward}"
    return None, ""
