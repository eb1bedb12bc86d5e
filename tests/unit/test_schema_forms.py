"""Schemas by composition, of every draft, and hostile ones: right calls pass, every check ends."""

from __future__ import annotations

import json
from typing import Any

import pytest
from soon import ends_soon

from raytune_agents.calls import schema_errors
from raytune_agents.calls.schema import members_of, shape
from raytune_agents.calls.validation import CostlySchema, accepts, found_in, written_out
from raytune_agents.records import ToolCall, ToolSpec

TEXT, WHOLE = {"type": "string"}, {"type": "integer"}


def errors(schema: Any, given: dict[str, Any]) -> list[str]:
    call = ToolCall("f", json.dumps(given))
    return schema_errors(call, (ToolSpec("f", "", json.dumps(schema)),))


CITY_OR_ZIP = [{"properties": {"city": TEXT}, "required": ["city"]},
               {"properties": {"zip": TEXT}, "required": ["zip"]}]
OBJECT = {"type": "object"}


@pytest.mark.parametrize(("schema", "right", "wrong"), [
    (OBJECT | {"anyOf": CITY_OR_ZIP}, {"city": "a"}, {"town": "a"}),
    (OBJECT | {"oneOf": CITY_OR_ZIP}, {"zip": "1"}, {"zip": "1", "city": "a"}),
    (OBJECT | {"allOf": CITY_OR_ZIP}, {"zip": "1", "city": "a"}, {"zip": "1"}),
    (OBJECT | {"properties": {"unit": TEXT}, "oneOf": [CITY_OR_ZIP[0], {"required": ["unit"]}]},
     {"city": "a"}, {"unit": "a", "more": 1}),
    ({"$ref": "#/$defs/A", "$defs": {"A": OBJECT | {"properties": {"a": WHOLE}}}},
     {"a": 1}, {"a": "x"}),
    ({"allOf": [{"$ref": "#/definitions/A"}], "definitions": {"A": CITY_OR_ZIP[0]}},
     {"city": "a"}, {}),
    (OBJECT | {"properties": {"a": WHOLE}, "if": {"required": ["a"]},
               "then": {"properties": {"b": TEXT}, "required": ["b"]}}, {"a": 1, "b": "x"},
     {"a": 1}),
    (OBJECT | {"properties": {"a": WHOLE}, "dependentSchemas": {"a": CITY_OR_ZIP[0]}},
     {"a": 1, "city": "x"}, {"a": 1}),
    (OBJECT | {"additionalProperties": False, "allOf": CITY_OR_ZIP[:1]}, {"city": "a"},
     {"city": "a", "more": 1}),
    (OBJECT, {"anything": 1}, None),  # JSON Schema: it says nothing of its members
    (OBJECT | {"properties": {}}, {}, {"anything": 1}),
    (OBJECT | {"additionalProperties": False}, {}, {"anything": 1}),
    (OBJECT | {"additionalProperties": WHOLE}, {"a": 1}, {"a": "x"}),
    (OBJECT | {"patternProperties": {"^x": WHOLE}}, {"xa": 1}, {"xa": "b"}),
])  # fmt: skip
def test_composition(schema: Any, right: dict, wrong: dict | None) -> None:
    assert errors(schema, right) == []
    assert wrong is None or errors(schema, wrong)


@pytest.mark.parametrize(("detail", "right", "wrong"), [
    ({"type": "string", "nullable": True}, [None, "a"], [1]),
    ({"type": "string", "nullable": True, "enum": ["a"]}, [None, "a"], ["b"]),
    ({"nullable": True, "anyOf": [TEXT, WHOLE]}, [None, "a", 1], [1.5]),
    ({"type": "STRING", "nullable": True}, [None, "a"], [1]),
    ({"type": ["string", "null"]}, [None, "a"], [1]),
    ({"type": "integer", "minimum": 0, "exclusiveMinimum": True}, [1], [0]),
    ({"type": "integer", "minimum": 0, "exclusiveMinimum": False}, [0], [-1]),
    ({"type": "integer", "maximum": 9, "exclusiveMaximum": True}, [8], [9]),
    ({"type": "integer", "exclusiveMinimum": 0}, [1], [0]),
    ({"type": "array", "items": [TEXT, WHOLE], "additionalItems": False}, [["a", 1]],
     [["a", 1, 2], [1, "a"]]),
    ({"type": "array", "items": [TEXT], "additionalItems": WHOLE}, [["a", 1]], [["a", "b"]]),
    ({"type": "object", "dependencies": {"a": ["b"]}}, [{"a": 1, "b": 1}], [{"a": 1}]),
    ({"type": "object", "dependencies": {"a": {"required": ["c"]}}}, [{"a": 1, "c": 1}],
     [{"a": 1}]),
    ({"type": "string", "minLength": None, "enum": None, "format": None}, ["a"], [1]),
    ({"type": "string", "required": True}, ["a"], [1]), ({"type": "any"}, ["a", 1, None], []),
    ({"type": ["str", "int"]}, ["a", 1], [1.5]), ({"enum": []}, ["a"], []),
])  # fmt: skip
def test_drafts_and_dialects(detail: Any, right: list, wrong: list) -> None:
    schema = OBJECT | {"properties": {"a": detail}}
    assert errors(schema, {}) == []
    assert [errors(schema, {"a": v}) for v in right] == [[]] * len(right)
    assert all(errors(schema, {"a": v}) for v in wrong)
    assert not any("bad_schema" in e for v in wrong for e in errors(schema, {"a": v}))


