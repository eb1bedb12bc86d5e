"""A first spec from tools files of four kinds, and what wrong ones say."""

import json

import pytest
import yaml
from jsonschema import Draft202012Validator
from soon import ends_soon

from raytune_agents import agents
from raytune_agents.agents.init import init_spec, spec_from_rows, spec_schema, to_yaml
from raytune_agents.agents.inlining import unique_names
from raytune_agents.agents.signatures import docstring, python_tools
from raytune_agents.calls import judge, render_calls, schema_errors
from raytune_agents.config import ConfigError
from raytune_agents.generate import POOLS
from raytune_agents.generate.arguments import parameters_of
from raytune_agents.records import ToolSpec, Trajectory

PYTHON = '''
"""Tools."""
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Literal, Optional
import datetime

class Unit(str, Enum):
    C = "celsius"
    F = "fahrenheit"

@dataclass
class Box:
    width: int
    label: str = ""

def forecast(city: str, days: int = 3, unit: Unit = Unit.C, tags: list[str] | None = None):
    """Get the weather forecast.

    More text.

    Args:
        city: Name of the city,
            with its country.
        days (int): Days ahead.
    """
    raise SystemExit("reading must not run this")

def ship(box: Box, speed: Literal["slow", "fast"], when: datetime.date, *, insured: bool = False):
    """Ship a box.

    :param speed: How fast.
    """

def rate(score: float, note: Annotated[str, "Free text."],
         extra: Optional["dict[str, int]"] = None):
    """Rate it.

    Parameters
    ----------
    score : float
        From 0 to 1.
    """

def _hidden(x): ...
'''


def write(tmp_path, name: str, content) -> str:
    path = tmp_path / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


