"""Typed Python functions -> tools: the schema from the signature, descriptions from the docstring.

The file is read, never run. Known annotations: str, int, float, bool, None, list, dict, tuple,
Literal, Optional, unions, Annotated[T, "description"], date and datetime, and the file's own type
aliases, Enum, dataclass, TypedDict and model classes, with what pydantic's Field says of them.
"""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

from raytune_agents.agents.inlining import TooMany, inlined
from raytune_agents.config import ConfigError
from raytune_agents.records import JsonSchema

PLAIN = {
    "str": {"type": "string"},
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "bool": {"type": "boolean"},
    "None": {"type": "null"},
    "dict": {"type": "object"},
    "date": {"type": "string", "format": "date"},
    "UUID": {"type": "string", "format": "uuid"},
    "datetime": {"type": "string", "format": "date-time"},
    "Path": {"type": "string"},
    "time": {"type": "string", "format": "time"},
    "Decimal": {"type": "number"},
}
LISTS = ("list", "List", "Sequence", "Iterable", "Set", "set", "frozenset", "tuple", "Tuple")
# What a framework hands to a function itself, so that no model says it: FastMCP, pydantic-ai,
# OpenAI's and Google's agents, LangChain.
HANDED = ("Context", "RunContext", "RunContextWrapper", "ToolContext", "CallbackContext")
HANDED += ("RunnableConfig", "ToolRuntime", "Depends", "CurrentContext")
MARKERS = ("Required", "NotRequired", "ReadOnly", "Final")  # of a field, not of its type
MAPS = ("dict", "Dict", "Mapping", "MutableMapping")
JSON_WORD = {str: "string", int: "integer", float: "number", bool: "boolean"}
FIELD = {  # what pydantic's Field says -> JSON Schema
    "description": "description",
    "examples": "examples",
    "pattern": "pattern",
    "ge": "minimum",
    "gt": "exclusiveMinimum",
    "le": "maximum",
    "lt": "exclusiveMaximum",
    "multiple_of": "multipleOf",
}
SECTION = re.compile(r"^\s*(args|arguments|parameters|params|attributes)\s*+:?\s*+$", re.I)
OTHER_SECTION = re.compile(r"^\s*(returns?|yields?|raises?|examples?|notes?)\s*+:?\s*+$", re.I)
GOOGLE = re.compile(r"^(\s+)\*{0,2}(\w+)(?:\s*\([^)]*\))?\s*:\s*(.*)$")
NUMPY = re.compile(r"^(\s*)(\w+)\s*:\s*\S.*$")
REST = re.compile(r"^\s*:param\s([^:]*):\s*(.*)$")  # the last word before the colon is the name


class Untyped(ValueError):
    """An annotation that says no JSON type; the message is what is wrong with it."""


# --- annotations ----------------------------------------------------------------------------------


def _name(node: ast.expr) -> str:
    """The last part of a dotted name: datetime.date -> date."""
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def _literal(values: list[Any]) -> JsonSchema:
    kinds = {type(v) for v in values}
    if len(kinds) != 1 or kinds - set(JSON_WORD):
        raise Untyped(f"values {values} of several types")
    return {"type": JSON_WORD[kinds.pop()], "enum": values}


class Types:
    """The file's own classes and type aliases. Each is read once and stands as a reference to it in
    what names it: classes may name each other."""

    def __init__(self, names: dict[str, ast.ClassDef | ast.expr]) -> None:
        self.names = names
        self.schemas: dict[str, JsonSchema] = {}
        self.open: set[str] = set()  # being read

    def reference(self, name: str) -> JsonSchema:
        """`$ref` to the schema of a class or an alias. Raises Untyped."""
        found = self.names[name]
        if name in self.open and not isinstance(found, ast.ClassDef):
            raise Untyped(f"annotation {name!r} is not known")  # an alias of itself
        if name not in self.schemas and name not in self.open:
            self.open.add(name)
            if isinstance(found, ast.ClassDef):
                self.schemas[name] = _class(found, self)
            else:
                self.schemas[name] = annotation_schema(found, self)
            self.open.discard(name)
        return {"$ref": f"#/$defs/{name}"}


