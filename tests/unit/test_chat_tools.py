"""How our template writes tools: what tells two parameters apart stands in the prompt."""

from __future__ import annotations

import json

import pytest

from raytune_agents import models
from raytune_agents.chat import Chat
from raytune_agents.records import Message, ToolSpec

STREET = {"type": "string", "description": "street"}
BOOK = ToolSpec(
    "book",
    "Book a room.",
    json.dumps(
        {
            "type": "object",
            "required": ["a"],
            "properties": {
                "a": {"type": "string", "format": "date", "description": "day of\narrival"},
                "b": {"type": "integer", "default": 2, "description": "guests"},
                "c": {"type": "object", "properties": {"x": STREET}},
                "d": {"type": "string", "description": "long " * 60},
                "e": {"type": "boolean"},
            },
        }
    ),
)


def shown(style: str) -> str:
    text = Chat(models.embedded(), "ours", style).render([Message("user", "hi")], [BOOK], True)
    return text.split("Tools:\n")[1].split("\nTo use a tool")[0]


def test_a_signature_has_descriptions_and_formats() -> None:
    line = shown("signature")
    assert line.startswith(
        "book(a: string (date, day of arrival), b?: integer = 2 (guests), "
        "c?: {x: string (street)}, d?: string (long long"
    )
    assert line.endswith("long...), e?: boolean) - Book a room.")
    assert line.count("long") == 23  # at most 120 characters of a description, words whole


def test_a_brief_signature_leaves_them_out() -> None:
    assert shown("brief") == (
        "book(a: string, b?: integer = 2, c?: {x: string}, d?: string, e?: boolean) - Book a room."
    )


@pytest.mark.parametrize("style", ["signature", "brief", "schema"])
def test_every_style_names_the_tool(style: str) -> None:
    assert "book" in shown(style)