def test_members_and_what_is_required() -> None:
    members = members_of({"properties": {"a": TEXT}, "required": ["a"],
                          "allOf": [CITY_OR_ZIP[0]], "anyOf": [CITY_OR_ZIP[1]]})
    assert sorted(members.properties) == ["a", "city", "zip"]
    assert members.required == ["a", "city"]  # an option's are not required in any case
    assert shape(json.dumps(OBJECT | {"anyOf": CITY_OR_ZIP})).open is False


# --- hostile ---------------------------------------------------------------------------------


def doubled(levels: int) -> dict[str, Any]:
    """A schema that is looked at 2 ** levels times."""
    defs: dict[str, Any] = {f"d{i}": {"allOf": [{"$ref": f"#/$defs/d{i + 1}"}] * 2}
                            for i in range(levels)}
    return {"$defs": defs | {f"d{levels}": {}}, "properties": {"a": {"$ref": "#/$defs/d0"}}}


@pytest.mark.parametrize(("schema", "given"), [
    ({"properties": {"a": {"type": "string", "pattern": "^(a+)+$"}}}, {"a": "a" * 40 + "!"}),
    ({"properties": {"a": {"type": "string", "pattern": "^(a|aa)+$"}}}, {"a": "a" * 90 + "!"}),
    ({"properties": {"a": {"pattern": "(x+x+)+y"}}}, {"a": "x" * 60}),
    ({"properties": {"a": {"pattern": r"^(([a-z])+.)+[A-Z]([a-z])+$"}}}, {"a": "a" * 60}),
    ({"patternProperties": {"^(a+)+$": {}}, "additionalProperties": False}, {"a" * 40 + "!": 1}),
    ({"properties": {"a": {"pattern": "((("}}}, {"a": "x"}),
    ({"properties": {"a": {"$ref": "#/properties/a"}}}, {"a": 1}), ({"$ref": "#"}, {"a": 1}),
    ({"properties": {"a": {"$ref": "http://127.0.0.1:9/x"}}}, {"a": 1}),
    ({"properties": {"a": {"$ref": "#/nowhere"}}}, {"a": 1}),
    (doubled(40), {"a": 1}),
    ({"properties": {"a": {"type": "number", "multipleOf": 0.1}}}, {"a": 10**400}),
    ({"properties": {"a": {"type": "number", "multipleOf": 1e-320}}}, {"a": 1e300}),
    ({"properties": {"a": {"uniqueItems": True}}}, {"a": [[i] for i in range(20_000)]}),
    ({"properties": {"a": {"items": {"enum": list(range(5_000))}}}}, {"a": [-1] * 5_000}),
    ({"properties": {"a": {"items": {"anyOf": [{"const": i} for i in range(500)]}}}},
     {"a": [-1] * 2_000}),
    ({"unevaluatedProperties": False, "allOf": [{"properties": {"a": {}}}] * 50}, {"a": 1}),
])  # fmt: skip
def test_every_check_ends(schema: Any, given: dict[str, Any]) -> None:
    with ends_soon():
        found = errors({"type": "object", **schema}, given)
        assert isinstance(found, list)


def test_patterns_are_those_of_json_schema_and_limited() -> None:
    assert found_in("b+", "abbc")
    assert not found_in("^b", "abbc")
    assert found_in(r"^\p{L}+$", "naïve")
    with pytest.raises(CostlySchema):
        found_in(r"^(.*?,){20}P", "1," * 60)


@pytest.mark.parametrize(("pattern", "size"), [
    ("^[A-Z]{3}-\\d{4}$", 10), ("(ab){10}", 20), ("((a{10}){10}){10}", 1000), (r"\{9}[)(]{2}", 5),
    ("a{1,9}", 1), ("", 0),
])  # fmt: skip
def test_what_a_pattern_is_written_out(pattern: str, size: int) -> None:
    assert written_out(pattern) == size


def test_what_a_schema_accepts() -> None:
    assert accepts({"type": "string", "pattern": r"^\p{L}+$"}, "né")
    assert not accepts({"type": "string", "pattern": "^(a|a)*$"}, "a" * 40 + "!")
    assert not accepts({"$ref": "#/nowhere"}, 1)
