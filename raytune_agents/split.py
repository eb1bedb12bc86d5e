"""Rows -> train / val / test_seen / test_unseen, by tool name and by question; every choice is a
hash.

A tool is held out by the hash of its name, so a row's split depends on the row and the seed alone
and rows can stream. No gold tool of test_unseen is a gold tool in train; equal questions fall
together. Derived rows are never split here: they keep their source's split."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import replace

from raytune_agents.calls import gold_of
from raytune_agents.config import ConfigError, SplitConfig
from raytune_agents.records import SPLITS, RecordError, Trajectory

MIXED = "mixed_tools"  # some gold tools are held out, some are not: fits neither side


def unit(seed: int, kind: str, text: str) -> float:
    """A number in [0, 1) from a hash; the same words give the same number."""
    digest = hashlib.sha256(f"{seed}\0{kind}\0{text}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def gold_tools(row: Trajectory) -> frozenset[str]:
    """Names of the tools that a right answer calls. Raises RecordError where the gold has no names.

    The target's arguments are not looked at: a row whose arguments do not parse has its tools too.
    """
    if not row.gold:
        return frozenset(c.name for c in row.target.tool_calls) if row.target else frozenset()
    try:
        return frozenset(name for call in gold_of(row) for name in call)
    except (ValueError, TypeError, RecursionError):
        raise RecordError("gold is not a JSON list of {name: {argument: [allowed]}}") from None


def assign(row: Trajectory, section: SplitConfig, seed: int) -> Trajectory:
    """The row with its split, or rejected as MIXED. A split the source gave is kept."""
    if row.split in SPLITS:
        return row
    held = [unit(seed, "tool", name) < section.unseen_tools for name in gold_tools(row)]
    if held and all(held):
        return replace(row, split="test_unseen")
    if any(held):
        return replace(row, split="", reject_reason=MIXED)
    u = unit(seed, "query", row.query.casefold())
    if u < section.test_seen:
        return replace(row, split="test_seen")
    return replace(row, split="val" if u < section.test_seen + section.val else "train")


def settle(name: str, tools: Collection[str], train_tools: Collection[str]) -> str:
    """Second look at a row's split once train's tools are known: a test_seen row with a gold tool
    that train never shows is trained on instead."""
    return "train" if name == "test_seen" and not set(tools) <= set(train_tools) else name


def check(counts: dict[str, int], section: SplitConfig) -> None:
    """Raises ConfigError where a split came out empty."""
    empty = [name for name in SPLITS if not counts.get(name)]
    if empty:
        raise ConfigError(
            f"read.split={section.model_dump()}: split {empty[0]} is empty "
            f"({dict(counts)}); give it a larger share or read more rows"
        )
