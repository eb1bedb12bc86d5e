"""What a new user types in the first hour, from a clean clone: seconds of each stage.

    python benchmarks/first_hour.py [--folder DIR] [--skip install demo]

The commands are those of docs/start/cpu.md, word for word (a test compares them); only the port of
the server is a free one. The clone is of the last commit; it is left where it is, with its runs, so
that they can be looked at. A folder that is there is gone on with. A stage that fails costs the
exit status, not the stages after it. Nothing skipped, the result is written to
benchmarks/results/first_hour.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "benchmarks" / "results" / "first_hour.json"
HANDFUL = "jobs/examples/handful"
STAGES = {
    "install": "make install",
    "demo": "make demo",
    "own tools": f"raytune-agents init --tools {HANDFUL}/bike_shop.py "
    f"--positives {HANDFUL}/rows.jsonl --out bike.yaml",
    "plan": "raytune-agents plan bike_run.yaml",
    "own rows": "raytune-agents run bike_run.yaml",
    "again": "raytune-agents run bike_run.yaml",
    "report": "raytune-agents report runs/bike_shop",
    "export": "raytune-agents export bike_run.yaml --model sft --out tuned",
    "serve": "",  # the line that `export` printed
}
REQUEST = f"{HANDFUL}/request.json"
READY_S, ANSWER_S = 400, 120
ABOUT = """import json
from raytune_agents.infra.provenance import hardware, versions
print(json.dumps({"hardware": hardware(), "versions": versions()}))"""


@dataclass
class Stage:
    """`exit`: of its command; 1 where the server did not answer. `said`: all that it printed, or
    what the server answered."""

    seconds: float
    exit: int
    said: str = ""


def environment(folder: Path) -> dict[str, str]:
    return os.environ | {"PATH": f"{folder / '.venv' / 'bin'}:{os.environ['PATH']}"}


def run_stage(line: str, folder: Path) -> Stage:
    """A command in the clone; what it says is shown as it comes."""
    start, said = time.monotonic(), []
    with subprocess.Popen(
        line, shell=True, cwd=folder, env=environment(folder), stdout=subprocess.PIPE, text=True
    ) as running:
        for text in running.stdout:
            print(text, end="", flush=True)
            said.append(text)
    return Stage(time.monotonic() - start, running.returncode, "".join(said))


def serving_line(said: str) -> str:
    """The line that `export` printed; "" where it printed none."""
    lines = [line for line in said.splitlines() if line.startswith(("python -m vllm", "vllm "))]
    return lines[-1] if lines else ""


def asked(address: str, folder: Path) -> str:
    """What the server answers to the example's request: its calls, else its words. Raises
    RuntimeError where it gives neither; OSError, ValueError or LookupError: it is no answer."""
    request = urllib.request.Request(
        f"{address}/v1/chat/completions",
        (folder / REQUEST).read_bytes(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=ANSWER_S) as reply:
        message = json.load(reply)["choices"][0]["message"]
    calls = [call["function"] for call in message.get("tool_calls") or []]
    answer = "; ".join(f"{call['name']}({call['arguments']})" for call in calls)
    if not (answer := answer or (message.get("content") or "").strip()):
        raise RuntimeError("the answer has neither a call nor words")
    return answer


def wait_ready(address: str, server: subprocess.Popen) -> None:
    """Until the server answers. Raises RuntimeError where it ends or takes too long."""
    stop = time.monotonic() + READY_S
    while time.monotonic() < stop:
        if server.poll() is not None:
            raise RuntimeError(f"the server ended with {server.returncode}")
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=5):
                return
        except OSError:
            time.sleep(0.5)
    raise RuntimeError(f"the server was not ready in {READY_S} s")


def end(server: subprocess.Popen) -> None:
    """As `kill` does, its engine with it; a background job would not hear Ctrl-C."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(server.pid, number)
            server.wait(60)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


def run_server(line: str, folder: Path) -> Stage:
    """The printed line, one chat completion with tools, Ctrl-C."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    start = time.monotonic()
    words = [*shlex.split(line), "--port", str(port)]
    with (folder / "server.log").open("w") as log:
        server = subprocess.Popen(
            words, cwd=folder, env=environment(folder), stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
        address, failed = f"http://127.0.0.1:{port}", 0
        try:
            wait_ready(address, server)
            print(f"ready after {time.monotonic() - start:.0f} s", flush=True)
            said = asked(address, folder)
        except (RuntimeError, OSError, ValueError, LookupError) as error:
            failed, said = 1, f"{error}; see {folder / 'server.log'}"
        finally:
            end(server)
    print(said, flush=True)
    return Stage(time.monotonic() - start, failed, said)


def about(folder: Path) -> dict[str, object]:
    """Hardware and versions as the installed package knows them; revision of the clone."""
    told = subprocess.run(
        ["python", "-c", ABOUT], cwd=folder, env=environment(folder),
        capture_output=True, text=True,
    )  # fmt: skip
    unknown = {"hardware": platform.uname()._asdict()}
    known = unknown if told.returncode else json.loads(told.stdout)
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=folder, capture_output=True, text=True, check=True
    )
    return known | {"revision": head.stdout.strip()}


def result(done: dict[str, Stage], folder: Path) -> dict[str, object]:
    return {
        "benchmark": "first_hour",
        "seconds": {name: round(stage.seconds, 1) for name, stage in done.items()},
        "in_all_s": round(sum(stage.seconds for stage in done.values()), 1),
        "failed": {name: stage.exit for name, stage in done.items() if stage.exit},
        "served_answer": done["serve"].said,
        "load_average": [round(load, 1) for load in os.getloadavg()],  # above 2: others worked too
        "command": "make first-hour",
    } | about(folder)


def show(done: dict[str, Stage]) -> None:
    for name, stage in done.items():
        print(f"{name:<10} {stage.seconds:>7.1f} s{'  failed' if stage.exit else ''}")
    print(f"{'in all':<10} {sum(stage.seconds for stage in done.values()):>7.1f} s")


def do_stages(names: list[str], folder: Path) -> dict[str, Stage]:
    """Every stage, whatever became of those before it."""
    done: dict[str, Stage] = {}
    for name in names:
        print(f"\n--- {name}: {STAGES[name] or 'the line that export printed'}", flush=True)
        if STAGES[name]:
            stage = run_stage(STAGES[name], folder)
        elif line := serving_line(done["export"].said if "export" in done else ""):
            stage = run_server(line, folder)
        else:
            stage = Stage(0.0, 1, "export printed no line that serves")
        done[name] = stage
        if stage.exit:
            print(f"{name} ended with {stage.exit}", file=sys.stderr, flush=True)
    return done


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, help="of the clone: a new one, or one that is there")
    parser.add_argument("--skip", nargs="*", default=[], choices=list(STAGES), help="stages")
    given = parser.parse_args()
    folder = (given.folder or Path(tempfile.mkdtemp(prefix="first-hour-")) / "clone").resolve()
    if not folder.exists():
        subprocess.run(["git", "clone", "-q", str(ROOT), str(folder)], check=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # which ends the server, too
    done = do_stages([name for name in STAGES if name not in given.skip], folder)
    print(f"\n{folder}")
    show(done)
    if not given.skip:
        TARGET.write_text(json.dumps(result(done, folder), indent=1) + "\n")
    sys.exit(int(any(stage.exit for stage in done.values())))


if __name__ == "__main__":
    main()
