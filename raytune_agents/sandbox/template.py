"""The inside of a first look at a chat template, which anybody may have written: loaded in the
sandbox as a tool module is, so it imports nothing of ours. The environment is that of
transformers' `apply_chat_template`."""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Any, NoReturn

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

GENERATION = re.compile(r"\{%-?\s*(end)?generation\s*-?%\}")  # a tag of transformers' own


def _refuse(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)


def characters(template: str, messages: list[Any], tools: list[Any]) -> int:
    """How many it writes."""
    form = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    form.filters["tojson"] = lambda x, **how: json.dumps(x, **{"ensure_ascii": False} | how)
    form.globals["raise_exception"] = _refuse
    form.globals["strftime_now"] = lambda kind: datetime.now().strftime(kind)
    made = form.from_string(GENERATION.sub("", template))
    return sum(map(len, made.generate(messages=messages, tools=tools, add_generation_prompt=True)))
