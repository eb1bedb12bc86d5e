"""Instruction following: requests whose instructions a program can check (IFEval, 2311.07911).

A row has one or two instructions in `meta["instructions"]` as [name, argument];
`instructions_followed` says of an answer which hold. Checks are strict: nothing is stripped but
outer white space. The wordings (instructions.yaml) and the checks are ours. Left out: whether the
answer is any good (`judge`).
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from typing import Any

from raytune_agents.records import Message, Options, Trajectory, finish
from raytune_agents.storage import yaml_beside

SPLIT = "instructions"
WORDS: dict[str, Any] = yaml_beside(__file__, "instructions.yaml")
PAIRS: list[list[str]] = WORDS["pairs"]
SENTENCE, BULLET = re.compile(r"[^.!?]+[.!?]+"), re.compile(r"^\s*[-*] ", re.MULTILINE)


def _is_json(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


# name -> whether an answer follows the instruction with that argument
CHECKS: dict[str, Callable[[str, Any], bool]] = {
    "sentences": lambda text, n: len(SENTENCE.findall(text)) == n,
    "at_most_words": lambda text, n: 0 < len(text.split()) <= n,
    "at_least_words": lambda text, n: len(text.split()) >= n,
    "include": lambda text, word: bool(re.search(rf"\b{re.escape(word)}\b", text.lower())),
    "avoid": lambda text, letter: bool(text) and letter not in text.lower(),
    "no_commas": lambda text, _: bool(text) and "," not in text,
    "lower_case": lambda text, _: bool(text) and text == text.lower(),
    "upper_case": lambda text, _: bool(text) and text == text.upper(),
    "bullets": lambda text, n: len(BULLET.findall(text)) == n,
    "ends_with": lambda text, words: text.endswith(words),
    "json": lambda text, _: _is_json(text),
    "quotes": lambda text, _: len(text) > 2 and text[0] == text[-1] == '"',
}


def instruction_rows(count: int, seed: int) -> list[Trajectory]:
    """`count` requests without tools, half of them with two instructions; no call is right."""
    rng, out = random.Random(f"instructions/{seed}"), []
    for i in range(count):
        # In turn, not drawn: every kind of instruction has as many rows.
        names = PAIRS[i // 2 % len(PAIRS)] if i % 2 else (list(CHECKS)[i // 2 % len(CHECKS)],)
        chosen = [[name, rng.choice(WORDS["instructions"][name][1])] for name in names]
        wording = " ".join(WORDS["instructions"][name][0].format(value) for name, value in chosen)
        request = f"Write a few words about {rng.choice(WORDS['topics'])}. {wording}"
        facts: Options = {"source": SPLIT, "source_id": str(i), "split": SPLIT, "gold": "[]"}
        row = Trajectory((Message("user", request),), meta={"instructions": chosen}, **facts)
        out.append(finish(row))
    return out


def instructions_followed(text: str, instructions: list[list[Any]]) -> list[bool]:
    """Which instructions the answer follows, in their order."""
    return [CHECKS[name](text.strip(), value) for name, value in instructions]
