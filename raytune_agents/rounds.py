"""The rules of learning from failure in rounds; who runs them is `pipeline.rounds`.

A policy answers its training tasks; what it gets wrong is clustered, new tasks are asked for where
the clusters lie, and a task is trained on while its success rate is neither near 0 nor near 1:
there a group's rewards differ most, so there is most to learn (RODS, arXiv 2606.19047, which keeps
rates of 0.2 to 0.85 and retires above 0.95; tools drawn from failures: HardGen, arXiv 2601.01498).
Pure functions on plain values: no model, no file.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field

from raytune_agents.calls import parse
from raytune_agents.calls.fault import pair_calls
from raytune_agents.calls.gold import arguments_of, gold_calls
from raytune_agents.calls.match import argument_error, forms_of
from raytune_agents.calls.schema import ANY
from raytune_agents.generate.sampling import apportion
from raytune_agents.negatives import answer_text
from raytune_agents.records import JsonObject, Trajectory

FEW_IN_BAND = 0.1  # a smaller share is said: the tasks are too hard or too easy for this policy
TERSE, LONG = 6, 30  # words of a request: at most, at least


# --- what failed ---


@dataclass(frozen=True, slots=True, order=True)
class Cluster:
    """What failures have in common: the fault, the gold call's tool and argument that it is about
    ("" where it is about none), how many calls are right, and how the request is phrased."""

    fault: str
    tool: str = ""
    argument: str = ""
    calls: int = 0
    phrasing: str = ""

    def record(self) -> JsonObject:
        """As a JSON object."""
        return asdict(self)


def phrasing_of(request: str) -> str:
    """question (it ends in ?), terse (at most TERSE words), long (at least LONG), else order."""
    words = len(request.split())
    if request.rstrip().endswith("?"):
        return "question"
    return "terse" if words <= TERSE else "long" if words >= LONG else "order"


def fault_location(failure: Trajectory, task: Trajectory) -> tuple[str, str]:
    """(tool, argument) of the first gold call that the failure misses or has wrong; the argument is
    the first that is lost, else wrong, else too many. "" where there is none to name."""
    gold = gold_calls(task)
    calls = parse(answer_text(failure.answer), task.tools).calls if failure.target else ()
    if not gold or not calls:
        return (gold[0][0] if gold else ""), ""
    arguments, forms = arguments_of(calls), forms_of(gold, task.tools)
    for i, (index, right) in enumerate(pair_calls(calls, arguments, gold, task)):
        name, allowed = gold[i]
        if right:
            continue
        if index is None:
            return name, ""
        kinds, called = (form.kinds if (form := forms[i]) else {}), arguments[index]
        lost = [k for k in allowed if k not in called and "" not in allowed[k]]
        wrong = [
            k
            for k, v in called.items()
            if k in allowed and argument_error(v, allowed[k], kinds.get(k, ANY))
        ]
        extra = [k for k in called if k not in allowed]
        return name, next(iter([*lost, *wrong, *extra]), "")
    return gold[0][0], ""


def cluster_of(failure: Trajectory, task: Trajectory) -> Cluster:
    """The cluster of one failure at its task."""
    tool, argument = fault_location(failure, task)
    return Cluster(failure.fault, tool, argument, len(gold_calls(task)), phrasing_of(task.query))


def failure_clusters(
    failures: Iterable[Trajectory], tasks: Mapping[str, Trajectory]
) -> Counter[Cluster]:
    """How many failures every cluster has; a failure's first parent is its task."""
    return Counter(
        cluster_of(bad, tasks[bad.parents[0]]) for bad in failures if bad.parents[0] in tasks
    )


# --- what is asked for, and what of it is taken ---


def allocate(clusters: Mapping[Cluster, int], count: int) -> dict[Cluster, int]:
    """`count` new tasks in the ratio of the failures (largest remainders, the larger cluster
    first); {} without failures."""
    if not clusters:
        return {}
    ordered = dict(sorted(clusters.items(), key=lambda pair: (-pair[1], pair[0])))
    return {c: n for c, n in apportion(count, ordered).items() if n}


