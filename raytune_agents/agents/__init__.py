"""Agent specs: what an agent does, its tools as JSON Schema, and how people ask for them.

`load("qa")` reads a shipped spec, `load("my.yaml")` a user's own. What could make a wrong
row later (a tool without a schema, an example that breaks it) stops here, with the place named. The
schema of the file itself is `AgentSpec.model_json_schema()`.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from functools import cache, cached_property, lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

from jsonschema import SchemaError
from pydantic import (
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    field_validator,
    model_validator,
)

from raytune_agents.agents.analyse import Profile, analyse, examples
from raytune_agents.agents.phrasing import name_words
from raytune_agents.agents.word_banks import fill
from raytune_agents.agents.wording import problems, slots
from raytune_agents.calls.json_text import dumps, strict_json
from raytune_agents.calls.validation import bounded_errors, bounded_validator
from raytune_agents.config import BaseConfig, ConfigError
from raytune_agents.config.loading import parse_yaml
from raytune_agents.config.lookup import did_you_mean
from raytune_agents.records import Arguments, JsonObject, JsonSchema, ToolCall, ToolSpec

FOLDER = Path(__file__).parent
TOOL_NAME = r"[A-Za-z_][A-Za-z0-9_.-]*"


# One tool is checked each time its spec is copied or written: of hundreds that takes seconds.
@lru_cache(maxsize=4096)
def _check_schema(text: str) -> None:
    bounded_validator(json.loads(text))


class ToolConfig(BaseConfig):
    name: str = Field(pattern=f"^{TOOL_NAME}$", description="name of the function")
    description: str = Field(min_length=1, description="what it does, in one sentence")
    parameters: JsonSchema = Field(
        description="JSON Schema of the arguments: an object with properties"
    )
    requests: list[str] = Field([], description="wordings of a request: see agents/wording.py")
    incomplete: dict[str, str] = Field({}, description="required argument -> a request without it")
    values: dict[str, list[Any]] = Field(
        {}, description="argument -> realistic values; {word} draws from a bank"
    )
    _misdescribed: bool = PrivateAttr(False)

    @property
    def told(self) -> str:
        """What says what it does: its description, or "" where its name alone tells it from another
        tool of the agent that is described by the same words."""
        return "" if self._misdescribed else self.description

    @field_validator("parameters")
    @classmethod
    def _schema(cls, value: JsonSchema) -> JsonSchema:
        if value.get("type") != "object" or not isinstance(value.get("properties"), dict):
            raise ValueError("is no schema of arguments; write {type: object, properties: {...}}")
        try:
            text = dumps(value)
            if strict_json(text) != value:  # a key that is no text
                raise ValueError("a name in it is no text; write it in quotes")
            _check_schema(text)
        except SchemaError as error:
            raise ValueError(f"is not JSON Schema: {error.message}") from None
        except (TypeError, ValueError) as error:  # what YAML has and JSON has not
            raise ValueError(f"is not JSON Schema: {error}") from None
        for name, prop in value["properties"].items():
            if not isinstance(prop, dict):  # one without a type takes any value
                raise ValueError(f"has no schema for {name!r}; write {name}: {{type: string}}")
        missing = [r for r in value.get("required", []) if r not in value["properties"]]
        if missing:
            known = list(value["properties"])
            raise ValueError(
                f"requires {missing}, which are not among its properties {known}; describe them "
                "there, or take them out of required"
            )
        return value

    @model_validator(mode="after")
    def _wording(self) -> ToolConfig:
        for template in self.requests:
            if found := problems(template, self.parameters):
                raise ValueError(f"request {template!r} of {self.name!r}: {'; '.join(found)}")
        required = self.parameters.get("required", [])
        for arg, template in self.incomplete.items():
            rest = self.parameters | {"required": [r for r in required if r != arg]}
            found = problems(template, rest)
            if arg not in required or arg in {s.arg for s in slots(template)}:
                found.append(f"{arg} must be required and must not be said")
            if found:
                raise ValueError(f"incomplete {arg!r} of {self.name!r}: {'; '.join(found)}")
        unknown = set(self.values) - set(self.parameters["properties"])
        if unknown:
            raise ValueError(
                f"values of {self.name!r} for unknown parameters {sorted(unknown)}; "
                f"known are {list(self.parameters['properties'])}"
            )
        for text in chain.from_iterable(self.values.values()):
            if isinstance(text, str):
                fill(text, random.Random(0))
        return self

    @cached_property  # of a catalogue of hundreds it is asked for with every row
    def toolspec(self) -> ToolSpec:
        """The tool as a model sees it; wordings and values stay with us."""
        schema = json.dumps(self.parameters, ensure_ascii=False)
        return ToolSpec(self.name, self.description, schema)


class CallConfig(BaseConfig):
    name: str = Field(description="one of the agent's tools")
    arguments: Arguments = Field({}, description="argument -> value")

    @property
    def call(self) -> ToolCall:
        """The example's call as the record has it."""
        return ToolCall.of(self.name, **self.arguments)


