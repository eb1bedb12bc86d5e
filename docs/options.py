"""The page of all options, out of the config classes: `python docs/options.py` prints it.

It is made when the site is built (`docs/hooks.py`), so it cannot differ from the code.
"""

from __future__ import annotations

import json
import typing
from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Any, Literal

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BeforeValidator
from pydantic.fields import FieldInfo

from raytune_agents.config import BaseConfig, Config

HEAD = """# Options

Every option of a run, by section. Write it in the YAML file, or after it on the command line:
`raytune-agents run my.yaml train.learning_rate=2e-4`. An unknown option stops the run at once and
names the nearest one. `=` marks an option of where, how fast or how often: another value leaves
finished steps done.
"""
BOUNDS = {Ge: ("ge", ">="), Gt: ("gt", ">"), Le: ("le", "<="), Lt: ("lt", "<")}
WORDS = {int: "integer", float: "number", str: "text", bool: "true or false", NoneType: "none"}


def sections(model: type[BaseConfig], name: str = "") -> Iterator[tuple[str, type[BaseConfig]]]:
    """(dotted name, class) of a section and those below it; `[]` is one of a list, `NAME` a key."""
    yield name, model
    for key, info in model.model_fields.items():
        for path, below in _below(info.annotation, f"{name}.{key}" if name else key):
            yield from sections(below, path)


def _below(kind: Any, path: str) -> Iterator[tuple[str, type[BaseConfig]]]:
    """The config classes that an annotation holds."""
    if isinstance(kind, type) and issubclass(kind, BaseConfig):
        yield path, kind
        return
    mark = {list: f"{path}[]", dict: f"{path}.NAME"}.get(typing.get_origin(kind), path)
    for part in typing.get_args(kind):
        yield from _below(part, mark)


def kind_text(kind: Any) -> str:
    """`integer or none`, `cosine, linear`, `list of text`."""
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if kind in WORDS:
        return WORDS[kind]
    if origin is Literal:
        return ", ".join(f"`{part}`" for part in parts)
    if origin is typing.Annotated:
        return kind_text(parts[0])
    if origin in (typing.Union, UnionType):
        return " or ".join(kind_text(part) for part in parts)
    if origin in (list, tuple):
        return f"list of {kind_text(parts[0])}"
    if origin is dict:
        return f"{kind_text(parts[0])} -> {kind_text(parts[1])}"
    return "a section" if isinstance(kind, type) and issubclass(kind, BaseConfig) else "any value"


def bounds_text(info: FieldInfo) -> str:
    """`>= 0 <= 1`, or nothing."""
    found = [(*BOUNDS[type(m)], m) for m in info.metadata if type(m) in BOUNDS]
    return " ".join(f"{sign} {getattr(bound, name)}" for name, sign, bound in found)


def is_auto(info: FieldInfo) -> bool:
    """Whether `auto` may be written, which is held as 0."""
    return any(isinstance(m, BeforeValidator) for m in info.metadata)


def default_text(info: FieldInfo) -> str:
    """The default as YAML in one line."""
    if info.is_required():
        return "must be written"
    value = info.get_default(call_default_factory=True)
    if value == 0 and is_auto(info):
        return "`auto`"
    return f"`{json.dumps(plain(value), ensure_ascii=False)}`"


def plain(value: Any) -> Any:
    """Sections as mappings of what differs from their defaults."""
    if isinstance(value, BaseConfig):
        return value.model_dump(mode="json", exclude_defaults=True)
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    return [plain(v) for v in value] if isinstance(value, list | tuple) else value


def row_text(name: str, info: FieldInfo, operational: bool) -> str:
    """One line of a table."""
    kind = " ".join(filter(None, (kind_text(info.annotation), bounds_text(info))))
    kind += " or `auto`" if is_auto(info) else ""
    cells = [f"`{name}`{' =' if operational else ''}", kind, default_text(info)]
    cells.append(info.description or "")
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def options_page() -> str:
    """The page in Markdown: a table per section."""
    parts = [HEAD]
    for name, model in sections(Config):
        parts.append(f"## {name or 'top level'}\n")
        if model.__doc__:
            parts.append(" ".join(model.__doc__.split()) + "\n")
        parts.append("| option | type | default | what it is |\n|---|---|---|---|")
        leaves = {k: i for k, i in model.model_fields.items() if not is_section(i)}
        rows = [row_text(k, i, k in model.OPERATIONAL) for k, i in leaves.items()]
        parts.append("\n".join(rows) + "\n")
    return "\n".join(parts)


def is_section(info: FieldInfo) -> bool:
    """Whether the option is a section, which has a table of its own."""
    return isinstance(info.annotation, type) and issubclass(info.annotation, BaseConfig)


if __name__ == "__main__":
    print(options_page())
