"""A first agent spec from what the user has: tools of any provider, MCP, OpenAPI, or Python.

`init_spec(file)` tells the format by its shape; `with_positives` adds what good rows show;
`to_yaml` writes the spec for the user to go on with. Nothing is fetched and nothing is run but the
server that `mcp_spec` is given, which only lists its tools.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Sequence
from itertools import chain, islice, zip_longest
from pathlib import Path
from typing import Any

import yaml

from raytune_agents.agents import FOLDER, TOOL_NAME, AgentSpec, ExampleConfig, parse_spec
from raytune_agents.agents.analyse import analyse
from raytune_agents.agents.inlining import TooMany, body_members, check_size, inlined, unique_names
from raytune_agents.agents.openapi import openapi_tools
from raytune_agents.agents.script import listed
from raytune_agents.agents.signatures import python_tools
from raytune_agents.calls.json_text import depth_of, strict_json
from raytune_agents.calls.schema import json_schema, schema_errors
from raytune_agents.config import ConfigError
from raytune_agents.config.loading import BoundedLoader, yaml_text
from raytune_agents.readers import aliases
from raytune_agents.readers.fields import Fields
from raytune_agents.readers.shapes import NO_PARAMETERS, WRAPPERS, listed_objects, read_tool
from raytune_agents.readers.strict import parse_json
from raytune_agents.readers.unpack import file_kind
from raytune_agents.records import JsonObject, JsonSchema, RecordError, Trajectory
from raytune_agents.storage import filled

log = logging.getLogger(__name__)
POLICIES = [
    "Ask for a required value that is missing; never invent one.",
    "Say so when no tool fits, and name what the tools can do.",
]
DEEPEST = 100  # levels of a tools file
KNOWN = (
    "a list of tools as a provider has them, an MCP tool list {tools: [...]}, an OpenAPI document "
    "{openapi, paths}, or a Python file of typed functions"
)


class _ToolsLoader(BoundedLoader):
    deepest = DEEPEST


# --- JSON -----------------------------------------------------------------------------------------


def _json_tool(item: Any, where: str) -> JsonObject:
    """One tool as any provider, framework or data set writes it."""
    if isinstance(item, dict) and isinstance(inner := Fields(item).peek(WRAPPERS), dict):
        item = inner
    if not isinstance(item, dict) or not isinstance(
        name := Fields(item).peek(aliases.TOOL_NAME), str
    ):
        raise ConfigError(f"{where} has no name; write {{name, description, parameters}}")
    if Fields(item).peek(aliases.PARAMETERS) is None and "properties" not in item:
        raise ConfigError(
            f"{where}, {name!r}, has no schema; write parameters: "
            "{type: object, properties: {...}}"
        )
    try:
        tool = read_tool(item)
        schema = strict_json(tool.parameters)
        schema = inlined(schema, schema)
        if not schema.get("properties"):
            members, needed = body_members(schema)
            schema |= {"properties": members, "required": needed} if members else {}
    except (RecordError, TooMany) as error:
        why = str(error) or "larger than a tool's schema may be"
        raise ConfigError(f"{where}, {name!r}: {why}") from None
    return {"name": name, "description": tool.description, "parameters": schema}


def _names_tool(item: Any) -> bool:
    """Whether a line of a file is one tool, not a row."""
    try:
        return bool(read_tool(item).parameters != NO_PARAMETERS)
    except RecordError:
        return False


# --- the spec -------------------------------------------------------------------------------------


def tool_name(text: str) -> str:
    """A name that our files allow."""
    name = re.sub(r"[^A-Za-z0-9_.-]+", "_", text).strip("_") or "tool"
    return name if re.match(r"[A-Za-z_]", name) else f"tool_{name}"


def agent_name(text: str, otherwise: str = "agent") -> str:
    """A name that a spec allows."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", text).strip("._-") or otherwise


def with_description(tool: JsonObject) -> JsonObject:
    """The tool with a description, made from its name where there is none. Raises ConfigError for a
    name that our files do not allow: one of ours would be known to no server and no row."""
    name = tool["name"]
    if not re.fullmatch(TOOL_NAME, name):
        raise ConfigError(
            f"tool {name!r}: a name is of letters a to z, digits, _ . and -, as providers ask, and "
            f"begins with a letter; rename it, e.g. {tool_name(name)}"
        )
    words = re.sub(r"(?<=[a-z])(?=[A-Z])|[_.-]+", " ", name).strip()
    text = tool["description"].strip() or f"{words[:1].upper()}{words[1:].lower()}."
    schema = json_schema(tool["parameters"])
    if isinstance(schema, dict):
        schema.setdefault("type", "object")
        schema.setdefault("properties", {})
    return {"name": name, "description": text, "parameters": schema}


