"""The evaluate step: every arm answers the test rows on one engine; scores and differences.

rows.parquet   the rows that were asked (also perturbed ones and the tasks of roll-outs)
costs.json     {arm: {cost: number}}
and the files of `evaluate.result_files`, which are made of these and of the stored answers alone
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from raytune_agents.config import Config, ConfigError, EvaluateConfig
from raytune_agents.evaluate import instructions, multi_turn, own_metrics, suites
from raytune_agents.evaluate.baselines import CONSTRAINED, FEW_SHOT, Arm, examples_to_show
from raytune_agents.evaluate.costs import Costs, training_costs
from raytune_agents.evaluate.estimates import Resampling
from raytune_agents.evaluate.harness import with_answer_limit
from raytune_agents.evaluate.measured import BASE, AnswerRow
from raytune_agents.evaluate.result_files import ArmFacts, Found, write_results
from raytune_agents.evaluate.verdict import VAL, choose_headline
from raytune_agents.generate.held import SYNTHETIC
from raytune_agents.inference import client
from raytune_agents.inference.client import EngineUsage
from raytune_agents.models import must_merge
from raytune_agents.pipeline import answering
from raytune_agents.pipeline import rows as stored
from raytune_agents.pipeline.context import Context
from raytune_agents.pipeline.rows import MOST_SPLIT_ROWS, MOST_VAL_ROWS, held_out_rows
from raytune_agents.pipeline.shards import check_outage, in_shards
from raytune_agents.records import JsonObject, Trajectory
from raytune_agents.runs import Counts, Manifest, Step
from raytune_agents.storage import first_by_id, read_json, write_json, write_rows
from raytune_agents.train import adapter_card
from raytune_agents.train.methods import method_named

BASE_KEYS = ("name", "revision", "template", "tools")


def evaluate(context: Context, step: Step) -> tuple[Counts, JsonObject]:
    """The base and every arm answer the same rows on one engine; scores and paired differences."""
    config = context.config
    check_bases(config, context.run.folder)
    own = own_metrics.load_metrics(config.evaluate.metrics)
    requests = rows_to_ask(context)
    options = with_answer_limit(requests.rows, context.chat, config.evaluate, config.engine)
    context.display.say(f"evaluate  answers of at most {options.max_tokens} tokens", style="dim")
    write_rows(step.folder / "rows.parquet", [*requests.rows, *requests.perturbed, *requests.tasks])
    arms = arms_of(config, context.run.folder, requests.shots)
    found, costs, why = ask_arms(context, step, requests, options, arms)
    write_json(step.folder / "costs.json", costs)
    found.lines["judged"] = answering.judge_verdicts(
        context, step, requests.test_rows, found.answers
    )
    facts = arm_facts(config)
    # By val, so that the test rows which report it did not choose it.
    headline, _ = choose_headline(found.answers, facts.trained)
    timed = [arm for arm in arms if arm.name in (BASE, headline)]
    found.latency = answering.arm_latencies(context, requests.test_rows, options, timed)
    found.lines["general"] = answering.abilities(context, arms)
    tuned = [arm for arm in timed if arm.name != BASE]
    found.quantized = answering.quantized_answers(context, requests.test_rows, options, tuned)
    counts = found.counts()
    check_outage(counts, config.read.max_error_share)
    counts.rows_in += requests.rejected.total()
    counts.rejected = requests.rejected
    how = Resampling.of(config.evaluate, config.seed)
    rows = {(r.split, r.id): r for r in (*requests.rows, *requests.perturbed)}
    errors = write_results(step.folder, found, rows, how, facts, own)
    for name in config.train.arms:
        # Now that the scores are known, they go on the card.
        adapter_card.write_adapter_card(context.run.folder, name)
    if why:
        context.display.say(f"evaluate  energy is not known: {why}", style="dim")
    for error, count in errors.items():
        context.display.say(f"evaluate  your metric raised {count} times: {error}", style="red")
    return counts, {
        "arms": list(costs),
        "energy": why or "measured",
        "max_tokens": options.max_tokens,
        "metric_errors": dict(errors),
    }


def ask_arms(
    context: Context,
    step: Step,
    requests: EvaluationRequests,
    options: EvaluateConfig,
    arms: list[Arm],
) -> tuple[Found, dict[str, Costs], str]:
    """Everything that the arms are asked; their costs; why energy is not known. The joules of arms
    that answer at once are shared by the tokens that each wrote."""
    found, costs, why = Found(), {}, ""
    for group in arms_at_once(arms, context.placement.have.gpus > 0):
        before = used(context)
        asked = [
            answering.asked_of_arm(context, "ask", requests.of(arm), arm, options) for arm in group
        ]
        answers = in_shards(context, step, asked)
        found.answers += [AnswerRow.read(line) for lines in answers for line in lines]
        # Baselines are prompts around the base: they answer the splits, and no more.
        whole = [arm for arm in group if not arm.baseline]
        for name, kind, rows in (
            ("rollouts", "roll out", requests.tasks),
            ("multi_turn", "converse", requests.entries),
            ("likelihood", "measure", requests.val),
        ):
            asked = [answering.asked_of_arm(context, kind, rows, arm, options) for arm in whole]
            found.lines[name] += [x for lines in in_shards(context, step, asked) for x in lines]
        after = used(context)
        why = why or after.why
        spent = engine_costs(before, after)
        # An arm that wrote nothing still has a share, and nothing is divided by 0.
        written = [1 + sum(x.get("output_tokens") or 0 for x in lines) for lines in answers]
        for arm, tokens in zip(group, written):
            own = dict(spent)
            if own["energy_j"] is not None:
                own["energy_j"] *= tokens / sum(written)
            costs[arm.name] = training_costs(context.run.folder, arm.name) | own
    names = [arm.name for arm in arms]
    # Groups come by engine; the report shows arms in the config's order.
    found.answers.sort(key=lambda answer: names.index(answer.arm))
    return found, {name: costs[name] for name in names}, why


def arms_at_once(arms: Sequence[Arm], gpu: bool) -> list[list[Arm]]:
    """The arms in groups that one engine answers for at the same time: on a GPU the base and all
    adapters on top of it; an arm whose weights stand in the base's place is alone, and on CPU each
    is."""
    merged = {arm.name for arm in arms if not gpu or (arm.adapter and must_merge(arm.adapter))}
    # One stream keeps the engine full; an arm after the other would end with few requests each.
    together = [arm for arm in arms if arm.name not in merged]
    alone = [[arm] for arm in arms if arm.name in merged]
    return [together, *alone] if together else alone


def used(context: Context) -> EngineUsage:
    """What the engine has used so far; nothing before its start."""
    return client.usage() if context.engine is not None else EngineUsage()


def engine_costs(before: EngineUsage, after: EngineUsage) -> Costs:
    """An arm's costs on the engine: its peak memory, and the joules of the machine while the arm
    answered (with the engine's start for the first), None where the machine does not tell."""
    out: Costs = {"energy_j": None}
    if after.energy_j is not None:
        since = before.energy_j or 0.0
        # An engine that was started again counts from 0.
        restarted = after.energy_j < since
        out["energy_j"] = after.energy_j - (0.0 if restarted else since)
    if after.peak_memory_mib:
        out["engine_peak_memory_mib"] = after.peak_memory_mib
    return out


# --- what is asked ---


def check_bases(config: Config, run: Path) -> None:
    """Raises ConfigError where an arm is not there, or was trained on another base model or another
    prompt than the one that is asked: its difference to base would not be the training's."""
    for name in config.train.arms:
        manifest = Manifest.load(run / "train" / name)
        if manifest is None:
            raise ConfigError(
                f"evaluate: arm {name!r} is not trained; run `raytune-agents run --steps train`"
            )
        trained, now = manifest.config["model"], config.model.model_dump(mode="json")
        if odd := [k for k in BASE_KEYS if trained.get(k) != now[k]]:
            was, have = (", ".join(f"model.{k}={m.get(k)!r}" for k in odd) for m in (trained, now))
            raise ConfigError(
                f"evaluate: arm {name!r} was trained with {was}, not {have}; run `raytune-agents "
                "run --steps train` again, or write the model it was trained on"
            )


@dataclass
class EvaluationRequests:
    """Rows of all suites and of val, perturbed ones, tasks to roll out, conversations, val rows
    whose likelihood is measured, examples for prompts; and why rows were left out."""

    rows: list[Trajectory]
    perturbed: list[Trajectory]
    tasks: list[Trajectory]
    entries: list[JsonObject]
    val: list[Trajectory]
    shots: tuple[Trajectory, ...]
    rejected: Counter[str]

    @property
    def test_rows(self) -> list[Trajectory]:
        return [row for row in self.rows if row.split != VAL]

    def of(self, arm: Arm) -> list[Trajectory]:
        """The rows that an arm is asked: no baseline answers perturbed rows or val rows, and one
        that must call is asked only in suites where calls are right."""
        if not arm.baseline:
            return [*self.rows, *self.perturbed]
        if not arm.constrained:
            return self.test_rows
        # Grammar forces a call: where none is right, every answer would be wrong by design.
        calls = {row.split for row in self.test_rows if row.calls or row.gold not in ("", "[]")}
        return [row for row in self.test_rows if row.split in calls and row.tools]


def rows_to_ask(context: Context) -> EvaluationRequests:
    """The rows of all splits and suites, their perturbed pairs, and what else is asked for."""
    config, suite = context.config, suites.Suite()
    options, seed = config.evaluate, config.seed
    folder = context.run.folder
    val = first_by_id(held_out_rows(folder, VAL), MOST_VAL_ROWS)
    left_out = read_json(folder / "read" / "manifest.json").get("left_out", {})
    most = options.limit or MOST_SPLIT_ROWS
    for name in (s for s in options.splits if s not in left_out):
        before = len(suite.rows)
        suite.add(name, held_out_rows(folder, name), most)
        if len(suite.rows) - before == MOST_SPLIT_ROWS:
            text = (
                f"evaluate  asks {MOST_SPLIT_ROWS:,} rows of {name}; evaluate.limit says how many"
            )
            context.display.say(text, "yellow")
    if synthetic := list(held_out_rows(folder, SYNTHETIC)):
        suite.add(SYNTHETIC, synthetic, most)
    trained_folders = [folder / "label", *stored.round_folders(folder)]
    marked = partial(stored.without_trained, context, trained_folders)
    for name, source in options.sources.items():
        found = suites.source_rows(name, source, marked)
        suite.rejected.update(found.rejected)
        suite.add(name, found.rows, options.limit)
    if options.unseen_agents:
        made = suites.unseen_agent_rows(options.unseen_agents, options.unseen_rows, seed)
        trained = stored.all_training_rows(folder)
        suite.add(suites.UNSEEN_AGENTS, suites.without_seen_tools(made, trained))
    suite.add_irrelevance(options, marked, seed)
    if options.instruction_rows:
        suite.add(instructions.SPLIT, instructions.instruction_rows(options.instruction_rows, seed))
    perturbed, untouched = suites.perturbed_rows(suite.rows, options, seed)
    suite.rejected.update(untouched)
    if VAL not in options.splits:
        suite.add_if_any(val, options.val_rows)
    tasks = suites.goals(suites.executable_agents(config), options.trajectories.tasks, seed)
    queries = {task.query for task in tasks}
    # One pass over the training rows on the disk, and none where there are no tasks.
    trained = stored.all_training_rows(folder) if queries else iter(())
    known = {row.query for row in trained if row.query in queries}
    fresh = [task for task in tasks if task.query not in known]
    if len(fresh) < len(tasks):
        suite.rejected["trained_goal"] += len(tasks) - len(fresh)
    return EvaluationRequests(
        suite.rows,
        perturbed,
        fresh,
        multi_turn.entries(options.multi_turn),
        [row for row in val if row.target][: options.perplexity_rows],
        examples_to_show(stored.stored_training_rows(folder), options.few_shot, seed),
        suite.rejected,
    )


def arms_of(config: Config, run: Path, shots: tuple[Trajectory, ...] = ()) -> list[Arm]:
    """The base and its baselines, then every arm with its adapter and the marker that its good rows
    carried, and once more without a marker where it says `ask_unmarked`."""
    arms = [Arm(BASE)]
    if shots:
        arms.append(Arm(FEW_SHOT, shots=shots))
    if config.evaluate.constrained:
        arms.append(Arm(CONSTRAINED, constrained=True))
    for name, arm in config.train.arms.items():
        adapter = str(run / "train" / name / "adapter")
        marker = method_named(arm.method).inference_marker(config.train.of(arm))
        arms.append(Arm(name, adapter, marker))
        if arm.ask_unmarked:
            arms.append(Arm(f"{name}-unmarked", adapter))
    return arms


def arm_facts(config: Config) -> ArmFacts:
    """The arms that may be the headline: those trained on all of their data; and the first of them
    whose mix holds no negative rows."""
    whole = {name: arm for name, arm in config.train.arms.items() if arm.share == 1}

    def positive(name: str) -> bool:
        arm = whole[name]
        weights = config.mix.of(arm).weights
        pools = {pool.partition(".")[0] for pool, weight in weights.items() if weight > 0}
        return "negative" not in pools or not method_named(arm.method).takes(NEGATIVE)

    return ArmFacts(tuple(whole), next(filter(positive, whole), ""))


NEGATIVE = Trajectory((), fault="wrong_value")  # what an arm of positives takes no row like
