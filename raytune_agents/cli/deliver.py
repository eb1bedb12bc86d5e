"""The command that takes something away from a run: rows, a model, hub folders, a Ray Serve app.

    export --model ARM    an arm's adapter merged into its base: safetensors; --gguf: one GGUF file
    export --hub DIR      DIR/models/ARM  adapter (or weights), tokenizer, chat template, card
                          DIR/dataset     train and validation rows in the configured format, card
                          DIR/space       the run's report as a static page
                          --push OWNER sends them, and without a token says what it would send
    export --serve DIR    DIR/serve.yaml  for `serve run`: Ray Serve's LLM app; the line of vLLM's
                          own server for one model is printed, too
                          DIR/routes.json for the router: agents, A/B shares, the base for others
                          DIR/models/ARM  merged weights; of the base: tokenizer, chat template and
                          end tokens, as its evaluation had them

Only `--push` sends: what starts a server is printed. On GPUs, with `runs_dir` in a bucket, the base
is served once with one adapter per arm, which Ray Serve takes from the bucket only (it refuses a
folder); else every arm is a merged model: on CPU vLLM's adapters are slow, and wrong in mixed
batches.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from raytune_agents.cli.shared_options import (
    CONFIG,
    OVERRIDES,
    load_tree,
    printed_errors,
    refuse,
)

# What is written -> the options that it takes.
ROWS = ("--format", "--preset", "--scale")
TAKES = {
    "--model": ("--out", "--gguf"),
    "--hub": ("--push", *ROWS),
    "--serve": (),
    "": ("--out", "--markers", *ROWS),
}
# Option -> what to write, where what is written does not take it.
INSTEAD = {
    "--out": "--out is not used, since {kind} names the folder; leave --out out",
    "--gguf": "--gguf is of a model; write --model ARM, too",
    "--push": "--push sends what --hub wrote; write --hub DIR",
}
OF_ROWS = "{option} is of rows; write it without {kind}"


def export(
    config: CONFIG = None,
    overrides: OVERRIDES = None,
    out: Annotated[Path | None, typer.Option(help="folder; default under RUN/export")] = None,
    format: Annotated[str | None, typer.Option(help="openai, gemini, sharegpt, ...")] = None,
    preset: Annotated[str | None, typer.Option(help="none or agent_flan")] = None,
    scale: Annotated[float | None, typer.Option(help="size of the preset")] = None,
    markers: Annotated[bool, typer.Option(help="wrong answers too, with NAT's markers")] = False,
    model: Annotated[str | None, typer.Option(help="an arm: its merged weights")] = None,
    gguf: Annotated[bool, typer.Option(help="of --model: one GGUF file in q8_0")] = False,
    hub: Annotated[Path | None, typer.Option(help="folders for the hub")] = None,
    push: Annotated[str | None, typer.Option(help="of --hub: send them, to this owner")] = None,
    serve: Annotated[Path | None, typer.Option(help="folder of a Ray Serve app")] = None,
) -> None:
    """Accepted rows of a run as files of another format, with a card; or an arm as one model."""
    from raytune_agents.cli import take_away

    options = {"format": format, "preset": preset, "scale": scale}
    given = {f"--{k}": v for k, v in options.items()} | {"--out": out, "--markers": markers}
    kinds = {"--model": model, "--hub": hub, "--serve": serve}
    with printed_errors():
        refuse_others(kinds, given | {"--gguf": gguf, "--push": push})
        words = [f"export.{k}={v}" for k, v in options.items() if v is not None]
        tree = load_tree(config, overrides, *words)
        if model is not None:
            take_away.say_written(*take_away.write_model(tree, model, out, gguf))
        elif hub:
            take_away.export_hub(tree, hub, push, words)
        elif serve:
            take_away.say_written(serve, "to serve:", take_away.write_serve(tree, serve))
        else:
            take_away.export_rows(tree, out, markers)


def refuse_others(kinds: Mapping[str, object], given: Mapping[str, object]) -> None:
    """Raises ConfigError for two kinds at once, and for an option that the kind does not take."""
    wanted = [kind for kind, value in kinds.items() if value is not None]
    if len(wanted) > 1:
        refuse("--model, --hub and --serve each write their own; write one of them")
    kind = next(iter(wanted), "")
    for option, value in given.items():
        if value is not None and value is not False and option not in TAKES[kind]:
            refuse(INSTEAD.get(option, OF_ROWS).format(option=option, kind=kind))
