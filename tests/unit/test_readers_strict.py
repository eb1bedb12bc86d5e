"""Strict JSON, JSON inside JSON by its own bytes, and type words as JSON Schema."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raytune_agents.calls.json_text import depth_of
from raytune_agents.readers import parameters, strict
from raytune_agents.records import RecordError

# --- strict JSON ---------------------------------------------------------------------------------


def test_raw_items_slices_every_item() -> None:
    text = ' [ {"a" : 1.50 , "b":{"c": [1,  2]}} ,\n{} , {"d":"\\u00e9]"} ] '
    assert strict.raw_items(text) == [
        ({"a": 1.5, "b": {"c": [1, 2]}}, '{"a" : 1.50 , "b":{"c": [1,  2]}}'),
        ({}, "{}"),
        ({"d": "é]"}, '{"d":"\\u00e9]"}'),
    ]
    assert strict.raw_items("[]") == []


@pytest.mark.parametrize(("text", "reason"), [
    ("{}", "a list of objects"), ("[1]", "a list of objects"), ("[{}, 1]", "a list of objects"),
    ("[{}", "not JSON"), ("[{}] x", "not JSON"), ("[{},]", "not JSON"), ("[{} {}]", "not JSON"),
    ("", "not JSON"), ("[", "not JSON"), ("[{'a': 1}]", "not JSON"), ('[{"a" 1}]', "not JSON"),
    ('[{"a": 1,}]', "not JSON"), ("[{1: 1}]", "not JSON"), ('[{"a": 1]', "not JSON"),
    ('[{"a": 1, "a": 2}]', "duplicate key 'a'"), ('[{"a": {"b": 1, "b": 1}}]', "duplicate key"),
    ('[{"a": NaN}]', "NaN"), ('[{"a": "\\ud800"}]', "surrogate"),
    ('[{"a": ' + "[" * 70 + "]" * 70 + "}]", "nested deeper than 66"),
])  # fmt: skip
def test_raw_items_is_strict(text: str, reason: str) -> None:
    with pytest.raises(RecordError, match=f"^{reason}" if "JSON" in reason else reason):
        strict.raw_items(text)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.dictionaries(st.text(max_size=4), JSON_VALUES, max_size=4), max_size=4),
       st.sampled_from([None, 0, 2]), st.integers(0, 10_000))  # fmt: skip
def test_raw_items_agrees_with_json(rows: list[dict], indent: int | None, cut: int) -> None:
    text = json.dumps(rows, indent=indent)
    found = strict.raw_items(text)
    assert [v for v, _ in found] == rows
    assert [json.loads(raw) for _, raw in found] == rows
    part = text[: cut % len(text)]  # cut anywhere: always our error, never another
    with pytest.raises(RecordError, match=r"^not JSON"):
        strict.raw_items(part)


def test_depth_of() -> None:
    assert [depth_of(v) for v in (1, [], {"a": []}, [[1], {"b": [2]}])] == [0, 1, 2, 3]


def test_value_of_literals_has_a_limit() -> None:
    assert strict.value_of("[{'a': None, 'b': True}]") == [{"a": None, "b": True}]
    with pytest.raises(RecordError, match="Python literal"):
        strict.value_of("__import__('os')")
    with pytest.raises(RecordError, match="not JSON"):
        strict.value_of("['" + "x" * strict.MAX_LITERAL_CHARS + "']")


# --- type words ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("word", "schema", "optional"), [
    ("str", {"type": "string"}, False),
    ("str, optional", {"type": "string"}, True),
    ("List[int]", {"type": "array", "items": {"type": "integer"}}, False),
    ("List[List[float]], optional", {"type": "array", "items": {"type": "array", "items":
                                     {"type": "number"}}}, True),
    ("Dict[str, int]", {"type": "object", "additionalProperties": {"type": "integer"}}, False),
    ("Union[int, str]", {"anyOf": [{"type": "integer"}, {"type": "string"}]}, False),
    ("Optional[str]", {"anyOf": [{"type": "string"}, {"type": "null"}]}, True),
    ("int | None", {"anyOf": [{"type": "integer"}, {"type": "null"}]}, False),
    ("Tuple[float, float]", {"type": "array", "items": {"type": "number"}}, False),
    ("np.ndarray", {"type": "array"}, False),
    ("str, default is 'x'", {"type": "string"}, False),
    ("Literal['a', 'b']", {"enum": ["a", "b"]}, False),
    ("dict", {"type": "object"}, False),
    ("Whatever", {}, False),
    ("", {}, False),
    ("List[" * 50, None, False),  # hostile nesting ends
])  # fmt: skip
def test_type_words(word: str, schema: dict | None, optional: bool) -> None:
    found = parameters.type_schema(word)
    assert found == (schema if schema is not None else found[0], optional)


def test_tables_of_unlike_schemas_lose_their_nulls() -> None:
    properties = {"a": {"type": "string", "enum": None, "default": None}, "b": None}
    schema = parameters.clean_schema({"type": "object", "properties": properties, "required": None})
    assert schema == {"type": "object", "properties": {"a": {"type": "string"}}}