def test_python_functions(tmp_path):
    spec = init_spec(write(tmp_path, "my tools.py", PYTHON))
    assert spec.name == "my_tools"
    forecast, ship, rate = spec.tools
    assert forecast.description == "Get the weather forecast."
    assert forecast.parameters == {
        "type": "object",
        "properties": {
            "city": {"type": "string", "description": "Name of the city, with its country."},
            "days": {"type": "integer", "description": "Days ahead.", "default": 3},
            "unit": {"type": "string", "enum": ["celsius", "fahrenheit"], "default": "celsius"},
            "tags": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["city"],
    }
    assert ship.parameters["properties"] == {
        "box": {"type": "object", "required": ["width"],
                "properties": {"width": {"type": "integer"},
                               "label": {"type": "string", "default": ""}}},
        "speed": {"type": "string", "enum": ["slow", "fast"], "description": "How fast."},
        "when": {"type": "string", "format": "date"},
        "insured": {"type": "boolean", "default": False},
    }  # fmt: skip
    assert ship.parameters["required"] == ["box", "speed", "when"]
    assert rate.parameters["properties"] == {
        "score": {"type": "number", "description": "From 0 to 1."},
        "note": {"type": "string", "description": "Free text."},
        "extra": {"type": "object", "additionalProperties": {"type": "integer"}},
    }


def test_defaults_that_are_no_plain_word(tmp_path):
    source = '''
from enum import Enum
from dataclasses import dataclass, field

class Route(str, Enum):
    ORAL = "by mouth"
    SKIN = "on the skin"

@dataclass
class Mix:
    loudness: int = -14
    tags: list[str] = field(default_factory=list)

def give(mix: Mix, route: Route = Route.ORAL, gain: float = -1.5, tags: list[str] = ["a"],
         scale: float = float("inf"), other: str = Route.NONE, pair: tuple[int, int] = (1, 2)):
    """Give."""
'''
    (tool,) = init_spec(write(tmp_path, "t.py", source)).tools
    got = tool.parameters["properties"]
    defaults = {name: schema["default"] for name, schema in got.items() if "default" in schema}
    assert defaults == {"route": "by mouth", "gain": -1.5, "tags": ["a"]}
    assert got["mix"]["properties"]["loudness"]["default"] == -14
    assert "default" not in got["mix"]["properties"]["tags"]
    assert tool.parameters["required"] == ["mix"]


def test_type_aliases_of_the_file(tmp_path):
    source = '''
from typing import Literal, TypeAlias
Day = Literal["Mon", "Tue"]
Days: TypeAlias = "list[Day]"
Loop = Literal["x"] | "Loop"

def plan(days: Days, first: Day = "Mon") -> str:
    """Plan."""
'''
    (tool,) = init_spec(write(tmp_path, "t.py", source)).tools
    day = {"type": "string", "enum": ["Mon", "Tue"]}
    assert tool.parameters["properties"] == {
        "days": {"type": "array", "items": day},
        "first": day | {"default": "Mon"},
    }
    with pytest.raises(ConfigError, match="'Loop' is not known"):
        init_spec(write(tmp_path, "u.py", source + "\ndef bad(x: Loop): ...\n"))


def test_types_of_a_file_beside_it(tmp_path):
    write(tmp_path, "models.py", 'from typing import Literal\nFlight = Literal["one", "round"]\n')
    source = "from app.models import Flight\ndef book(kind: Flight):\n    'Book a flight.'"
    (tool,) = init_spec(write(tmp_path, "t.py", source)).tools
    assert tool.parameters["properties"]["kind"] == {"type": "string", "enum": ["one", "round"]}
    with pytest.raises(ConfigError, match="'Flight' is not known"):
        init_spec(write(tmp_path, "u.py", source.replace("app.models", "app.others")))


def test_fields_of_classes_say_what_they_are(tmp_path):
    source = '''
from typing import Annotated, NotRequired, TypedDict
from pydantic import BaseModel, Field

class Test(BaseModel):
    code: str = Field(description="LOINC code", examples=["2345-7"])
    runs: int = Field(1, ge=1, le=9)
    note: str = Field(..., pattern="^[A-Z]$")

class Slot(TypedDict):
    """A place in the week.

    Attributes:
        day: Weekday.
    """
    day: str
    room: NotRequired[str]

class Filter(TypedDict, total=False):
    city: str

def order(tests: list[Test], slot: Slot, only: Filter, level: Annotated[int, Field(ge=0)] = 2):
    """Order tests."""
'''
    (tool,) = init_spec(write(tmp_path, "t.py", source)).tools
    got = tool.parameters["properties"]
    test = got["tests"]["items"]
    assert test["required"] == ["code", "note"]
    assert test["properties"] == {
        "code": {"type": "string", "description": "LOINC code", "examples": ["2345-7"]},
        "runs": {"type": "integer", "minimum": 1, "maximum": 9, "default": 1},
        "note": {"type": "string", "pattern": "^[A-Z]$"},
    }
    assert got["slot"]["required"] == ["day"]
    assert got["only"]["required"] == []
    assert got["slot"]["properties"]["day"] == {"type": "string", "description": "Weekday."}
    assert got["level"] == {"type": "integer", "minimum": 0, "default": 2}


def test_docstrings():
    text = "Do it now.\nAnd here.\n\nArgs:\n  a: first\n  b: second: with colon\n\nReturns:\n  c: x"
    assert docstring(text) == ("Do it now. And here.", {"a": "first", "b": "second: with colon"})
    assert docstring("One line.\n:param str a: first\n:param b: second") == (
        "One line.", {"a": "first", "b": "second"})  # fmt: skip
    assert docstring("") == ("", {})


def test_a_tool_that_requires_what_it_does_not_declare_is_left_out_alone(tmp_path, caplog):
    size = {"type": "object", "properties": {"size": {"type": "integer"}}, "required": ["size"]}
    tools = [
        {"name": "knit_scarf", "description": "Knit a scarf.", "parameters": size},
        {"name": "dye_wool", "description": "Dye wool.",
         "parameters": size | {"required": ["size", "shade"]}},
    ]  # fmt: skip
    assert [t.name for t in init_spec(write(tmp_path, "t.json", tools)).tools] == ["knit_scarf"]
    assert "dye_wool" in caplog.text
    assert "take them out of required" in caplog.text
    with pytest.raises(ConfigError, match=r"requires ..shade"):
        init_spec(write(tmp_path, "t.json", tools[1:]))


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("def f(a): ...", "'f' has no type for 'a'; write a: str"),
        ("def f(a: object): ...", "parameter 'a': annotation 'object' is not known"),
        ("def f(*args: int): ...", "name every parameter"),
        ("def f(a: Literal[1, 'x']): ...", "of several types"),
        ("def f(a: int:", "is not Python: line 1"),
        ("x = 1", "no public function"),
    ],
)
def test_python_that_is_no_tool_module(code, says):
    with pytest.raises(ConfigError, match=r"t[.]py") as error:
        python_tools(code, "t.py")
    assert says in str(error.value)


