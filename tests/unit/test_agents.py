"""Agent specs: the shipped six, and what a wrong spec says."""

import random

import pytest
import yaml

from raytune_agents import agents
from raytune_agents.agents.word_banks import fill, sample_value, shown
from raytune_agents.agents.wording import Slot, fixed_value, parts, problems, slots
from raytune_agents.config import ConfigError
from raytune_agents.pipeline.keys import spec_files

SIX = {
    "qa": ["pytest", "selenium", "unittest", "coverage"],
    "support": ["ticketing_system", "knowledge_base", "chat", "email"],
    "analyst": ["pandas", "matplotlib", "sql", "tableau"],
    "legal": ["document_parser", "regulation_db", "risk_analyzer", "clause_extractor"],
    "content": ["content_generator", "seo_analyzer", "social_scheduler", "email_builder"],
    "security": ["scanner", "firewall", "auth_system", "encryption_lib"],
}


def tree() -> dict:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    return {"name": "mine", "description": "d",
            "tools": [{"name": "f", "description": "Do it.", "parameters": schema}]}  # fmt: skip


def test_the_six_shipped_specs():
    assert agents.shipped() == sorted(SIX)
    for name, tools in SIX.items():
        spec = agents.load_spec(name)
        assert [t.name for t in spec.toolspecs] == tools
        assert spec.skills
        assert spec.policies
        assert len(spec.examples) >= 3


@pytest.mark.parametrize("name", sorted(SIX))
def test_every_parameter_is_typed_described_and_reachable(name):
    for tool in agents.load_spec(name).tools:
        properties = tool.parameters["properties"]
        assert 2 <= len(properties) <= 5
        assert all(p["type"] and p["description"] for p in properties.values())
        assert tool.parameters["required"]
        asked = {s.arg for text in tool.requests for s in slots(text)}
        assert asked == set(properties), "a request words every parameter"
        assert len(tool.requests) >= 3


def test_the_model_sees_no_wordings():
    spec = agents.load_spec("qa").toolspecs[0]
    assert set(spec.schema) == {"type", "properties", "required"}
    assert "requests" not in spec.parameters


def broken(change) -> str:
    data = tree()
    change(data)
    with pytest.raises(ConfigError) as error:
        agents.parse_spec(data, "mine.yaml")
    return str(error.value)


def test_a_tool_without_schema_is_named():
    text = broken(lambda d: d["tools"][0].pop("parameters"))
    assert "mine.yaml: tools.0 (f).parameters: the tool has no schema" in text


def test_other_faults_of_a_spec_are_named():
    assert "no schema of arguments" in broken(lambda d: d["tools"][0].update(parameters={"a": 1}))
    assert "share the names ['f']" in broken(lambda d: d["tools"].append(d["tools"][0]))
    wrong = [{"request": "r", "calls": [{"name": "f", "arguments": {"a": "x"}}]}]
    assert "examples.0 breaks 'f': 'x' is not of type 'integer'" in broken(
        lambda d: d.update(examples=wrong)
    )
    ghost = [{"request": "r", "calls": [{"name": "g"}]}]
    assert "examples.0 calls 'g'" in broken(lambda d: d.update(examples=ghost))
    bad = {"type": "object", "properties": {"a": {"type": "int"}}}
    assert "not JSON Schema" in broken(lambda d: d["tools"][0].update(parameters=bad))
    lost = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["b"]}
    assert "['b']" in broken(lambda d: d["tools"][0].update(parameters=lost))
    assert "did you mean skills" in broken(lambda d: d.update(skils=["x"]))
    assert "no word bank 'nosuch'" in broken(
        lambda d: d["tools"][0].update(values={"a": ["{nosuch}"]})
    )
    assert "must stand outside brackets" in broken(
        lambda d: d["tools"][0].update(requests=["do it[ with {a}]"])
    )


def test_a_schema_that_json_does_not_have_is_refused():
    for wrong in ({"a": {"minimum": float("nan")}}, {1: {}}, {"a": {"default": b"x"}}):
        assert "is not JSON Schema" in broken(
            lambda d, wrong=wrong: d["tools"][0].update(parameters={"type": "object",
                                                                    "properties": wrong})
        )  # fmt: skip


def test_a_file_that_stays_as_it_is_is_read_once(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text((agents.FOLDER / "qa.yaml").read_text())
    first = agents.load_spec(path)
    assert agents.load_spec(path) is first
    path.write_text(path.read_text().replace("name: qa", "name: other", 1))
    assert agents.load_spec(path).name == "other"
    copy = tmp_path / "sub" / "mine.yaml"
    copy.parent.mkdir()
    copy.write_text(path.read_text())
    assert agents.load_spec(copy).origin == copy


def test_load_names_what_is_wrong(tmp_path):
    with pytest.raises(ConfigError, match="did you mean support"):
        agents.load_spec("suport")
    path = tmp_path / "list.yaml"
    path.write_text("[1, 2]")
    with pytest.raises(ConfigError, match="holds a list"):
        agents.load_spec(path)
    bomb = "".join(f"{k}: &{k} [{','.join([f'*{j}'] * 9)}]\n" for j, k in zip("abcdefg", "bcdefgh"))
    for text, says in [
        ("a: [", "not YAML"),
        (f"a: &a [x]\n{bomb}", "more than 1,000,000 values"),
        ("tools: &a [*a]", "nested more than 40 levels"),
        ("tools: " + "[" * 3000, "nested more than 40 levels"),
        ("name: a\nname: b", "'name' stands twice"),
    ]:
        path.write_text(text)
        with pytest.raises(ConfigError, match=says):
            agents.load_spec(path)
        assert spec_files(path) == [path]  # whoever loads it says what is wrong
    path.write_text(yaml.safe_dump(tree()))
    assert agents.load_spec(path).name == "mine"


def test_wording_language():
    text = "run {path}[ with {verbose=true:verbose} output][ in {mode=fast} mode]"
    assert parts("a [b] c") == [("a ", False), ("b", True), (" c", False)]
    assert slots(text) == [
        Slot("path"),
        Slot("verbose", "true", "verbose"),
        Slot("mode", "fast"),
    ]
    assert fixed_value("true", {"type": "boolean"}) is True
    assert fixed_value("true", {"type": "string"}) == "true"
    schema = {"properties": {"path": {"type": "string"}, "mode": {"enum": ["slow"]}}}
    assert problems(text, schema) == [
        "{verbose} is no parameter",
        "mode=fast is not one of ['slow']",
    ]
    assert problems("run [a [b]]", schema) == [
        "a square bracket has no partner (brackets do not nest)"
    ]


def test_words_and_how_values_are_shown():
    rng = random.Random(1)
    assert sample_value("Feature", rng)[0].isupper()
    assert "_" not in sample_value("Feature", rng)
    with pytest.raises(ValueError, match="no word bank 'nosuch'"):
        fill("{nosuch}", rng)
    assert shown(["a", "b", "c"]) == "a, b and c"
    assert shown(0.25) == "0.25"
    assert shown({"x_y": 3, "z": [1, 2]}) == "x y 3 and z 1 and 2"
    assert shown([]) == shown({}) == ""