def _options(node: ast.expr) -> list[ast.expr]:
    """The members of `a | b | c`; not by recursion, a union may be long."""
    out: list[ast.expr] = []
    while isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        out.append(node.right)
        node = node.left
    return [node, *reversed(out)]


def _union(options: list[ast.expr], types: Types) -> JsonSchema:
    """Of the options that have a JSON type: another is a mark that nothing was given."""
    kept, unknown = [], None
    for option in options:
        try:
            kept.append(annotation_schema(option, types))
        except Untyped as error:
            if types.names.keys() & set(re.findall(r"\w+", ast.unparse(option))):
                raise
            unknown = error
    if unknown and all(s == {"type": "null"} for s in kept):
        raise unknown
    kept = [s for i, s in enumerate(kept) if s != {"type": "null"} and s not in kept[:i]]
    return kept[0] if len(kept) == 1 else {"anyOf": kept}


def _handed(node: ast.expr, types: Types) -> bool:
    """Whether an annotation says that the framework gives the value: `ctx: Context | None`,
    `Annotated[dict, InjectedState]`."""
    names = {_name(n) for n in ast.walk(node) if isinstance(n, ast.expr)}
    return any(n in HANDED or n.startswith("Injected") for n in names - set(types.names))


def _field(value: ast.expr | None) -> tuple[JsonSchema, ast.expr | None]:
    """What a default `Field(...)` says of its type, and the default itself, None for none."""
    said: JsonSchema = {}
    if isinstance(value, ast.Call) and _name(value.func) in ("Field", "field"):
        words = {k.arg: k.value for k in value.keywords}
        for word, key in FIELD.items():
            if isinstance(words.get(word), ast.Constant | ast.List | ast.UnaryOp):
                said[key] = ast.literal_eval(words[word])
        made = words.get("default", words.get("default_factory"))
        value = value.args[0] if value.args else made
    empty = isinstance(value, ast.Constant) and value.value is Ellipsis
    return said, None if empty else value


def _default(node: ast.expr | None, types: Types) -> JsonSchema:
    """The default that a schema says: a literal, -14 and [] too, or a member of an Enum."""
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        members = types.names.get(node.value.id)
        named = members.body if isinstance(members, ast.ClassDef) else []
        found = {_name(s.targets[0]): s.value for s in named if isinstance(s, ast.Assign)}
        node = found.get(node.attr)
    try:
        value = ast.literal_eval(node) if node is not None else None
        json.dumps(value, allow_nan=False)
    except (ValueError, TypeError, MemoryError, RecursionError):
        return {}  # a call or a name: known when the program runs
    return {} if value is None or isinstance(value, tuple) else {"default": value}


def _class(node: ast.ClassDef, types: Types) -> JsonSchema:
    """An Enum as its values; any other class as an object of its annotated fields."""
    if any(_name(b) in ("Enum", "StrEnum", "IntEnum") for b in node.bases):
        return _literal([ast.literal_eval(s.value) for s in node.body if isinstance(s, ast.Assign)])
    annotated = (s for s in node.body if isinstance(s, ast.AnnAssign))
    fields = {s.target.id: s for s in annotated if isinstance(s.target, ast.Name)}
    if not fields:
        raise Untyped(f"class {node.name} has no annotated fields")
    described = docstring(ast.get_docstring(node) or "")[1]
    partial = any(k.arg == "total" and ast.unparse(k.value) == "False" for k in node.keywords)
    properties, required = {}, []
    for name, statement in fields.items():
        kind, (said, default) = statement.annotation, _field(statement.value)
        text = {"description": described[name]} if described.get(name) else {}
        schema = annotation_schema(kind, types) | text | said
        properties[name] = schema | _default(default, types)
        marker = _name(kind.value) if isinstance(kind, ast.Subscript) else ""
        if marker == "Required" or not (partial or default or marker == "NotRequired"):
            required.append(name)
    return {"type": "object", "properties": properties, "required": required}


