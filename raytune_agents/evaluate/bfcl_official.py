"""The official BFCL checker's own verdicts.

The official package (bfcl-eval) wants numpy 1 and two dozen model clients, so it runs in a process
of its own with an interpreter that can import it:

    python -m venv bfcl-venv && bfcl-venv/bin/pip install bfcl-eval==2026.3.23

Left out: multi-turn (`multi_turn` runs the package's classes) and the agentic categories.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from raytune_agents.calls import Parsed, parse
from raytune_agents.readers import bfcl
from raytune_agents.records import JsonObject, ToolCall

PYTHON_CATEGORIES = (
    *("simple_python", "multiple", "parallel", "parallel_multiple"),
    *("live_simple", "live_multiple", "live_parallel", "live_parallel_multiple"),
)

# Runs in the other interpreter: jobs on stdin, the verdict of each on stdout.
_WORKER = """
import json, sys
jobs = json.loads(sys.stdin.read())
out, sys.stdout = sys.stdout, sys.stderr
from bfcl_eval.constants.enums import Language
from bfcl_eval.constants.model_config import MODEL_CONFIG_MAPPING
from bfcl_eval.eval_checker.ast_eval.ast_checker import ast_checker
model = next(k for k, v in MODEL_CONFIG_MAPPING.items() if not v.underscore_to_dot and "_" not in k)
verdicts = []
for job in jobs:
    try:
        got = ast_checker(job["function"], job["calls"], job["answer"], Language.PYTHON,
                          job["category"], model)
        verdicts.append([got["valid"], "" if got["valid"] else got["error_type"]])
    except Exception as error:
        verdicts.append([None, type(error).__name__])
json.dump(verdicts, out)
"""


class OfficialError(RuntimeError):
    """The official checker could not be run; the message says how to get it."""


@dataclass(frozen=True, slots=True)
class OfficialJob:
    """One prediction for one BFCL row, in the package's own words."""

    category: str
    function: list[JsonObject]  # the row's tools, verbatim
    answer: list[JsonObject]  # the row's ground truth, verbatim
    calls: list[JsonObject]  # the decoded prediction: [{name: {argument: value}}]


def official_verdicts(
    jobs: Sequence[OfficialJob], python: str = sys.executable, timeout_s: float = 1800.0
) -> list[tuple[bool | None, str]]:
    """(valid, error label) of every job by the official AST checker on that interpreter; valid None
    = the checker itself raised the exception that the label names. Raises OfficialError."""
    text = json.dumps([asdict(job) for job in jobs])
    # Our package is not imported there: it would want its own numpy.
    command = [python, "-c", _WORKER]
    try:
        done = subprocess.run(
            command, input=text, capture_output=True, text=True, timeout=timeout_s
        )
    except OSError as error:
        raise OfficialError(f"python={python!r} cannot be run ({error.strerror})") from None
    except subprocess.TimeoutExpired:
        raise OfficialError(f"the official checker took more than {timeout_s:.0f} s") from None
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["no message"]
        raise OfficialError(
            f"python={python!r} cannot run the official checker ({last[0]}); make a virtual "
            "environment and install bfcl-eval==2026.3.23 in it"
        )
    return [(valid, error) for valid, error in json.loads(done.stdout)]


def raw_rows(categories: Sequence[str] = PYTHON_CATEGORIES) -> Iterator[tuple[str, JsonObject]]:
    """(category, row) of the installed package's data, answers joined, verbatim."""
    for category in categories:
        for _, raw in bfcl.bfcl_rows([category]):
            if isinstance(raw, Exception):  # a line that is no JSON object
                raise raw
            yield category, raw


def official_scores(
    answers: Mapping[str, str], categories: Sequence[str], python: str = sys.executable
) -> dict[str, JsonObject]:
    """{category: {accuracy, correct_count, total_count, wrong}} of answers {BFCL id: text}.

    `wrong` maps an id to its official label. A row without an answer is left out of the total.
    Text that does not decode is wrong where calls are right, and right in the irrelevance sets.
    Raises OfficialError.
    """
    jobs: list[OfficialJob] = []
    ids, wrong = [], {}
    total: Counter[str] = Counter()
    for category, raw in raw_rows(categories):
        if raw["id"] not in answers:
            continue
        total[category] += 1
        parsed = parsed_answer(answers[raw["id"]], raw)
        if "relevance" in category:  # irrelevance and relevance: only whether a call is made counts
            if bool(parsed.calls) == ("irrelevance" in category):
                wrong[category, raw["id"]] = "irrelevance_error" if parsed.calls else "no_call"
        elif not parsed.calls:
            wrong[category, raw["id"]] = parsed.error or "decoder_failed"
        else:
            ids.append((category, raw["id"]))
            jobs.append(
                OfficialJob(category, raw["function"], raw["ground_truth"], decoded(parsed.calls))
            )
    verdicts = official_verdicts(jobs, python)  # of none too: it says whether the package is there
    # None, an answer that the checker itself breaks on, is not right.
    wrong |= {key: error for key, (valid, error) in zip(ids, verdicts) if not valid}
    out = {}
    for category, n in total.items():
        mine = {i: error for (c, i), error in wrong.items() if c == category}
        right = n - len(mine)
        out[category] = {
            "accuracy": right / n,
            "correct_count": right,
            "total_count": n,
            "wrong": mine,
        }
    return out


def write_official(
    folder: Path, arm: str, answers: Mapping[str, str], scores: Mapping[str, Mapping[str, Any]]
) -> None:
    """Result and score files as the package names and lays them out, so that its own tools read
    them: {result,score}/ARM/{live,non_live}/BFCL_v4_CATEGORY_{result,score}.json, a line an entry;
    the first line of a score file is its header, the others are the wrong answers."""
    rows = {raw["id"]: (category, raw) for category, raw in raw_rows(list(scores))}
    for category, score in scores.items():
        group = "live" if category.startswith("live") else "non_live"
        ids = [i for i in answers if i in rows and rows[i][0] == category]
        head = {k: score[k] for k in ("accuracy", "correct_count", "total_count")}
        wrong = [
            {
                "id": i,
                "model_name": arm,
                "test_category": category,
                "valid": False,
                "error_type": error,
                "prompt": {k: v for k, v in rows[i][1].items() if k != "ground_truth"},
                "model_result_raw": answers[i],
                "model_result_decoded": decoded(parsed_answer(answers[i], rows[i][1]).calls),
                "possible_answer": rows[i][1].get("ground_truth"),
            }
            for i, error in score["wrong"].items()
        ]
        lines = {"result": [{"id": i, "result": answers[i]} for i in ids], "score": [head, *wrong]}
        for kind, entries in lines.items():
            path = folder / kind / arm / group / f"BFCL_v4_{category}_{kind}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            text = "".join(json.dumps(e, ensure_ascii=False) + "\n" for e in entries)
            path.write_text(text, encoding="utf-8", errors="surrogateescape")


def parsed_answer(text: str, raw: JsonObject) -> Parsed:
    """The calls of an answer to a raw row."""
    return parse(text, bfcl.read(raw).tools)


def decoded(calls: Sequence[ToolCall]) -> list[JsonObject]:
    """Calls as BFCL decodes a prediction."""
    return [{c.name: c.args} for c in calls]
