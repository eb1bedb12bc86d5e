"""Ask every arm for an answer to every test row, on the one warm engine, and score what comes back.

A row whose engine stayed down, or whose prompt is too long, is `failed`: counted, not scored, never
a wrong answer. Left out: which rows are asked (`suites`, `perturb`), several steps (`rollouts`)."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raytune_agents.chat import Chat
from raytune_agents.config import EngineConfig, EvaluateConfig
from raytune_agents.evaluate import metrics
from raytune_agents.evaluate.paired import Difference, corrected, holm, paired
from raytune_agents.inference import engine
from raytune_agents.records import Trajectory
from raytune_agents.runs import METRICS, Manifest
from raytune_agents.storage import read_jsonl

BASE = "base"
SHOWN = (
    "exact_match",
    "function_accuracy",
    "parameter_accuracy",
    "format_adherence",
    "hallucination_rate",
    "instruction_following",
)
Lines = list[dict[str, Any]]
Answers = Sequence[Mapping[str, Any]]
Cells = dict[str, dict[str, dict[str, dict[str, Any]]]]  # {arm: {split: {metric: cell}}}


@dataclass(frozen=True, slots=True)
class Arm:
    """Who answers: an adapter folder ("" = the base model) and the marker of its prompts."""

    name: str
    adapter: str = ""
    marker: str = ""


def answer_shard(
    rows: Sequence[Trajectory],
    chat: Chat,
    arm: Arm,
    section: EvaluateConfig,
    engine_section: EngineConfig,
) -> list[dict[str, Any]]:
    """One row of answers.parquet for each trajectory: the answer, its scores and costs.
    Raises EngineDown."""
    prompts = [chat.prompt_ids(row, arm.marker) for row in rows]
    room = engine_section.max_model_len - section.max_tokens
    fit = [i for i, p in enumerate(prompts) if len(p) <= room]
    sampling = [engine.Sampling(max_tokens=section.max_tokens)] * len(fit)
    started = time.perf_counter()
    replies = engine.ask(
        [prompts[i] for i in fit],
        sampling,
        adapter=arm.adapter,
        timeout_s=engine_section.timeout_s,
    )
    seconds = time.perf_counter() - started
    speed = sum(r.output_tokens[0] for r in replies) / seconds if replies else None
    by_row = dict(zip(fit, replies))
    return [
        scored(row, arm.name, by_row[i], speed)
        if i in by_row
        else failed(row, arm.name, "prompt_too_long")
        for i, row in enumerate(rows)
    ]


def shown(row: Trajectory, arm: str) -> dict[str, Any]:
    """What identifies an answer and what a reader of the report wants to see of its row."""
    tools = [
        {"name": t.name, "description": t.description, "parameters": t.parameters}
        for t in row.tools
    ]
    name = row.meta.get("perturbation", "")
    return {
        "arm": arm,
        "split": row.split,
        "id": row.id,
        "source": row.source,
        "perturbation": name,
        "of": row.parents[0] if name else "",
        "query": row.query,
        "tools": json.dumps(tools, ensure_ascii=False),
        "gold": row.gold,
        "failed": "",
        "answer": "",
    }


def failed(row: Trajectory, arm: str, why: str) -> dict[str, Any]:
    """A row without an answer: every metric is None."""
    return dict.fromkeys((*metrics.METRICS, "error", "fault")) | shown(row, arm) | {"failed": why}


def scored(
    row: Trajectory, arm: str, reply: engine.Reply, tokens_per_s: float | None
) -> dict[str, Any]:
    """The answer with every per-row metric. `tokens_per_s` is that of its batch."""
    answer = metrics.Answer(
        row.id,
        reply.texts[0],
        latency_s=reply.latency_s,
        output_tokens=reply.output_tokens[0],
        input_tokens=reply.input_tokens,
        first_token_s=reply.first_token_s,
        tokens_per_s=tokens_per_s,
    )
    values = plain(metrics.score_answer(answer, row))
    return shown(row, arm) | {"answer": answer.text} | values


def rescored(answer: Mapping[str, Any], row: Trajectory) -> dict[str, Any]:
    """A stored answer scored anew; what it cost stays as it was measured."""
    if answer["failed"]:
        return failed(row, answer["arm"], answer["failed"])
    costs = {name: answer.get(name) for name in metrics.COSTS}
    values = plain(metrics.score(answer["answer"], row))
    return shown(row, answer["arm"]) | {"answer": answer["answer"]} | values | costs


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers as floats, so that a column has one type."""
    return {k: v if isinstance(v, str) or v is None else float(v) for k, v in values.items()}


# --- many answers ---


def scores(answers: Answers, section: EvaluateConfig, seed: int) -> Cells:
    """{arm: {split: {metric: {value, low, high, n}}}} over the answers that did not fail."""
    out: Cells = {}
    for arm, split in dict.fromkeys((a["arm"], a["split"]) for a in answers):
        part = [a for a in answers if (a["arm"], a["split"]) == (arm, split) and not a["failed"]]
        out.setdefault(arm, {})[split] = metrics.summary(
            part, section.resamples, section.confidence, seed
        )
    return out


