"""A parameter of a tool and what is known of it: plain data, found by `kinds`."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from raytune_agents.generate.wordlists import regex
from raytune_agents.records import JsonSchema

OTHER_ID = regex("other_id")


@dataclass(frozen=True)
class Parameter:
    """A parameter and what is known of it. `kind` "" = nothing is known of its values."""

    name: str
    schema: str  # JSON text, so that a parameter can be a key
    required: bool = False
    kind: str = ""
    sense: str = ""  # the kind by its name alone: how a choice of languages is said
    role: str = ""
    words: str = ""  # the name as words: "check in"
    about: str = ""  # its description
    said: str = ""  # what its description calls it, where the name says less
    examples: tuple[str, ...] = ()  # texts that the description or schema gives, as JSON
    closed: bool = False  # nothing but the examples is right
    unit: str = ""
    items: Parameter | None = None  # of an array
    fields: tuple[Parameter, ...] = ()  # of an object

    @property
    def detail(self) -> JsonSchema:
        """The parameter's parsed schema."""
        return json.loads(self.schema)

    @property
    def values(self) -> list[Any]:
        """The examples as values."""
        return [json.loads(e) for e in self.examples]

    @cached_property
    def noun(self) -> str:
        """What a person calls it: "order" for order_id, "check in date" for check_in_date."""
        if self.said:
            return self.said
        words = re.sub(
            r"^(new|target|source|the|given|input|user s)\s+(?!(on|at|by|in)$)", "", self.words
        )
        if not re.search(r"(liqu|sol|val|hybr|gr|andro|flu|rap|ac|cov|p)id$", words):
            words = re.sub(r"(\w{4,})ids?$", r"\1", words)
        if adjective := re.fullmatch(OTHER_ID, words):
            return f"{adjective[1].strip()} ID"
        if re.fullmatch(r"(is|s|u|gu|uu|object)? ?(ids?|sid)", words):
            which = re.match("(new|target|source) ", self.words)
            return f"{which[1]} ID" if which else "ID"
        if re.search(r"\b(full|first|last|given|family|user|middle) name$", words):
            return words
        short = re.sub(
            r"\s+(ids?|[sug]?uid|sid|identifiers?|key|name|slug|code|no|num|ts)$", "", words
        )
        return short or words