def task_fit(row: Trajectory, cluster: Cluster) -> int:
    """How well a task suits a cluster: 0 where it has not its tool (or has calls where none is
    right), else 1, + 4 for its argument, + 2 for as many calls, + 1 for its phrasing."""
    gold = gold_calls(row)
    about = [arguments for name, arguments in gold if name == cluster.tool]
    if bool(about) != bool(cluster.tool) or (not cluster.tool and gold):
        return 0
    named = bool(cluster.argument) and any(cluster.argument in a for a in about)
    alike = phrasing_of(row.query) == cluster.phrasing
    return 1 + 4 * named + 2 * (len(gold) == cluster.calls) + alike


def match_tasks(
    wanted: Mapping[Cluster, int], candidates: Sequence[Trajectory]
) -> dict[Cluster, list[Trajectory]]:
    """For every cluster its most alike candidates, the earlier of equal ones first; a candidate is
    taken once. A cluster that no candidate suits gets fewer, or none."""
    free, out = list(candidates), {}
    for cluster, count in wanted.items():
        scored = [(-task_fit(row, cluster), i) for i, row in enumerate(free)]
        best = {i for score, i in sorted(scored)[:count] if score < 0}
        out[cluster] = [row for i, row in enumerate(free) if i in best]
        free = [row for i, row in enumerate(free) if i not in best]
    return out


# --- which tasks are trained on ---


@dataclass(frozen=True, slots=True)
class BandTasks:
    """Ids of measured tasks by their success rate."""

    kept: tuple[str, ...] = ()  # in the band: trained on
    easy: tuple[str, ...] = ()  # above it, not retired: asked again later
    hard: tuple[str, ...] = ()  # below it: asked again later
    retired: tuple[str, ...] = ()  # never asked again


def success_rates(right: Mapping[str, int], samples: int) -> dict[str, float]:
    """Right answers over samples, by task id; an answer that was cut is not right."""
    return {i: n / samples for i, n in right.items()}


def by_band(rates: Mapping[str, float], band: tuple[float, float], retire: float) -> BandTasks:
    """The tasks by their rate: both ends belong to the band; a rate above `retire` retires."""
    low, high = band
    return BandTasks(
        kept=tuple(i for i, r in rates.items() if low <= r <= high and r <= retire),
        easy=tuple(i for i, r in rates.items() if high < r <= retire),
        hard=tuple(i for i, r in rates.items() if r < low),
        retired=tuple(i for i, r in rates.items() if r > retire),
    )


def sample_tasks(rows: Iterable[Trajectory], count: int, seed: str) -> list[Trajectory]:
    """At most `count` different good rows that show tools, drawn by the seed whatever their
    order."""
    able = {r.id: r for r in rows if r.target and r.tools and not r.failed}
    return random.Random(seed).sample([able[i] for i in sorted(able)], min(count, len(able)))


@dataclass(slots=True)
class RoundRecord:
    """What one round did; round 0 is the start, of which only `val` is known. Counts of answers are
    by fault, of tasks by band; `asked_for`: a cluster each, with its failures, wanted and got."""

    round: int
    val: float = 0.0  # exact match, share of val rows
    answers: int = 0
    faults: dict[str, int] = field(default_factory=dict)
    in_band: int = 0
    easy: int = 0
    hard: int = 0
    retired: int = 0
    in_band_share: float = 0.0
    asked_for: list[JsonObject] = field(default_factory=list)
    new_tasks: int = 0  # of those asked for, verified
    # by reason: answers that are neither right nor wrong, new tasks that fail a check, rows that
    # training cannot hold
    lost: dict[str, int] = field(default_factory=dict)
    rows: int = 0  # different rows trained on
    tokens: int = 0  # trained, with repeats
    worse: str = ""  # why it was thrown away
    notes: list[str] = field(default_factory=list)  # what a reader should know, and what to write

    @property
    def measured(self) -> int:
        """Tasks whose success rate is known."""
        return self.in_band + self.easy + self.hard + self.retired

    def occupy(self, tasks: BandTasks) -> None:
        """Take over how many tasks lie where."""
        self.in_band, self.easy = len(tasks.kept), len(tasks.easy)
        self.hard, self.retired = len(tasks.hard), len(tasks.retired)
        self.in_band_share = round(self.in_band / self.measured, 4) if self.measured else 0.0

    def lose(self, counts: Mapping[str, int]) -> None:
        """Count what is lost, by reason."""
        self.lost = dict(Counter(self.lost) + Counter(counts))

    def line(self) -> str:
        """The round for a terminal."""
        band = f"{self.in_band} of {self.measured} tasks in the band, {self.new_tasks} new ones"
        lost = ", ".join(f"{n} {why}" for why, n in self.lost.items())
        done = f"val {self.val:.3f}, {self.rows} rows trained, {band}"
        return f"{done}; lost {lost}" if lost else done


