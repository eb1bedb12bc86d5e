"""Command lines that work as they are, under `--help` of each command."""

from __future__ import annotations

SMOKE = "jobs/configs/smoke_cpu.yaml"
OWN = "model.name=Qwen/Qwen2.5-0.5B-Instruct 'read.sources=[{path: my_rows.jsonl}]'"
FIRST = (
    "First: raytune-agents init --tools my_tools.py --positives good.jsonl; "
    "then plan and run what it wrote."
)
EXAMPLES: dict[str, list[tuple[str, str]]] = {  # command -> (what for, the words after it)
    "run": [
        ("the whole loop on the embedded model and data", SMOKE),
        ("another model, rows of your own", f"{SMOKE} name=mine {OWN}"),
        ("runs in a bucket, JSON logs", f"{SMOKE} runs_dir=s3://bucket/runs resources.log=json"),
        ("only up to the labels", f"{SMOKE} --steps read,generate,label"),
        ("a longer search", f"{SMOKE} --steps tune tune.num_samples=24 budget.max_hours=6"),
    ],
    "plan": [
        ("what a run will take, before it starts", SMOKE),
        ("what a hosted tuning job on its rows would cost", f"{SMOKE} --provider openai"),
        ("three rows of every pool, nothing written", f"{SMOKE} --preview 3"),
    ],
    "doctor": [
        ("would it run? what fails, what is doubtful", SMOKE),
        ("fetch the model, or convert the embedded one", f"{SMOKE} --only model"),
    ],
    "read": [
        ("how a file of yours is read", "--explain my_rows.jsonl"),
        ("what its good rows look like", "--profile my_rows.jsonl"),
    ],
    "init": [
        ("an agent's spec from OpenAI tools, MCP, OpenAPI or Python", "--tools my_tools.py"),
        ("from the tools of a running MCP server", "--mcp 'uvx mcp-server-time' --out time.yaml"),
        ("and its answers, recorded", "--mcp 'uvx mcp-server-time' --only convert_time --world"),
        ("a running OpenEnv environment, as its world", "--openenv http://127.0.0.1:8000"),
    ],
    "report": [
        ("the page of a run, as far as it got", "runs/demo"),
        ("score stored answers again, without the engine", "runs/demo --rescore"),
    ],
    "status": [("where a run is, from another terminal", "runs/demo")],
    "trials": [
        ("the five best of a search, filtered", "runs/demo --filter 'mix.negative>0.2' --best 5")
    ],
    "compare": [("is B better than A, and how surely", "runs/a runs/b")],
    "trace": [("where a row came from and what became of it", "3f2a runs/demo")],
    "capture": [
        ("record an agent that runs unchanged", "--upstream http://127.0.0.1:8000 --out mine.jsonl")
    ],
    "export": [
        ("an arm in its base, for any engine", f"{SMOKE} --model nat --out merged"),
        ("the same as one GGUF file, for llama.cpp", f"{SMOKE} --model nat --gguf"),
        ("rows for another trainer", f"{SMOKE} --format sharegpt --out rows"),
        ("model cards, data card and a static page, ready to be pushed", f"{SMOKE} --hub hub"),
        ("a Ray Serve app of base and adapters", f"{SMOKE} --serve app"),
    ],
}


def example_lines(command: str) -> list[str]:
    """The examples of a command, as they are typed."""
    return [f"raytune-agents {command} {words}" for _, words in EXAMPLES.get(command, [])]


def epilog(command: str) -> str | None:
    """What `--help` shows last; one paragraph per line."""
    found = EXAMPLES.get(command)
    if not found:
        return None
    lines = (f"{what}: {line}" for (what, _), line in zip(found, example_lines(command)))
    return "\n\n".join(["Examples", *lines]).replace("[", "\\[")
