"""A first run config out of what a user has: tools, and a few good rows or none.

Budget, shares, steps and suites follow from the counts; every choice stands beside its reason in a
comment, since the user goes on from this file. Left out: what cannot be known before the run (how
many drawn rows pass their checks, how long the model's answers are).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from raytune_agents.agents import AgentSpec
from raytune_agents.config import Config, ConfigError, GenerateConfig, SplitConfig, TrainConfig
from raytune_agents.config.loading import yaml_text
from raytune_agents.evaluate.paired import detectable
from raytune_agents.generate.descriptions import is_english
from raytune_agents.generate.held import held_counts
from raytune_agents.models import EMBEDDED
from raytune_agents.records import Trajectory
from raytune_agents.runs import STEPS
from raytune_agents.split import split_rows
from raytune_agents.storage import filled

TEMPLATE = Path(__file__).with_suffix(".jinja")
SEED = Config().seed
ROWS_PER_TOOL, LEAST_ROWS, MOST_ROWS = 40, 160, 1500  # synthetic rows
REAL_EPOCHS = 4  # passes over the few real rows for one over the synthetic ones
CHARS_PER_TOKEN = 3.0  # of schemas and requests, on the safe side
MOST_PROMPT = {EMBEDDED: 1536}  # tokens of a prompt that two CPU cores can train on
USUAL_PROMPT = 6144
CHANGED_SHARE = 0.25  # of test rows on which two models differ, for what a suite can show
FEW_ROWS = 200  # of each source, and drawn, from which a run's minutes are foreseen


def first_split(rows: Sequence[Trajectory], fold: int = 0, folds: int = 1) -> list[Trajectory]:
    """The rows as the run will split them: what the spec quotes must come from train alone."""
    return split_rows(rows, SplitConfig(fold=fold, folds=folds), SEED)


@dataclass(frozen=True)
class FirstRun:
    """What the config follows from."""

    name: str
    spec_path: str
    spec: AgentSpec
    source: str
    rows: Sequence[Trajectory]  # the source's, with their splits
    model: str = EMBEDDED
    bare: int = 0  # rows that list no tools in their file
    fold: int = 0
    folds: int = 1

    @property
    def splits(self) -> Counter[str]:
        return Counter(r.split for r in self.rows)

    @property
    def shown_tools(self) -> int:
        """Tools per row: as many as the user's rows list, as far as the prompt has room."""
        every = len(self.spec.tools)
        wanted = median(len(r.tools) or every for r in self.rows) if self.rows else every
        room = MOST_PROMPT.get(self.model, USUAL_PROMPT) - self.longest_conversation
        fits = int(room / max(1.0, self.tool_tokens))
        return max(2, min(int(wanted), every, fits)) if every > 1 else 1

    @property
    def tool_tokens(self) -> float:
        """Tokens of one tool in a prompt: the longer half of the catalogue on average."""
        sizes = sorted(len(t.name + t.description + t.parameters) for t in self.spec.toolspecs)
        long = sizes[len(sizes) // 2 :]
        return sum(long) / len(long) / CHARS_PER_TOKEN

    @property
    def longest_conversation(self) -> float:
        """Tokens of the longest row without its tools."""
        lengths = [
            sum(len(m.content) + sum(len(c.arguments) for c in m.tool_calls) for m in r.messages)
            for r in self.rows
        ]
        # 160 tokens for the template and the system prompt, about.
        return 160 + max(lengths, default=400) / CHARS_PER_TOKEN

    @property
    def max_length(self) -> int:
        tokens = self.longest_conversation + self.shown_tools * self.tool_tokens
        # Rounded up, as the estimate is in characters.
        return 128 * -(-int(tokens) // 128)

    @property
    def synthetic(self) -> int:
        return min(MOST_ROWS, max(LEAST_ROWS, ROWS_PER_TOOL * len(self.spec.tools)))


def detectable_difference(rows: int) -> str:
    """The difference that so many paired rows can show, in words."""
    return f"{100 * min(1.0, detectable(rows, CHANGED_SHARE**0.5)):.0f} points"


def suite_lines(first: FirstRun) -> list[str]:
    """A line per suite: its rows and the difference that they can show."""
    splits, out = first.splits, []
    for name in ("test_seen", "test_unseen"):
        if real := splits[name]:
            counted = "1 real row" if real == 1 else f"{real} real rows"
            out.append(f"{name}: {counted}, can show {detectable_difference(real)}")
    made = held_counts(GenerateConfig(agents=[first.spec_path]), splits).get("synthetic", 0)
    if not is_english(" ".join(row.query for row in first.rows)):
        out.append("synthetic: left out, its rows are of our templates, which are in English")
    elif made:
        shown = detectable_difference(made)
        out.append(f"synthetic: up to {made} verified rows of other values, can show {shown}")
    if not splits["test_unseen"]:
        out.append("test_unseen: left out, no tool can be spared")
    return out


def run_yaml(first: FirstRun, minutes: float | None = None) -> str:
    """The run config as commented YAML."""
    splits, real = first.splits, first.splits["train"]
    rows = REAL_EPOCHS * real + first.synthetic
    share = round(REAL_EPOCHS * real / rows, 2)
    both = {"positive": share, "synthetic": round(1 - share, 2)}
    return filled(
        TEMPLATE,
        {"quoted": yaml_scalar},
        first=first,
        run_name=f"{first.name}-{first.fold}" if first.folds > 1 else first.name,
        tools=len(first.spec.tools),
        duration=duration_text(minutes),
        seed=SEED,
        splits=splits,
        synthetic_rows=(ROWS_PER_TOOL, LEAST_ROWS, MOST_ROWS),
        real_epochs=REAL_EPOCHS,
        weights=both if real else {"synthetic": 1.0},
        steps=max(10, rows // TrainConfig().rows_per_step(rows)),
        tested=[s for s in ("test_seen", "test_unseen") if splits[s]] or ["test_seen"],
        suites=suite_lines(first),
    )


def yaml_scalar(text: str) -> str:
    """A text as a YAML value that reads back as itself, inside brackets too; in quotes only where
    it needs them."""
    style = '"' if "\n" in text else None  # a line of its own would end a comment
    line = yaml_text([text], default_flow_style=True, default_style=style, width=1 << 30)
    return line[1:-2]


def duration_text(minutes: float | None) -> str:
    if minutes is None:
        return "minutes: see `raytune-agents plan`"
    whole = "a minute" if minutes < 1.5 else f"{round(minutes)} minutes"
    return f"about {whole} on this machine, if nothing else keeps it busy"


def foreseen_minutes(config: Config, steps: Sequence[str] = STEPS) -> float | None:
    """Minutes of the steps on this machine by `pipeline.plan`; None where its model is not at hand
    (nothing is downloaded to say so), and on GPUs and clusters, whose speed is not measured."""
    from raytune_agents.infra import cluster
    from raytune_agents.pipeline.plan import plan

    local = config.model.name == EMBEDDED or Path(config.model.name).expanduser().is_dir()
    # Ray is not started to say so: what it would report is read off the machine
    have = cluster.local_machine(config.resources)
    if not local or have is None or have.gpus:
        return None
    try:
        seconds = plan(config, have, FEW_ROWS).seconds
    except (ConfigError, OSError):
        return None
    return sum(s for name, s in seconds.items() if name.split()[0] in steps) / 60
