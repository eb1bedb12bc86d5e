"""A parameter of a tool and what is known of it: plain data, found by `kinds`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from raytune_agents.generate.codes import is_code
from raytune_agents.generate.wordlists import pattern, regex
from raytune_agents.records import JsonSchema

OTHER_ID = regex("other_id")
NUMBERED = ("id", "id_number", "index", "room_number", "tracking", "uuid", "flight", "commit")


def json_type(schema: Mapping[str, Any]) -> str:
    """The schema's type, the first that is not null of several; "" where it says none."""
    kind = schema.get("type", "")
    if isinstance(kind, list):
        kind = next((k for k in kind if k != "null"), "null")
    return kind if isinstance(kind, str) else ""


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
    def type(self) -> str:
        """Its JSON type, "" where the schema says none."""
        return json_type(self.detail)

    @property
    def is_number(self) -> bool:
        return self.type in ("integer", "number")

    @property
    def slot(self) -> str:
        """The place of its value in a text."""
        return f"{{{self.name}}}"

    @property
    def is_numbered(self) -> bool:
        """Whether a value tells which one it is, after its noun: "drone HAWK-2"."""
        codes = not self.kind and bool(self.examples) and all(map(is_code, self.values))
        return self.sense in NUMBERED or codes

    @property
    def is_coded(self) -> bool:
        """Whether it is a choice between codes, which say nothing without their noun: "zone B"."""
        coded = (len(str(v)) <= 2 or re.search(r"\d", str(v)) for v in self.values)
        return self.kind == "choice" and bool(self.examples) and all(coded)

    @property
    def is_constant(self) -> bool:
        """Whether it has one value alone, which nobody needs to say."""
        return self.closed and len(self.examples) == 1

    @property
    def is_measure(self) -> bool:
        """Whether it is an object of one number with its unit."""
        return {f.words for f in self.fields} == {"value", "unit"}

    @property
    def values(self) -> list[Any]:
        """The examples as values."""
        return [json.loads(e) for e in self.examples]

    @cached_property
    def noun(self) -> str:
        """What a person calls it: "order" for order_id, "check in date" for check_in_date."""
        if self.said:
            return self.said
        words = pattern("of_call").sub("", self.words)
        if not re.search(r"(liqu|sol|val|hybr|gr|andro|flu|rap|ac|cov|p)id$", words):
            words = re.sub(r"(\w{4,})ids?$", r"\1", words)
        if adjective := re.fullmatch(OTHER_ID, words):
            return f"{adjective[1].strip()} ID"
        if re.fullmatch(r"(is|s|u|gu|uu|object)? ?(ids?|sid)", words):
            which = re.match("(new|target|source) ", self.words)
            return f"{which[1]} ID" if which else "ID"
        if re.search(r"\b(full|first|last|given|family|user|middle) name$", words):
            return words
        short = pattern("id_ending").sub("", words)
        return short or words
