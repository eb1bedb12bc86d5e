"""The one table of metrics: what each is called, its unit, which way is good, and what it says.

Evaluation, report, command line, card and search read a metric here; nobody guesses a direction
from a name. `METRICS_FILE` holds a run's own table: these and the metrics that its config names
(`evaluate.metrics`), so a report needs no code of the user. Left out: how a value is computed
(`scoring`, `rollouts`, `multi_turn`, `likelihood`, `judge`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from raytune_agents.records import JsonObject, Trajectory

METRICS_FILE = "metrics.json"  # in the folder of the evaluate step
Unit = Literal["share", "s", "ms", "tokens", "tokens/s", "nats", "J", "MiB", "rows", "steps", ""]
Better = Literal["higher", "lower", ""]
RowMetric = Callable[[str, Trajectory], float | None]


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. `unit` share is shown in percent; `better` "" is a fact, neither good nor bad;
    `headline` stands in the first tables and is compared with the base; `formula` is for one row,
    or for one arm. `compute(answer, row)`: a user's own, None where it does not apply."""

    name: str
    label: str
    unit: Unit = "share"
    better: Better = "higher"
    headline: bool = False
    formula: str = ""
    compute: RowMetric | None = field(default=None, compare=False)

    def record(self) -> JsonObject:
        """As a JSON object."""
        return {k: v for k, v in asdict(self).items() if k != "compute"}


REFUSALS = ("nonexistent_tool", "invalid_parameter", "unsupported_action", "out_of_scope")

