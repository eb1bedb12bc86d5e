"""The pages say what is so: links and anchors lead somewhere, configs build, commands parse, every
option is described. No network, no mkdocs."""

from __future__ import annotations

import ast
import re
import shlex
import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from typer.testing import CliRunner

from raytune_agents.cli.app import app
from raytune_agents.config import Config, build_config, known_keys, parse_overrides
from raytune_agents.evaluate.metrics import METRICS
from raytune_agents.evaluate.perturb import PERTURBATIONS
from raytune_agents.exports import PAIR_WRITERS, WRITERS
from raytune_agents.filters import RULES
from raytune_agents.generate import POOLS
from raytune_agents.negatives import FAULTS
from raytune_agents.readers import READERS
from raytune_agents.records import RecordError
from raytune_agents.train.methods import Method
from raytune_agents.train.rewards import REWARDS, ROLLOUT_REWARDS
from raytune_agents.tune import schedulers

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "docs"))
from options import options_page, sections  # noqa: E402

SCREEN = 45  # lines of a terminal
GENERATED = {ROOT / "docs" / "options.md"}
FOLDERS = ("*.md", "docs/**/*.md", "cluster/README.md", "jobs/examples/**/*.md")
PAGES = sorted(page for pattern in FOLDERS for page in ROOT.glob(pattern))
FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```", re.M | re.S)
LINK = re.compile(r"\]\(([^)\s]+)\)")


def blocks(page: Path, language: str) -> list[str]:
    return [text for kind, text in FENCE.findall(page.read_text()) if kind == language]


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and mkdocs make them."""
    text = options_page() if page in GENERATED else FENCE.sub("", page.read_text())
    heads = re.findall(r"^#+ +(.+)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).strip().replace(" ", "-") for head in heads}


def broken(page: Path) -> Iterator[str]:
    for link in LINK.findall(FENCE.sub("", page.read_text())):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if ":" in path:  # another site's
            continue
        if not target.exists() and target not in GENERATED:
            yield f"{link}: no such file"
        elif anchor and anchor not in anchors(target):
            yield f"{link}: no such heading"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    assert list(broken(page)) == []


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    page = tmp_path / "a.md"
    fenced = "```\n[n](n.md)\n```\n"
    page.write_text(f"# One head\n[x](b.md) [y](#one-head) [z](#two) ![p](p.svg)\n{fenced}")
    assert [line.partition(":")[0] for line in broken(page)] == ["b.md", "#two", "p.svg"]


def test_the_site_shows_every_page_once() -> None:
    def pages(part: str | list | dict) -> Iterator[str]:
        if isinstance(part, str):
            yield part
            return
        for below in part.values() if isinstance(part, dict) else part:
            yield from pages(below)

    shown = sorted(pages(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]))
    moved = re.findall(r'"\S+": "(\S+\.md)"', (ROOT / "docs" / "hooks.py").read_text())
    written = [str(p.relative_to(ROOT / "docs")) for p in ROOT.glob("docs/**/*.md")]
    assert shown == sorted([*written, *moved, "options.md"])


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_configs_build(page: Path) -> None:
    for text in blocks(page, "yaml"):
        tree = yaml.safe_load(text)
        if set(tree) <= set(Config.model_fields):
            build_config(tree)


def test_the_locked_install_without_make_names_all_that_the_package_imports() -> None:
    """By distribution; what is imported only where it is there (pynvml) aside."""
    text = "\n".join(blocks(ROOT / "docs/start/cpu.md", "bash"))
    lines = [line for line in text.splitlines() if "pip install --no-deps" in line]
    named = set(re.findall(r"^[\w.-]+(?===)", (ROOT / "requirements-cpu.txt").read_text(), re.M))
    named |= set(re.findall(r'"([\w.-]+)==', " ".join(lines)))
    assert any("-r requirements-cpu.txt" in line for line in lines)
    pins = re.findall(r'"(torch==[^"]+)"', (ROOT / "Makefile").read_text())
    assert any(f'"{pin}"' in line for pin in pins for line in lines)
    known = {re.sub(r"[-_.]+", "-", name).lower() for name in named}
    files = list((ROOT / "raytune_agents").rglob("*.py"))
    own = {file.stem for file in files} | {"raytune_agents"}
    used = {
        name.split(".")[0]
        for file in files
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        for name in imported_names(node)
    }
    by_import = packages_distributions()
    missing = {
        name
        for name in used - own - set(sys.stdlib_module_names) - {"pynvml"}
        if not {re.sub(r"[-_.]+", "-", d).lower() for d in by_import.get(name, [name])} & known
    }
    assert missing == set()


def imported_names(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    outside = isinstance(node, ast.ImportFrom) and not node.level
    return [node.module or ""] if outside else []


def test_no_page_or_message_installs_what_is_on_no_index() -> None:
    """The package is on none: its extras are installed from the clone."""
    files = [*PAGES, *(ROOT / "raytune_agents").rglob("*.py")]
    wrong = [f for f in files if re.search(r"install '?raytune-agents", f.read_text())]
    assert wrong == []


@pytest.mark.parametrize("page", ["README.md", "docs/start/cpu.md", "docs/start/gpu.md"])
def test_where_a_user_starts_the_command_is_put_on_the_path(page: str) -> None:
    typed = "\n".join(blocks(ROOT / page, "bash"))
    assert typed.index("source .venv/bin/activate") < typed.index("raytune-agents ")


def test_pages_run_no_spec() -> None:
    """`init --out my.yaml` writes a spec: what is run, planned and exported is `my_run.yaml`."""
    taken = re.compile(r"raytune-agents (?:run|plan|doctor|export) my\.yaml")
    assert [page for page in PAGES if taken.search(page.read_text())] == []


def test_no_two_lines_of_a_block_write_one_file() -> None:
    for page in PAGES:
        for text in blocks(page, "bash"):
            outs = re.findall(r"raytune-agents init .*--out (\S+)", text)
            assert len(outs) == len(set(outs)), page


def test_the_search_of_the_page_on_mixes_is_not_refused() -> None:
    tree = build_config(yaml.safe_load(blocks(ROOT / "docs" / "how" / "mix.md", "yaml")[0]))
    schedulers.validate_tune(tree)
    assert (tree.tune.noise, tree.budget.max_cost) == (3, 20)


def commands() -> list[str]:
    lines = []
    for page in PAGES:
        for text in blocks(page, "bash"):
            whole = text.replace("\\\n", " ").splitlines()
            found = (re.search(r"raytune-agents [a-z].*", line) for line in whole)
            lines += [m[0] for m in found if m and "pip install" not in m.string]
    return sorted(set(lines))


@pytest.mark.parametrize("line", commands())
def test_commands_parse(line: str) -> None:
    """Options of a command exist, and so do the keys of its overrides."""
    name, *words = shlex.split(line.split(" &")[0], comments=True)[1:]
    command = typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]
    command.make_context(name, list(words))
    overrides = [w for w in words if re.match(r"[a-z_.]+=", w)]
    parse_overrides(overrides)
    unknown = {w.partition("=")[0] for w in overrides} - set(known_keys())
    assert {key for key in unknown if not key.startswith("mix.weights.")} == set()


def unknown_options(text: str) -> set[str]:
    """Dotted names in backticks that begin with a section and are no option, nor a module or one of
    its functions."""
    named = re.findall(r"`([a-z_]+(?:\.[a-z_0-9]+)+)(?:[=:][^`]*)?`", FENCE.sub("", text))
    ours = {name for name in named if name.split(".")[0] in Config.model_fields}
    lists = ("mix.weights", "train.arms", "evaluate.sources", "read.sources")  # keys of a user's
    left = {n for n in ours - set(known_keys()) if not n.startswith(lists) and n[-3:] != ".py"}
    return {name for name in left if not is_code(*name.rsplit(".", 1))}


def is_code(room: str, name: str) -> bool:
    """A module of the package, or a function of a folder of it."""
    folder = ROOT / "raytune_agents" / room.replace(".", "/")
    whole = folder / "__init__.py"
    defined = whole.is_file() and f"\ndef {name}(" in whole.read_text()
    return defined or (folder / f"{name}.py").is_file()


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_options_named_in_a_page_exist(page: Path) -> None:
    if page.name != "CHANGELOG.md":  # it tells of options that are gone
        assert unknown_options(page.read_text()) == set()


def test_an_option_that_is_gone_would_be_found() -> None:
    assert unknown_options("`read.tols`, `read.tools`, `mix.tokens=5`, `train.lr`") == {
        "read.tols",
        "train.lr",
    }


def test_a_wrong_option_in_a_page_would_be_found() -> None:
    command = typer.main.get_command(app).commands["export"]  # type: ignore[attr-defined]
    with pytest.raises(Exception, match="No such option"):
        command.make_context("export", ["--formt", "openai"])


def test_every_option_has_a_description_and_a_default() -> None:
    bare = [
        f"{name}.{key}"
        for name, model in sections(Config)
        for key, info in model.model_fields.items()
        if not info.description and not hasattr(info.annotation, "model_fields")
    ]
    assert bare == []
    required = {
        name
        for name, model in sections(Config)
        if any(info.is_required() for info in model.model_fields.values())
    }
    assert {name for name in required if not name.endswith(("[]", ".NAME"))} == set()


def test_the_page_of_options_has_every_option_with_its_default() -> None:
    page = options_page()
    heads = [line.removeprefix("## ") for line in page.splitlines() if line.startswith("## ")]
    assert heads == [name or "top level" for name, _ in sections(Config)]
    epochs = "| `num_train_epochs` | number > 0 <= 1000 | `1.0` | passes over the mixed rows |"
    assert epochs in page
    assert "| `num_workers` =" not in page.partition("## train\n")[2].partition("\n## ")[0]
    assert "| `max_failures` = | integer >= 0 | `2` | restarts of a killed worker |" in page
    assert "`auto`" in next(line for line in page.splitlines() if "| `actors`" in line)


def test_help_of_every_command_fits_a_screen_and_has_an_example(monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERMINAL_WIDTH", "100")
    for name in typer.main.get_command(app).commands:  # type: ignore[attr-defined]
        text = CliRunner().invoke(app, [name, "--help"]).stdout
        assert len(text.splitlines()) <= SCREEN, f"{name}: {len(text.splitlines())} lines"
        assert f"raytune-agents {name}" in text, name


def test_the_pages_count_as_the_code_does() -> None:
    said = {page: " ".join((ROOT / "docs" / page).read_text().split()) for page in (
        "glossary.md", "concepts.md", "architecture.md", "how/generate.md")}  # fmt: skip
    words = {14: "fourteen", 15: "fifteen", 16: "sixteen", 17: "seventeen"}
    pools = words[len(POOLS)]
    assert f"one of {len(FAULTS)}" in said["glossary.md"]
    assert f"{pools} kinds" in said["concepts.md"]
    assert f"{pools} pools" in said["architecture.md"]
    assert f"each of the [{pools} pools]" in said["how/generate.md"]


def test_the_page_of_names_has_those_of_the_code() -> None:
    def named(text: str) -> list[str]:
        return re.findall(r"`(\w+)`", text)

    page = (ROOT / "docs" / "names.md").read_text()
    heads = ["Pools", "Faults", "Rules"]
    parts = {h: page.partition(f"## {h}\n")[2].partition("\n## ")[0] for h in heads}
    tables = {h: re.findall(r"^\| `(\w+)` \|", parts[h], re.M) for h in heads}
    assert tables == {"Pools": list(POOLS), "Faults": list(FAULTS), "Rules": list(RULES)}
    lines = dict(re.findall(r"^\| `([\w. -]+)` \| (.*) \|$", page.partition("## Others")[2], re.M))
    own, _, rolled = lines["train.grpo.rewards"].partition(";")
    assert named(lines["read.sources.format"]) == sorted(READERS)
    assert named(lines["export.format"]) == [*WRITERS, *PAIR_WRITERS]
    assert named(lines["evaluate.perturbations"]) == list(PERTURBATIONS)
    assert (named(own), named(rolled)) == (list(REWARDS), list(ROLLOUT_REWARDS))
    compared = named(lines["compare --metric"])
    assert compared == [name for name in METRICS if name in compared and METRICS[name].headline]


def test_the_first_hour_types_what_the_page_says() -> None:
    sys.path.insert(0, str(ROOT / "benchmarks"))
    from first_hour import STAGES

    page = (ROOT / "docs" / "start" / "cpu.md").read_text()
    typed = [line for name, line in STAGES.items() if name != "install"]
    assert [line for line in typed if line not in page] == []
    assert "\ninstall:" in (ROOT / "Makefile").read_text()


def test_the_functions_of_the_pages_do_what_they_say() -> None:
    def made(page: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        exec(blocks(ROOT / "docs" / "how" / page, "python")[0], found)
        return found

    parameters = {"type": "object", "properties": {"x": {"type": "string"}}}
    row = made("rows.md")["read"](
        {
            "ask": "Put x there.",
            "call": {"name": "put", "arguments": {"x": "a"}},
            "functions": [{"name": "put", "description": "Put it.", "parameters": parameters}],
        }
    )
    assert (row.query, row.calls[0].args, row.tools[0].schema) == (
        "Put x there.",
        {"x": "a"},
        parameters,
    )
    thanks = made("metric.md")["politeness"]
    call = '<tool_call>{"name": "put", "arguments": {"x": "a"}}</tool_call>'
    assert [thanks(text, row) for text in (call, "Thank you.", "No.")] == [None, 1.0, 0.0]
    method = made("method.md")["one_call"]
    assert isinstance(method, Method)
    with pytest.raises(RecordError, match="not one call"):
        method.columns(replace(row, messages=row.prompt), None, None, None)