def test_what_a_framework_hands_over_is_no_parameter_and_what_it_does_not_mark_no_tool():
    code = """
class Store: ...
def connect() -> Store: ...
@mcp.tool()
async def add_note(title: str, ctx: Context, tags: Annotated[list[str], "what about"] = []):
    \'\'\'Add a note.\'\'\'
@mcp.tool
def find(words: Union[str, NotGiven] = NOT_GIVEN, deep: Any = None, ctx: Context | None = None):
    \'\'\'Find notes.\'\'\'
@function_tool(strict=True)
def drop(wrapper: RunContextWrapper[Store], note: int, state: Annotated[dict, InjectedState]):
    \'\'\'Drop a note.\'\'\'
def main(): ...
"""
    add, find, drop = python_tools(code, "t.py")
    assert list(add["parameters"]["properties"]) == ["title", "tags"]
    assert add["parameters"]["required"] == ["title"]
    assert find["parameters"]["properties"]["words"]["type"] == "string"
    assert set(find["parameters"]["properties"]) == {"words", "deep"}
    assert list(drop["parameters"]["properties"]) == ["note"]
    own = "class Context:\n    shop: str\ndef f(ctx: Context):\n    'Do it.'"  # the file's own
    assert list(python_tools(own, "t.py")[0]["parameters"]["properties"]) == ["ctx"]


def test_async_functions_are_tools():
    (tool,) = python_tools('async def f(a: int):\n    """Do it."""', "t.py")
    assert (tool["name"], tool["description"]) == ("f", "Do it.")
    assert tool["parameters"]["required"] == ["a"]


SCHEMA = {"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"]}


@pytest.mark.parametrize(
    "content",
    [
        [{"type": "function", "function": {"name": "find", "parameters": SCHEMA}}],
        [{"name": "find", "description": "Find.", "parameters": SCHEMA}],
        {"tools": [{"name": "find", "description": "Find.", "inputSchema": SCHEMA}]},
        {"jsonrpc": "2.0", "id": 1, "result": {"tools": [{"name": "find", "inputSchema": SCHEMA}]}},
        {"functions": [{"name": "find", "input_schema": SCHEMA}]},
    ],
)
def test_json_tool_lists(tmp_path, content):
    spec = init_spec(write(tmp_path, "t.json", content))
    assert [t.name for t in spec.tools] == ["find"]
    assert spec.tools[0].description == "Find."
    assert spec.tools[0].parameters == SCHEMA
    spec = init_spec(write(tmp_path, "t.yaml", yaml.safe_dump(content)), name="mine")
    assert spec.name == "mine"


