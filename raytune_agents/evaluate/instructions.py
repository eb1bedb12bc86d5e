"""Instruction following: requests whose instructions a program can check (IFEval, 2311.07911).

A row has one or two instructions in `meta["instructions"]` as [name, argument];
`instructions_followed` says of an answer which hold. Checks are strict: nothing is stripped but
outer white space. The wordings and the checks are ours. Left out: whether the answer is any good
(`judge`).
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from raytune_agents.records import Message, Trajectory, finish

SPLIT = "instructions"
TOPICS = (
    *("a walk in the rain", "how bread is made", "why the sky is blue", "a small harbour town"),
    *("how to learn a language", "what a library is for", "the moon", "a good breakfast"),
    *("how a bicycle works", "a day without a phone", "why people sing", "how to plant a tree"),
)
WORDS = ("amber", "lantern", "river", "copper", "violet", "compass")
SENTENCE = re.compile(r"[^.!?]+[.!?]+")


class Check(NamedTuple):
    """How an instruction is worded, which arguments it takes, and whether an answer follows it."""

    wording: str
    arguments: tuple[Any, ...]
    holds: Callable[[str, Any], bool]


def _is_json(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


def _bullets(text: str) -> int:
    return sum(line.lstrip().startswith(("- ", "* ")) for line in text.splitlines())


CHECKS: dict[str, Check] = {
    "sentences": Check(
        "Write exactly {0} sentences.", (1, 2, 3), lambda t, n: len(SENTENCE.findall(t)) == n
    ),
    "at_most_words": Check(
        "Use at most {0} words.", (10, 20, 40), lambda t, n: 0 < len(t.split()) <= n
    ),
    "at_least_words": Check(
        "Use at least {0} words.", (10, 20, 30), lambda t, n: len(t.split()) >= n
    ),
    "include": Check(
        "Use the word '{0}'.",
        WORDS,
        lambda t, w: re.search(rf"\b{re.escape(w)}\b", t.lower()) is not None,
    ),
    "avoid": Check(
        "Do not use the letter '{0}'.",
        ("z", "q", "x"),
        lambda t, c: bool(t) and c not in t.lower(),
    ),
    "no_commas": Check("Do not use any comma.", ("",), lambda t, _: bool(t) and "," not in t),
    "lower_case": Check(
        "Write in lower case only.", ("",), lambda t, _: bool(t) and t == t.lower()
    ),
    "upper_case": Check(
        "Write in capital letters only.", ("",), lambda t, _: bool(t) and t == t.upper()
    ),
    "bullets": Check(
        "Answer with exactly {0} bullet points, each on a line that starts with '- '.",
        (2, 3, 4),
        lambda t, n: _bullets(t) == n,
    ),
    "ends_with": Check(
        "End with the exact words: {0}",
        ("That is all.", "Thank you for reading."),
        lambda t, w: t.endswith(w),
    ),
    "json": Check("Answer with one JSON object and nothing else.", ("",), lambda t, _: _is_json(t)),
    "quotes": Check(
        "Put the whole answer in double quotes.",
        ("",),
        lambda t, _: len(t) > 2 and t[0] == t[-1] == '"',
    ),
}
PAIRS = (  # that can be followed together
    *(("lower_case", "no_commas"), ("sentences", "include"), ("at_most_words", "avoid")),
    *(("bullets", "include"), ("at_least_words", "ends_with"), ("upper_case", "quotes")),
)


def instruction_rows(count: int, seed: int) -> list[Trajectory]:
    """`count` requests without tools, half of them with two instructions; no call is right."""
    rng, out = random.Random(f"instructions/{seed}"), []
    for i in range(count):
        # In turn, not drawn: every kind of instruction has as many rows.
        names = PAIRS[i // 2 % len(PAIRS)] if i % 2 else (list(CHECKS)[i // 2 % len(CHECKS)],)
        chosen = [(name, rng.choice(CHECKS[name].arguments)) for name in names]
        wording = " ".join(CHECKS[name].wording.format(value) for name, value in chosen)
        request = f"Write a few words about {rng.choice(TOPICS)}. {wording}"
        out.append(
            finish(
                Trajectory(
                    (Message("user", request),),
                    source="instructions",
                    source_id=str(i),
                    split=SPLIT,
                    gold="[]",
                    meta={"instructions": [list(c) for c in chosen]},
                )
            )
        )
    return out


def instructions_followed(text: str, instructions: list[list[Any]]) -> list[bool]:
    """Which instructions the answer follows, in their order."""
    return [CHECKS[name].holds(text.strip(), value) for name, value in instructions]
