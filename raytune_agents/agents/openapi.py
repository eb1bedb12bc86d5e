"""An OpenAPI 3 or Swagger 2 document -> one tool per operation.

Path, query and form parameters and the fields of the body become the tool's parameters. A body
that has no fields of its own (a list, a map, a text) is one parameter, `body`. Where two share a
name the path's keeps it and the other is called after its place: `query_id`, `body_id`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from raytune_agents.agents.inlining import TooMany, body_members, inlined, with_type
from raytune_agents.calls.schema import json_schema, local_ref
from raytune_agents.config import ConfigError
from raytune_agents.records import JsonSchema

METHODS = ("get", "put", "post", "delete", "patch", "head", "options")
LOCATIONS = ("path", "query", "formData")  # headers and cookies are the client's business
# what Swagger 2 writes beside a parameter's name
_OWN = "type enum items format default minimum maximum pattern collectionFormat"
OWN = _OWN.split()
FOLLOWED = 20  # references in a row
Parameter = tuple[str, str, JsonSchema, bool]  # place, name, schema, whether it is required


def openapi_tools(document: JsonSchema, path: str = "the document") -> Iterator[JsonSchema]:
    """The tools as {name, description, parameters}. Raises ConfigError naming the operation."""
    paths = document.get("paths")
    for route, item in paths.items() if isinstance(paths, dict) else ():
        item = _followed(item, document)
        for method in METHODS:
            operation = item.get(method)
            if isinstance(operation, dict):
                name = operation.get("operationId") or f"{method}_{str(route).strip('/')}"
                try:
                    yield _tool(str(name), str(route), item, operation, document)
                except TooMany:
                    raise ConfigError(
                        f"{path}: the parameters of {name!r} are too many for one tool; leave "
                        "the operation out"
                    ) from None


def _followed(node: Any, document: JsonSchema) -> JsonSchema:
    """What a reference names, {} for what is no object."""
    for _ in range(FOLLOWED):
        if not isinstance(node, dict) or "$ref" not in node:
            break
        node = local_ref(node["$ref"], document)
    return node if isinstance(node, dict) else {}


def _tool(
    name: str, route: str, item: JsonSchema, operation: JsonSchema, document: JsonSchema
) -> JsonSchema:
    marked = re.findall(r"{([^{}]+)}", route)  # in the route; not every document declares them
    known: list[Any] = [{"in": "path", "name": k, "type": "string", "required": 1} for k in marked]
    lists = (x["parameters"] for x in (item, operation) if isinstance(x.get("parameters"), list))
    followed = (_followed(p, document) for listed in (known, *lists) for p in listed)
    parameters = {(p.get("in"), p.get("name")): p for p in followed}.values()
    found: list[Parameter] = [
        (place, p["name"], _parameter(p, document, route), bool(p.get("required")))
        for place in LOCATIONS
        for p in parameters
        if p.get("in") == place and isinstance(p.get("name"), str) and not _authenticates(p)
    ]
    in_body = (p for p in parameters if p.get("in") == "body")
    bodies = [(p.get("name"), p.get("schema"), p.get("required")) for p in in_body]
    for key, schema, needed in (*bodies, _request_body(operation, document)):
        if schema:
            found += _body(str(key or "body"), inlined(schema, document), bool(needed))
    properties, required = _named(found)
    texts = [" ".join(str(operation.get(k) or "").split()) for k in ("summary", "description")]
    text = next((t for t in texts if " " in t), "") or max(texts, key=len)  # "Create" says little
    return {
        "name": name,
        "description": text,
        "parameters": {"type": "object", "properties": properties, "required": required},
    }


TOKEN = re.compile(r"((access|auth\w*|bearer|api|x)[ _-]?)*(token|key)|authorization", re.I)


def _authenticates(parameter: JsonSchema) -> bool:
    """Whether a parameter says who calls, which no model does: Slack's "Authentication token"."""
    about = str(parameter.get("description") or "")
    told = re.match(r"(authenticat|bearer|access token|(your )?api key)", about, re.I)
    return bool(told and TOKEN.fullmatch(str(parameter["name"])))


NO_WORD = r"(the |a )?(unique )?(\w+ )?(id|identifier)( of the (resource|object|item|entity))?\.?|"


def _whose_id(parameter: JsonSchema, route: str) -> JsonSchema:
    """A description for an `id` that has none of its own: of a user in /users/{id}."""
    name, about = str(parameter.get("name")), str(parameter.get("description") or "")
    found = re.search(rf"([A-Za-z][\w-]{{2,}})/{{{re.escape(name)}}}", route)
    bare = parameter.get("in") == "path" and name.lower() in ("id", "uuid")
    if not bare or not found or not re.fullmatch(NO_WORD, about, re.I):
        return {}
    words = re.sub(r"[_-]|(?<=[a-z])(?=[A-Z])", " ", found[1]).lower()
    thing = re.sub(r"(?<!s)s$", "", re.sub(r"ies$", "y", words))
    return {"description": f"ID of the {thing}"}


def _parameter(parameter: JsonSchema, document: JsonSchema, route: str) -> JsonSchema:
    """One path or query parameter: OpenAPI 3 keeps its schema apart, or its content."""
    content = parameter.get("content")
    declared = parameter.get("schema")
    if not isinstance(declared, dict) and isinstance(content, dict) and content:
        declared = _followed(next(iter(content.values())), document).get("schema")
    if not isinstance(declared, dict):
        declared = {k: v for k, v in parameter.items() if k in OWN}
    schema = inlined(declared, document)
    own = {k: parameter[k] for k in ("description", "example") if parameter.get(k)}
    return schema | own | _whose_id(parameter, route)


def _request_body(operation: JsonSchema, document: JsonSchema) -> tuple[str, Any, Any]:
    """(name, schema, required) of the body: JSON where there is a choice."""
    body = _followed(operation.get("requestBody"), document)
    content = body.get("content")
    kinds = content if isinstance(content, dict) else {}
    kind = next((k for k in kinds if "json" in str(k)), next(iter(kinds), ""))
    return "body", _followed(kinds.get(kind), document).get("schema"), body.get("required")


def _body(key: str, schema: Any, needed: bool) -> Iterator[Parameter]:
    """The fields of a body, or the body as one parameter."""
    schema = schema if isinstance(schema, dict) else {}
    properties, required = body_members(schema)
    if not properties:
        yield "body", key, schema, needed
    for name, detail in properties.items():
        yield "body", name, detail, name in required


def _named(found: list[Parameter]) -> tuple[JsonSchema, list[str]]:
    properties: JsonSchema = {}
    required = []
    for place, key, schema, needed in found:
        name = key if key not in properties else f"{place}_{key}"
        if name not in properties:  # else the same field twice in one place
            properties[name] = with_type(json_schema(schema))
            required += [name] if needed else []
    return properties, required