OPENAPI = {
    "openapi": "3.0.0",
    "paths": {
        "/pets/{petId}": {
            "parameters": [{"name": "petId", "in": "path", "required": True,
                            "schema": {"type": "integer"}, "description": "Which pet"}],
            "get": {"operationId": "getPet", "summary": "Get a pet."},
            "put": {"description": "Change a\n pet.",
                    "parameters": [{"name": "dry", "in": "query", "schema": {"type": "boolean"}},
                                   {"name": "X-Key", "in": "header", "schema": {"type": "string"}}],
                    "requestBody": {"content": {"application/json": {
                        "schema": {"$ref": "#/components/schemas/Pet"}}}}},
        }
    },
    "components": {"schemas": {
        "Pet": {"type": "object", "required": ["name"],
                "properties": {"name": {"type": "string"},
                               "kind": {"$ref": "#/components/schemas/Kind"},
                               "friend": {"$ref": "#/components/schemas/Pet"}}},
        "Kind": {"type": "string", "enum": ["cat", "dog"]}}},
}  # fmt: skip


def test_openapi(tmp_path):
    get, put = init_spec(write(tmp_path, "api.json", OPENAPI)).tools
    assert (get.name, get.description) == ("getPet", "Get a pet.")
    assert get.parameters["properties"] == {
        "petId": {"type": "integer", "description": "Which pet"}
    }
    assert (put.name, put.description) == ("put_pets_petId", "Change a pet.")
    assert list(put.parameters["properties"]) == ["petId", "dry", "name", "kind", "friend"]
    assert put.parameters["required"] == ["petId", "name"]
    assert put.parameters["properties"]["kind"] == {"type": "string", "enum": ["cat", "dog"]}
    assert "$ref" not in json.dumps(put.parameters)


ASKED = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
FLAT = {"city": {"type": "str", "required": True}}
NAMED = {"name": "forecast", "description": "Get the forecast for a city"}


@pytest.mark.parametrize(
    "tools",
    [
        pytest.param([{"type": "function", **NAMED, "parameters": ASKED}], id="responses"),
        pytest.param([NAMED | {"input_schema": ASKED}], id="anthropic"),
        pytest.param([{"functionDeclarations": [NAMED | {"parameters": ASKED}]}], id="gemini"),
        pytest.param({"toolConfig": {"tools": [{"toolSpec": NAMED | {"inputSchema": {
            "json": ASKED}}}]}}, id="bedrock"),
        pytest.param([NAMED | {"parameter_definitions": FLAT}], id="cohere"),
        pytest.param([NAMED | {"args_schema": ASKED}], id="langchain"),
        pytest.param([NAMED | {"inputs": {"city": {"type": "string"}}}], id="smolagents"),
        pytest.param({"functions": [NAMED | {"parameters": ASKED}]}, id="functions"),
        pytest.param({"forecast": {"description": NAMED["description"], "parameters": ASKED}},
                     id="a map"),
    ],
)  # fmt: skip
def test_tools_of_every_provider(tmp_path, tools):
    (tool,) = init_spec(write(tmp_path, "t.json", tools)).tools
    assert (tool.name, tool.description) == ("forecast", NAMED["description"])
    assert tool.parameters["properties"]["city"]["type"] == "string"
    assert tool.parameters["required"] == ["city"]


def test_lines_of_tools_and_lines_of_rows(tmp_path):
    lines = "\n".join(json.dumps(NAMED | {"name": n, "parameters": ASKED}) for n in ("a", "b"))
    assert [t.name for t in init_spec(write(tmp_path, "t.jsonl", lines)).tools] == ["a", "b"]
    row = json.dumps({"name": "ana", "city": "Oslo"})
    with pytest.raises(ConfigError, match="holds rows, not tools"):
        init_spec(write(tmp_path, "r.jsonl", lines + "\n" + row))


def test_who_calls_is_no_parameter(tmp_path):
    """Slack's document asks for its token in every query."""
    asked = [{"in": "query", "name": name, "type": "string", "required": True, "description": about}
             for name, about in (("token", "Authentication token. Requires scope: `emoji:read`"),
                                 ("page_token", "Token of the next page"))]  # fmt: skip
    operation = {"operationId": "emojis", "description": "Lists emoji.", "parameters": asked}
    document = {"swagger": "2.0", "paths": {"/emoji.list": {"get": operation}}}
    (tool,) = init_spec(write(tmp_path, "t.json", document)).tools
    assert list(tool.parameters["properties"]) == ["page_token"]


