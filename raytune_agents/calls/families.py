"""The families whose calls and thoughts are read: what stands around them, and what vLLM calls
their parsers. The words are those of `families.yaml`."""

from __future__ import annotations

import re

from raytune_agents.storage import yaml_beside

_WORDS = yaml_beside(__file__, "families.yaml")
TAGS: dict[str, str] = _WORDS["tags"]  # what calls stand between
THOUGHT_MARKS: dict[str, str] = _WORDS["thoughts"]
TURN_ENDS: list[str] = _WORDS["ends"]
SPELLINGS = [(re.compile(p, re.S | re.M), by) for p, by in _WORDS["spellings"].items()]
PARSERS: dict[str, str] = _WORDS["parsers"]  # how a call looks -> vLLM's tool parser, or ""
REASONING: dict[str, str] = _WORDS["reasoning"]  # tool parser -> vLLM's reasoning parser
