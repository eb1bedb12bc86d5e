"""What needs only the answers that evaluate stored: new scores, and BFCL's official score files."""

from __future__ import annotations

import os
import sys

from raytune_agents.config import Config, ConfigError, EngineConfig, EvaluateConfig
from raytune_agents.config.base import json_values
from raytune_agents.evaluate import bfcl_official, harness, judge, multi_turn, own_metrics, rollouts
from raytune_agents.evaluate.estimates import Resampling
from raytune_agents.evaluate.latency import LatencyRow
from raytune_agents.evaluate.measured import AnswerRow
from raytune_agents.evaluate.quantized import QuantizedAnswer
from raytune_agents.evaluate.result_files import KINDS, Found, lines_of, write_results
from raytune_agents.pipeline.context import Context
from raytune_agents.pipeline.evaluate import arm_facts
from raytune_agents.progress import Display
from raytune_agents.records import Options, from_row
from raytune_agents.runs import Step

# options of evaluate that change no answer, only what is made of it
FREE = ("resamples", "confidence", "metrics")


def evaluated(config: Config, display: Display) -> tuple[Context, Step]:
    """The finished evaluate step of this config's run. Raises ConfigError where there is none, or
    where its answers are those of another config or another training."""
    context = Context(config, display)
    step = context.step("evaluate")
    manifest = step.manifest
    if manifest is None or not (step.folder / "rows.parquet").is_file():
        raise ConfigError(
            f"{step.folder} holds no finished evaluation; run `raytune-agents run` first"
        )

    free = {*FREE, *EvaluateConfig.OPERATIONAL}

    def deciding(sections: Options) -> Options:
        asked = {k: v for k, v in sections["evaluate"].items() if k not in free}
        engine = sections["engine"]
        engine = {k: v for k, v in engine.items() if k not in EngineConfig.OPERATIONAL}
        return sections | {"evaluate": asked, "engine": engine}

    # The code may have changed: new rules for old answers are what this is for.
    now = [deciding(json_values(step.config)), step.seed, step.inputs]
    if now != [deciding(manifest.config), manifest.seed, manifest.inputs]:
        raise ConfigError(
            f"the answers in {step.folder} were made with other options, or before the arms were "
            "trained again; run `raytune-agents run` instead (only "
            f"evaluate.{', evaluate.'.join(FREE)} may change)"
        )
    return context, step


def rescore(config: Config, display: Display) -> Context:
    """Stored answers and roll-outs scored anew, without the engine; the step is then done as after
    a run of its own."""
    context, step = evaluated(config, display)
    folder, before = step.folder, step.manifest
    assert before  # `evaluated` hands out a step that is done
    asked_rows = map(from_row, lines_of(folder / "rows.parquet"))
    rows = {(row.split, row.id): row for row in asked_rows}
    stored = lines_of(folder / "answers.parquet") + lines_of(folder / "perturbed.parquet")
    answers = [AnswerRow.read(line) for line in stored]
    answers = [harness.rescored(answer, rows[answer.split, answer.id]) for answer in answers]
    lines = {name: lines_of(folder / f"{name}.parquet") for name in KINDS}
    lines["rollouts"] = [rollouts.rescored_rollout(line) for line in lines["rollouts"]]
    rubric = config.evaluate.judge.rubric
    lines["judged"] = [judge.read_verdicts(line, rubric) for line in lines["judged"]]
    entries = multi_turn.entries(config.evaluate.multi_turn)
    lines["multi_turn"] = multi_turn.scored_conversations(lines["multi_turn"], entries)
    timed = [LatencyRow(**line) for line in lines_of(folder / "latency.parquet")]
    packed = [QuantizedAnswer(**line) for line in lines_of(folder / "quantized.parquet")]
    found = Found(answers, lines, timed, packed)
    how = Resampling.of(config.evaluate, config.seed)
    own = own_metrics.load_metrics(config.evaluate.metrics)
    write_results(folder, found, rows, how, arm_facts(config), own)
    counts = found.counts()
    # Rows that were never asked have no answer here; the manifest before counted them.
    counts.rejected.update(before.rows.rejected)
    counts.rows_in += counts.rejected.total()
    # What the answers took is what the step cost, however much later they are scored again.
    step.finish(counts, before.seconds, **before.notes | {"rescored": True})
    display.say(f"evaluate  {counts.line()}  (scored again, nothing was asked)")
    return context


def official(config: Config, display: Display) -> Context:
    """BFCL's own score files of every arm's answers to BFCL rows, under evaluate/official, by the
    interpreter that BFCL_PYTHON names. Raises ConfigError where it cannot import bfcl-eval."""
    context, step = evaluated(config, display)
    python = os.environ.get("BFCL_PYTHON", sys.executable)
    rows = {r["id"]: r for r in lines_of(step.folder / "rows.parquet")}
    answers = [a for a in lines_of(step.folder / "answers.parquet") if not a["failed"]]
    answered = [a for a in answers if a["source"].startswith("bfcl/")]
    if not answered:
        raise ConfigError("--official: no answer of this run is to a row of BFCL")
    categories = sorted({a["source"].removeprefix("bfcl/") for a in answered})
    try:
        for arm in dict.fromkeys(a["arm"] for a in answered):
            # BFCL knows its rows by its own ids.
            texts = {rows[a["id"]]["source_id"]: a["answer"] for a in answered if a["arm"] == arm}
            found = bfcl_official.official_scores(texts, categories, python)
            bfcl_official.write_official(step.folder / "official", arm, texts, found)
            for category, score in found.items():
                right = f"{score['correct_count']} of {score['total_count']} right"
                display.say(f"official  {arm} {category}: {right}")
    except bfcl_official.OfficialError as error:
        raise ConfigError(
            f"--official: {error}; then write BFCL_PYTHON=VENV/bin/python before the command"
        ) from None
    display.say(f"official score files: {step.folder / 'official'}")
    return context