# of one answer to one row, in the order of the first tables
ANSWER_METRICS = (
    Metric(
        "exact_match",
        "exact match",
        headline=True,
        formula="1 if all calls are right by BFCL's rules, matched greedily in any order",
    ),
    Metric(
        "function_accuracy",
        "right function",
        headline=True,
        formula="1 if the called names are gold's names, in any order",
    ),
    Metric(
        "parameter_accuracy",
        "right arguments",
        headline=True,
        formula="names right: right / (given + missing) arguments",
    ),
    Metric(
        "irrelevance", "irrelevance", headline=True, formula="no call is right: 1 if none was made"
    ),
    Metric("relevance", "relevance", headline=True, formula="a call is right: 1 if any was made"),
    Metric(
        "instruction_following",
        "instructions followed",
        headline=True,
        formula="instructions followed / instructions (IFEval)",
    ),
    Metric(
        "hallucination_rate",
        "hallucination",
        better="lower",
        headline=True,
        formula="1 if a tool or an argument does not exist",
    ),
    Metric(
        "format_adherence",
        "valid format",
        headline=True,
        formula="1 if the answer is prose or decodes to calls",
    ),
    Metric(
        "cut_rate",
        "cut at the limit",
        better="lower",
        headline=True,
        formula="1 if the answer ended at max_tokens",
    ),
    Metric(
        "exact_match_optimal",
        "exact match, optimal matching",
        formula="exact_match with optimal, not greedy, matching",
    ),
    Metric(
        "multi_function_accuracy",
        "right functions of several",
        formula="function_accuracy of two or more gold calls",
    ),
    Metric("call_precision", "call precision", formula="right calls / calls made"),
    Metric("call_recall", "call recall", formula="right calls / gold calls"),
    Metric("argument_precision", "argument precision", formula="right arguments / arguments given"),
    Metric(
        "argument_recall", "argument recall", formula="right arguments / arguments that gold needs"
    ),
    Metric(
        "call_precision_optimal",
        "call precision, optimal matching",
        formula="call_precision with optimal matching",
    ),
    Metric(
        "call_recall_optimal",
        "call recall, optimal matching",
        formula="call_recall with optimal matching",
    ),
    Metric(
        "argument_precision_optimal",
        "argument precision, optimal matching",
        formula="argument_precision with optimal matching",
    ),
    Metric(
        "argument_recall_optimal",
        "argument recall, optimal matching",
        formula="argument_recall with optimal matching",
    ),
    Metric(
        "order_accuracy",
        "order of calls",
        formula="1 if the right calls come in gold's order (two or more)",
    ),
    Metric(
        "hallucinated_tool",
        "hallucinated tool",
        better="lower",
        formula="1 if a tool is called that the row does not offer",
    ),
    Metric(
        "hallucinated_argument",
        "hallucinated argument",
        better="lower",
        formula="1 if an argument is given that the tool lacks",
    ),
    *(
        Metric(
            f"hallucination.{kind}",
            f"calls where asked for: {kind.replace('_', ' ')}",
            better="lower",
            formula=f"asked for {kind}: 1 if a call was made",
        )
        for kind in REFUSALS
    ),
    Metric(
        "over_refusal",
        "prose where a call is right",
        better="lower",
        formula="a call is right: 1 if the answer is prose without a call",
    ),
    Metric(
        "follow_up",
        "asks for what is missing",
        formula="a required value is missing: 1 if it asks and calls nothing",
    ),
    Metric(
        "h_score",
        "Agent-H score",
        formula="no call is right: 1 - (ReAct words + tool phrases) / 2 (Agent-H)",
    ),
    Metric(
        "instructions_all",
        "all instructions followed",
        formula="1 if every instruction of the request is followed",
    ),
    Metric(
        "server_parsable",
        "read by the server's parser",
        formula="1 if the calls that vLLM's parser of the family reads are right",
    ),
    Metric(
        "confidence",
        "confidence",
        better="",
        formula="geometric mean of the answer tokens' probabilities",
    ),
    Metric("input_tokens", "tokens of the prompt", "tokens", ""),
    Metric("output_tokens", "tokens of the answer", "tokens", "lower"),
)
# of whole roll-outs in a world, by task
ROLLOUT_METRICS = (
    Metric(
        "task_completion",
        "tasks completed",
        headline=True,
        formula="1 if the goal is reached and the last answer says its facts",
    ),
    Metric(
        "loop_rate",
        "loops",
        better="lower",
        headline=True,
        formula="1 if the same call was made three times",
    ),
    Metric(
        "recovery",
        "recovered",
        headline=True,
        formula="an observation was an error: 1 if a later one was not",
    ),
    Metric("error_rate", "errors", better="lower", headline=True, formula="errors / observations"),
    Metric("steps", "steps", "steps", "lower", headline=True),
    Metric("steps_to_success", "steps of a success", "steps", "lower"),
)
OTHER_METRICS = (
    Metric(
        "multi_turn_accuracy",
        "all turns right",
        headline=True,
        formula="1 if after every turn state and results are gold's (BFCL)",
    ),
    Metric(
        "turn_progress",
        "turns right",
        headline=True,
        formula="turns before the first wrong one / turns",
    ),
    Metric(
        "judge_score",
        "judge's score",
        "",
        headline=True,
        formula="mean of the rubric, 1 to 5, over both orders",
    ),
    Metric(
        "judge_wins",
        "judge prefers it",
        headline=True,
        formula="1 if better in both orders, 0 if worse in both, else 0.5",
    ),
    Metric(
        "judge_consistency", "judge agrees with itself", formula="1 if both orders say the same"
    ),
    Metric(
        "perplexity",
        "perplexity",
        "",
        "lower",
        headline=True,
        formula="exp of the mean negative log-likelihood of the gold answers' tokens",
    ),
    Metric(
        "nll",
        "negative log-likelihood",
        "nats",
        "lower",
        headline=True,
        formula="mean over rows, nats per token of the gold answer",
    ),
    Metric(
        "calibration_error",
        "calibration error",
        better="lower",
        formula="mean |confidence - exact match| over ten bins of confidence (ECE)",
    ),
    Metric(
        "overall",
        "overall",
        headline=True,
        formula="unweighted mean of every test suite's main metric",
    ),
    Metric(
        "gain_per_100_rows",
        "gain per 100 rows",
        formula="difference to base in exact match / training rows * 100",
    ),
)
LATENCY_METRICS = (
    Metric("first_token_ms", "time to first token", "ms", "lower", headline=True),
    Metric("end_to_end_ms", "whole answer", "ms", "lower", headline=True),
    Metric(
        "tokens_per_s",
        "answer tokens per second",
        "tokens/s",
        "higher",
        headline=True,
        formula="answer tokens of all requests / seconds",
    ),
)
COST_METRICS = (
    Metric("train_rows", "training rows", "rows", ""),
    Metric("train_tokens", "training tokens", "tokens", "lower"),
    Metric("train_seconds", "training time", "s", "lower"),
    Metric("train_peak_memory_mib", "peak memory of training", "MiB", "lower"),
    Metric("train_energy_j", "energy of training", "J", "lower"),
    Metric("engine_peak_memory_mib", "peak memory of the engine", "MiB", "lower"),
    Metric("energy_j", "energy of answering", "J", "lower"),
)
GROUPS = (
    ANSWER_METRICS,
    ROLLOUT_METRICS,
    OTHER_METRICS,
    LATENCY_METRICS,
    COST_METRICS,
)
METRICS: dict[str, Metric] = {m.name: m for group in GROUPS for m in group}
# NAME.DETAIL, whose details are not known beforehand
FAMILIES = {
    "fault": ("share with fault: {0}", "lower"),
    "end": ("ended by: {0}", "lower"),
    "pass_hat": ("all of {0} trials succeed", "higher"),
    "pass_at": ("one of {0} trials succeeds", "higher"),
}


def metric_named(name: str, own: Mapping[str, Metric] = METRICS) -> Metric:
    """The metric of that name in a run's table `own`, else in ours; one that no table has is shown
    under its name, without a direction."""
    if found := own.get(name) or METRICS.get(name):
        return found
    for family, (label, better) in FAMILIES.items():
        # A name like `pass_at_3` has its detail behind an underscore, `end.loop` behind a dot.
        if name.startswith((f"{family}.", f"{family}_")):
            detail = name[len(family) + 1 :].replace("_", " ")
            return Metric(name, label.format(detail), better=better)  # type: ignore[arg-type]
    return Metric(name, name.replace("_", " ").replace(".", ": "), better="")


def read_metrics(records: Mapping[str, Mapping[str, Any]]) -> dict[str, Metric]:
    """A run's table from METRICS_FILE, {name: record}; fields that we do not know are left out."""
    known = set(Metric("", "").record())
    return {
        name: Metric(**{k: v for k, v in record.items() if k in known})
        for name, record in records.items()
    }
