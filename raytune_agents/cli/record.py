"""The command that records: a proxy whose file `read` takes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from raytune_agents.cli.shared_options import printed_errors, refuse, say


def capture_command(
    upstream: Annotated[str, typer.Option(help="the endpoint, for example http://127.0.0.1:8000")],
    out: Annotated[Path, typer.Option(help="JSON lines; a file that is there goes on")] = Path(
        "captured.jsonl"
    ),
    host: Annotated[str, typer.Option(help="address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65_535)] = 8123,
    timeout_s: Annotated[float, typer.Option(min=0.1, help="longest wait for the endpoint")] = 600,
    allow_host: Annotated[list[str] | None, typer.Option(help="a name it is called by")] = None,
) -> None:
    """Stand before an OpenAI-compatible endpoint and write what passes, as rows for `read`."""
    with printed_errors():
        if not re.match("https?://[^/]", upstream):
            refuse(f"--upstream {upstream!r} is no URL; write http://HOST:PORT")
        try:
            import uvicorn  # noqa: F401

            from raytune_agents.capture import serve_capture
        except ImportError as error:
            refuse(f"capture needs package {error.name}: pip install '.[serve]' in the clone")
        say(f"recording to {out}; point the agent to it: OPENAI_BASE_URL=http://{host}:{port}/v1")
        say(f"how a session ended: POST http://{host}:{port}/capture/outcome", style="dim")
        try:
            serve_capture(upstream, out, host, port, timeout_s, allow_host or ())
        except OSError as error:
            refuse(f"--out {out}: {error}; write a file in a folder of yours")