def few_in_band(record: RoundRecord, band: tuple[float, float]) -> str:
    """What to say where under FEW_IN_BAND of the tasks lie in the band, else ""."""
    if not record.measured or record.in_band_share >= FEW_IN_BAND:
        return ""
    how = "hard" if record.hard >= record.easy + record.retired else "easy"
    what = "a better start, or a lower band" if how == "hard" else "harder tasks, or a higher band"
    held = f"{record.in_band} of {record.measured} tasks lie in the success band {list(band)}"
    return f"{held}: most are too {how}; write {what}"


# --- when it ends ---


HELP = {  # what to write where answers are lost
    "cut_at_max_tokens": "more train.rounds.max_tokens",
    "prompt_too_long": "a larger engine.max_model_len, or tasks with shorter prompts",
    "empty_answer": "a better start",
}


def no_failures(right: int, lost: Mapping[str, int]) -> str:
    """What to say of a round without failures: how many answers were right, and by reason how many
    are neither right nor wrong."""
    if not right and not lost:
        return "no tasks left: all are retired; write harder tasks"
    if not lost:
        return "no failures left: every answer was right; write harder tasks"
    said = ", ".join(f"{n} {why}" for why, n in lost.items())
    write = "; ".join(HELP[why] for why in lost if why in HELP)
    write = write or f"{'harder' if right else 'other'} tasks"
    total = right + sum(lost.values())
    return f"no answer to learn from: {right} of {total} were right, {said}; write {write}"


def round_budget(total: int | None, spent: int, rounds_left: int) -> int | None:
    """Trained tokens of the next round: an even share of what is left of `total`; None = no
    budget; 0 = all is spent."""
    return None if total is None else max(0, total - spent) // max(1, rounds_left)


def is_worse(before: float, after: float, high: float | None, lost: Sequence[str]) -> str:
    """Why a round is thrown away ("" where it is good): a guarded metric is lost, or val fell by
    more than chance, so that the interval of its paired difference (up to `high`) is below 0."""
    if lost:
        return f"lost {' and '.join(name.replace('_', ' ') for name in lost)}"
    fell = high is not None and high < 0
    return f"val fell from {before:.3f} to {after:.3f}" if fell else ""


def best_round(records: Iterable[RoundRecord], started: bool) -> int | None:
    """The number of the good round with the best val score, the later of equal ones; the start (0)
    counts where there is one. None where no round is good."""
    good = [r for r in records if (r.rows and not r.worse) or (started and not r.round)]
    return max(good, key=lambda r: (r.val, r.round)).round if good else None


def stalled(scores: Sequence[float], patience: int) -> bool:
    """Whether the last `patience` rounds brought no val score above the best before them; `scores`
    begins with the start's."""
    return len(scores) > patience and max(scores[-patience:]) <= max(scores[:-patience])


def believes_anything(accepted: int, planted: int) -> bool:
    """Whether a judge calls more than half of planted wrong rows right: it tells nothing."""
    return 2 * accepted > planted