def tools_of_file(path: Path) -> list[JsonObject]:
    """The tools of a file as {name, description, parameters}. Raises ConfigError."""
    kind = file_kind(path.name)[0]
    rows = ConfigError(f"{path} holds rows, not tools; write --positives {path}")
    if kind not in ("", ".json", ".jsonl"):
        raise rows
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise ConfigError(f"{path} cannot be read ({why}); give {KNOWN}") from None
    if path.suffix == ".py":
        return python_tools(text, str(path))
    try:
        if kind == ".jsonl":
            tree = [parse_json(line, DEEPEST) for line in text.splitlines() if line.strip()]
        else:
            tree = parse_json(text, DEEPEST) if kind else yaml.load(text, _ToolsLoader)
    except (ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} is neither JSON nor YAML: {error}") from None
    except RecursionError:
        tree = None
    if kind == ".jsonl" and tree is not None and not all(map(_names_tool, tree)):
        raise rows
    check_size(tree, str(path))
    if tree is None or depth_of(tree) > DEEPEST:
        raise ConfigError(f"{path} is empty or nested deeper than {DEEPEST}; give {KNOWN}")
    if isinstance(tree, dict) and ("openapi" in tree or "swagger" in tree):
        tools = list(openapi_tools(tree, str(path)))
        names = unique_names(tool_name(t["name"]) for t in tools)  # of operations no one names
        tools = [t | {"name": name} for t, name in zip(tools, names)]
    else:
        for key in ("result", "toolConfig", "tool_config", "tools"):  # MCP's, Bedrock's
            tree = tree.get(key, tree) if isinstance(tree, dict) else tree
        if isinstance(tree, dict):  # Gemini's functionDeclarations, a map name -> tool
            inside = [item for item, _ in listed_objects(tree)]
            tree = inside if inside != [tree] or "name" in tree else None
        if not isinstance(tree, list):
            raise ConfigError(f"{path} holds no tools; give {KNOWN}")
        if tree and isinstance(tree[0], dict) and {"messages", "conversations"} & set(tree[0]):
            raise rows
        inner = ([t for t, _ in listed_objects(i)] if isinstance(i, dict) else [i] for i in tree)
        items = list(chain.from_iterable(inner))
        tools = [_json_tool(item, f"{path}: tool {i}") for i, item in enumerate(items)]
        # Those that are given and equal stay so, and are refused.
        names = unique_names(tool_name(t["name"]) for t in tools)
        tools = [
            t if re.fullmatch(TOOL_NAME, t["name"]) else t | {"name": name}
            for t, name in zip(tools, names)
        ]
    if not tools:
        raise ConfigError(f"{path} holds no tools; give {KNOWN}")
    return tools


def init_spec(tools_file: str | Path, name: str = "") -> AgentSpec:
    """A spec of the file's tools, named after the file. Raises ConfigError naming tool and
    parameter."""
    path = Path(tools_file)
    tools = [with_description(t) for t in tools_of_file(path)]
    return tools_spec(tools, name or agent_name(path.stem), str(path))


def mcp_spec(server: str, allowed: Sequence[str] = (), name: str = "") -> AgentSpec:
    """A spec of a running MCP server's tools, or of those `allowed`. Raises ConfigError."""
    from raytune_agents.agents.mcp_tools import server_tools

    found = server_tools(server, allowed)
    return _server_spec(found.tools, name or agent_name(found.name[:40], "mcp"), server)


def openenv_spec(url: str, name: str = "") -> AgentSpec:
    """A spec of a running OpenEnv environment, which is its world. Raises ConfigError."""
    from raytune_agents.agents.worlds.openenv import environment_tools

    spec = _server_spec(environment_tools(url), name or "environment", url)
    return spec.model_copy(update={"world": url})


def schema_fault(tool: JsonObject, path: str) -> str:
    """What is wrong with one tool and what to write, or ""."""
    try:
        parse_spec({"name": "one", "description": "One tool.", "tools": [tool]}, path)
    except ConfigError as error:
        return str(error).replace("tools.0 ", "tool ")
    return ""


def _server_spec(listed_tools: Sequence[JsonObject], name: str, server: str) -> AgentSpec:
    tools = [_json_tool(t, f"{server}: tool {i}") for i, t in enumerate(listed_tools)]
    check_size(tools, server)
    return tools_spec([with_description(t) for t in tools], name, server)


def tools_spec(tools: list[JsonObject], name: str, path: str) -> AgentSpec:
    """A spec of the tools whose schema holds: the others are named, with what to write. Raises
    ConfigError where none does."""
    faults = [schema_fault(t, path) for t in tools]
    if not all(faults):
        for fault in filter(None, faults):
            log.warning("left out: %s", fault)
        tools = [t for t, fault in zip(tools, faults) if not fault]
    about = f"An agent that can use {listed([t['name'] for t in tools])}."
    tree = {"name": name, "description": about, "policies": POLICIES, "tools": tools}
    return parse_spec(tree, path)