def test_swagger_2(tmp_path):
    document = {"swagger": "2.0", "paths": {"/x": {"post": {"operationId": "makeX", "parameters": [
        {"name": "n", "in": "query", "type": "integer", "required": True},
        {"name": "body", "in": "body", "schema": {"type": "object", "properties": {
            "t": {"type": "string"}}}}]}}}}  # fmt: skip
    (tool,) = init_spec(write(tmp_path, "s.json", document)).tools
    assert tool.description == "Make x."
    assert tool.parameters["properties"] == {"n": {"type": "integer"}, "t": {"type": "string"}}


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("t.json", [{"name": "f", "description": "d"}], "tool 0, 'f', has no schema"),
        ("t.json", [{"description": "d"}], "tool 0 has no name"),
        ("t.json", [], "holds no tools"),
        ("t.json", {"a": 1}, "holds no tools"),
        ("t.json", "{", "neither JSON nor YAML"),
        ("t.json", {"openapi": "3", "paths": {}}, "holds no tools"),
        ("none.json", None, "none.json cannot be read (No such file or directory); give"),
        ("rows.jsonl", '{"messages": []}\n{"messages": []}\n', "rows.jsonl holds rows, not tools"),
        ("rows.parquet", None, "holds rows, not tools; write --positives"),
        ("rows.json", [{"messages": []}], "holds rows, not tools; write --positives"),
    ],
)  # fmt: skip
def test_files_that_hold_no_tools(tmp_path, name, content, says):
    path = str(tmp_path / name) if content is None else write(tmp_path, name, content)
    with pytest.raises(ConfigError) as error:
        init_spec(path)
    assert says in str(error.value)
    assert str(error.value).startswith(path)
    assert ("neither JSON" in str(error.value)) == ("neither JSON" in says)


def test_a_parameter_without_a_type_is_read_by_its_words(tmp_path):
    (tool,) = init_spec(write(tmp_path, "t.json", [
        {"name": "rain", "description": "Get the weather in a city", "parameters": {
            "properties": {"city": {}, "days": {"default": 3}}}}])).tools  # fmt: skip
    assert tool.parameters["properties"] == {"city": {}, "days": {"default": 3}}
    assert {p.name: p.kind for p in parameters_of(tool)} == {"city": "city", "days": "days"}


def test_yaml_reads_back_as_the_same_spec(tmp_path):
    for spec in [
        init_spec(write(tmp_path, "p.py", PYTHON)),
        *map(agents.load_spec, agents.shipped()),
    ]:
        path = write(tmp_path, "again.yaml", to_yaml(spec))
        assert agents.load_spec(path) == spec


def test_the_published_schema_accepts_the_shipped_specs():
    schema = spec_schema()
    Draft202012Validator.check_schema(schema)
    check = Draft202012Validator(schema)
    for name in agents.shipped():
        check.validate(yaml.safe_load((agents.FOLDER / f"{name}.yaml").read_text()))
    assert list(check.iter_errors({"name": "x", "description": "d"}))
    assert list(check.iter_errors({"name": "x", "description": "d", "tools": [], "more": 1}))


def test_a_new_spec_generates_at_once(tmp_path):
    """A bare tools file: every pool that needs no world gives valid rows."""
    spec = init_spec(write(tmp_path, "p.py", PYTHON))
    for pool in ("tflan", "parallel", "followup", "notool", "masked", "irrelevant"):
        rows = POOLS[pool](spec, 16, 3)
        assert len(rows) >= 8, pool
        for row in rows:
            assert all(schema_errors(c, row.tools) == [] for c in row.calls), (pool, row.calls)
            text = row.target.content or render_calls(row.target.tool_calls)
            assert judge(text, row).ok
    assert POOLS["react"](spec, 5, 1) == []


# --- OpenAPI bodies, references, hostile documents --------------------------------------------


