"""A chat template with default values written into it, so that whoever serves a model asks as its
evaluation asked: options of the template, and NAT's marker of good answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

# The question, as `mark` finds it, gets the marker's line. Without `dict()`, which llama.cpp's
# Jinja has not.
MARKED_QUESTION = """{{%- set question = namespace(at=-1, open=true) -%}}
{{%- for m in messages -%}}
  {{%- if m.role == 'assistant' -%}}{{%- set question.open = false -%}}{{%- endif -%}}
  {{%- if m.role == 'user' and question.open -%}}
    {{%- set question.at = loop.index0 -%}}
  {{%- endif -%}}
{{%- endfor -%}}
{{%- if question.at >= 0 -%}}
  {{%- set asked = messages[question.at] -%}}
  {{%- set asked = {{'role': 'user', 'content': asked.content ~ {marker}}} -%}}
  {{%- set messages = messages[:question.at] + [asked] + messages[question.at + 1:] -%}}
{{%- endif -%}}
"""


def stored_template(template: str, options: Mapping[str, Any], marker: str, first: str) -> str:
    """The template with default values of its options, and with a NAT marker in the question.
    They stand behind its first line where that is `first`, by which it is known."""
    known = first and template.startswith(first)
    head, line, rest = template.partition("\n") if known else ("", "", template)
    made = "".join(
        f"{{%- if {name} is not defined -%}}{{%- set {name} = {jinja(value)} -%}}{{%- endif -%}}\n"
        for name, value in options.items()
    )
    if marker:
        made += MARKED_QUESTION.format(marker=jinja(f"\n{marker}"))
    return head + line + made + rest


def jinja(value: Any) -> str:
    """A value as Jinja writes it."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{jinja(k)}: {jinja(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(jinja, value)) + "]"
    return "none" if value is None else json.dumps(value)
