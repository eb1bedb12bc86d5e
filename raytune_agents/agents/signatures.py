"""Typed Python functions -> tools: the schema from the signature, descriptions from the docstring.

The file is read, never run. Known annotations: str, int, float, bool, None, list, dict, tuple,
Literal, Optional, unions, Annotated[T, "description"], date and datetime, and the file's own type
aliases, Enum, dataclass, TypedDict and model classes.
"""

from __future__ import annotations

import ast
import re
from typing import Any

from raytune_agents.config import ConfigError

PLAIN = {
    "str": {"type": "string"}, "int": {"type": "integer"}, "float": {"type": "number"},
    "bool": {"type": "boolean"}, "None": {"type": "null"}, "dict": {"type": "object"},
    "date": {"type": "string", "format": "date"}, "UUID": {"type": "string", "format": "uuid"},
    "datetime": {"type": "string", "format": "date-time"}, "Path": {"type": "string"},
    "time": {"type": "string", "format": "time"}, "Decimal": {"type": "number"},
}  # fmt: skip
LISTS = ("list", "List", "Sequence", "Iterable", "Set", "set", "frozenset", "tuple", "Tuple")
MAPS = ("dict", "Dict", "Mapping", "MutableMapping")
JSON_WORD = {str: "string", int: "integer", float: "number", bool: "boolean"}
SECTION = re.compile(r"^\s*(args|arguments|parameters|params)\s*:?\s*$", re.I)
OTHER_SECTION = re.compile(r"^\s*(returns?|yields?|raises?|examples?|notes?)\s*:?\s*$", re.I)
GOOGLE = re.compile(r"^(\s+)\*{0,2}(\w+)\s*(?:\([^)]*\))?\s*:\s*(.*)$")
NUMPY = re.compile(r"^(\s*)(\w+)\s*:\s*\S.*$")
REST = re.compile(r"^\s*:param\s+(?:[\w\[\], |]+\s+)?(\w+)\s*:\s*(.*)$")


Names = dict[str, ast.ClassDef | ast.expr]  # the file's own classes and type aliases


class Untyped(ValueError):
    """An annotation that says no JSON type; the message is what is wrong with it."""


# --- annotations ----------------------------------------------------------------------------------


def _name(node: ast.expr) -> str:
    """The last part of a dotted name: datetime.date -> date."""
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def _literal(values: list[Any]) -> dict[str, Any]:
    kinds = {type(v) for v in values}
    if len(kinds) != 1 or kinds - set(JSON_WORD):
        raise Untyped(f"values {values} of several types")
    return {"type": JSON_WORD[kinds.pop()], "enum": values}


def _union(options: list[ast.expr], classes: Names) -> dict[str, Any]:
    kept = [schema_of(o, classes) for o in options]
    kept = [s for s in kept if s != {"type": "null"}]
    return kept[0] if len(kept) == 1 else {"anyOf": kept}


def _class(node: ast.ClassDef, classes: Names) -> dict[str, Any]:
    """An Enum as its values; any other class as an object of its annotated fields."""
    if any(_name(b) in ("Enum", "StrEnum", "IntEnum") for b in node.bases):
        return _literal([ast.literal_eval(s.value) for s in node.body if isinstance(s, ast.Assign)])
    fields = [
        (s.target.id, s)
        for s in node.body
        if isinstance(s, ast.AnnAssign) and isinstance(s.target, ast.Name)
    ]
    if not fields:
        raise Untyped(f"class {node.name} has no annotated fields")
    inner = {k: v for k, v in classes.items() if k != node.name}  # a class inside itself has no end
    properties = {name: schema_of(s.annotation, inner) for name, s in fields}
    required = [name for name, s in fields if s.value is None]
    return {"type": "object", "properties": properties, "required": required}


def _subscript(node: ast.Subscript, classes: Names) -> dict[str, Any]:
    name = _name(node.value)
    inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    if name == "Annotated":
        words = [ast.literal_eval(i) for i in inner[1:] if isinstance(i, ast.Constant)]
        text = next((w for w in words if isinstance(w, str)), "")
        return schema_of(inner[0], classes) | ({"description": text} if text else {})
    if name == "Literal":
        return _literal([ast.literal_eval(i) for i in inner])
    if name in ("Optional", "Union"):
        return _union(inner, classes)
    if name in LISTS:
        first = [i for i in inner if not (isinstance(i, ast.Constant) and i.value is Ellipsis)]
        return {"type": "array", "items": schema_of(first[0], classes)}
    if name in MAPS:
        return {"type": "object", "additionalProperties": schema_of(inner[-1], classes)}
    raise Untyped(f"annotation {ast.unparse(node)!r} is not known")


