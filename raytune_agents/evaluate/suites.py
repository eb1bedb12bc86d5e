"""Which rows are asked: the run's splits, unseen agents, other sources, and perturbed twins.

Every row that cannot be asked is counted by reason; a suite that comes out empty is refused. Left
out: the answers (`harness`), tasks of several steps (`rollouts`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec

from raytune_agents import agents, readers, sandbox
from raytune_agents.calls import gold_of, judge, render_calls, schema_errors
from raytune_agents.config import Config, ConfigError, EvaluateConfig, SourceConfig
from raytune_agents.config.lookup import did_you_mean
from raytune_agents.evaluate import general, instructions, own_metrics
from raytune_agents.evaluate.measured import BFCL_IRRELEVANCE, IRRELEVANCE
from raytune_agents.evaluate.perturb import PERTURBATIONS, perturb
from raytune_agents.generate.dialogue_patterns import followup, parallel_calls
from raytune_agents.generate.held import SYNTHETIC
from raytune_agents.generate.no_call import tool_taken_away
from raytune_agents.generate.refusals import CELLS, notool
from raytune_agents.generate.tasks import tasks
from raytune_agents.generate.world_runs import react
from raytune_agents.readers import bfcl
from raytune_agents.records import SPLITS, Trajectory, finish
from raytune_agents.split import gold_tools, tool_key
from raytune_agents.storage import first_by_id

UNSEEN_AGENTS, TRAJECTORIES = "unseen_agents", "trajectories"
TAKEN = (
    *(*SPLITS, SYNTHETIC, UNSEEN_AGENTS, TRAJECTORIES, IRRELEVANCE, BFCL_IRRELEVANCE),
    *(instructions.SPLIT, general.SPLIT),
)
# share of an unseen agent's rows
KINDS = {tasks: 0.5, parallel_calls: 0.2, notool: 0.2, followup: 0.1}
# rows -> the same, those that show a training row with their reason
Marked = Callable[[Sequence[Trajectory]], list[Trajectory]]
EVALUATION_SEED = 1_000_003  # added to the run's seed: tasks of evaluation are drawn apart


@dataclass
class Suite:
    """Rows to ask, and the reasons of those that are left out."""

    rows: list[Trajectory] = field(default_factory=list)
    rejected: Counter[str] = field(default_factory=Counter)

    def add(self, name: str, rows: Iterable[Trajectory], limit: int | None = None) -> None:
        """Rows of one split, chosen by id, without those that cannot be scored.
        Raises ConfigError where none is left."""
        # Reasons of this split alone go into the error.
        before = self.rejected.total()
        if not self.add_if_any(rows, limit):
            lost = dict(list(self.rejected.items())[-4:]) if self.rejected.total() > before else {}
            raise ConfigError(
                f"evaluate: split {name} has no row to ask (left out: {lost or 'none'}); add rows"
            )

    def add_if_any(self, rows: Iterable[Trajectory], limit: int | None = None) -> bool:
        """As `add`, but an empty split adds nothing; whether there was a row."""
        good = first_by_id((row for row in rows if not self._refused(row)), limit)
        self.rows += good
        return bool(good)

    def add_irrelevance(self, config: EvaluateConfig, without_trained: Marked, seed: int) -> None:
        """Rows on which no call is right: of the tools of the rows so far, and BFCL's where its
        package is installed."""
        count = config.irrelevance_rows
        # Of the rows so far, so it is added after all suites of calls.
        own = tool_taken_away(self.rows, count, seed + EVALUATION_SEED)
        self.rows += [replace(r, split=IRRELEVANCE, step="evaluate.irrelevance") for r in own]
        if count and bfcl.installed():
            source = SourceConfig(path="bfcl", categories=["irrelevance"])
            found = source_rows(BFCL_IRRELEVANCE, source, without_trained)
            self.rejected.update(found.rejected)
            self.add_if_any(found.rows, count)

    def _refused(self, row: Trajectory) -> bool:
        reason = row.reject_reason or gold_fault(row)
        if reason:
            self.rejected[reason.partition(":")[0]] += 1
        return bool(reason)


def gold_fault(row: Trajectory) -> str:
    """Why a row cannot be scored, or "": `bad_gold` cannot be read; `impossible_gold` would
    call the row's own answer wrong (four rows of BFCL do); `gold_breaks_schema` asks for a call
    that the row's tools do not take. A row without any gold (BFCL's relevance set) has conduct to
    score."""
    if not row.gold and row.target is None:
        return ""
    try:
        gold_of(row)
    except ValueError:
        return "bad_gold"
    calls = row.target.tool_calls if row.target else ()
    # Nobody can be right there: it would only press all scores down.
    if calls and not judge(render_calls(calls), row).ok:
        return "impossible_gold"
    own = () if row.gold else calls  # BFCL's gold has rules of its own, looser than the schema
    return "gold_breaks_schema" if any(schema_errors(c, row.tools) for c in own) else ""


def validate_evaluation(config: Config) -> None:
    """What can be refused before anything starts. Raises ConfigError or SourceError."""
    options = config.evaluate
    general.check_lm_eval(options.general)
    own_metrics.load_metrics(options.metrics)
    if set(options.quantized.kinds) - {"none"} and not find_spec("bitsandbytes"):
        raise ConfigError(
            f"evaluate.quantized.kinds={options.quantized.kinds} needs package bitsandbytes: pip "
            "install '.[quantize]' in the clone, or write []"
        )
    if options.multi_turn.rows:
        bfcl.data_folder()
        sandbox.require_walls()
    for name in options.perturbations:
        if name not in PERTURBATIONS:
            hint = did_you_mean(name, PERTURBATIONS, "write some of")
            raise ConfigError(f"evaluate.perturbations={name!r} is unknown; {hint}")
    for name, source in options.sources.items():
        if name in TAKEN or not name.isidentifier():
            raise ConfigError(
                f"evaluate.sources.{name}: write letters, digits and _, none of {', '.join(TAKEN)}"
            )
        if source.format != "auto":
            readers.reader_named(source.format)
        if source.path != "bfcl" and not readers.is_hub(source.path):
            readers.files(source.path)
    trained = {agents.load_spec(name).name for name in config.generate.agents}
    for name in options.unseen_agents:
        if agents.load_spec(name).name in trained:
            raise ConfigError(
                f"evaluate.unseen_agents={name!r} is trained on: take it out of generate.agents"
            )
    named = options.trajectories.agents
    if odd := [name for name in named if not agents.load_spec(name).world]:
        raise ConfigError(
            f"evaluate.trajectories.agents={odd} have no world; write world: module:Class in their "
            f"specs, or some of {', '.join(agents.shipped())}"
        )
    if options.trajectories.tasks and not executable_agents(config):
        raise ConfigError(
            f"evaluate.trajectories.tasks={options.trajectories.tasks}: no generate.agents has a "
            f"world; write evaluate.trajectories.agents, some of {', '.join(agents.shipped())}"
        )


def executable_agents(config: Config) -> list[str]:
    """The agents whose goals are rolled out."""
    named = config.evaluate.trajectories.agents or config.generate.agents
    return [name for name in named if agents.load_spec(name).world]


def source_rows(name: str, source: SourceConfig, without_trained: Marked) -> Suite:
    """Rows of another source as split `name`; what shows a training row is left out."""
    out = Suite()
    found: dict[str, Trajectory] = {}
    for read in readers.read_source(source):
        if read.error:
            out.rejected[read.error.partition(":")[0][:80]] += 1
        for row in read.rows:
            row = finish(replace(row, split=name))
            found[row.id] = row
    out.rows = without_trained(list(found.values()))
    return out


def even_parts(names: Sequence[str], count: int) -> Iterator[tuple[agents.AgentSpec, int]]:
    """Every agent with its part of `count`, the first ones with one more where it does not fit."""
    for i, name in enumerate(names):
        yield agents.load_spec(name), count // len(names) + (i < count % len(names))


def unseen_agent_rows(names: Sequence[str], count: int, seed: int) -> list[Trajectory]:
    """Tasks of agents that nothing was generated for: calls, several calls, no call, a question."""
    out = []
    for spec, each in even_parts(names, count):
        for make, share in KINDS.items():
            wanted = max(1, round(share * each))
            # of few no-tool rows the last cells of the grid, which are the four refusals
            count_drawn = max(wanted, len(CELLS)) if make is notool else wanted
            out += make(spec, count_drawn, seed + EVALUATION_SEED)[-wanted:]
    return [finish(replace(row, split=UNSEEN_AGENTS)) for row in out]


def without_seen_tools(
    rows: Iterable[Trajectory], trained: Iterable[Trajectory]
) -> list[Trajectory]:
    """Rows that call a tool which training calls too, by any spelling of its name, are rejected as
    `seen_tool`."""
    # By a key: get_weather and GetWeather are one tool to a model.
    seen = {tool_key(tool) for row in trained for tool in gold_tools(row)}
    known = ((row, not seen.isdisjoint(map(tool_key, gold_tools(row)))) for row in rows)
    return [replace(row, reject_reason="seen_tool") if bad else row for row, bad in known]


def perturbed_rows(
    rows: Sequence[Trajectory], config: EvaluateConfig, seed: int
) -> tuple[list[Trajectory], Counter[str]]:
    """The first `perturbed_rows` of each split under each perturbation, and how many rows each
    perturbation could not touch."""
    # Distractors come from other rows of the same evaluation, so they look alike.
    catalogue = list({t.name: t for row in rows for t in row.tools}.values())
    out: list[Trajectory] = []
    untouched: Counter[str] = Counter()
    for split in dict.fromkeys(row.split for row in rows):
        part = [row for row in rows if row.split == split and (row.gold or row.target)]
        part = [row for row in part if "instructions" not in row.meta]  # the words are the task
        if split in (IRRELEVANCE, BFCL_IRRELEVANCE):
            continue  # they are perturbed rows themselves
        for name in config.perturbations:
            for row in part[: config.perturbed_rows]:
                made = perturb(row, name, seed, catalogue)
                if made is None:
                    untouched[f"not_applicable:{name}"] += 1
                else:
                    out.append(made)
    return out, untouched


def goals(names: Sequence[str], count: int, seed: int) -> list[Trajectory]:
    """`count` goals of executable agents, spread evenly, of tasks that training does not use."""
    out = []
    for spec, each in even_parts(names, count):
        out += react(spec, each, seed + EVALUATION_SEED, held_out=True)
    return [finish(replace(row, split=TRAJECTORIES)) for row in out]