def spec_from_rows(rows: Sequence[Trajectory], name: str) -> AgentSpec:
    """A spec of the tools that good rows list. Raises ConfigError where they list none."""
    found = {t.name: t for row in rows for t in row.tools}
    tools = [
        with_description({"name": t.name, "description": t.description, "parameters": t.schema})
        for t in found.values()
    ]
    if not tools:
        raise ConfigError("the rows list no tools; write --tools FILE beside --positives")
    return tools_spec(tools, agent_name(name), name)


EXAMPLES = 6  # good rows that a new spec quotes


def unfit(spec: AgentSpec, row: Trajectory) -> str:
    """Why a row is no good example of the agent, or ""."""
    if row.failed or row.reject_reason:
        return "a failure"
    if row.target is None:
        return "no answer at its end"
    faults = ((c.name, e) for c in row.calls for e in schema_errors(c, spec.toolspecs)[:1])
    return next((f"{name}: {error}" for name, error in faults), "")


def quoted(rows: Sequence[Trajectory]) -> list[JsonObject]:
    """At most EXAMPLES single-turn rows as a spec's examples, their first tools in turn."""
    by_tool: dict[str, list[Trajectory]] = {}
    for row in rows:
        if len(row.prompt) == sum(m.role in ("system", "user") for m in row.messages):
            by_tool.setdefault(row.calls[0].name if row.calls else "", []).append(row)
    in_turn = (row for row in chain.from_iterable(zip_longest(*by_tool.values())) if row)
    return [
        {
            "request": row.query,
            "calls": [{"name": c.name, "arguments": c.args} for c in row.answer.tool_calls],
            "answer": "" if row.calls else row.answer.content,
        }
        for row in islice((r for r in in_turn if r.query.strip()), EXAMPLES)
    ]


def with_positives(spec: AgentSpec, rows: Sequence[Trajectory]) -> tuple[AgentSpec, Counter[str]]:
    """The spec with the profile and some examples of the rows that fit its tools, and why others
    did not. Raises ConfigError where none fits."""
    reasons = [unfit(spec, row) for row in rows]
    good, left = [r for r, why in zip(rows, reasons) if not why], Counter(filter(None, reasons))
    if not good:
        worst = ", ".join(f"{n} {why}" for why, n in left.most_common(3)) or "no rows"
        names = listed([t.name for t in spec.tools])
        raise ConfigError(f"no positive fits the tools {names}: {worst}; give rows that call them")
    tree = spec.model_dump(exclude_defaults=True)
    tree |= {"examples": quoted(good), "profile": analyse(good).model_dump()}
    return parse_spec(tree, spec.name), left


def to_yaml(spec: AgentSpec) -> str:
    """The spec as YAML that `agents.load_spec` reads back as the same spec."""
    tree = spec.model_dump(exclude_defaults=True)
    return yaml_text(tree, width=100)


def spec_schema() -> JsonSchema:
    """The published JSON Schema of a spec file."""
    return AgentSpec.model_json_schema() | {"title": "raytune-agents agent spec"}


# --- a first world: a file that runs as it is, to be edited by its user ---


def world_name(spec: AgentSpec) -> str:
    """The class: my-tools -> MyToolsWorld."""
    name = "".join(w[:1].upper() + w[1:] for w in re.findall(r"[A-Za-z0-9]+", spec.name))
    return f"{name if name[:1].isalpha() else 'Agent' + name}World"


def world_template(kind: str, spec: AgentSpec, module: str = "") -> str:
    """The source of a world, from data/KIND.py.jinja; `module`: the Python module of its tools."""
    template = FOLDER / "data" / f"{kind}.py.jinja"
    return filled(template, agent=spec.name, name=world_name(spec), module=module)


def sampled_tasks(spec: AgentSpec, rows: Sequence[Trajectory]) -> list[ExampleConfig]:
    """The spec's examples with calls and single-turn rows that were drawn for it, as tasks of the
    skeleton: their calls must be made."""
    own = [e.model_dump() for e in spec.examples if e.calls]
    own += [
        {"request": r.query, "calls": [{"name": c.name, "arguments": c.args} for c in r.calls]}
        for r in rows
    ]
    tasks = {}
    for example in own:
        calls = [[c["name"], c["arguments"]] for c in example["calls"]]
        example |= {"answer": example.get("answer") or "Done.", "task": {"calls": calls}}
        tasks.setdefault(example["request"], ExampleConfig.model_validate(example))
    return [*(e for e in spec.examples if not e.calls), *tasks.values()]
