"""Requests for tools of strangers: objects and lists of objects, abbreviated ids, and values of a
domain that no word list knows."""

from __future__ import annotations

import random
import re
from typing import Any

import pytest

from raytune_agents.agents import AgentSpec, ToolConfig, parse_spec
from raytune_agents.agents.openapi import openapi_tools
from raytune_agents.generate import arguments, described_requests, kinds, known, tasks
from raytune_agents.generate.codes import NoValue
from raytune_agents.generate.frames import EVEN_HABITS
from raytune_agents.generate.grammar import is_plural
from raytune_agents.generate.scenes import Scene

TEXT, WHOLE, SIZE, YES = ({"type": t} for t in ("string", "integer", "number", "boolean"))
WHEN = {"type": "string", "format": "date-time"}
WEEKDAY = {"type": "string", "enum": ["Mon", "Tue", "Wed"]}


def thing(required: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required or properties)}


def many(item: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": item}


def about(text: str, schema: dict[str, Any] = TEXT) -> dict[str, Any]:
    return schema | {"description": text}


def tool_of(
    name: str, description: str, properties: dict[str, Any], required: list[str] | None = None
) -> ToolConfig:
    needed = list(properties) if required is None else required
    schema = {"type": "object", "properties": properties, "required": needed}
    tool = {"name": name, "description": description, "parameters": schema}
    return parse_spec({"name": "strange", "description": "Tools.", "tools": [tool]}).tools[0]


SLOT = thing(day=WEEKDAY, period=WHOLE)
STOP = thing(address=TEXT, postcode=TEXT)
MOVED = {"old": {"day": "Mon", "period": 4}, "new": {"day": "Tue", "period": 2}}


@pytest.mark.parametrize(
    ("name", "description", "properties", "args", "said"),
    [
        # an object where the description speaks of it
        ("free", "Rooms that are free at a slot", {"slot": SLOT},
         {"slot": {"day": "Mon", "period": 4}}, "rooms that are free at a slot (Mon, period 4)"),
        ("bounds", "Set the reference range of an analyte",
         {"analyte": about("e.g. potassium, TSH"), "range": thing(low=SIZE, high=SIZE, unit=TEXT)},
         {"analyte": "TSH", "range": {"low": 3, "high": 5, "unit": "g/l"}},
         "TSH: low 3, high 5 and unit g/l"),
        ("absent", "Report an absence",
         {"absence": thing(teacher=TEXT, from_date=TEXT, to_date=TEXT)},
         {"absence": {"teacher": "Ana Cruz", "from_date": "2026-05-04", "to_date": "2026-05-06"}},
         "an absence: teacher Ana Cruz, from "),
        # two objects that are the ends of one thing
        ("move", "Move a lesson", {"old": SLOT, "new": SLOT}, MOVED,
         "from Mon, period 4 to Tue, period 2"),
        ("carry", "Book a load from one stop to another", {"origin": STOP, "destination": STOP},
         {"origin": {"address": "1 Mill Rd", "postcode": "11111"},
          "destination": {"address": "2 Elm St", "postcode": "22222"}},
         "from 1 Mill Rd, 11111 to 2 Elm St, 22222"),
        # a list that the sentence is about, or that has no name of its own
        ("add", "Add drop-off stops to a load", {"load_id": TEXT, "stops": many(STOP)},
         {"load_id": "LD-1", "stops": [{"address": "1 Mill Rd", "postcode": "11111"},
                                       {"address": "2 Elm St", "postcode": "22222"}]},
         "to load LD-1: 1 Mill Rd, 11111; 2 Elm St, 22222"),
        ("link", "Link several devices", {"body": many(thing(userId=WHOLE, deviceId=WHOLE))},
         {"body": [{"userId": 7, "deviceId": 9}]}, "link several devices: user 7, device 9"),
        # a truth inside a list, a list inside a list
        ("order", "Order laboratory tests",
         {"tests": many(thing(("code",), code=TEXT, urgent=YES))},
         {"tests": [{"code": "A1", "urgent": True}, {"code": "B2", "urgent": False}]},
         "code A1, urgent; code B2, not urgent"),
        ("plan", "Plan lessons", {"lessons": many(thing(teacher=TEXT, slots=many(SLOT)))},
         {"lessons": [{"teacher": "Ana Cruz", "slots": [{"day": "Mon", "period": 4},
                                                        {"day": "Tue", "period": 2}]}]},
         "teacher Ana Cruz, slots (Mon, period 4) and (Tue, period 2)"),
        # the id of what an abbreviation or an index stands for
        ("export", "Create an export", {"upl_id": about("ID of the upload")}, {"upl_id": "upl_7"},
         "for upload upl_7"),
        ("limit", "Set the charge limit",
         {"id": about("Loadpoint index starting at 1", WHOLE), "soc": about("SOC in %", SIZE)},
         {"id": 2, "soc": 60}, "for loadpoint 2 to 60"),
        ("assign", "Assign a vehicle",
         {"id": about("Loadpoint index starting at 1", WHOLE)}, {"id": 2}, "to loadpoint 2"),
        ("unique", "Create an order", {"unique_id": TEXT}, {"unique_id": "U1"},
         "with the unique ID U1"),
        ("code", "Create a client", {"tax_code": TEXT}, {"tax_code": "T-1"}, "tax code T-1"),
        ("name", "Set the charge limit", {"name": about("Vehicle name"), "soc": WHOLE},
         {"name": "Zoe", "soc": 3}, "for vehicle Zoe"),
        ("app", "Activate an application", {"app_id": TEXT}, {"app_id": "7"}, "application 7"),
        ("drop", "Delete a device assurance policy", {"device_assurance_id": TEXT},
         {"device_assurance_id": "A1"}, "device assurance policy A1"),
        ("sub", "Promote a subtask to a main task", {"subtask_id": TEXT}, {"subtask_id": "S1"},
         "promote subtask S1 to a main task"),
        ("outage", "Flag an outage", {"affected": many(about("numbers of the affected meters"))},
         {"affected": ["M-1"]}, "affected meter M-1"),
        # what a clause says of a value
        ("key", "Create a token", {"expiration": WHEN}, {"expiration": "2026-05-04T10:00:00"},
         "expiring on "),
        ("draw", "Order a test", {"collected_at": WHEN}, {"collected_at": "2026-05-04T10:00:00"},
         "collected on "),
        ("put", "Store a sample",
         {"sample_id": TEXT, "position": {"type": "string", "pattern": "^[A-H][1-9]$"}},
         {"sample_id": "S-1", "position": "B4"}, "sample S-1 at position B4"),
        ("result", "Record the results", {"technician": TEXT}, {"technician": "Ana Cruz"},
         "by Ana Cruz"),
        ("enrol", "Enrol pupils in a class", {"class_name": TEXT, "pupils": many(TEXT)},
         {"class_name": "biology", "pupils": ["Ana Cruz"]}, "enrol Ana Cruz in biology"),
        ("mail", "Send an invoice to client", {"recipient_email": TEXT},
         {"recipient_email": "a@b.org"}, "an invoice to a@b.org"),
        ("log", "Get the log within a date range", {"since": WHEN, "until": WHEN},
         {"since": "2026-05-04T10:00:00", "until": "2026-05-05T10:00:00"}, "the log since "),
        ("remark", "Get comments", {"task_name": TEXT}, {"task_name": "call Bo"},
         'for the task "call Bo"'),
        ("make", "Create a new product", {"name": about("Product name")}, {"name": "lamp"},
         "a new product called lamp"),
        ("client", "Create a client", {"street": TEXT, "city": TEXT},
         {"street": "1 Mill Rd", "city": "Oslo"}, "street"),
    ],
)  # fmt: skip
def test_what_a_request_says(name, description, properties, args, said) -> None:
    tool = tool_of(name, description, properties)
    for seed in range(8):
        rng = random.Random(seed)
        wish = described_requests.compose(tool, args, Scene(rng), rng, "order")
        text = f"{wish.text} {wish.rest}"
        assert said in text, text


def draws(tool: ToolConfig, count: int = 40) -> list[dict[str, Any]]:
    names = tool.parameters["required"]
    return [arguments.sample(tool, names, random.Random(i))[0] for i in range(count)]


def test_values_of_objects_fit_each_other() -> None:
    line = thing(description=TEXT, quantity=WHOLE, unit_price=SIZE)
    tool = tool_of("bill", "Make out a bill", {
        "range": thing(low=SIZE, high=SIZE), "lines": many(line),
        "lessons": many(thing(teacher=TEXT, period=WHOLE)),
        "value_kwh": SIZE, "cost": SIZE | {"example": 0.25},
        "collected_at": WHEN | {"example": "1963-11-22T18:30:00Z"},
        "house_number": TEXT, "loadpoint": about("Index of the loadpoint", WHOLE),
        "urgency": SIZE | {"minimum": 1, "maximum": 4},
    })  # fmt: skip
    for args in draws(tool):
        assert args["range"]["low"] <= args["range"]["high"]
        sold = [x["description"] for x in args["lines"]]
        assert len(set(sold)) == len(sold)
        assert set(sold) <= set(kinds.bank_of("product"))
        who = [x["teacher"] for x in args["lessons"]]
        assert len(set(who)) == len(who)
        assert all(1 <= x["period"] <= 9 for x in args["lessons"])
        assert args["value_kwh"] <= 90
        assert 0.1 < args["cost"] <= 0.5
        assert not args["collected_at"].startswith("1963")
        assert args["house_number"].isdigit()
        assert args["loadpoint"] <= 6
        assert args["urgency"] in (1, 2, 3, 4)


def test_a_class_of_pupils_is_no_course_and_a_page_is_no_users_business() -> None:
    schema = {"class_name": TEXT, "fetch_all": about("Fetch all pages of results", YES)}
    tool = tool_of("week", "Show the timetable of a class", schema, ["class_name"])
    assert all(re.fullmatch(r"1?\d[A-D]", args["class_name"]) for args in draws(tool, 5))
    assert not any("fetch_all" in names for names in names_drawn(tool))


def test_what_compares_gets_several() -> None:
    tool = tool_of("compare", "Compare months", {"months": many(about("as YYYY-MM"))})
    assert all(len(set(args["months"])) > 1 for args in draws(tool))


def test_the_first_alternative_that_is_known_counts() -> None:
    """A text of HTML, or the address of a PDF file; nobody says a file's bytes."""
    link = {"type": "string", "pattern": r"^https://\S+\.pdf$"}
    either = {"anyOf": [{"type": "object"}, link]}
    raw = {"type": "string", "format": "binary"}
    tool = tool_of("print", "Print a card", {"front": either})
    assert all(args["front"].endswith(".pdf") for args in draws(tool, 5))
    (gap,) = known.gaps(spec_with(tool_of("up", "Upload an image", {"body": raw})))
    assert gap.parameter == "body"


def spec_with(tool: ToolConfig) -> AgentSpec:
    return parse_spec({"name": "s", "description": "S.", "tools": [tool.model_dump()]})


def test_a_gap_names_the_field_inside_an_object() -> None:
    tool = tool_of("book", "Book a load", {"pallets": many(thing(weight=SIZE, glork=TEXT))})
    (gap,) = known.gaps(spec_with(tool))
    assert str(gap).startswith("book.pallets.glork: say what it is")


def test_nobody_says_a_secret() -> None:
    ticket = about("Alfresco authentication ticket")
    (gap,) = known.gaps(spec_with(tool_of("get", "Get a node", {"id": TEXT, "ticket": ticket})))
    assert str(gap) == (
        "get.ticket: no user says it: leave it out of the tool's parameters, or add values"
    )


def names_drawn(tool: ToolConfig) -> list[set[str]]:
    return [set(tasks.argument_names(tool, EVEN_HABITS, random.Random(i))) for i in range(60)]


def test_optional_arguments_are_those_that_somebody_says() -> None:
    put = tool_of("put", "Update a calendar", {"id": WHOLE, "body_id": WHOLE, "name": TEXT}, ["id"])
    assert not any("body_id" in names for names in names_drawn(put))
    post = tool_of("post", "Create a calendar", {"id": WHOLE, "name": TEXT}, [])
    assert not any("id" in names for names in names_drawn(post))
    pages = tool_of("all", "List the orders", {"offset": WHOLE, "limit": WHOLE}, [])
    assert all("limit" in names for names in names_drawn(pages) if "offset" in names)
    part = tool_of("rank", "Set the order of a task", {"task_id": TEXT, "order": WHOLE}, ["order"])
    assert all("task_id" in names for names in names_drawn(part))
    one = tool_of("archive", "Archive a section", {"section_id": TEXT, "section_name": TEXT}, [])
    assert all(len(names) == 1 for names in names_drawn(one))


@pytest.mark.parametrize(
    "phrase",
    ["all available backups", "the completed tasks", "rooms that are free", "dishes used today"],
)
def test_many_are_many_whatever_is_said_of_them(phrase: str) -> None:
    assert is_plural(phrase)


@pytest.mark.parametrize("name", ["_", "?", "a+b", "(x", "c["])
def test_a_name_may_hold_any_character(name: str) -> None:
    for kind in (YES, many(TEXT), thing(**{name: TEXT}), about(f"ID of the {name}")):
        spec = spec_with(tool_of("move", f"Move a {name} thing", {name: kind, "city": TEXT}))
        known.gaps(spec)
        tasks.tasks(spec, 2, 1)


def test_the_first_of_two_opposite_verbs_counts() -> None:
    tool = tool_of("shelve", "Archive or unarchive a project", {"project_id": TEXT})
    for seed in range(12):
        rng = random.Random(seed)
        wish = described_requests.compose(tool, {"project_id": "P-1"}, Scene(rng), rng, "order")
        assert "unarchive" not in wish.text


def test_a_summary_of_one_word_gives_way_to_the_description() -> None:
    get = {"operationId": "cards_list", "summary": "List", "description": "Returns your cards."}
    (tool,) = openapi_tools({"paths": {"/cards": {"get": get}}})
    assert tool["description"] == "Returns your cards."


def test_a_name_of_nothing_that_is_known_makes_no_row() -> None:
    tariff = tool_of("switch", "Switch a contract", {"tariff": thing(name=TEXT, rate=SIZE)})
    with pytest.raises(NoValue, match="name: nothing says whose name it is"):
        arguments.sample(tariff, ["tariff"], random.Random(1))