def schema_of(node: ast.expr, classes: Names) -> dict[str, Any]:
    """The JSON Schema of an annotation. Raises Untyped."""
    if isinstance(node, ast.Constant):
        if isinstance(node.value, str):  # a quoted annotation
            return schema_of(ast.parse(node.value, mode="eval").body, classes)
        return dict(PLAIN["None"])
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return _union([node.left, node.right], classes)
    if isinstance(node, ast.Subscript):
        return _subscript(node, classes)
    name = _name(node)
    if name in PLAIN:
        return dict(PLAIN[name])
    if name in LISTS:
        return {"type": "array", "items": {"type": "string"}}
    if name in classes:
        found = classes[name]
        if isinstance(found, ast.ClassDef):
            return _class(found, classes)
        return schema_of(found, {k: v for k, v in classes.items() if k != name})
    raise Untyped(f"annotation {ast.unparse(node)!r} is not known")


# --- docstrings -----------------------------------------------------------------------------------


def docstring(text: str) -> tuple[str, dict[str, str]]:
    """A docstring -> (first paragraph in one line, argument -> description).

    Google's `Args:`, numpy's `Parameters` and `:param x:` are read.
    """
    lines = text.expandtabs().split("\n")
    said: dict[str, str] = {}
    inside, last, depth = False, "", None
    for line in lines:
        rest = REST.match(line)
        if rest:
            said[rest[1]] = last = rest[2].strip()
            inside, last = False, rest[1]
        elif SECTION.match(line):
            inside, last, depth = True, "", None
        elif OTHER_SECTION.match(line):
            inside = False
        elif inside and line.strip() and not set(line.strip()) <= {"-", "="}:
            found = GOOGLE.match(line) or NUMPY.match(line)
            indent = len(line) - len(line.lstrip())
            depth = indent if depth is None else depth
            if found and indent == depth:
                last = found[2]
                said[last] = found[3].strip() if found.re is GOOGLE else ""
            elif last:
                said[last] = f"{said[last]} {line.strip()}".strip()
    first = re.split(r"\n\s*\n|\n\s*:param|\n\s*(?:Args|Arguments|Parameters)\s*:?\s*\n", text)[0]
    return " ".join(first.split()), said


# --- functions ------------------------------------------------------------------------------------


def _tool(
    node: ast.FunctionDef | ast.AsyncFunctionDef, classes: Names, path: str
) -> dict[str, Any]:
    where = f"{path}: function {node.name!r}"
    if isinstance(node, ast.AsyncFunctionDef):
        raise ConfigError(
            f"{where} is async; tools are plain functions, write def {node.name}(...)"
        )
    spec = node.args
    if spec.vararg or spec.kwarg or spec.posonlyargs:
        raise ConfigError(
            f"{where} takes *args, **kwargs or positional-only arguments, which have no names to "
            "call by; name every parameter"
        )
    summary, said = docstring(ast.get_docstring(node) or "")
    names = [*spec.args, *spec.kwonlyargs]
    given = [None] * (len(spec.args) - len(spec.defaults)) + list(spec.defaults)
    properties, required = {}, []
    for arg, default in zip(names, [*given, *spec.kw_defaults]):
        if arg.annotation is None:
            raise ConfigError(f"{where} has no type for {arg.arg!r}; write {arg.arg}: str")
        try:
            schema = schema_of(arg.annotation, classes)
        except (Untyped, ValueError, SyntaxError) as error:
            raise ConfigError(
                f"{where}, parameter {arg.arg!r}: {error}; write str, int, float, bool, list[str], "
                "dict[str, str] or Literal[...]"
            ) from None
        if said.get(arg.arg):
            schema.setdefault("description", said[arg.arg])
        if default is None:
            required.append(arg.arg)
        elif isinstance(default, ast.Constant) and isinstance(default.value, str | int | float):
            schema["default"] = default.value
        properties[arg.arg] = schema
    parameters = {"type": "object", "properties": properties, "required": required}
    return {"name": node.name, "description": summary, "parameters": parameters}


def type_aliases(body: list[ast.stmt]) -> dict[str, ast.expr]:
    """Names that the file gives to types: `Day = Literal["Mon", "Tue"]`."""
    out = {}
    for node in body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            out[node.targets[0].id] = node.value
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
            out[node.target.id] = node.value
    return out


def python_tools(source: str, path: str) -> list[dict[str, Any]]:
    """Every public top-level function of a Python file as a tool. Raises ConfigError naming the
    place."""
    try:
        body = ast.parse(source).body
    except SyntaxError as error:
        raise ConfigError(f"{path} is not Python: line {error.lineno}: {error.msg}") from None
    classes: Names = {n.name: n for n in body if isinstance(n, ast.ClassDef)}
    classes |= type_aliases(body)
    functions = [n for n in body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    public = [n for n in functions if not n.name.startswith("_")]
    if not public:
        raise ConfigError(f"{path} has no public function; write def name(argument: str) -> ...")
    return [_tool(n, classes, path) for n in public]