def means(lines: Answers, names: Sequence[str], section: EvaluateConfig, seed: int) -> Cells:
    """{arm: {split: {name: cell}}} of named columns, over the lines that did not fail."""
    out: Cells = {}
    for arm, split in dict.fromkeys((x["arm"], x["split"]) for x in lines):
        part = [x for x in lines if (x["arm"], x["split"]) == (arm, split) and not x["failed"]]
        for name in names:
            found = metrics.aggregate(
                (x[name] for x in part), section.resamples, section.confidence, seed
            )
            if found["n"]:
                out.setdefault(arm, {}).setdefault(split, {})[name] = found
    return out


def differences(
    answers: Answers, section: EvaluateConfig, seed: int, names: Sequence[str] = SHOWN
) -> Cells:
    """{arm: {split: {metric: paired difference to base}}}, Holm-corrected over the arms."""
    arms = dict.fromkeys(a["arm"] for a in answers)
    out: Cells = {arm: {} for arm in arms if arm != BASE}
    for split in dict.fromkeys(a["split"] for a in answers):
        for metric in names:
            values = {
                arm: values_of(
                    (a for a in answers if (a["arm"], a["split"]) == (arm, split)), metric
                )
                for arm in arms
            }
            for arm, cell in to_base(values, section, seed).items():
                out[arm].setdefault(split, {})[metric] = cell
    return out


def values_of(answers: Iterable[Mapping[str, Any]], metric: str, key: str = "id") -> dict:
    """{row id: value} of the answers that have one."""
    return {a[key]: a[metric] for a in answers if not a["failed"] and a[metric] is not None}


def to_base(
    values: Mapping[str, Mapping[str, float]], section: EvaluateConfig, seed: int
) -> dict[str, dict[str, Any]]:
    """{arm: paired difference to base, with p_holm} over the rows that both have a value for."""
    cells = {arm: pair(values[BASE], values[arm], section, seed) for arm in values if arm != BASE}
    found = corrected({arm: cell for arm, cell in cells.items() if cell.n})
    return {arm: cell.record() for arm, cell in found.items()}


def pair(
    base: Mapping[str, float], arm: Mapping[str, float], section: EvaluateConfig, seed: int
) -> Difference:
    """`paired` over the common rows: parameter accuracy, for one, exists only where the
    function was right."""
    ids = sorted(base.keys() & arm.keys())
    one, other = ({i: side[i] for i in ids} for side in (base, arm))
    return paired(one, other, section.resamples, section.confidence, seed)


def robustness(answers: Answers, perturbed: Answers, section: EvaluateConfig, seed: int) -> Cells:
    """{arm: {perturbation: {metric: perturbed - clean, paired by row}}}; below 0 is a drop.

    Each cell has the `clean` and the `perturbed` mean too; p_holm is over the perturbations.
    """
    out: Cells = {}
    for arm in dict.fromkeys(a["arm"] for a in perturbed):
        clean = [a for a in answers if a["arm"] == arm]
        noisy = [a for a in perturbed if a["arm"] == arm]
        names = dict.fromkeys(a["perturbation"] for a in noisy)
        for metric in SHOWN:
            cells = {}
            for name in names:
                there = values_of((a for a in noisy if a["perturbation"] == name), metric, "of")
                here = values_of(clean, metric)
                if (cell := pair(here, there, section, seed)).n:
                    ids = here.keys() & there.keys()
                    means = [sum(side[i] for i in ids) / len(ids) for side in (here, there)]
                    levels = dict(zip(("clean", "perturbed"), means))
                    cells[name] = cell.record() | levels
            adjusted = holm({name: cell["p"] for name, cell in cells.items()})
            for name, cell in cells.items():
                found = out.setdefault(arm, {}).setdefault(name, {})
                found[metric] = cell | {"p_holm": adjusted[name]}
    return out


# --- what an arm cost to make ---


def training_costs(run: Path, arm: str) -> dict[str, float | None]:
    """What the train step says of an arm: rows, tokens, seconds, peak memory, and joules (None
    where its machine did not tell); {} for the base."""
    folder = run / "train" / arm
    manifest = Manifest.load(folder)
    if manifest is None:
        return {}
    out = {"train_rows": float(manifest.rows.rows_out), "train_seconds": manifest.seconds}
    lines = read_jsonl(folder / METRICS)
    for name, key in (("train_tokens", "num_tokens"), ("train_peak_memory_mib", "peak_memory_mib")):
        if found := [line[key] for line in lines if line.get(key) is not None]:
            out[name] = float(max(found))
    joules = [line["energy_j"] for line in lines if "energy_j" in line]
    return out | {"train_energy_j": float(sum(joules)) if joules else None}


def with_costs(
    table: Cells, gains: Cells, costs: Mapping[str, Mapping[str, float | None]]
) -> Cells:
    """The scores with each arm's costs beside them (None where a machine does not tell one), and
    `gain_per_100_rows`: the difference to base in exact match for 100 training rows (sample
    efficiency), with its interval."""
    out: Cells = {}
    for arm, by in table.items():
        fixed = {
            name: {"value": value, "low": None, "high": None, "n": int(value is not None)}
            for name, value in costs.get(arm, {}).items()
        }
        rows = costs.get(arm, {}).get("train_rows")
        for split, cells in by.items():
            gain = gains.get(arm, {}).get(split, {}).get("exact_match")
            made = {}
            if gain and rows:
                ends = {k: gain[k] * 100 / rows for k in ("value", "low", "high")}
                made = {"gain_per_100_rows": ends | {"n": gain["n"]}}
            out.setdefault(arm, {})[split] = cells | made | fixed
    return out