class ExampleConfig(BaseConfig):
    request: str = Field(min_length=1, description="what the user says")
    calls: list[CallConfig] = Field([], description="the right calls; none = an answer in words")
    answer: str = Field(
        "", description="the right text where no call is right, or after the calls of a task"
    )
    task: JsonObject | None = Field(
        None, description="what the world's reset is given; the calls are then run for real"
    )
    facts: list[str] = Field([], description="texts that any right answer to the task must say")


class AgentSpec(BaseConfig):
    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="short name; part of `source`"
    )
    description: str = Field(min_length=1, description="who the agent is, in one sentence")
    skills: list[str] = Field([], description="what it is good at")
    policies: list[str] = Field([], description="rules it keeps, in words")
    tools: list[ToolConfig] = Field(min_length=1, description="the functions it can call")
    module: str = Field(
        "", description="Python file of the functions, seen from the spec; run in the sandbox"
    )
    world: str = Field(
        "",
        pattern=r"^$|^[^:]+:\w+$|^https?://\S+$|^mcp: *\S.*$",
        description="module:Class that carries the calls out (agents/worlds), in the sandbox: a "
        "file or package beside the spec, or an installed one; or the URL of an OpenEnv server; or "
        '"mcp: COMMAND" of an MCP server; there also its URL, or FILE.json:NAME of mcpServers',
    )
    examples: list[ExampleConfig] = Field([], description="a few right answers")
    profile: Profile | None = Field(
        None, description="what good rows look like, from init --positives; none = the examples"
    )

    @model_validator(mode="after")
    def _consistent(self) -> AgentSpec:
        names = [t.name for t in self.tools]
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise ValueError(f"tools share the names {twice}; give every tool its own name")
        first = Counter(t.description.partition(". ")[0] for t in self.tools)
        for t in self.tools:
            words, said = name_words(t.name).split(), t.description.lower()
            alike = first[t.description.partition(". ")[0]] > 1
            t._misdescribed = alike and any(len(w) > 3 and w not in said for w in words)
        for i, example in enumerate(self.examples):
            for call in example.calls:
                if call.name not in names:
                    raise ValueError(f"examples.{i} calls {call.name!r}; the tools are {names}")
                schema = self.tools[names.index(call.name)].parameters
                for error in bounded_errors(bounded_validator(schema), call.arguments):
                    raise ValueError(f"examples.{i} breaks {call.name!r}: {error.message}")
            if example.task is not None and not (self.world and example.calls and example.answer):
                raise ValueError(
                    f"examples.{i} has a task: write the calls that do it, the answer that ends "
                    "it, and the agent's world"
                )
        return self

    @property
    def habits(self) -> Profile:
        """What its rows should be like: the profile, or else that of the examples."""
        # not cached itself: a copy of the spec with another profile would keep the old one
        return self.profile or self._of_examples

    @cached_property
    def _of_examples(self) -> Profile:
        return analyse(examples(self))

    @cached_property
    def origin(self) -> Path | None:
        """The file that it was read from; no part of the spec. `_read` sets it."""
        return None

    @property
    def module_path(self) -> Path | None:
        """The tool module that the spec names, None where it names none. Raises ConfigError for no
        file."""
        if not self.module:
            return None
        path = (self.origin.parent if self.origin else Path.cwd()) / self.module
        if not path.is_file():
            raise ConfigError(f"{self.origin}: module: {str(path)!r} does not exist; give a file")
        return path.resolve()

    @property
    def first_task(self) -> JsonObject:
        """A task that its world can begin with; {} where no example has one."""
        return next((e.task for e in self.examples if e.task is not None), {})

    @property
    def toolspecs(self) -> tuple[ToolSpec, ...]:
        """The tools in the order of the file."""
        return tuple(t.toolspec for t in self.tools)

    def tool(self, name: str) -> ToolConfig:
        """The tool of this name. Raises KeyError."""
        return {t.name: t for t in self.tools}[name]