def operation(schema, parameters=(), **components):
    """A document with one operation that has this body."""
    content = {"content": {"application/json": {"schema": schema}}, "required": True}
    post = {"operationId": "doit", "summary": "Do it.", "requestBody": content,
            "parameters": list(parameters)}
    return {"openapi": "3.1.0", "components": {"schemas": components},
            "paths": {"/a/{id}" if parameters else "/a": {"post": post}}}


def field(name, kind="string", **more):
    return {"type": "object", "properties": {name: {"type": kind}}, "required": [name]} | more


TEXT = {"type": "string"}
BOTH = field("card", properties={"card": TEXT, "to": TEXT}, required=["to", "card"])
KINDS = [field("kind", properties={"kind": {"type": "string", "const": k}}) for k in "ab"]
STRICT = {"type": "integer", "minimum": 0, "exclusiveMinimum": True, "nullable": True}


@pytest.mark.parametrize(("schema", "properties", "required"), [
    ({"allOf": [{"$ref": "#/components/schemas/Base"}, field("extra")]},
     {"name": TEXT, "extra": TEXT}, ["name", "extra"]),
    ({"allOf": [field("a")], "properties": {"b": TEXT}}, {"a": TEXT, "b": TEXT}, ["a"]),
    ({"oneOf": [field("card"), field("iban")]}, {"card": TEXT, "iban": TEXT}, []),
    ({"anyOf": [BOTH, field("to")]}, {"card": TEXT, "to": TEXT}, ["to"]),
    ({"oneOf": KINDS}, {"kind": {"type": "string", "enum": ["a", "b"]}}, ["kind"]),
    ({"type": "array", "items": field("a")}, {"body": {"type": "array", "items": field("a")}},
     ["body"]),
    (TEXT, {"body": TEXT}, ["body"]),
    ({"type": "object", "additionalProperties": TEXT},
     {"body": {"type": "object", "additionalProperties": TEXT}}, ["body"]),
    (field("team", properties={"team": {"oneOf": [{"type": "null"}, TEXT]}}), {"team": TEXT},
     ["team"]),
    (field("a", properties={"a": {"anyOf": [TEXT, {"type": "integer"}, {"type": "null"}]}}),
     {"a": {"anyOf": [TEXT, {"type": "integer"}]}}, ["a"]),
    (field("a", properties={"a": {"allOf": [TEXT, {"description": "x"}]}}),
     {"a": {"type": "string", "description": "x"}}, ["a"]),
    (field("a", properties={"a": STRICT}), {"a": {"type": "integer", "exclusiveMinimum": 0}},
     ["a"]),
    (field("a", properties={"a": TEXT, "id": {"type": "string", "readOnly": True}}), {"a": TEXT},
     ["a"]),
    (field("a", properties={"a": {"properties": {"b": TEXT}}}),
     {"a": {"type": "object", "properties": {"b": TEXT}}}, ["a"]),
])
def test_bodies_of_any_form_keep_their_fields(tmp_path, schema, properties, required):
    document = operation(schema, Base=field("name"))
    (tool,) = init_spec(write(tmp_path, "api.json", document)).tools
    assert tool.parameters["properties"] == properties
    assert tool.parameters["required"] == required


def test_one_name_in_two_places(tmp_path):
    places = [{"name": "id", "in": p, "required": p == "path", "schema": {"type": t}}
              for p, t in (("query", "boolean"), ("path", "string"), ("header", "number"))]
    document = operation(field("id", "integer"), places)
    (tool,) = init_spec(write(tmp_path, "api.json", document)).tools
    assert tool.parameters["properties"] == {
        "id": {"type": "string"}, "query_id": {"type": "boolean"}, "body_id": {"type": "integer"}}
    assert tool.parameters["required"] == ["id", "body_id"]


def test_a_property_that_says_no_type_may_be_any(tmp_path):
    document = operation(field("a", properties={"a": {"description": "x"}, "b": True}))
    (tool,) = init_spec(write(tmp_path, "api.json", document)).tools
    for name in "ab":
        kinds = tool.parameters["properties"][name]["type"]
        assert kinds == ["string", "number", "boolean", "object", "array"]


