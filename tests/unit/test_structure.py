"""The shape of the code: imports run one way, one name is one thing, seams are typed, files and
functions keep their budgets.

A budget is what is left to mend: it only falls. Who mends some lowers the number."""

from __future__ import annotations

import ast
import io
import subprocess
import sys
import tokenize
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2] / "raytune_agents"
FILES = sorted(ROOT.rglob("*.py"))
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in FILES}
NODES = {path: list(ast.walk(tree)) for path, tree in TREES.items()}
TESTS = sorted(Path(__file__).parents[1].rglob("test_*.py"))
LAYERS = [
    {"config", "records", "redact", "private"},
    {"infra", "runs", "storage", "mirror", "models", "gguf_file", "progress"},
    {"chat", "templates", "template_defaults", "tokenizer", "calls", "sandbox", "streams"},
    {"inference", "readers", "exports", "agents"},
    {"generate", "negatives", "filters", "dedup", "mix", "rounds", "situations", "split"},
    {"train"},
    {"evaluate", "report", "serving", "capture", "openenv_server"},
    {"tune"},
    {"pipeline"},
    {"cli", "api", "__main__", "__init__"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}

# Names that stand in every file of a room, so that a table finds them there.
CONTRACTS = {
    "readers": {"read"},
    "exports": {"write"},
    "agents/worlds": {"make"},
    "train": {"columns", "trainer", "validate_data"},
}
STEM_ROOMS = ("readers", "exports")  # a format has one name in both
STEP_FILES = "pipeline"  # a step's file may have the name of the room it calls

COLLIDING_STEMS = 0
COLLIDING_CLASSES = 0
COLLIDING_FUNCTIONS = 0
UPWARD_IMPORTS = 0  # of functions, to a room above
DICT_ANY_PER_1000 = 4.0  # of lines of code
FMT_SKIPS = 0
METRIC_TABLES = 1
COMMENT_SHARE = 0.018  # of lines of code and comments; the goal is 0.03


def place(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def module(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def targets(nodes: Iterable[ast.AST]) -> Iterator[str]:
    """The modules of the package that import statements name, with dots."""
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module == "raytune_agents":
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("raytune_agents."):
            name = node.module.removeprefix("raytune_agents.")
            yield name
            yield from (f"{name}.{alias.name}" for alias in node.names)


@cache
def typing_only(path: Path) -> set[ast.AST]:
    """The nodes below `if TYPE_CHECKING`, which never run."""
    blocks = (
        node for node in NODES[path]
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )  # fmt: skip
    return {inside for block in blocks for inside in ast.walk(block)}


def imported(path: Path, inside: bool) -> set[str]:
    """Modules that a file imports: at its top level, or `inside` functions too."""
    skipped = typing_only(path)
    nodes = NODES[path] if inside else TREES[path].body
    return set(targets(node for node in nodes if node not in skipped))


@pytest.mark.parametrize("path", FILES, ids=place)
def test_imports_run_one_way(path: Path) -> None:
    own = LEVEL[module(path)]
    up = {name for name in imported(path, inside=False) if LEVEL[name.split(".")[0]] > own}
    assert not up, f"{path} imports {up}, which stand above it"


def test_imports_in_functions_run_one_way_too() -> None:
    up = {
        (place(path), name.split(".")[0])
        for path in FILES
        for name in imported(path, inside=True)
        if LEVEL[name.split(".")[0]] > LEVEL[module(path)]
    }
    assert len(up) <= UPWARD_IMPORTS, sorted(up)


@cache
def files_by_name() -> dict[str, Path]:
    """Dotted name within the package -> file."""
    return {
        place(p).removesuffix(".py").removesuffix("/__init__").replace("/", "."): p for p in FILES
    }


def used_files(path: Path) -> set[str]:
    """The files that a file imports anywhere; `from room import file` uses the file, not the
    `__init__` of its room."""
    known, skipped = files_by_name(), typing_only(path)
    named = {
        (node.module.removeprefix("raytune_agents").lstrip("."), alias.name)
        for node in NODES[path]
        if isinstance(node, ast.ImportFrom) and node not in skipped
        if (node.module or "").split(".")[0] == "raytune_agents"
        for alias in node.names
    }
    inside = {f"{room}.{name}".lstrip("."): room for room, name in named}
    return {full if full in known else room for full, room in inside.items()} & set(known)


def test_no_file_imports_itself_over_others() -> None:
    """Imports inside functions count: a circle of any length is a file cut in the wrong place."""
    uses = {name: used_files(path) - {name} for name, path in files_by_name().items()}
    circles = set()
    for name in uses:
        reached, left = set(), [name]
        while left:
            new = uses[left.pop()] - reached
            reached |= new
            left += new
        circles |= {name} & reached
    assert not circles


def test_imports_in_functions_name_what_is_there() -> None:
    """Such an import fails only where its function is called."""
    files = files_by_name()
    absent = [
        f"{place(path)}:{node.lineno} {node.module}"
        for path, nodes in NODES.items()
        for node in nodes
        if isinstance(node, ast.ImportFrom)
        and (node.module or "").startswith("raytune_agents.")
        and not (
            (name := node.module.removeprefix("raytune_agents.")) in files
            or (ROOT / name.replace(".", "/")).is_dir()
        )
    ]
    assert not absent


def collisions(found: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """(name, where) -> the names that stand in several places."""
    places = defaultdict(set)
    for name, where in found:
        places[name].add(where)
    return {name: sorted(where) for name, where in places.items() if len(where) > 1}


def defined(kinds: tuple[type, ...]) -> Iterator[tuple[str, str]]:
    """(name, file) of the public classes or functions, contract names aside."""
    for path, tree in TREES.items():
        exempt = CONTRACTS.get(place(path.parent), set())
        for node in tree.body:
            if isinstance(node, kinds) and not node.name.startswith("_"):
                public_api = place(path) == "api.py"
                step = place(path) == f"{STEP_FILES}/{node.name}.py"  # a step's own function
                if node.name not in exempt and not public_api and not step:
                    yield node.name, place(path)


def test_a_file_stem_occurs_once() -> None:
    rooms = {p.parent for p in FILES}
    stems = [
        (p.stem, "a format" if place(p.parent) in STEM_ROOMS else place(p)) for p in FILES
        if p.stem != "__init__" and place(p.parent) != STEP_FILES
    ] + [(r.name, place(r)) for r in rooms if r != ROOT]  # fmt: skip
    found = collisions(stems)
    assert len(found) <= COLLIDING_STEMS, found


def test_a_public_class_occurs_once() -> None:
    found = collisions(defined((ast.ClassDef,)))
    assert len(found) <= COLLIDING_CLASSES, found


def test_a_public_function_occurs_once() -> None:
    found = collisions(defined((ast.FunctionDef, ast.AsyncFunctionDef)))
    assert len(found) <= COLLIDING_FUNCTIONS, found


@pytest.mark.parametrize("path", FILES, ids=place)
def test_sizes(path: Path) -> None:
    assert path.read_text(encoding="utf-8").count("\n") <= 400
    for node in NODES[path]:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno - node.lineno < 60, f"{node.name} is longer than 60 lines"


def lines_of_code(path: Path) -> tuple[int, int]:
    """Lines with code and lines that are comments; docstrings are neither."""
    text = path.read_text(encoding="utf-8")
    code, comments = set(), set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT and token.line.strip().startswith("#"):
            comments.add(token.start[0])
        elif token.type not in (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT,
                                tokenize.DEDENT, tokenize.ENDMARKER):  # fmt: skip
            code.update(range(token.start[0], token.end[0] + 1))
    for node in NODES[path]:
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            code -= set(range(node.lineno, node.end_lineno + 1))
    return len(code), len(comments)


def test_seams_are_typed_and_comments_say_why() -> None:
    counts = [lines_of_code(path) for path in FILES]
    code, comments = sum(c for c, _ in counts), sum(c for _, c in counts)
    texts = [path.read_text(encoding="utf-8") for path in FILES]
    loose = sum(text.count("dict[str, Any]") for text in texts)
    assert loose / code * 1000 <= DICT_ANY_PER_1000, (loose, code)
    assert comments / (code + comments) >= COMMENT_SHARE, (comments, code)
    assert sum(text.count("fmt: skip") for text in texts) <= FMT_SKIPS


def test_metrics_stand_in_one_table() -> None:
    tables = {
        place(path)
        for path, tree in TREES.items()
        for node in tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Dict)
        if "Metric(" in ast.unparse(node.value)
    }
    assert len(tables) <= METRIC_TABLES, tables


def test_a_training_method_is_a_small_module() -> None:
    """Of at most 150 lines, comments aside."""
    for path in FILES:
        if any(isinstance(n, ast.FunctionDef) and n.name == "trainer" for n in TREES[path].body):
            lines = path.read_text(encoding="utf-8").count("\n") - lines_of_code(path)[1]
            assert lines <= 150, path


def test_light_modules_load_no_ray_torch_or_vllm() -> None:
    code = (
        "import sys, raytune_agents.cli.app\n"
        "light = sorted({'pydantic', 'yaml', 'numpy', 'pyarrow'} & set(sys.modules))\n"
        "import raytune_agents.config, raytune_agents.records, raytune_agents.runs\n"
        "import raytune_agents.report, raytune_agents.pipeline.run\n"
        "print(light, sorted({'ray', 'torch', 'vllm', 'transformers'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[] []"


def test_commands_that_only_look_start_at_once() -> None:
    """What `trials`, `compare` and `read --explain` load holds none of scipy's slow rooms."""
    code = (
        "import sys, raytune_agents.tune, raytune_agents.evaluate.ab, raytune_agents.readers\n"
        "print(sorted({'scipy.stats', 'scipy.optimize', 'sklearn', 'ray'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_only_the_engine_its_metrics_and_its_parser_import_vllm() -> None:
    users = set()
    for path, nodes in NODES.items():
        for node in nodes:
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            users |= {place(path) for name in names if name.split(".")[0] == "vllm"}
    parts = ("engine.py", "engine_metrics.py", "replies.py")
    assert users == {f"inference/{part}" for part in parts}


def test_nothing_is_printed_outside_the_command_line() -> None:
    users = {
        place(path)
        for path, nodes in NODES.items()
        for node in nodes
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print"
    }
    assert {u for u in users if not u.startswith("cli/")} <= {
        "infra/watchdog.py",  # the process ends in the next line
        "sandbox/child.py",  # its protocol
    }


def test_test_files_have_names_of_their_own() -> None:
    """pytest imports them by name: two of one name cannot be collected together."""
    names = [path.name for path in TESTS]
    assert len(names) == len(set(names))
