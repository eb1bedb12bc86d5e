"""The cells -> study.json, STUDY.md and its figure (SVG), by nothing but the stored answers.

An arm's value is the mean over its seeds and rows; intervals and differences draw seeds and rows
anew (`raytune_agents.evaluate.paired.paired_seeds`), paired by row. An arm of fewer than three
seeds is exploratory: the spread between its seeds cannot be estimated.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import hypot
from pathlib import Path
from statistics import fmean, median, stdev
from typing import Any

import pyarrow.parquet as pq
import yaml
from run import ABOUT

from raytune_agents.evaluate.paired import FEW_SEEDS, Difference, detectable, paired_seeds
from raytune_agents.storage import read_json

ROUNDS = Path(__file__).resolve().parents[1] / "results" / "rounds.json"

CONFIG = yaml.safe_load(Path(__file__).with_name("study.yaml").read_text(encoding="utf-8"))
METRIC_NAMES = (
    "exact_match",
    "function_accuracy",
    "parameter_accuracy",
    "hallucination_rate",
    "format_adherence",
    "relevance",
    "irrelevance",
    "instruction_following",
    "cut_rate",
    "confidence",
)
CALL_SUITES = ("test_unseen", "test_seen", "simple_python", "multiple", "parallel",
               "parallel_multiple", "unseen_agents")  # fmt: skip
CORE = ("sft", "sft_half", "nut", "nat", "dpo")
MAIN = dict.fromkeys(CALL_SUITES, "exact_match") | {
    "irrelevance": "irrelevance",
    "bfcl_irrelevance": "irrelevance",
    "instructions": "instruction_following",
}
COSTS = ("rows", "loss_tokens", "total_tokens", "train_s")
REFERENCE = "sft"  # what every arm is compared with, beside the untrained model
PUBLIC = (  # official BFCL v4 CSV, December 2025: non-live AST, live AST, irrelevance in percent
    ("Granite-4.0-350m", 67.9, 46.1, 60.8),
    ("Hammer2.1-0.5b", 66.0, 54.6, 80.8),
    ("Qwen3-0.6B", 71.8, 56.6, 80.8),
)


@dataclass
class Arm:
    """Values per suite, metric, seed and row id; and what each of its cells cost."""

    values: dict[tuple[str, str], dict[int, dict[str, float]]] = field(default_factory=dict)
    facts: list[dict[str, Any]] = field(default_factory=list)

    @property
    def seeds(self) -> int:
        return len(self.facts)


def read_cells(folder: Path) -> dict[str, Arm]:
    """Arm -> its stored cells."""
    arms: dict[str, Arm] = defaultdict(Arm)
    for path in sorted(folder.glob("*.parquet")):
        arm, _, seed = path.stem.partition("-s")
        facts = folder / f"{path.stem}.json"
        arms[arm].facts.append(json.loads(facts.read_text()) if facts.is_file() else {})
        for row in pq.read_table(path).to_pylist():
            for name in METRIC_NAMES:
                if not row["failed"] and row.get(name) is not None:
                    seeds = arms[arm].values.setdefault((row["split"], name), {})
                    seeds.setdefault(int(seed or 0), {})[row["id"]] = float(row[name])
    return dict(arms)


def common(*sides: Mapping[int, Mapping[str, float]]) -> list[dict[int, dict[str, float]]]:
    """The sides on the rows that all of their seeds have."""
    runs = [run for side in sides for run in side.values()]
    ids = set(runs[0]).intersection(*runs[1:])
    return [{seed: {i: run[i] for i in ids} for seed, run in side.items()} for side in sides]


def estimate(side: Mapping[int, Mapping[str, float]]) -> dict[str, Any]:
    """Mean over seeds and rows with its 95 % interval."""
    (mine,) = common(side)
    zero = {0: dict.fromkeys(next(iter(mine.values())), 0.0)}
    found = paired_seeds(zero, mine)
    low, high = max(0.0, found.low or 0.0), min(1.0, found.high or 0.0)  # a share
    return rounded({"value": found.value, "low": low, "high": high, "n": found.n})


def rounded(cell: Mapping[str, Any]) -> dict[str, Any]:
    return {k: round(v, 4) if isinstance(v, float) else v for k, v in cell.items()}


def difference(arm: Arm, to: Arm, suite: str, metric: str) -> Difference | None:
    """`arm` minus `to`; None where one of them was not measured."""
    pair = to.values.get((suite, metric)), arm.values.get((suite, metric))
    if not all(pair):
        return None
    one, other = common(*pair)
    return paired_seeds(one, other)


def power(arms: Mapping[str, Arm], seeds: int) -> float | None:
    """Points on test_unseen that two arms of `seeds` seeds can show with 80 % power: the spread of
    row differences between two seeds of the reference arm, each side averaged over its seeds."""
    side = arms.get(REFERENCE, Arm()).values.get(("test_unseen", "exact_match"), {})
    if len(side) < 2:
        return None
    runs = list(common(side)[0].values())
    gaps = [stdev([a[i] - b[i] for i in a]) for k, a in enumerate(runs) for b in runs[k + 1 :]]
    between = stdev([fmean(run.values()) for run in runs])
    rows = detectable(len(runs[0]), fmean(gaps) / seeds**0.5)
    return round(100 * hypot(rows, detectable(1, between * (2 / seeds) ** 0.5)), 1)


def study(arms: Mapping[str, Arm]) -> dict[str, Any]:
    """Everything that STUDY.md says, as study.json has it."""
    # what all of them carry, not the one that is furthest
    seeds = min((arms[n].seeds for n in CORE if n in arms), default=0)
    found: dict[str, Any] = {
        "model": "SmolLM2-135M-Instruct",
        "loss_tokens_per_arm": CONFIG["mix"]["tokens"],
        "seeds": seeds,
        "detectable_points": power(arms, seeds),
        "arms": {},
        "differences": {},
        "costs": {},
    }
    for name, arm in arms.items():
        board: dict[str, Any] = {}
        for (suite, metric), side in sorted(arm.values.items()):
            board.setdefault(suite, {})[metric] = estimate(side)
        found["arms"][name] = board
        found["costs"][name] = costs(arm.facts)
        for to in ("base", REFERENCE):
            if to in arms and name != to:
                cells = {s: difference(arm, arms[to], s, m) for s, m in MAIN.items()}
                found["differences"].setdefault(name, {})[to] = {
                    suite: rounded(cell.record()) for suite, cell in cells.items() if cell
                }
    return found


def costs(facts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Medians over the cells of one arm."""
    every = [f for f in facts if f.get("rows")]
    sums = [dict(f) | {"loss_tokens": sum(f["loss_tokens"].values())} for f in every]  # of pools
    out = {n: round(median(f[n] for f in sums)) for n in COSTS if sums}
    return out | {"seeds": len(every), "shared_machine": any(f["load_before"] > 0.5 for f in every)}