def web_of(count):
    """Types that all name each other: written out they have no end."""
    names = [f"T{i}" for i in range(count)]
    inner = {m.lower(): {"$ref": f"#/components/schemas/{m}"} for m in names}
    return {n: {"type": "object", "properties": inner} for n in names}


def test_references_are_written_out_within_bounds(tmp_path):
    document = operation({"$ref": "#/components/schemas/T0"}, **web_of(12))
    with ends_soon():
        (tool,) = init_spec(write(tmp_path, "api.json", document)).tools
    assert sorted(tool.parameters["properties"]) == sorted(f"t{i}" for i in range(12))
    assert len(json.dumps(tool.parameters)) < 60_000
    assert "$ref" not in json.dumps(tool.parameters)
    chain = {f"A{i}": field("next", properties={"next": {"$ref": f"#/components/schemas/A{i + 1}"}})
             for i in range(6)} | {"A6": TEXT}
    document = operation({"$ref": "#/components/schemas/A0"}, **chain)
    (tool,) = init_spec(write(tmp_path, "b.json", document)).tools
    inner = tool.parameters["properties"]
    for _ in range(5):
        inner = inner["next"]["properties"]
    assert inner == {"next": TEXT}  # a chain is followed to its end


def test_tool_lists_with_references_and_composition(tmp_path):
    schema = {"type": "object", "$defs": {"C": TEXT}, "required": ["city"], "properties": {
        "city": {"$ref": "#/$defs/C"}, "unit": {"oneOf": [TEXT, {"type": "null"}]}}}
    tools = {"tools": [{"name": "f", "description": "d", "inputSchema": schema},
                       {"name": "g", "description": "d", "inputSchema": {"type": "object"}},
                       {"name": "h", "description": "d", "parameters": {"q": "str"}}]}
    f, g, h = init_spec(write(tmp_path, "t.json", tools)).tools
    assert f.parameters["properties"] == {"city": TEXT, "unit": TEXT}
    assert (g.parameters["properties"], h.parameters["properties"]) == ({}, {"q": TEXT})


def test_operations_of_one_name_are_told_apart(tmp_path):
    paths = {p: {"get": {"summary": "Get."}} for p in ("/a/b", "/a_b")}
    tools = init_spec(write(tmp_path, "api.json", {"openapi": "3.0.0", "paths": paths})).tools
    assert [t.name for t in tools] == ["get_a_b", "get_a_b_2"]


BOMB = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{b}: &{b} [{','.join([f'*{a}'] * 10)}]\n" for a, b in zip("abcdefg", "bcdefgh"))
MERGED = "m0: &m0 {a: 1}\n" + "".join(
    f"m{i}: &m{i} {{<<: [*m{i - 1}, *m{i - 1}]}}\n" for i in range(1, 25))
DEEP = "def f(a: " + "dict[str, " * 90 + "int" + "]" * 90 + "): ..."


@pytest.mark.parametrize(("name", "content", "says"), [
    ("t.py", "def f(a: list[()]): ...", "holds no type"),
    ("t.py", "def f(a: " + "|".join(["int"] * 3_000) + "): ...", "cannot be parsed"),
    ("t.py", "def f(a: int): ...\x00", "is not Python"),
    ("t.json", "[" * 100_000, "nested deeper"),
    ("t.json", '[{"name": "f", "name": "g"}]', "duplicate key 'name'"),
    ("t.json", '[{"name": "f", "parameters": {"a": NaN}}]', "NaN is not JSON"),
    ("t.yaml", BOMB + "tools: [{name: f, description: d, parameters: {a: {enum: *h}}}]",
     "holds more than 1,000,000 values"),
    ("t.yaml", "a: " + "[" * 500 + "]" * 500, "nested deeper"),
    ("t.yaml", MERGED + "tools: [{name: f, description: d, parameters: *m24}]",
     "holds more than 1,000,000 values"),
    ("t.yaml", "tools: &t [{name: f, parameters: &p {properties: {a: *p}}}]", "nested more"),
    ("t.py", "def f(a: str = '\\ud800'): ...", "half a character"),
    ("t.json", json.dumps([{"name": "f", "parameters": {"a": {"enum": ["\ud800"]}}}]), "surrogate"),
])
def test_hostile_documents_end_with_a_reason(tmp_path, name, content, says):
    with ends_soon(), pytest.raises(ConfigError, match=says):
        init_spec(write(tmp_path, name, content))


