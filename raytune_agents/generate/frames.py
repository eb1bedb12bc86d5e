"""The sentence around a wish, drawn like the requests that are known: by what was counted in the
user's rows, and beside it, as if it were PRIOR_ROWS rows more, by `data/phrases.yaml`.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from raytune_agents.agents.analyse import Profile
from raytune_agents.generate.wordlists import pattern, phrases

EVEN_HABITS = Profile()  # of an agent that nothing is known of
PRIOR_ROWS = 4  # rows that count as much as the weights of phrases.yaml
MISSPELLED = 0.03  # share of requests with a misspelled word
SLOTS = {"order": "wish", "thing": "thing", "question": "question|reported"}


@dataclass(frozen=True)
class Wish:
    """What is wanted, in words: a form of `data/phrases.yaml`, its text, sentences that follow, the
    text that stands for each argument, and the arguments that stand as in a form, "(beds: 2)"."""

    form: str
    text: str
    rest: str = ""
    anchors: dict[str, str] = field(default_factory=dict)
    reported: str = ""  # of a question: "what the weather is"
    bracketed: tuple[str, ...] = ()


def weighed(prior: Mapping[str, float], counted: Mapping[str, int]) -> dict[str, float]:
    """The prior, as PRIOR_ROWS in all, and the counts together."""
    total = sum(prior.values())
    out = {name: PRIOR_ROWS * weight / total for name, weight in prior.items()}
    for name, count in counted.items():
        out[name] = out.get(name, 0.0) + count
    return out


def drawn(weights: Mapping[str, float], rng: random.Random) -> str:
    """One of the names by its weight."""
    return rng.choices(list(weights), list(weights.values()))[0]


def frame_weights(form: str, habits: Profile = EVEN_HABITS) -> dict[str, float]:
    """The frames of a form of wishes -> weight."""
    slot = re.compile(rf"\{{({SLOTS[form]})\}}", re.I)
    # "co2 in the hall?" has no verb: nobody gives an order as a question
    bare = r"\{wish\}\?" if form == "order" else "(?!)"
    counted = {
        frame: n
        for frame, n in habits.frames.items()
        if slot.search(frame) and not re.fullmatch(bare, frame, re.I)
    }
    return weighed(phrases()["frames"][form], counted)


def form_weights(habits: Profile = EVEN_HABITS) -> dict[str, float]:
    """Orders, things and questions -> how often requests are such."""
    prior = {form: sum(frames.values()) for form, frames in phrases()["frames"].items()}
    counted = {
        form: sum(n for frame, n in habits.frames.items() if re.search(slot, frame, re.I))
        for form, slot in SLOTS.items()
    }
    return weighed(prior, counted)


def misspelled(text: str, kept: Iterable[str], rng: random.Random) -> str:
    """The text with two letters exchanged in one or two words that are no part of a value."""
    values = " ".join(kept).lower()
    words = [w for w in re.findall(r"(?<![\w./@#-])[a-z]{5,}(?![\w./@-])", text) if w not in values]
    for old in rng.sample(words, min(len(words), rng.randint(1, 2))):
        at = rng.randrange(1, len(old) - 2)
        new = old[:at] + old[at + 1] + old[at] + old[at + 2 :]
        text = re.sub(rf"\b{old}\b", new, text, count=1)
    return text


def framed(
    wish: Wish | str, rng: random.Random, kept: Iterable[str] = (), habits: Profile = EVEN_HABITS
) -> tuple[str, str]:
    """The wish in one of the frames: (frame, sentences). Values in `kept` are never misspelled;
    without any no word is."""
    wish = Wish("order", wish) if isinstance(wish, str) else wish
    weights = frame_weights(wish.form, habits)
    favour = re.match(r"\w+ me\b", wish.text)  # "give me ..." is asked for, not wanted to be done
    open_end = re.search(r'[:"]|\n', wish.text)  # a text to its end takes no words after it
    usable = {
        frame: weight
        for frame, weight in weights.items()
        if not ((open_end or wish.rest) and not re.search(r"\}\W*$", frame))
        and not (favour and pattern("no_favour").search(frame))
    }
    frame = drawn(usable or weights, rng)
    first = {"order": "wish"}.get(wish.form, wish.form)
    values = {first: wish.text, first.capitalize(): wish.text[:1].upper() + wish.text[1:]}
    text = frame.format(**values, reported=wish.reported or wish.text)
    text = re.sub(r'([.?!])"[.]', r'\1"', text)
    if wish.rest:
        stop = "" if text[-1] in ".?!:" or wish.rest[0] == "\n" else "."
        colon = ":" if wish.rest[0] == "\n" and text[-1] not in ".?!:" else ""
        text = f"{text}{stop}{colon}{'' if wish.rest[0] == chr(10) else ' '}{wish.rest}"
    kept = list(kept)
    wrong = bool(kept) and rng.random() < MISSPELLED
    return frame, misspelled(text, kept, rng) if wrong else text


def joined_orders(orders: Sequence[str], rng: random.Random, habits: Profile = EVEN_HABITS) -> Wish:
    """Several orders as one wish: in one sentence, or in sentences that follow the first one."""
    several = any(re.search(r"[.;:?!\n]", order) for order in orders)
    weights = weighed(phrases()["dialogue"]["joins"], habits.joins)
    text, rest = orders[0], ""
    for k, order in enumerate(orders[1:], 2):
        apart = {j: w for j, w in weights.items() if (j[0] in ".?!;") or not (several or rest)}
        join = drawn(apart, rng)
        if k == len(orders) > 2 and rest and rng.random() < 0.5:
            join = ". Finally, "
        if join[0] in ".?!;":
            rest = f"{rest} {join[2:]}{order}.".strip()
        elif k < len(orders) and join.strip() in ("and", ", and"):
            text = f"{text}, {order}"  # "a, b and c"
        else:
            text = f"{text}{join}{order}"
    rest = re.sub(r"([.] )([a-z])", lambda m: m[1] + m[2].upper(), rest)
    return Wish("order", text, rest[:1].upper() + rest[1:])
