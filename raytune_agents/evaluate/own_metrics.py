"""Metrics of a user's own: `module:function` (answer, row) -> number or None, or `module:NAME` of a
`Metric` with `compute`. They are computed where scores are made, never on the engine's workers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import isfinite

from raytune_agents.config import ConfigError
from raytune_agents.config.lookup import check_call, user_object
from raytune_agents.evaluate.measured import AnswerRow
from raytune_agents.evaluate.metrics import METRICS, Metric
from raytune_agents.records import OWN_CODE, Trajectory


def load_metrics(names: Sequence[str]) -> dict[str, Metric]:
    """The metrics that a config names. Raises ConfigError naming what to write."""
    found: dict[str, Metric] = {}
    for path in names:
        metric = _loaded(path)
        # Two metrics of one name would overwrite each other's column.
        if metric.name in METRICS or metric.name in found:
            raise ConfigError(
                f"evaluate.metrics={path!r}: the name {metric.name!r} is taken; give it another"
            )
        found[metric.name] = metric
    return found


def _loaded(path: str) -> Metric:
    made = user_object(path, "evaluate.metrics", "such as my_package.metrics:politeness")
    attribute = path.partition(":")[2]
    if not isinstance(made, Metric):  # a plain function: a share, more is better
        label = attribute.replace("_", " ")
        made = Metric(attribute, label, headline=True, compute=made)
    if not callable(made.compute):
        raise ConfigError(
            f"evaluate.metrics={path!r} is neither a function (answer, row) nor a Metric with one"
        )
    try:
        check_call(made.compute, "evaluate.metrics")
    except TypeError as error:
        raise ConfigError(f"evaluate.metrics={path!r}: {error}") from None
    return made


def with_own(
    answers: Sequence[AnswerRow],
    rows: Mapping[tuple[str, str], Trajectory],
    metrics: Mapping[str, Metric],
) -> tuple[list[AnswerRow], Counter[str]]:
    """The answers with the user's values, and how often a metric raised or gave no finite number,
    by "NAME: error"; such a value is None, as where the metric does not apply."""
    out: list[AnswerRow] = []
    errors: Counter[str] = Counter()
    for answer in answers:
        values = dict(answer.values)
        for name, metric in metrics.items():
            values[name] = None
            if answer.failed or metric.compute is None:
                continue
            try:
                value = metric.compute(answer.answer, rows[answer.split, answer.id])
                if value is not None and not isfinite(number := float(value)):
                    raise ArithmeticError("a value that is no number has no mean")
                values[name] = None if value is None else number
            except OWN_CODE as error:  # the boundary to a user's code: counted, not fatal
                errors[f"{name}: {type(error).__name__}"] += 1
        out.append(replace(answer, values=values))
    return out, errors