@cache
def shipped() -> list[str]:
    """Names of the specs that come with the package."""
    return sorted(p.stem for p in FOLDER.glob("*.yaml"))


def _explain(path: str, error: ValidationError, tree: JsonObject) -> str:
    lines = []
    for e in error.errors():
        key = ".".join(str(p) for p in e["loc"]) or "spec"
        if e["loc"][:1] == ("tools",) and len(e["loc"]) > 1:
            tool = tree["tools"][e["loc"][1]]
            named = f" ({tool['name']})" if isinstance(tool, dict) and tool.get("name") else ""
            key = key.replace(f"tools.{e['loc'][1]}", f"tools.{e['loc'][1]}{named}", 1)
        if e["type"] == "missing" and key.endswith(".parameters"):
            lines.append(f"{path}: {key}: the tool has no schema; write {{type: object, ...}}")
        elif e["type"] == "extra_forbidden":
            models = (AgentSpec, ToolConfig, ExampleConfig, CallConfig)
            known = sorted({field for m in models for field in m.model_fields})
            hint = did_you_mean(str(e["loc"][-1]), known)
            lines.append(f"{path}: {key}: unknown option; {hint}")
        elif e["type"] == "value_error":
            lines.append(f"{path}: {key}: {e['ctx']['error']}")
        else:
            lines.append(f"{path}: {key}={e.get('input')!r}: {e['msg']}")
    return "\n".join(lines)


def parse_spec(tree: Any, path: str = "spec") -> AgentSpec:
    """A mapping -> AgentSpec; `path` names it in messages. Raises ConfigError, one line per
    fault."""
    if not isinstance(tree, dict):
        kind = type(tree).__name__
        raise ConfigError(f"{path} holds a {kind}, not a mapping; write name, description, tools")
    try:
        json.dumps(tree, ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError as error:
        raise ConfigError(f"{path}: {error.object[error.start]!r} is half a character") from None
    try:
        return AgentSpec.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(_explain(path, error, tree)) from None


def load_spec(name_or_path: str | Path) -> AgentSpec:
    """A shipped spec by name, or a YAML or JSON file by path. Raises ConfigError."""
    text = str(name_or_path)
    if text in shipped():
        return _shipped(text)
    path = Path(text)
    if not path.is_file():
        hint = did_you_mean(text, shipped(), "shipped are")
        raise ConfigError(f"agent {text!r} is neither a shipped spec nor a file; {hint}")
    return _read(path, text)


@cache
def _shipped(name: str) -> AgentSpec:
    return _read(FOLDER / f"{name}.yaml", name)


def _read(path: Path, text: str) -> AgentSpec:
    try:
        content = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{text} is not YAML that we read: {error}") from None
    return _parsed(content, text, path.resolve())


# A command asks for its specs many times; hundreds of tools take seconds to check.
@lru_cache(maxsize=16)
def _parsed(content: str, text: str, origin: Path) -> AgentSpec:
    spec = parse_spec(parse_yaml(content, text), text)
    spec.__dict__["origin"] = origin  # where a cached property keeps its value
    return spec
