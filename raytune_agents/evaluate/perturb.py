"""A test row under a perturbation: the same task in other words, so a right answer stays right.

Names and gold change together where a tool is renamed; requests change only outside the values that
the gold calls need. A row that a perturbation cannot touch gives None and is not asked. Sources:
RoTBench (arXiv 2401.08326) for names, Hammer (arXiv 2410.04587) for masking.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from raytune_agents.agents.word_banks import leaves, shown
from raytune_agents.calls import gold_of
from raytune_agents.generate import augment
from raytune_agents.records import ToolSpec, Trajectory, derive, finish
from raytune_agents.storage import yaml_beside

Catalogue = Sequence[ToolSpec]
WORD = re.compile(r"(?<![\w./@#:'-])[A-Za-z][a-z]{3,}(?![\w/@:'-]|\.\w)")
NUMBER = re.compile(r"(?<![\w.,/:-])(\d+\.\d+|\d{1,3}(?:,\d{3})+(?:\.\d+)?)(?![\w/:-]|[.,]\d)")
TRIES = 5
KEYS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
# frames of politeness, and everyday words for others
WORDINGS = yaml_beside(__file__, "perturb.yaml")


def needed_text(row: Trajectory) -> str:
    """All values that gold needs, as one lower-case text: what a request must keep."""
    needed = [v for entry in gold_of(row) for args in entry.values() for v in leaves(args)]
    return "\n".join(shown(v) for v in needed if not isinstance(v, bool) and v is not None).lower()


def _with_query(row: Trajectory, text: str) -> Trajectory | None:
    """The row with another last request; None where it is the same."""
    last = max((i for i, m in enumerate(row.prompt) if m.role == "user"), default=None)
    if last is None or text == row.messages[last].content:
        return None
    messages = list(row.messages)
    messages[last] = replace(messages[last], content=text)
    return derive(row, messages=tuple(messages))


def _slip(word: str, rng: random.Random) -> str:
    """One typing error: letters exchanged, one doubled, one left out, or the key beside it."""
    at = rng.randrange(1, len(word) - 1)
    near = next((r for r in KEYS if word[at].lower() in r), KEYS[0])
    column = near.find(word[at].lower())
    other = near[column - 1 if column else 1]
    made = [
        word[:at] + word[at + 1] + word[at] + word[at + 2 :],
        word[: at + 1] + word[at:],
        word[:at] + word[at + 1 :],
        word[:at] + other + word[at + 1 :],
    ]
    return rng.choice([w for w in made if w != word])


def typos(row: Trajectory, rng: random.Random, catalogue: Catalogue) -> Trajectory | None:
    """A typing error in every sixth word (at least one) that is no part of a value."""
    kept, text = needed_text(row), row.query
    spots = [m for m in WORD.finditer(text) if m[0].lower() not in kept]
    # From the end, so that the places before stay right.
    for match in sorted(
        rng.sample(spots, min(len(spots), max(1, len(spots) // 6))), key=lambda m: -m.start()
    ):
        text = text[: match.start()] + _slip(match[0], rng) + text[match.end() :]
    return _with_query(row, text)


def paraphrase(row: Trajectory, rng: random.Random, catalogue: Catalogue) -> Trajectory | None:
    """The request in a frame of politeness, with everyday words exchanged outside values."""
    kept, text = needed_text(row), row.query
    for usual, word in WORDINGS["words"].items():
        # A word that is part of a value must stay: the right call holds it.
        if usual.lower() not in kept:
            text = re.sub(rf"\b{usual}\b", word, text)
    return _with_query(row, rng.choice(WORDINGS["frames"]).format(text)) if text else None


def number_formats(row: Trajectory, rng: random.Random, catalogue: Catalogue) -> Trajectory | None:
    """Numbers as German writes them: 1234.5 and 1,234.5 are 1.234,5. None without such a number.

    Plain integers stay (they may be ids or years), and so do parts of a text that gold wants.
    """
    texts = {v for e in gold_of(row) for a in e.values() for v in leaves(a) if isinstance(v, str)}

    def german(match: re.Match[str]) -> str:
        if any(match[0] in text for text in texts):
            return match[0]
        whole, _, part = match[0].replace(",", "").partition(".")
        return f"{int(whole):,}".replace(",", ".") + (f",{part}" if part else "")

    return _with_query(row, NUMBER.sub(german, row.query))


PERTURBATIONS: dict[str, Callable[[Trajectory, random.Random, Catalogue], Any]] = {
    "names_noised": lambda row, rng, catalogue: augment.noise(row, rng),
    "names_masked": lambda row, rng, catalogue: augment.mask(row, rng),
    "tools_shuffled": lambda row, rng, catalogue: augment.shuffle(row, rng),
    "distractors": augment.distract,
    "typos": typos,
    "paraphrase": paraphrase,
    "number_formats": number_formats,
}


def perturb(row: Trajectory, name: str, seed: int, catalogue: Catalogue) -> Trajectory | None:
    """The row under a perturbation, or None; it points to the row and keeps its split and pool."""
    for attempt in range(TRIES):  # noise may draw nothing to change
        # By row: more or fewer rows change no other one's perturbation.
        rng = random.Random(f"{seed}/{name}/{row.id}/{attempt}")
        made = PERTURBATIONS[name](row, rng, catalogue)
        if made is None:
            return None
        meta = made.meta | {"perturbation": name}
        made = finish(replace(made, pool=row.pool, step=f"evaluate.{name}", meta=meta))
        if made.id != row.id:
            return made
    return None
