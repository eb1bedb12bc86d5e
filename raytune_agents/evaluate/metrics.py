"""The one table of metrics (`metrics.yaml`): what each is called, its unit, which way is good, and
what it says.

Evaluation, report, command line, card and search read a metric here; nobody guesses a direction
from a name. `METRICS_FILE` holds a run's own table: these and the metrics that its config names
(`evaluate.metrics`), so a report needs no code of the user. Left out: how a value is computed
(`scoring`, `rollouts`, `multi_turn`, `likelihood`, `judge`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from raytune_agents.records import JsonObject, Trajectory
from raytune_agents.storage import read_json, yaml_beside

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

GROUPS: dict[str, tuple[Metric, ...]] = {
    group: tuple(Metric(name, **about) for name, about in table.items())
    for group, table in yaml_beside(__file__, "metrics.yaml").items()
}
ANSWER_METRICS, LATENCY_METRICS, COST_METRICS = (GROUPS[g] for g in ("answer", "latency", "cost"))
METRICS: dict[str, Metric] = {m.name: m for group in GROUPS.values() for m in group}
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


def metrics_of_run(folder: Path) -> dict[str, Metric]:
    """Ours, and those of METRICS_FILE in an evaluate folder."""
    path = folder / METRICS_FILE
    return METRICS | (read_json(path, dict[str, Metric]) if path.is_file() else {})
