"""Secrets out of what is written or said: the values of secret environment variables, passwords and
signatures inside URLs, and tokens that are known by their shape. A secret that is none of these (a
password as the value of some option, say) is not recognised: write secrets to the environment."""

from __future__ import annotations

import json
import os
import re

NAMES = re.compile(r"TOKEN|SECRET|PASSW|CREDENTIAL|API_?KEY|ACCESS_?KEY|PRIVATE|_KEY$", re.I)
SHORTEST = 12  # shorter values are words ("disabled"), not secrets
SHAPES = re.compile(
    r"\b(?:hf_[A-Za-z0-9]{20,}|sk-[\w-]{20,}|gh[pousr]_\w{20,}|github_pat_\w{20,}|AKIA[0-9A-Z]{16}"
    r"|xox[abprs]-[\w-]{10,}|AIza[\w-]{30,}|eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]{10,})"
)
PASSWORD = re.compile(r"(\w://[^/\s:@\"']*:)[^/\s@\"']+@")
SIGNED = re.compile(
    r"([?&](?:[\w-]*(?:token|secret|signature|credential|password)|sig|(?:api_?)?key)=)[^&\s\"'#]+",
    re.I,
)


def redact(text: str) -> str:
    """The text with every secret in it replaced by the name of its variable, or by its kind."""
    for name, value in os.environ.items():
        if len(value) >= SHORTEST and NAMES.search(name):
            escaped = (json.dumps(value, ensure_ascii=a)[1:-1] for a in (True, False))
            for form in {value, *escaped}:
                text = text.replace(form, f"[{name}]")
    text = PASSWORD.sub(r"\1[password]@", text)
    return SHAPES.sub("[token]", SIGNED.sub(r"\1[secret]", text))