# --- what people read ---


def write_tables(cells: Path, out: Path) -> None:
    """study.json, STUDY.md and study.svg of the cells."""
    arms = read_cells(cells)
    found = study(arms)
    out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(found, indent=1, allow_nan=False)
    (out / "study.json").write_text(text + "\n", encoding="utf-8")
    (out / "STUDY.md").write_text(page(found), encoding="utf-8")
    (out / "study.svg").write_text(figure(found), encoding="utf-8")


def share(cell: Mapping[str, Any] | None) -> str:
    if not cell or cell["value"] is None:
        return "–"
    return f"{100 * cell['value']:.0f} [{100 * cell['low']:.0f}, {100 * cell['high']:.0f}]"


def signed_points(cell: Mapping[str, Any]) -> str:
    """A difference in points with its interval."""
    return f"{100 * cell['value']:+.0f} [{100 * cell['low']:+.0f}, {100 * cell['high']:+.0f}]"


def change(cell: Mapping[str, Any] | None) -> str:
    """A difference in points; bold where its interval leaves zero out."""
    if not cell or cell.get("value") is None:
        return "–"
    words = signed_points(cell)
    sure = (cell["low"] > 0 or cell["high"] < 0) and not cell.get("few_seeds")
    return f"**{words}**" if sure else words