@pytest.mark.parametrize(("name", "content"), [
    ("t.py", "def f(a: int): 'd'\n"),
    ("t.json", '[{"name": "f", "description": "d", "parameters": {"a": "int"}}]'),
    ("t.yaml", "tools: [{name: f, description: d, parameters: {a: int}}]"),
])
def test_a_mark_of_the_encoding_is_no_text(tmp_path, name, content):
    (tool,) = init_spec(write(tmp_path, name, "\ufeff" + content)).tools
    assert list(tool.parameters["properties"]) == ["a"]


def test_long_and_deep_annotations_within_reason(tmp_path):
    union = "def f(a: " + "|".join(f"Literal['{i}']" for i in range(300)) + "): ..."
    for source in (union, DEEP):
        (tool,) = init_spec(write(tmp_path, "t.py", source)).tools
        assert list(tool.parameters["properties"]) == ["a"]


def test_classes_that_name_each_other(tmp_path):
    names = range(9)
    fields = "".join(f"  x{j}: 'C{j}'\n" for j in names)
    source = "".join(f"class C{i}:\n{fields}" for i in names)
    source += "class Node:\n  next: 'Node'\n  v: int\ndef f(a: C0, b: Node): ...\n"
    (tool,) = init_spec(write(tmp_path, "t.py", source)).tools
    assert sorted(tool.parameters["properties"]["a"]["properties"]) == [f"x{i}" for i in names]
    inner = tool.parameters["properties"]["b"]["properties"]
    assert inner == {"next": {"type": "object"}, "v": {"type": "integer"}}


def test_many_operations_of_one_name_take_no_time():
    with ends_soon():
        several = iter(["a", "a", "a_2", "a", "a_2"])
        assert list(unique_names(several)) == ["a", "a_2", "a_2_2", "a_3", "a_2_3"]
        assert len(set(unique_names(iter(["a"] * 50_000)))) == 50_000


def test_names_that_no_provider_takes(tmp_path) -> None:
    """A list's tools are named anew, each its own way; a function, a server's tool and a row's must
    be found under the name that they have."""
    given = ("天气", "房间", "files/read", "get_")
    listed = [{"name": name, "parameters": {"type": "object"}} for name in given]
    path = tmp_path / "t.json"
    path.write_text(json.dumps(listed))
    names = [t.name for t in init_spec(path).toolspecs]
    assert names == ["tool", "tool_2", "files_read", "get_"]
    path = tmp_path / "t.py"
    path.write_text("def 天气(city: str) -> str:\n    \"Weather of a city.\"\n    return city\n")
    with pytest.raises(ConfigError, match=r"tool '天气': a name is .* rename it, e\.g\. tool"):
        init_spec(path)
    rows = [Trajectory(tools=(ToolSpec("files/read", "d", "{}"),))]
    with pytest.raises(ConfigError, match=r"files/read.*files_read"):
        spec_from_rows(rows, "mine")


@pytest.mark.parametrize("several", ["functionDeclarations", "function_declarations", "functions"])
def test_a_document_of_declarations_alone(tmp_path, several):
    tool = {"name": "get_weather", "description": "Tells the weather of a city.", "parameters": {
        "type": "OBJECT", "properties": {"city": {"type": "STRING"}}, "required": ["city"]}}
    path = tmp_path / "tools.json"
    path.write_text(json.dumps({several: [tool]}))
    assert init_spec(path).tools[0].parameters["properties"]["city"]["type"] == "string"
