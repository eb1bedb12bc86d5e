"""YAML plus dotted overrides -> Config, or a ConfigError with one line for each wrong key."""

from __future__ import annotations

import difflib
import re
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from raytune_agents.config.base import ConfigError
from raytune_agents.config.tree import Config
from raytune_agents.records import Options

DEEPEST, MOST_VALUES = 40, 1_000_000  # of a YAML file, its aliases written out
SHOWN = 200  # characters of a value in a message
SHOWN_ERRORS = 20  # lines of a message
ROWS = (".jsonl", ".ndjson", ".jsonlines", ".csv", ".tsv", ".parquet", ".gz", ".zst", ".bz2", ".xz")


class BoundedLoader(yaml.SafeLoader):
    """YAML 1.2, and 1_000: `no`, `off`, dates and 1:30 are text, 1e-4 is a number, 017 is none.
    Without a file that a few lines of aliases, or of merged mappings, blow up."""

    deepest = DEEPEST
    yaml_implicit_resolvers = {
        first: [(tag, form) for tag, form in found if tag.endswith((":null", ":merge"))]
        for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def compose_document(self) -> yaml.Node:
        node = super().compose_document()
        self._measure(node, 0, {})
        return node

    def _measure(self, node: yaml.Node, depth: int, known: dict[yaml.Node, int]) -> int:
        """The number of values below a node, its aliases written out."""
        if depth > self.deepest:
            raise yaml.YAMLError(f"it is nested more than {self.deepest} levels deep")
        if node not in known:
            below: list[yaml.Node] = []
            if isinstance(node, yaml.SequenceNode):
                below = node.value
            elif isinstance(node, yaml.MappingNode):
                below = [part for pair in node.value for part in pair]
            known[node] = 1 + sum(self._measure(part, depth + 1, known) for part in below)
        if known[node] > MOST_VALUES:
            raise yaml.YAMLError(f"it holds more than {MOST_VALUES:,} values")
        return known[node]


class _Dumper(yaml.SafeDumper):
    """Quotes a text that YAML 1.1 or 1.2 would read as something else."""


for _kind, _form, _starts in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?(?:0|[1-9][\d_]*)|0x[0-9a-fA-F]+|0o[0-7]+", "-+0123456789"),
    (
        "float",
        r"[-+]?(?:(?:\.\d+|\d+\.\d*)(?:[eE][-+]?\d+)?|\d+[eE][-+]?\d+|\.(?:inf|Inf|INF))"
        r"|\.(?:nan|NaN|NAN)",
        "-+.0123456789",
    ),
):
    for _either in (BoundedLoader, _Dumper):
        _either.add_implicit_resolver(
            f"tag:yaml.org,2002:{_kind}", re.compile(rf"(?:{_form})$", re.A), list(_starts)
        )


def yaml_text(tree: Any, **options: Any) -> str:
    """The tree as YAML that reads back as it is; `options` of yaml.dump."""
    shown = {"sort_keys": False, "allow_unicode": True} | options
    return yaml.dump(tree, Dumper=_Dumper, **shown)


