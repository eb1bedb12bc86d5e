"""Words that a spec's own values are made of, and how a value is written.

A text such as "tests/{area}/test_{feature}.py" draws each word from data/words.yaml; a capital
letter ("{Feature}") writes the word in CamelCase. All draws come from the caller's `random.Random`.
What a parameter may be without such a list is known by `generate.arguments`.
"""

from __future__ import annotations

import random
import re
from datetime import date
from typing import Any

from raytune_agents.storage import yaml_beside

BANKS: dict[str, list[str]] = yaml_beside(__file__, "data/words.yaml")

WORD = re.compile(r"\{(\w+)\}")


def sample_value(name: str, rng: random.Random) -> str:
    """One word of a bank, or of a computed kind such as number2, byte, year, date, clock."""
    computed = {
        "number2": lambda: str(rng.randint(10, 99)),
        "number4": lambda: str(rng.randint(1000, 9999)),
        "byte": lambda: str(rng.randint(1, 254)),
        "year": lambda: str(rng.randint(2015, 2025)),
        "quarter": lambda: str(rng.randint(1, 4)),
        "date": lambda: str(date(rng.randint(2024, 2026), rng.randint(1, 12), rng.randint(1, 28))),
        "clock": lambda: f"{rng.randint(6, 22):02}:{rng.choice(['00', '15', '30', '45'])}",
    }
    if name in computed:
        return computed[name]()
    if name in BANKS:
        return rng.choice(BANKS[name])
    if name[:1].isupper() and name.lower() in BANKS:
        chosen = rng.choice(BANKS[name.lower()])
        return "".join(part[:1].upper() + part[1:] for part in chosen.split("_"))
    raise ValueError(f"no word bank {name!r}; banks are {sorted([*BANKS, *computed])}")


def fill(text: str, rng: random.Random) -> str:
    """The text with every {word} drawn from its bank."""
    return WORD.sub(lambda m: sample_value(m.group(1), rng), text)


def leaves(item: Any) -> list[Any]:
    """The scalars inside a value, in order; keys of objects do not count."""
    if isinstance(item, dict):
        return [leaf for v in item.values() for leaf in leaves(v)]
    if isinstance(item, list | tuple):
        return [leaf for v in item for leaf in leaves(v)]
    return [item]


def shown(item: Any) -> str:
    """A value as a person writes it: 3, 0.25, acme.pdf, "privacy and liability"."""
    if isinstance(item, dict):
        texts = [f"{k.replace('_', ' ')} {shown(v)}" for k, v in item.items()]
    elif isinstance(item, list | tuple):
        texts = [shown(v) for v in item]
    else:
        texts = [str(item).lower() if isinstance(item, bool) else str(item)]
    return " and ".join(filter(None, [", ".join(texts[:-1]), *texts[-1:]]))
