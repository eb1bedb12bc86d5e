"""Tools as a stranger brings them: a Python module, an OpenAPI document, an MCP tool list of a
hundred tools, and catalogues that are hard to make anything of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from raytune_agents.agents import AgentSpec
from raytune_agents.agents.init import init_spec

HERE = Path(__file__).parent / "stranger_tools"
HOTEL = HERE / "hotel.py"


def _schema(fields: str) -> dict[str, Any]:
    """ "city!:string:Name of the city" | ... -> an object schema; "!" = required."""
    properties: dict[str, Any] = {}
    required = []
    for field in filter(None, (f.strip() for f in fields.split("|"))):
        name, kind, about = [*field.split(":", 2), "", ""][:3]
        if name.endswith("!"):
            name = name[:-1]
            required.append(name)
        many = kind.endswith("[]")
        kind = kind.removesuffix("[]")
        schema: dict[str, Any]
        if kind.startswith("("):
            schema = {"type": "string", "enum": kind.strip("()").split(",")}
        else:
            schema = {"type": kind or "string"}
        schema = {"type": "array", "items": schema} if many else schema
        properties[name] = schema | ({"description": about} if about else {})
    return {"type": "object", "properties": properties, "required": required}


def openapi() -> dict[str, Any]:
    """An OpenAPI document of twenty operations of a charging network."""
    paths: dict[str, Any] = {}
    for line in (HERE / "charging.txt").read_text().splitlines():
        where, name, summary, fields = line.split(" | ", 3)
        method, path = where.split()
        schema = _schema(fields)
        parameters = [
            {
                "name": n,
                "in": "path" if f"{{{n}}}" in path else "query",
                "required": n in schema["required"],
                "schema": {k: v for k, v in p.items() if k != "description"},
                "description": p.get("description", ""),
            }
            for n, p in schema["properties"].items()
            if method == "GET" or f"{{{n}}}" in path
        ]
        operation: dict[str, Any] = {
            "operationId": name,
            "summary": summary,
            "parameters": parameters,
        }
        if method != "GET":
            body = {n: p for n, p in schema["properties"].items() if f"{{{n}}}" not in path}
            needed = [r for r in schema["required"] if r in body]
            content = {"schema": {"type": "object", "properties": body, "required": needed}}
            operation["requestBody"] = {"content": {"application/json": content}}
        paths.setdefault(path, {})[method.lower()] = operation
    return {"openapi": "3.1.0", "info": {"title": "Charging network"}, "paths": paths}


def mcp() -> dict[str, Any]:
    """A `tools/list` answer of a hundred tools."""
    tools = []
    for line in (HERE / "office.txt").read_text().splitlines():
        name, about, fields = [*line.split(" | ", 2), ""][:3]
        fields = "" if fields.strip() == "|" else fields
        tools.append(
            {"name": name, "description": about.strip(" |"), "inputSchema": _schema(fields)}
        )
    return {"tools": tools}


HARD = [  # what no row can be made of, or little
    {"name": "f", "description": "", "parameters": _schema("x!:string|y!:string")},
    {"name": "frobnicate", "description": "Frobnicate.", "parameters": _schema("gizmo!:string")},
    {"name": "get_thing", "description": "Gets it.", "parameters": _schema("a!:string")},
    {
        "name": "never",
        "description": "Set the level of the pump.",
        "parameters": {
            "type": "object",
            "required": ["level"],
            "properties": {"level": {"type": "integer", "minimum": 9, "maximum": 3}},
        },
    },
    {
        "name": "empty_choice",
        "description": "Choose a colour.",
        "parameters": {
            "type": "object",
            "required": ["colour"],
            "properties": {"colour": {"type": "string", "enum": []}},
        },
    },
    {
        "name": "contradiction",
        "description": "Register a plate.",
        "parameters": {
            "type": "object",
            "required": ["plate"],
            "properties": {"plate": {"type": "string", "pattern": "^[A-Z]{3}$", "maxLength": 2}},
        },
    },
]


def many(count: int) -> list[dict[str, Any]]:
    """A catalogue of `count` tools, as enterprise back ends have them."""
    things = [
        "invoice",
        "order",
        "customer",
        "supplier",
        "shipment",
        "contract",
        "employee",
        "ticket",
        "asset",
        "project",
        "campaign",
        "warehouse",
        "vehicle",
        "policy",
        "claim",
        "lead",
        "quote",
        "subscription",
        "budget",
        "timesheet",
        "vendor",
        "license",
        "course",
        "device",
        "case",
    ]
    verbs = {
        "get": "Get {a} by its id.",
        "create": "Create {a}.",
        "cancel": "Cancel {a}.",
        "list": "List the {s} of a month.",
        "approve": "Approve {a}.",
        "assign": "Assign {a} to a person.",
        "archive": "Archive {a}.",
        "export": "Export the {s} of a month to a file.",
        "rename": "Rename {a}.",
        "search": "Search the {s}.",
        "note": "Add a note to {a}.",
        "share": "Share {a}.",
        "lock": "Lock {a}.",
        "unlock": "Unlock {a}.",
        "copy": "Copy {a}.",
        "print": "Print {a}.",
        "close": "Close {a}.",
        "reopen": "Reopen {a}.",
        "watch": "Watch {a}.",
        "tag": "Tag {a}.",
    }
    extra = {
        "list": "month!:string:Month, YYYY-MM",
        "export": "month!:string:Month, YYYY-MM | format:(csv,xlsx):File format",
        "assign": "{id} | email!:string:Email of the person",
        "create": "name!:string:Name, e.g. {t} A, {t} B",
        "note": "{id} | note!:string:Text",
        "rename": "{id} | name!:string:New name, e.g. {t} A, {t} B",
        "search": "query!:string:Text to look for in documents",
        "share": "{id} | email!:string:Email address",
        "tag": "{id} | tag!:string:Tag",
    }
    out = []
    for verb, about in verbs.items():
        for thing in things:
            key = f"{thing}_id!:string:Id of the {thing}, e.g. {thing[:2].upper()}-1042"
            article = "an" if thing[0] in "aeiou" else "a"
            fields = extra.get(verb, "{id}").replace("{id}", key).replace("{t}", thing.title())
            out.append(
                {
                    "name": f"{verb}_{thing}",
                    "description": about.format(a=f"{article} {thing}", s=f"{thing}s"),
                    "parameters": _schema(fields),
                }
            )
    return out[:count]


def spec_of(name: str, folder: Path) -> AgentSpec:
    """The spec that `init` makes of hotel, charging, office or erp (500 tools)."""
    if name == "hotel":
        return init_spec(HOTEL)
    content = {"charging": openapi, "office": mcp, "erp": lambda: many(500)}[name]()
    path = folder / f"{name}.json"
    path.write_text(json.dumps(content))
    return init_spec(path)
