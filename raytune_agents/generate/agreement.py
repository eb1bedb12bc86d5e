"""Whether the values of one call agree: pairs in their order, and the ends of a pair two things."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from raytune_agents.generate.kind_table import ROLE, kind_named
from raytune_agents.generate.parameter import Parameter
from raytune_agents.generate.wordlists import regex
from raytune_agents.records import Arguments

ONE_OF_PAIR = regex("one_of_pair")


def set_in_order(params: Sequence[Parameter], args: Arguments) -> None:
    """Put pairs in order: the least is not above the most, from differs from to."""
    by_role = {(p.kind, p.role, _stem(p)): p.name for p in params if p.name in args}
    for (kind, role, stem), name in by_role.items():
        other = {"min": "max", "from": "to"}.get(role)
        pair = by_role.get((kind, other or "", stem))
        if pair and isinstance(args[name], int | float) and args[name] > args[pair]:
            args[name], args[pair] = args[pair], args[name]


ENDINGS = {"shapefile": "shp", "excel": "xlsx", "markdown": "md", "text": "txt", "jpeg": "jpg"}


def fit_format(params: Sequence[Parameter], args: Arguments) -> None:
    """Let the file that is written end as the format says that it is written in."""
    formats = [
        p
        for p in params
        if p.kind == "choice" and re.search(r"(^|\b(file|output|export|target) )format$", p.words)
    ]
    wanted = [str(args[p.name]).lower() for p in formats if p.name in args]
    for p in params:
        text = args.get(p.name)
        written = p.role == "to" or re.search(
            r"\b(out|output|export|target|save)\b", f"{p.words} {p.about.lower()}"
        )
        if wanted and p.kind == "file" and written and isinstance(text, str):
            args[p.name] = re.sub(r"(?<=\w)\.\w+$", f".{ENDINGS.get(wanted[0], wanted[0])}", text)


def _stem(p: Parameter) -> str:
    pattern = "|".join(ROLE.values())
    return re.sub(pattern, "", p.words).strip()


def _banked(p: Parameter) -> bool:
    return bool(kind_named((p.items or p).kind).bank)


def differ(params: Sequence[Parameter], args: Mapping[str, Any]) -> bool:
    """Whether the two ends of a pair are two things."""
    ends: dict[tuple[str, tuple[str, ...], str], Any] = {}
    operands = [args[p.name] for p in params if p.kind == "operand" and p.name in args]
    banked = [args[p.name] for p in params if p.name in args and _banked(p)]
    texts = [t for value in banked for t in (value if isinstance(value, list) else [value])]
    for values in (operands, [t for t in texts if isinstance(t, str)]):
        if len(set(map(str, values))) < len(values):
            return False
    told = {p: args[p.name] for p in params if isinstance(args.get(p.name), str)}
    pairs: dict[str, set[str]] = {}
    for p in [p for p in told if p.kind != "choice" and re.search(ONE_OF_PAIR, p.words)]:
        seen = pairs.setdefault(re.sub(ONE_OF_PAIR, "", p.words), set())
        if told[p] in seen:
            return False  # "crew a" and "crew b"
        seen.add(told[p])
    for p in params:
        if p.role not in ("from", "to") or p.name not in args or p.kind == "flag":
            continue
        choices = p.examples if p.kind == "choice" else ()
        if len(choices) == 1:
            continue
        other = ends.get((p.kind, choices, "to" if p.role == "from" else "from"))
        if other is not None and other == args[p.name]:
            return False
        ends[p.kind, choices, p.role] = args[p.name]
    return True
