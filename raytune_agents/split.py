"""Rows -> train / val / test_seen / test_unseen, and why.

Many rows: every choice is a hash, so rows stream. Tools are kept back for test_unseen in groups:
tools that one row calls together, that differ in spelling only, or that share a description are on
one side, so no gold tool of test_unseen is a gold tool in train and no row is lost to a mixture.
Few rows (`FEW`): whole situations are kept back (`situations`), and no tool is.
A split that the source gave is kept. Derived rows are never split here: they keep their source's.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from raytune_agents.calls import gold_of
from raytune_agents.calls.schema import find
from raytune_agents.config import SplitConfig
from raytune_agents.records import SPLITS, RecordError, Trajectory, content_hash
from raytune_agents.situations import folds, kept_back

FEW = 300  # rows below which situations are kept back, in larger shares
LEAST_GROUPS = 10  # of tools, below which none is kept back
MOST_OF_ROWS = 0.1  # share of the rows that one group of tools kept back may take
MOST_SHARING = 4  # tools that may share a description and be one tool; more share a phrase
OVER_CAP = "rows_per_tool"  # a test row of an unseen tool that has its rows already


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


def tool_key(name: str) -> str:
    """A tool's name without namespace, case and word marks, and without a leading calculate:
    `math.calculateArea`, `calculate_area` and `Area` are one tool."""
    last = re.split(r"[./:]|__", name.strip("./:_"))[-1]
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", last).lower()
    parts = re.findall(r"[^\W_]+", words)
    if len(parts) > 1 and parts[0] in ("calculate", "calc", "compute"):
        parts = parts[1:]
    return "".join(parts) or name.casefold()


@dataclass(frozen=True)
class RowFacts:
    """What the split of many rows needs of one: its gold tools, what ties them to other tools, and
    its position in [0, 1), the hash of its question."""

    tools: tuple[str, ...]
    ties: tuple[str, ...]
    position: float


def row_facts(row: Trajectory, config: SplitConfig, seed: int) -> RowFacts:
    """The facts of a row. Raises RecordError where its gold has no names."""
    tools = tuple(sorted(gold_tools(row)))
    ties = [f"name {tool_key(name)}" for name in tools]
    for name in tools:
        spec = find(name, row.tools)
        description = " ".join(spec.description.casefold().split()) if spec else ""
        ties += [f"text {content_hash(description, 12)}"] if len(description.split()) > 2 else []
    category = row.meta.get(config.unseen_category) if config.unseen_category else None
    ties += [f"category {category}"] if tools and category is not None else []
    trained = {c.name for m in row.prompt if m.trained for c in m.tool_calls}
    ties += [f"trained {name}" for name in sorted(trained.difference(tools))]
    return RowFacts(tools, tuple(ties), unit(seed, "query", row.query.casefold()))


class ToolGroups:
    """Tools that must fall on one side, as disjoint sets of tool names and ties."""

    def __init__(self) -> None:
        # Here, as scipy is slow to load: most commands split nothing.
        from scipy.cluster.hierarchy import DisjointSet

        self.joined = DisjointSet()
        self.rows: Counter[str] = Counter()  # by the first tool of a row
        self.uses: Counter[str] = Counter()  # rows that call a tool
        self.texts: dict[str, set[str]] = {}  # description -> names of tools that have it
        self.fixed: set[str] = set()  # tools of rows whose source gave a split

    def join(self, nodes: Sequence[str]) -> None:
        for node in nodes:
            self.joined.add(node)
            self.joined.merge(nodes[0], node)

    def add(self, facts: RowFacts, fixed: bool = False) -> None:
        """One more row; `fixed` where its source gave the split. Tools that a conversation calls
        before its last answer are trained on wherever they occur, and so are fixed too."""
        self.fixed.update(f"tool {t[8:]}" for t in facts.ties if t.startswith("trained "))
        if not facts.tools:
            return
        tools = [f"tool {name}" for name in facts.tools]
        self.join([*tools, *(t for t in facts.ties if not t.startswith(("text ", "trained ")))])
        self.rows[tools[0]] += 1
        self.uses.update(facts.tools)
        for tie in facts.ties:
            if tie.startswith("text "):
                named = self.texts.setdefault(tie, set())
                # Past the limit it is a phrase: no more of its tools need to be known.
                named.update(tools if len(named) <= MOST_SHARING else ())
        if fixed:
            self.fixed.update(tools)

    def groups(self) -> dict[str, list[str]]:
        """Root -> the names of its tools, sorted."""
        # Last: only now it is known which descriptions too many tools share.
        for named in self.texts.values():
            if len(named) <= MOST_SHARING:
                self.join(sorted(named))
        out: dict[str, list[str]] = {}
        for node in sorted(n for n in self.joined if n.startswith("tool ")):
            out.setdefault(self.joined[node], []).append(node.removeprefix("tool "))
        return out


@dataclass(frozen=True)
class HeldOut:
    """The tools that are kept back with the number of their rows, or why none is."""

    tools: frozenset[str] = frozenset()
    rows: int = 0
    reason: str = ""


def held_out(groups: ToolGroups, config: SplitConfig, seed: int) -> HeldOut:
    """Groups of tools for test_unseen, in the order of a hash, up to `unseen_tools` of all tools.

    None whose split the source gave. Tools that have at most `rows_per_tool` rows each come alone
    where there are such: all their rows can be asked. Else none that takes more than MOST_OF_ROWS.
    """
    found = groups.groups()
    if config.unseen_tools <= 0:
        return HeldOut(reason="read.split.unseen_tools is 0")
    if len(found) < LEAST_GROUPS:
        return HeldOut(reason=f"{len(found)} groups of tools, fewer than {LEAST_GROUPS}")
    rows: Counter[str] = Counter()
    for tool, count in groups.rows.items():
        rows[groups.joined[tool]] += count
    fixed = {groups.joined[tool] for tool in groups.fixed if tool in groups.joined}
    wanted = config.unseen_tools * sum(map(len, found.values()))
    free = [r for r in found if r not in fixed and len(found[r]) <= wanted]
    most = config.rows_per_tool
    rare = [r for r in free if all(groups.uses[name] <= most for name in found[r])]
    usual = [r for r in free if rows[r] <= MOST_OF_ROWS * rows.total()]
    held: list[str] = []
    for root in sorted(rare or usual, key=lambda r: unit(seed, "tool", found[r][0])):
        held += found[root] if len(held) + len(found[root]) <= wanted else []
    if not held:
        return HeldOut(reason="every group of tools is too large to be kept back")
    count = sum(rows[r] for r in {groups.joined[f"tool {name}"] for name in held})
    return HeldOut(frozenset(held), count)


class Splitter:
    """Splits rows one after another. `trained` are the tools of rows whose position is in train; a
    tool has at most `caps[split]` rows in a split, further rows are trained on."""

    def __init__(
        self, config: SplitConfig, held: HeldOut, trained: Collection[str], caps: Mapping[str, int]
    ) -> None:
        self.config, self.held, self.trained, self.caps = config, held, trained, caps
        self.counts: Counter[tuple[str, str]] = Counter()
        self.few: list[str] = []  # the splits of few rows, in their order

    def split(self, facts: RowFacts, source_split: str = "") -> tuple[str, str]:
        """(split, reason why the row is in none)."""
        if source_split in SPLITS:
            return source_split, ""
        if self.few:
            return self.few.pop(0), ""
        if facts.tools and self.held.tools.issuperset(facts.tools):
            return ("test_unseen", "") if self._room("test_unseen", facts) else ("", OVER_CAP)
        name = split_at(facts.position, self.config)
        if name == "test_seen" and not set(facts.tools) <= set(self.trained):
            return "train", ""
        return (name, "") if name == "train" or self._room(name, facts) else ("train", "")

    def _room(self, name: str, facts: RowFacts) -> bool:
        full = any(self.counts[name, tool] >= self.caps[name] for tool in facts.tools)
        if not full:
            self.counts.update((name, tool) for tool in facts.tools)
        return not full


def split_at(position: float, config: SplitConfig) -> str:
    """The split of a position in [0, 1) among rows whose tools are trained on."""
    # Each fold asks another part of the rows: what it asks and chooses by moves on.
    position = (position - config.fold / config.folds) % 1.0
    if position < config.test_seen:
        return "test_seen"
    return "val" if position < config.test_seen + config.val else "train"


def caps_of(config: SplitConfig, rows: int, tools: int, held: HeldOut) -> dict[str, int]:
    """Rows that one tool may have in each split: `rows_per_tool`, or twice its even share of the
    rows that the split should have, where that is more."""

    def cap(wanted: float, names: int) -> int:
        return max(config.rows_per_tool, round(2 * wanted / max(1, names)))

    return {
        "val": cap(config.val * rows, tools),
        "test_seen": cap(config.test_seen * rows, tools),
        "test_unseen": cap(held.rows, len(held.tools)),
    }


@dataclass
class Survey:
    """What a first pass over the rows sees; `splitter` is made of it."""

    config: SplitConfig
    groups: ToolGroups = field(default_factory=ToolGroups)
    trained: set[str] = field(default_factory=set)
    free: int = 0  # rows without a split of their source

    def add(self, facts: RowFacts, source_split: str) -> None:
        self.groups.add(facts, source_split in SPLITS)
        self.free += source_split not in SPLITS
        name = source_split if source_split in SPLITS else split_at(facts.position, self.config)
        if name == "train":
            self.trained.update(facts.tools)

    @property
    def few(self) -> bool:
        return 0 < self.free < FEW

    def splitter(self, seed: int) -> Splitter:
        held = held_out(self.groups, self.config, seed)
        tools = sum(map(len, self.groups.groups().values()))
        caps = caps_of(self.config, self.free, tools, held)
        return Splitter(self.config, held, self.trained - held.tools, caps)


def few_splits(rows: Sequence[Trajectory], config: SplitConfig, seed: int) -> list[str]:
    """The splits of few rows: whole situations are kept back, in larger shares. With `folds`, the
    rows of this fold are asked, and val is of the others."""
    test, val = few_counts(len(rows), config)
    tools = [gold_tools(row) for row in rows]
    if config.folds == 1:
        return kept_back(rows, tools, {"test_seen": test, "val": val}, seed)
    asked = [k == config.fold for k in folds(rows, tools, config.folds, seed)]
    left = [i for i, own in enumerate(asked) if not own]
    rest = kept_back([rows[i] for i in left], [tools[i] for i in left], {"val": val}, seed)
    found = iter(rest)
    return ["test_seen" if own else next(found) for own in asked]


def few_counts(rows: int, config: SplitConfig) -> tuple[int, int]:
    """Test and val rows of so few: at least 30 and 20 where that is below 30 and 15 % of them, so
    that a suite can show something; a share that the config names stays."""
    named = config.model_fields_set
    test, val = config.test_seen * rows, config.val * rows
    test = test if "test_seen" in named else max(test, min(0.3 * rows, 30))
    val = val if "val" in named else max(val, min(0.15 * rows, 20))
    return max(rows > 1, round(test)), max(rows > 3, round(val))


def split_rows(rows: Iterable[Trajectory], config: SplitConfig, seed: int) -> list[Trajectory]:
    """Rows in memory with their splits, as the read step gives them."""
    rows = list(rows)
    survey, facts = Survey(config), [row_facts(row, config, seed) for row in rows]
    for row, fact in zip(rows, facts):
        survey.add(fact, row.split)
    splitter = survey.splitter(seed)
    if survey.few:
        free = [row for row in rows if row.split not in SPLITS]
        splitter.few = few_splits(free, config, seed)
    found = [splitter.split(fact, row.split) for row, fact in zip(rows, facts)]
    return [replace(r, split=s, reject_reason=why) for r, (s, why) in zip(rows, found)]