def ordered(found: Mapping[str, Any]) -> list[str]:
    return [name for name in ABOUT if name in found["arms"]]


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def page(found: Mapping[str, Any]) -> str:
    """STUDY.md."""
    names = ordered(found)
    suites = [s for s in MAIN if any(s in found["arms"][n] for n in names)]
    scores = table(
        ["arm", "seeds", *suites],
        [
            [n, str(found["costs"][n]["seeds"] or 1)]
            + [share(found["arms"][n].get(s, {}).get(MAIN[s])) for s in suites]
            for n in names
        ],
    )
    changes = table(
        [f"minus {REFERENCE}", *suites],
        [
            [n, *(change(found["differences"][n].get(REFERENCE, {}).get(s)) for s in suites)]
            for n in names
            if n in found["differences"] and n != REFERENCE and REFERENCE in found["differences"][n]
        ],
    )
    about = {name: text.format(**CONFIG["evaluate"]) for name, text in ABOUT.items()}
    cost = table(
        ["arm", "what it is", "rows", "loss tokens", "tokens read", "seconds of training"],
        [
            [n, about[n], *(f"{found['costs'][n].get(k, 0):,}" or "–" for k in COSTS)]
            for n in names
        ],
    )
    public = table(
        ["model", "BFCL non-live", "BFCL live", "irrelevance"],
        [[name, *map(str, numbers)] for name, *numbers in PUBLIC],
    )
    points = found["detectable_points"]
    sure = (
        "Two seeds of one arm are needed before the power can be stated."
        if points is None
        else f"With {found['seeds']} seeds, {points} points on test_unseen can be told apart (80 % "
        "power); what is smaller is undecided, not equal."
    )
    few = [n for n in names if 0 < found["costs"][n]["seeds"] < FEW_SEEDS]
    shared = any(c.get("shared_machine") for c in found["costs"].values())
    return PAGE.format(
        model=found["model"],
        tokens=f"{found['loss_tokens_per_arm']:,}",
        sure=sure,
        few=f" Exploratory, fewer than {FEW_SEEDS} seeds so far: {', '.join(few)}." if few else "",
        timing="The machine was shared while some cells ran: read no speed from the seconds."
        if shared
        else "",
        scores=scores,
        changes=changes,
        cost=cost,
        public=public,
        findings="\n".join(f"- {line}" for line in findings(found)),
        rounds=rounds_line(read_json(ROUNDS)) if ROUNDS.is_file() else "Not measured yet.",
    )


def rounds_line(told: Mapping[str, Any]) -> str:
    """What bench_rounds.py found."""
    gains = {"random": told["gain_over_random"], "one_round": told["gain_over_one_round"]}
    words = {k: signed_points(g) if g["value"] is not None else "–" for k, g in gains.items()}
    none = sum(not arm["kept"] for arm in told["arms"].values())
    return (
        f"{told['rounds']} rounds of {told['tokens']:,} loss tokens in all after an sft arm, "
        f"{told['seeds']} seeds, exact match on test_unseen: tasks drawn where the model fails "
        f"minus tasks drawn at random {words['random']}, minus one round of as many tokens "
        f"{words['one_round']}. Tasks in the success band: {100 * told['in_band_share']:.0f} %. "
        f"Of {len(told['arms'])} arms {none} kept none of their rounds: the gate threw them away, "
        "for calls or refusals lost."
    )


def suite_points(cells: Mapping[str, Any]) -> str:
    return ", ".join(f"{suite} ({signed_points(c)})" for suite, c in cells.items())