def _subscript(node: ast.Subscript, types: Types) -> JsonSchema:
    name = _name(node.value)
    inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    inner = [i for i in inner if not (isinstance(i, ast.Constant) and i.value is Ellipsis)]
    if name == "Literal":
        return _literal([ast.literal_eval(i) for i in inner])
    if not inner:
        raise Untyped(f"annotation {ast.unparse(node)!r} holds no type")
    if name == "Annotated":
        words = [ast.literal_eval(i) for i in inner[1:] if isinstance(i, ast.Constant)]
        text = next((w for w in words if isinstance(w, str)), "")
        schema = annotation_schema(inner[0], types) | ({"description": text} if text else {})
        for said in inner[1:]:
            schema |= _field(said)[0]
        return schema
    if name in MARKERS:
        return annotation_schema(inner[0], types)
    if name in ("Optional", "Union"):
        return _union(inner, types)
    if name in LISTS:
        return {"type": "array", "items": annotation_schema(inner[0], types)}
    if name in MAPS:
        return {"type": "object", "additionalProperties": annotation_schema(inner[-1], types)}
    raise Untyped(f"annotation {ast.unparse(node)!r} is not known")


def annotation_schema(node: ast.expr, types: Types) -> JsonSchema:
    """The JSON Schema of an annotation. Raises Untyped."""
    if isinstance(node, ast.Constant):
        if isinstance(node.value, str):  # a quoted annotation
            return annotation_schema(ast.parse(node.value, mode="eval").body, types)
        return dict(PLAIN["None"])
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return _union(_options(node), types)
    if isinstance(node, ast.Subscript):
        return _subscript(node, types)
    name = _name(node)
    if name == "Any":
        return {}
    if name in PLAIN:
        return dict(PLAIN[name])
    if name in LISTS:
        return {"type": "array", "items": {"type": "string"}}
    if name in types.names:
        return types.reference(name)
    raise Untyped(f"annotation {ast.unparse(node)!r} is not known")


# --- docstrings -----------------------------------------------------------------------------------


def docstring(text: str) -> tuple[str, dict[str, str]]:
    """A docstring -> (first paragraph in one line, argument -> description).

    Google's `Args:`, numpy's `Parameters` and `:param x:` are read.
    """
    lines = text.expandtabs().split("\n")
    described: dict[str, str] = {}
    inside, last, depth = False, "", None
    for line in lines:
        rest = REST.match(line)
        if rest and rest[1].split():
            inside, last = False, rest[1].split()[-1]
            described[last] = rest[2].strip()
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
                described[last] = found[3].strip() if found.re is GOOGLE else ""
            elif last:
                described[last] = f"{described[last]} {line.strip()}".strip()
    first: list[str] = []
    for line in lines:
        if first and (not line.strip() or SECTION.match(line) or REST.match(line)):
            break
        first += line.split()
    return " ".join(first), described


# --- functions ------------------------------------------------------------------------------------


