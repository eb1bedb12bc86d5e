"""`raytune-agents examples`: command lines that work as they are, by what one wants to do. The same
lines stand under `--help` of each command."""

from __future__ import annotations

import typer

SMOKE = "jobs/configs/smoke_cpu.yaml"
EXAMPLES: dict[str, list[tuple[str, str]]] = {  # command -> (what for, the words after it)
    "run": [
        ("the whole loop on the embedded model and data", SMOKE),
        ("another model, rows of your own", f"{SMOKE} name=mine "
         "model.name=Qwen/Qwen2.5-0.5B-Instruct 'read.sources=[{path: my_rows.jsonl}]'"),
        ("runs in a bucket, logs for a collector",
         f"{SMOKE} runs_dir=s3://bucket/runs resources.log=json"),
    ],
    "plan": [
        ("what a run will take, before it starts", SMOKE),
        ("what a hosted tuning job on its rows would cost", f"{SMOKE} --provider openai"),
    ],
    "doctor": [("would it run? the first thing to mend", SMOKE)],
    "read": [
        ("how a file of yours is read", "--explain my_rows.jsonl"),
        ("only this step", SMOKE),
    ],
    "generate": [("look at three rows of every pool, write none", f"{SMOKE} --preview 3")],
    "train": [("only this step, another learning rate", f"{SMOKE} train.learning_rate=5e-4")],
    "evaluate": [("score stored answers again, without the engine", f"{SMOKE} --rescore")],
    "tune": [("a longer search with a budget", f"{SMOKE} tune.trials=24 budget.max_hours=6")],
    "init": [("an agent's spec from OpenAI tools, MCP, OpenAPI or Python", "--tools my_tools.py")],
    "status": [("where a run is, from another terminal", "runs/demo")],
    "trials": [
        ("the five best of a search, filtered", "runs/demo --filter 'mix.negative>0.2' --best 5")
    ],
    "compare": [("is B better than A, and how surely", "runs/a runs/b")],
    "trace": [("where a row came from and what became of it", "3f2a runs/demo")],
    "merge": [("an adapter in its base, for any engine", "runs/demo nat merged")],
    "export": [
        ("rows for another trainer", f"{SMOKE} --format sharegpt --out rows"),
        ("model cards, data card and a static page, ready to be pushed", f"{SMOKE} --hub hub"),
        ("a Ray Serve app of base and adapters", f"{SMOKE} --serve app"),
    ],
}  # fmt: skip


def lines(command: str) -> list[str]:
    """The examples of a command, as they are typed."""
    return [f"raytune-agents {command} {words}" for _, words in EXAMPLES.get(command, [])]


def epilog(command: str) -> str | None:
    """What `--help` shows last; a paragraph a line."""
    found = EXAMPLES.get(command)
    if not found:
        return None
    return "\n\n".join(
        ["Examples", *(f"{what}: {line}" for (what, _), line in zip(found, lines(command)))]
    ).replace("[", "\\[")


def examples() -> None:
    """Command lines that work as they are."""
    for command, found in EXAMPLES.items():
        for (what, _), line in zip(found, lines(command)):
            typer.echo(f"# {what}\n{line}\n")