def findings(found: Mapping[str, Any]) -> list[str]:
    """What the intervals say of each arm against the reference; nothing beyond them."""
    out = []
    for name in ordered(found):
        to = "base" if name == REFERENCE else REFERENCE
        cells = found["differences"].get(name, {}).get(to)
        if name in ("base", "base_few_shot") or not cells:  # they make no call: all is said above
            continue
        few = any(c.get("few_seeds") for c in cells.values())
        better = {s: c for s, c in cells.items() if c["low"] > 0}
        worse = {s: c for s, c in cells.items() if c["high"] < 0}
        words = [f"better on {suite_points(better)}"] if better else []
        words += [f"worse on {suite_points(worse)}"] if worse else []
        rest = len(cells) - len(better) - len(worse)
        which = f"the other {rest}" if words else f"all {rest}"
        words += [f"undecided on {which} suites"] if rest else []
        tail = " (exploratory: too few seeds to claim it)" if few else ""
        out.append(f"**{name}** against {to}: {'; '.join(words)}{tail}.")
    return out


PAGE = """# What each method and each share of data is worth

Question: of a handful of good rows, failures and generated rows, what makes a small model better at
calling tools it has not seen, and what does it lose?

{model}, LoRA, {tokens} loss tokens per arm (what DPO and KTO start from is counted), real rows of
xLAM, Seal-Tools, SNIPS and FireAct; on three in ten good rows no call is right, unless an arm says
otherwise. No BFCL row and no test tool is trained on. {sure}{few}

![exact match on unseen tools, and irrelevance](study.svg)

## What came out

{findings}

## Scores

Percent with 95 % intervals over seeds and rows: exact match by BFCL's rules on suites with calls;
share of rows rightly left without a call on both irrelevance suites; instructions followed.

{scores}

Points more than `sft`, paired by row; bold: the interval leaves zero out, three seeds or more.

{changes}

## In rounds

{rounds} (`benchmarks/bench_rounds.py`)

## What it cost

{cost}

{timing}

## Beside public models

Official BFCL v4 table, December 2025, percent; context, not a comparison: other sizes, other rows.

{public}

## Again

`python benchmarks/study/run.py` does the cells that are missing, `python benchmarks/study/check.py`
makes every number above anew from the stored answers in `cells/`.
"""


def figure(found: Mapping[str, Any]) -> str:
    """Exact match on test_unseen and irrelevance of every arm with their intervals, as SVG."""
    names, out = ordered(found), []
    height = 40 + 22 * len(names)
    for k, (suite, title) in enumerate(PANELS):
        left, width = 130 + 350 * k, 310
        out.append(f'<text x="{left}" y="16" class="title">{title}</text>')
        for tick in range(0, 101, 25):
            x = left + width * tick / 100
            out.append(f'<path d="M{x} 26V{height - 14}" class="grid"/>')
            out.append(f'<text x="{x}" y="{height - 2}" class="tick">{tick}</text>')
        for i, name in enumerate(names):
            y = 40 + 22 * i
            if not k:
                out.append(f'<text x="{left - 10}" y="{y + 4}" class="name">{name}</text>')
            if cell := found["arms"][name].get(suite, {}).get(MAIN[suite]):
                low, value, high = (left + width * cell[n] for n in ("low", "value", "high"))
                kind = "base" if name.startswith("base") else "arm"
                out.append(f'<path d="M{low:.1f} {y}H{high:.1f}" class="{kind}"/>')
                out.append(f'<circle cx="{value:.1f}" cy="{y}" r="4" class="{kind}"/>')
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 820 {height}" role="img">'
    return "\n".join([head, f"<style>{STYLE}</style>", *out, "</svg>"]) + "\n"


PANELS = (
    ("test_unseen", "exact match on unseen tools, %"),
    ("bfcl_irrelevance", "no call where none is right (BFCL), %"),
)
STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#555d68}.title{font-weight:600}"
    ".name{text-anchor:end}.tick{text-anchor:middle;font-size:10px}"
    ".grid{stroke:#8884;stroke-width:1}path.arm,path.base{stroke-width:2.5;stroke-linecap:round}"
    "path.arm{stroke:#2f6db3}circle.arm{fill:#2f6db3}path.base{stroke:#8a8f98}"
    "circle.base{fill:#8a8f98}"
)
