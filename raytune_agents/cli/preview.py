"""`raytune-agents plan CONFIG --preview N`: N rows of every pool and fault, nothing written.

What a model is asked to word stands with each row. No engine is started: the rows have the wording
of their template, and faults are put into them; mined failures need the engine and are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from rich.console import Console
from rich.markup import escape

from raytune_agents.config import Config
from raytune_agents.records import RecordError, Trajectory


def preview(config: Config, count: int, console: Console) -> None:
    """Print `count` rows of every pool that has a share, with prompts, and one line for each edited
    negative. Raises ConfigError."""
    from raytune_agents import agents, models
    from raytune_agents.chat import Chat
    from raytune_agents.generate import POOLS, paraphrase, sampling, validate_rows, why_empty
    from raytune_agents.pipeline import generate
    from raytune_agents.pipeline.plan import read_sample

    generate.validate_generate(config, needs_key=False)
    options = config.generate
    chat = Chat.of(models.resolve(config.model), config.model)
    executor = validate_rows.executor(options)
    pools = list(sampling.pool_shares(options.pools))
    update = {"rows": 4 * count * len(pools), "pools": dict.fromkeys(pools, 1.0)}
    own = read_sample(config).split("train")
    sampled = sampling.sample_rows(options.model_copy(update=update), config.seed, own)
    for gap in sampled.gaps:
        console.print(f"[yellow]no rows for {escape(gap)}[/]", highlight=False)
    made = {p: [r for r in sampled.rows if sampling.pool_of(r) == p] for p in POOLS if p in pools}
    specs = [agents.load_spec(name) for name in options.agents]
    for pool in (p for p, rows in made.items() if not rows):
        console.print(
            f"[yellow]no rows of {pool}[/]: {escape(why_empty(pool, specs))}", highlight=False
        )
    for pool, rows in made.items():
        if rows:
            console.rule(f"[bold]{pool}[/]")
        for row in rows[:count]:
            fault = validate_rows.format_fault(row) or executor.fault(row)
            try:
                prompt = chat.prompt_text(row)
            except RecordError as error:
                prompt, fault = "", str(error)
            show(row, prompt, fault, console)
            for turn in paraphrase.turns(row)[:1]:
                asked_text = paraphrase.messages(row, turn)[-1]["content"]
                console.print(f"[dim]asked for words:[/] {escape(asked_text)}\n")
    show_faults(config, sampled.rows, count, console)
    show_realism(config, console)


def show_faults(config: Config, rows: Sequence[Trajectory], count: int, console: Console) -> None:
    """`count` negatives of every fault, one line each, and the faults that no row can have."""
    from raytune_agents import negatives

    none = []
    for fault in config.negatives.faults or negatives.FAULTS:
        fitting = (r for r in rows if negatives.suits(r, fault))
        found = (bad for r in fitting if (bad := negatives.edit(r, fault, config.seed)[0]))
        if shown := list(islice(found, count)):
            console.rule(f"[bold]negative.{fault}[/]")
        else:
            none.append(fault)
        for bad in shown:
            text = negatives.answer_text(bad.answer)
            console.print(f"[dim]{escape(bad.query)}[/]\n  {escape(text)}", highlight=False)
    if none:
        faults = escape(", ".join(none))
        console.print(
            f"[yellow]no negative of[/] {faults}: no row has what they spoil", highlight=False
        )


def show_realism(config: Config, console: Console) -> None:
    """The figures of `generate.realism` of rows as a run would draw them, and ten requests of each
    source beside the user's own."""
    from raytune_agents import agents
    from raytune_agents.generate import realism, sampling
    from raytune_agents.pipeline.plan import read_sample

    real = read_sample(config).split("train") if config.read.sources else []
    sampled = sampling.sample_rows(config.generate, config.seed, real)
    tools = [t for name in config.generate.agents for t in agents.load_spec(name).toolspecs]
    figures = realism.realism_figures(sampled.rows, real, tools)
    samples = figures.pop("samples")
    console.rule(f"[bold]realism[/] of {figures['rows']} rows")
    for name, value in figures.items():
        if isinstance(value, dict):
            value = ", ".join(f"{k} {v}" for k, v in value.items())
        if value is not None and value != []:
            console.print(f"{name:18} {escape(str(value))}", highlight=False)
    for source, texts in samples.items():
        console.rule(f"[bold]{source}[/]: {len(texts)} requests")
        for text in texts:
            console.print(f"- {escape(text)}", highlight=False)


def show(row: Trajectory, prompt: str, fault: str, console: Console) -> None:
    """One row: its source, its prompt as the model reads it, its answer, what the checks say."""
    from raytune_agents.negatives import answer_text

    verdict = f"[red]{escape(fault)}[/]" if fault else "[green]checked[/]"
    console.print(f"[cyan]{row.id}[/]  {escape(row.source)}  {verdict}", highlight=False)
    console.print(escape(prompt), end="", highlight=False, soft_wrap=True)
    console.print(f"[green]{escape(answer_text(row.answer))}[/]", highlight=False, soft_wrap=True)
