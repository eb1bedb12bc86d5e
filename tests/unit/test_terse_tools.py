"""Requests for tools that say little, in the words of somebody who knows what is meant."""

from __future__ import annotations

import random
from typing import Any

import pytest

from raytune_agents.agents import parse_spec
from raytune_agents.generate import described_requests
from raytune_agents.generate.scenes import Scene

TEXT, WHOLE, SIZE, YES = ({"type": t} for t in ("string", "integer", "number", "boolean"))
DAY = {"type": "string", "format": "date"}


def about(text: str, schema: dict[str, Any] = TEXT) -> dict[str, Any]:
    return schema | {"description": text}


LOGS = {"type": "object", "properties": {"value": SIZE, "unit": TEXT}, "required": ["value"]}
SPAN = {"type": "object", "properties": {"start_date": DAY, "end_date": DAY}}


@pytest.mark.parametrize(
    ("name", "description", "properties", "args", "said"),
    [
        # which thing it is about, where description or name say too little
        ("dim", "Dims", {"lamp_id": TEXT}, {"lamp_id": "L-1"}, "dim lamp L-1"),
        ("power_down", "Powers down", {"entity_id": TEXT}, {"entity_id": "pump.a"},
         "power down entity pump.a"),
        ("latch", "Latch gate", {"gate_ref": TEXT}, {"gate_ref": "G-7"}, "latch gate G-7"),
        ("shift", "Move the item to a shelf", {"itemId": TEXT, "shelfId": TEXT},
         {"itemId": "I-1", "shelfId": "S-2"}, "item I-1 to shelf S-2"),
        ("drop", "Drop a seminar by its locator", {"record_locator": TEXT},
         {"record_locator": "A1"}, "seminar A1"),
        ("undo", "Undo a voyage with a given voyage number", {"voyage_number": WHOLE},
         {"voyage_number": 71}, "undo voyage 71"),
        ("owner", "Whose ferry", {"captain": about("The ID of the captain")}, {"captain": "C-1"},
         "captain C-1"),
        ("hatch", "Hatch position", {"position": WHOLE}, {"position": 30}, "hatch position to 30"),
        # what is set, given, spent
        ("var", "Sets a knob of a loom",
         {"name": about("Name of the knob"), "value": TEXT}, {"name": "WARP", "value": "slow"},
         "knob WARP of a loom to slow"),
        ("due", "Set the due date of a loan", {"loan_id": TEXT, "due_date": DAY},
         {"loan_id": "L-1", "due_date": "2026-05-04"}, "due date of loan L-1 to "),
        ("keeper", "Assign owner", {"herd_id": TEXT, "owner_email": TEXT},
         {"herd_id": "H-1", "owner_email": "ana@b.com"}, "assign ana@b.com as owner"),
        ("toil", "Log work", {"minutes_duration": WHOLE}, {"minutes_duration": 30},
         "for 30 minutes"),
        # objects: their fields like parameters, constants unsaid, a number with its unit
        ("moor", "Moor a boat at a berth", {"berth": {"type": "object", "properties": {
            "id": TEXT, "type": {"type": "string", "enum": ["berth_reference"]}}}},
         {"berth": {"id": "B-4", "type": "berth_reference"}}, "at a berth (ID B-4)"),
        ("tide", "Plot the tide", {"date_range": SPAN},
         {"date_range": {"start_date": "2026-05-04", "end_date": "2026-05-08"}}, "from "),
        ("sound", "Note a sounding", {"depth": LOGS}, {"depth": {"value": 12, "unit": "fathoms"}},
         "depth 12 fathoms"),
        # flags and choices
        ("sail", "Find ferries", {"nonStop": YES}, {"nonStop": True}, "ferries (non-stop)"),
        ("looms", "List looms", {"include_retired": YES}, {"include_retired": True},
         "including retired ones"),
        ("hire", "Find rental boats", {"boat_type": {"type": "string", "enum": ["canoe", "punt"]}},
         {"boat_type": "punt"}, "punt rental boats"),
        # sentences that speak of the tool's use, and what an infinitive needs
        ("give_back", "When you give back a book, you must name the copy. Giving back will end it.",
         {"copy_id": TEXT}, {"copy_id": "C-1"}, "give"),
        ("land", "What a sailor needs to enter a port", {"destination": about("Port to enter")},
         {"destination": "Oslo"}, "what a sailor needs to enter"),
        ("shot", "Take a core of a reef as of a point in time",
         {"as_of": DAY}, {"as_of": "2026-05-04"}, "of a reef as of "),
    ],
)  # fmt: skip
def test_requests_for_tools_of_strangers(name, description, properties, args, said):
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    tree = {"name": name, "description": description, "parameters": schema}
    (tool,) = parse_spec({"name": "s", "description": "d", "tools": [tree]}).tools
    texts = [
        described_requests.compose(
            tool, args, Scene(random.Random(i)), random.Random(i), "order"
        ).text
        for i in range(12)
    ]
    assert any(said in text for text in texts), texts
    assert not any("reference" in text for text in texts)