def _tool(node: ast.FunctionDef | ast.AsyncFunctionDef, types: Types, path: str) -> JsonSchema:
    where = f"{path}: function {node.name!r}"
    spec = node.args
    if spec.vararg or spec.kwarg or spec.posonlyargs:
        raise ConfigError(
            f"{where} takes *args, **kwargs or positional-only arguments, which have no names to "
            "call by; name every parameter"
        )
    text = ast.get_docstring(node) or ""
    summary, described = docstring(text)
    names = [*spec.args, *spec.kwonlyargs]
    for line in text.partition("\n\n")[2].split("\n"):  # no heading: "dest: where it goes"
        name, colon, about = line.strip().partition(": ")
        if colon and name in (a.arg for a in names):
            described.setdefault(name, about.strip())
    defaults = [None] * (len(spec.args) - len(spec.defaults)) + list(spec.defaults)
    properties, required = {}, []
    for arg, default in zip(names, [*defaults, *spec.kw_defaults]):
        if arg.annotation is None:
            raise ConfigError(f"{where} has no type for {arg.arg!r}; write {arg.arg}: str")
        if _handed(arg.annotation, types):
            continue
        try:
            schema = annotation_schema(arg.annotation, types)
        except (Untyped, ValueError, SyntaxError) as error:
            raise ConfigError(
                f"{where}, parameter {arg.arg!r}: {error}; write str, int, float, bool, list[str], "
                "dict[str, str] or Literal[...]"
            ) from None
        said, default = _field(default)
        schema |= said
        if described.get(arg.arg):
            schema.setdefault("description", described[arg.arg])
        if default is None:
            required.append(arg.arg)
        properties[arg.arg] = schema | _default(default, types)
    parameters = {"type": "object", "properties": properties, "required": required}
    parameters = inlined(parameters, {"$defs": types.schemas})
    return {"name": node.name, "description": summary, "parameters": parameters}


def imported_types(body: list[ast.stmt], folder: Path) -> dict[str, ast.ClassDef | ast.expr]:
    """The classes and aliases that the file imports from files beside it."""
    found: dict[str, ast.ClassDef | ast.expr] = {}
    for module in [n.module for n in body if isinstance(n, ast.ImportFrom) and n.module]:
        beside = folder / f"{module.rpartition('.')[2]}.py"
        try:
            found |= own_types(ast.parse(beside.read_text(encoding="utf-8")).body)
        except (OSError, ValueError, SyntaxError, RecursionError, MemoryError):
            continue  # of a package, or not to be read: what it names stays unknown
    return found


def own_types(body: list[ast.stmt]) -> dict[str, ast.ClassDef | ast.expr]:
    """The classes and aliases of a file."""
    return {**{n.name: n for n in body if isinstance(n, ast.ClassDef)}, **type_aliases(body)}


def _marks_tool(decorator: ast.expr) -> bool:
    """Whether a decorator makes a tool: `@tool`, `@mcp.tool(name="x")`, `@function_tool`."""
    node = decorator.func if isinstance(decorator, ast.Call) else decorator
    return "tool" in _name(node).lower().split("_")


def type_aliases(body: list[ast.stmt]) -> dict[str, ast.expr]:
    """Names that the file gives to types: `Day = Literal["Mon", "Tue"]`."""
    nodes = [n for n in body if isinstance(n, ast.Assign | ast.AnnAssign)]
    named = ((n.target if isinstance(n, ast.AnnAssign) else n.targets[0], n.value) for n in nodes)
    return {to.id: value for to, value in named if isinstance(to, ast.Name) and value}


def python_tools(source: str, path: str) -> list[JsonSchema]:
    """Every public top-level function of a Python file as a tool. Raises ConfigError naming the
    place."""
    try:
        body = ast.parse(source).body
    except SyntaxError as error:
        raise ConfigError(f"{path} is not Python: line {error.lineno}: {error.msg}") from None
    except (ValueError, RecursionError, MemoryError) as error:  # a null byte, a thousand brackets
        raise ConfigError(f"{path} cannot be parsed: {str(error)[:80]}") from None
    types = Types(imported_types(body, Path(path).parent) | own_types(body))
    functions = [n for n in body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    # Where some are marked as tools the others serve them.
    marked = [n for n in functions if any(map(_marks_tool, n.decorator_list))]
    public = marked or [n for n in functions if not n.name.startswith("_")]
    if not public:
        raise ConfigError(f"{path} has no public function; write def name(argument: str) -> ...")
    tools = []
    for node in public:
        try:
            tools.append(_tool(node, types, path))
        except (RecursionError, TooMany):
            raise ConfigError(
                f"{path}: function {node.name!r}: its annotations are nested too deeply or too "
                "large for a tool; write plainer types"
            ) from None
    return tools
