"""The word lists, patterns and replacements of `data/*.yaml`, read once and used by name."""

from __future__ import annotations

import re
from functools import cache, lru_cache
from pathlib import Path

from raytune_agents.records import JsonObject
from raytune_agents.storage import yaml_beside

DATA = Path(__file__).parent / "data"


@cache
def word_data(name: str) -> JsonObject:
    """The file `data/NAME.yaml`."""
    return yaml_beside(__file__, f"data/{name}.yaml")


@lru_cache(maxsize=8192)
def compiled(expression: str) -> re.Pattern[str]:
    """An expression made for a parameter, kept longer than in the few hundred places that `re` has:
    the same parameters come again with each row."""
    return re.compile(expression)


def phrases() -> JsonObject:
    """The verbs, nouns and sentences of `data/phrases.yaml`."""
    return word_data("phrases")


@cache
def regex(name: str) -> str:
    """A regular expression of `data/patterns.yaml`, with those that it names put in."""
    return _written_out(word_data("patterns")[name])


def _written_out(text: str) -> str:
    text = "".join(text.splitlines())
    text = re.sub(r"\(\?&(\w+)\)", lambda m: f"(?:{regex(m[1])})", text)
    return "(?i)" + text.replace("(?i)", "") if "(?i)" in text else text


@cache
def pattern(name: str) -> re.Pattern[str]:
    """The same, compiled."""
    return re.compile(regex(name))


@cache
def _replacements(name: str) -> list[tuple[re.Pattern[str], str]]:
    return [(re.compile(_written_out(old)), new) for old, new in word_data("replacements")[name]]


def tidied(text: str, name: str) -> str:
    """The text after the replacements NAME of `data/replacements.yaml`, one after the other."""
    for old, new in _replacements(name):
        text = old.sub(new, text)
    return text