class _Loader(BoundedLoader):
    """YAML as JSON has it: no key twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys: list[Hashable] = []
        for key_node, _ in node.value:
            if key_node.tag != "tag:yaml.org,2002:merge":
                key = self.construct_object(key_node, deep=True)
                if key in keys:
                    line = key_node.start_mark.line + 1
                    raise yaml.YAMLError(f"line {line}: {key!r} stands twice; write it once")
                keys.append(key)
        return super().construct_mapping(node, deep)


def parse_yaml(text: str, what: str) -> Any:
    """The values of a YAML text, `what` names it in messages. Raises ConfigError."""
    try:
        return yaml.load(text, _Loader)
    except RecursionError:
        why: object = f"it is nested more than {DEEPEST} levels deep"
    except (yaml.YAMLError, ValueError, TypeError) as error:
        why = error
    raise ConfigError(f"{what} is not YAML that we read: {why}")


def known_keys(model: type[BaseModel] = Config, prefix: str = "") -> Options:
    """Dotted option -> its FieldInfo, for every leaf and section of the tree."""
    out: Options = {}
    for name, info in model.model_fields.items():
        out[prefix + name] = info
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            out |= known_keys(info.annotation, f"{prefix}{name}.")
    return out


def nearest_option(key: str) -> str:
    """A hint that names the known option nearest to `key`, or ''."""
    keys = list(known_keys())
    if key in keys:  # dotted, which only overrides are
        return f"; write sections: {{{key.replace('.', ': {')}: ...{'}' * (key.count('.') + 1)}"
    tails, last = {k.rsplit(".", 1)[-1]: k for k in keys}, key.rsplit(".", 1)[-1]
    match = [tails[last]] if last in tails else _short_for(key, keys)
    match = match or difflib.get_close_matches(key, keys, 1, 0.6)
    if not match:
        match = [tails[t] for t in difflib.get_close_matches(last, tails, 1, 0.6)]
    return (
        f"; did you mean {match[0]}?"
        if match
        else f"; known sections: {', '.join(Config.model_fields)}"
    )


def _short_for(key: str, keys: list[str]) -> list[str]:
    """The option of its section that a key shortens: lr, epochs."""
    config, _, last = key.rpartition(".")
    words = {k: k[len(config) + 1 :].split("_") for k in keys if k.startswith(f"{config}.")}
    initials = [k for k, w in words.items() if "".join(x[:1] for x in w) == last]
    return [*initials, *(k for k, w in words.items() if last in w)][:1] if config else []


def set_dotted(tree: Options, key: str, value: Any) -> None:
    """Set `tree[a][b][c]` for the key "a.b.c", making mappings on the way."""
    *path, last = key.split(".")
    for part in path:
        tree = tree.setdefault(part, {})
        if not isinstance(tree, dict):
            raise ConfigError(
                f"{key}: {part!r} holds a value, not a section; write {part}: {{...}}"
            )
    tree[last] = value


def parse_overrides(overrides: list[str]) -> Options:
    """`["train.learning_rate=1e-4"]` -> nested dict; values are YAML (1e-4 is a number too)."""
    tree: Options = {}
    for item in overrides:
        key, sep, text = item.partition("=")
        if not sep or not all(key.split(".")):
            raise ConfigError(
                f"override {item[:SHOWN]!r} is no section.option=value; write for example seed=3"
            )
        if key.count(".") > DEEPEST:
            raise ConfigError(f"override {item[:SHOWN]!r}: no section lies so deep")
        set_dotted(tree, key, parse_yaml(text, f"override {item[:SHOWN]!r}"))
    return tree


def deep_merge(base: Options, over: Options) -> Options:
    """Deep merge; mappings are merged, except weight vectors, pools, search spaces and objectives,
    which replace."""
    out = dict(base)
    for key, value in over.items():
        deep = (
            isinstance(value, dict)
            and isinstance(out.get(key), dict)
            and key not in ("weights", "pools", "space", "objective")
        )
        out[key] = deep_merge(out[key], value) if deep else value
    return out


def explain_errors(error: ValidationError) -> str:
    """One line for each wrong key."""
    lines: dict[str, list[str]] = {}
    for e in error.errors()[:SHOWN_ERRORS]:
        parts = (str(p) for p in e["loc"])  # without the names of a union's types
        key = ".".join(p for p in parts if "[" not in p and "constrained-" not in p) or "config"
        if e["type"] == "extra_forbidden":
            lines[f"{key}: unknown option{nearest_option(key)}"] = []
        elif e["type"] == "value_error":
            lines[f"{key}: {e['ctx']['error']}"] = []
        else:  # a union gives an error for each of its types
            lines.setdefault(f"{key}={repr(e['input'])[:SHOWN]}", []).append(e["msg"])
    about = {key: getattr(info, "description", None) for key, info in known_keys().items()}
    return "\n".join(_explained(wrong, why, about) for wrong, why in lines.items())


def _explained(wrong: str, why: list[str], about: Options) -> str:
    """`key=value: Input should be A or B (what the option is)`."""
    if not why:
        return wrong
    first, *others = why
    hint = about.get(wrong.partition("=")[0])
    said = " or ".join([first, *(o.removeprefix("Input should be ") for o in others)])
    return f"{wrong}: {said}" + (f" ({hint})" if hint else "")


def build_config(tree: Options) -> Config:
    """A nested dict -> Config. Raises ConfigError with one line for each wrong key."""
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(explain_errors(error)) from None


def other_kind(path: str, tree: Any = None) -> str:
    """What a file is instead of a config, and what to write; "" for what may be one."""
    file = Path(path)
    if file.suffix.lower() in ROWS:
        return f"holds rows; write raytune-agents init --positives {path}, and run what it wrote"
    if file.suffix == ".py" or (isinstance(tree, dict) and {"openapi", "swagger"} & set(tree)):
        return f"holds tools; write raytune-agents init --tools {path}, and run what it wrote"
    if isinstance(tree, dict) and {"description", "tools"} <= set(tree):
        run = file.with_name(f"{file.stem}_run.yaml")
        write = str(run) if run.is_file() else f"a config with generate: {{agents: [{path}]}}"
        return f"is an agent's spec, not the config of a run; write {write}"
    return ""


def load_config(path: str | Path | None = None, overrides: Sequence[str] = ()) -> Config:
    """Read a YAML file (none = all defaults), apply dotted overrides, validate. Raises
    ConfigError."""
    tree: Any = {}
    if path is not None:
        if kind := other_kind(str(path)):
            raise ConfigError(f"CONFIG={str(path)!r} {kind}")
        try:
            if Path(path).exists() and not Path(path).is_file():
                raise OSError(0, "it is no file")
            text = Path(path).read_text(encoding="utf-8")
        except OSError as error:
            raise ConfigError(
                f"CONFIG={str(path)!r} cannot be read ({error.strerror}); write a YAML file's path"
            ) from None
        except UnicodeDecodeError as error:
            raise ConfigError(
                f"CONFIG={str(path)!r} is not UTF-8 text (byte {error.start}); write a YAML file"
            ) from None
        tree = parse_yaml(text, f"CONFIG={str(path)!r}")
        tree = {} if tree is None else tree
        if kind := other_kind(str(path), tree):
            raise ConfigError(f"CONFIG={str(path)!r} {kind}")
        if not isinstance(tree, dict):
            raise ConfigError(
                f"CONFIG={str(path)!r} holds a {type(tree).__name__}, not a mapping; write sections"
            )
    return build_config(deep_merge(tree, parse_overrides(list(overrides))))
