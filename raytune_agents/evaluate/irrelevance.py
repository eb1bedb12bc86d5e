"""Rows on which no call is right, made of the run's own tools: does the model know when to decline?

A test request keeps its words and loses its tools: it is offered others of the run's catalogue that
share no telling word with the right ones, as BFCL's irrelevance set does. Left out: requests that
no tool of the catalogue could serve for other reasons (`generate.dialogues` makes those).
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from raytune_agents.calls.schema import find
from raytune_agents.records import ToolSpec, Trajectory, derive
from raytune_agents.split import gold_tools

SPLIT, BFCL_SPLIT = "irrelevance", "bfcl_irrelevance"
OFFERED = 3  # tools, where the row offered fewer than that beside the right ones
WIDE = 0.25  # of the catalogue's tools
WORD = re.compile(r"[A-Z]?[a-z]{2,}|[A-Z]{3,}")
# words of tool names and descriptions that tell nothing of what a tool is for
COMMON = frozenset(
    """get set find search list create make add update delete fetch retrieve show check calculate
    compute convert generate the and for with from that this its are was has can use used using
    given based about into return returns value values data info information details specific
    provided tool function api name number type string optional parameter parameters result
    results all any one two not you your user""".split()  # noqa: SIM905
)


def words_of(text: str) -> frozenset[str]:
    """The words of a text that may tell what it is about, lower case, without plural s."""
    found = (w.lower().removesuffix("s") for w in WORD.findall(text))
    return frozenset(w for w in found if w not in COMMON and len(w) > 2)


def tool_words(tool: ToolSpec) -> frozenset[str]:
    return words_of(f"{tool.name} {tool.description}")


def common_words(catalogue: Sequence[ToolSpec]) -> frozenset[str]:
    """Words of more than WIDE of the tools: the catalogue's own subject, which tells none apart."""
    counts = Counter(w for tool in catalogue for w in tool_words(tool))
    return frozenset(w for w, n in counts.items() if n > max(2.0, WIDE * len(catalogue)))


def irrelevance_rows(
    rows: Iterable[Trajectory], count: int, seed: int
) -> tuple[list[Trajectory], int]:
    """At most `count` rows, each made of a row with calls, and how many such rows could not be
    used: where no foreign tool is left, nothing tempts."""
    able = [r for r in rows if r.target and r.tools and gold_tools(r)]
    able = sorted((r for r in able if not any(m.tool_calls for m in r.prompt)), key=lambda r: r.id)
    catalogue = sorted({t.name: t for r in able for t in r.tools}.values(), key=lambda t: t.name)
    common = common_words(catalogue)
    random.Random(f"irrelevance/{seed}").shuffle(able)
    out: list[Trajectory] = []
    unused = 0
    for row in able:
        if len(out) == count:
            break
        made = without_right_tools(row, catalogue, common, seed)
        unused += made is None
        out += [made] if made else []
    return out, unused


def without_right_tools(
    row: Trajectory, catalogue: Sequence[ToolSpec], common: frozenset[str], seed: int
) -> Trajectory | None:
    """The row with foreign tools alone, gold "[]"; None where there is none."""
    right = [t for name in gold_tools(row) if (t := find(name, row.tools))]
    names = {t.name for t in right}
    words = frozenset().union(words_of(row.query), *map(tool_words, right)) - common

    def foreign(tools: Iterable[ToolSpec]) -> list[ToolSpec]:
        return [t for t in tools if t.name not in names and not tool_words(t) & words]

    kept = foreign(row.tools)
    others = [t for t in foreign(catalogue) if t.name not in {k.name for k in kept}]
    rng = random.Random(f"{seed}/{row.id}")
    kept += rng.sample(others, min(len(others), max(0, OFFERED - len(kept))))
    if not kept:
        return None
    rng.shuffle(kept)
    made = derive(
        row,
        messages=row.prompt,
        tools=tuple(kept),
        gold="[]",
        step="evaluate.irrelevance",
        meta={},
    )
    return replace(made, split=SPLIT)
