"""YAML plus dotted overrides -> Config, or a ConfigError with one line for each wrong key."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from raytune_agents.config.base import ConfigError
from raytune_agents.config.tree import Config


def known_keys(model: type[BaseModel] = Config, prefix: str = "") -> dict[str, Any]:
    """Dotted option -> its FieldInfo, for every leaf and section of the tree."""
    out: dict[str, Any] = {}
    for name, info in model.model_fields.items():
        out[prefix + name] = info
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            out |= known_keys(info.annotation, f"{prefix}{name}.")
    return out


def nearest(key: str) -> str:
    """A hint that names the known option nearest to `key`, or ''."""
    keys = list(known_keys())
    tails, last = {k.rsplit(".", 1)[-1]: k for k in keys}, key.rsplit(".", 1)[-1]
    match = [tails[last]] if last in tails else difflib.get_close_matches(key, keys, 1, 0.6)
    if not match:
        match = [tails[t] for t in difflib.get_close_matches(last, tails, 1, 0.6)]
    return (
        f"; did you mean {match[0]}?"
        if match
        else f"; known sections: {', '.join(Config.model_fields)}"
    )


def set_dotted(tree: dict[str, Any], key: str, value: Any) -> None:
    """Set `tree[a][b][c]` for the key "a.b.c", making mappings on the way."""
    *path, last = key.split(".")
    for part in path:
        tree = tree.setdefault(part, {})
        if not isinstance(tree, dict):
            raise ConfigError(
                f"{key}: {part!r} holds a value, not a section; write {part}: {{...}}"
            )
    tree[last] = value


def parse_overrides(overrides: list[str]) -> dict[str, Any]:
    """`["train.learning_rate=1e-4"]` -> nested dict; values are YAML (1e-4 is a number too)."""
    tree: dict[str, Any] = {}
    for item in overrides:
        key, sep, text = item.partition("=")
        if not sep or not key:
            raise ConfigError(f"override {item!r} has no value; write section.option=value")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ConfigError(f"override {item!r} is not YAML: {error}") from None
        set_dotted(tree, key, value)
    return tree


def merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Deep merge; mappings are merged, except weight vectors, pools, search spaces and objectives,
    which replace."""
    out = dict(base)
    for key, value in over.items():
        deep = (
            isinstance(value, dict)
            and isinstance(out.get(key), dict)
            and key not in ("weights", "pools", "space", "objective")
        )
        out[key] = merge(out[key], value) if deep else value
    return out


def _explain(error: ValidationError) -> str:
    lines = []
    for e in error.errors():
        parts = (str(p) for p in e["loc"])  # without the names of a union's types
        key = ".".join(p for p in parts if "[" not in p and "constrained-" not in p) or "config"
        if e["type"] == "extra_forbidden":
            lines.append(f"{key}: unknown option{nearest(key)}")
        elif e["type"] == "value_error":
            lines.append(f"{key}: {e['ctx']['error']}")
        else:
            lines.append(f"{key}={e['input']!r}: {e['msg']}")
    return "\n".join(lines)


def build(tree: dict[str, Any]) -> Config:
    """A nested dict -> Config. Raises ConfigError with one line for each wrong key."""
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(_explain(error)) from None


def load(path: str | Path | None = None, overrides: Sequence[str] = ()) -> Config:
    """Read a YAML file (none = all defaults), apply dotted overrides, validate. Raises
    ConfigError."""
    tree: Any = {}
    if path is not None:
        try:
            text = Path(path).read_text(encoding="utf-8")
        except OSError as error:
            raise ConfigError(
                f"CONFIG={str(path)!r} cannot be read ({error.strerror}); write the path of a "
                "YAML file, for example jobs/configs/smoke_cpu.yaml"
            ) from None
        except UnicodeDecodeError as error:
            raise ConfigError(
                f"CONFIG={str(path)!r} is not UTF-8 text (byte {error.start}); write a YAML file"
            ) from None
        try:
            tree = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ConfigError(f"CONFIG={str(path)!r} is not YAML: {error}") from None
        tree = {} if tree is None else tree
        if not isinstance(tree, dict):
            raise ConfigError(
                f"CONFIG={str(path)!r} holds a {type(tree).__name__}, not a mapping; "
                "write sections, for example train: {learning_rate: 1e-4}"
            )
    return build(merge(tree, parse_overrides(list(overrides))))
