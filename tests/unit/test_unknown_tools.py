"""Requests for tools of kinds that the word lists do not know: where values stand, which values are
drawn, and the reason where no row is made."""

from __future__ import annotations

import random
import re
from contextlib import nullcontext
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from raytune_agents.agents import AgentSpec, ToolConfig, parse_spec
from raytune_agents.generate import (
    arguments,
    described_requests,
    descriptions,
    known,
    realism,
    scenes,
    variants,
)
from raytune_agents.generate.codes import NoValue, shaped
from raytune_agents.generate.kind_table import bank_of
from raytune_agents.generate.scenes import Scene
from raytune_agents.pipeline.first_run import FirstRun, run_yaml
from raytune_agents.pipeline.read import with_catalogue
from raytune_agents.records import Message, ToolCall, ToolSpec, Trajectory


def spec_of(*tools: dict[str, Any]) -> AgentSpec:
    return parse_spec({"name": "strange", "description": "Tools.", "tools": list(tools)})


def tool_of(
    name: str, description: str, properties: dict[str, Any], required: tuple[str, ...] = ()
) -> ToolConfig:
    schema = {"type": "object", "properties": properties, "required": list(required or properties)}
    return spec_of({"name": name, "description": description, "parameters": schema}).tools[0]


TEXT, WHOLE, SIZE, YES = ({"type": t} for t in ("string", "integer", "number", "boolean"))
DAY = {"type": "string", "format": "date"}
ZONE = {"type": "string", "enum": ["A", "B", "C"]}
CODE = {"type": "string", "description": "ISO 4217 code"}
UNIT = {"type": "string", "enum": ["kg", "lb"]}


@pytest.mark.parametrize(
    ("name", "description", "properties", "args", "said"),
    [
        ("far", "This tool belongs to the car system, which controls doors. Tool description: "
         "Estimates the distance to a city.", {"city": TEXT}, {"city": "Oslo"}, "distance to Oslo"),
        ("topUp", "Top up a phone", {"phone": TEXT}, {"phone": "+1-202-555-0632"},
         "top up +1-202-555-0632"),
        ("extend", "Prolong a rental by some minutes", {"extra_minutes": WHOLE},
         {"extra_minutes": 35}, "by 35 minutes"),
        ("usage", "How much data a number has used", {"phone": TEXT}, {"phone": "+1-202-555-0632"},
         "how much data +1-202-555-0632 has used"),
        ("loan", "Lend a book to another library", {"start": DAY, "end": DAY},
         {"start": "2027-01-02", "end": "2027-02-02"}, "lend a book to another library"),
        ("flyTo", "Fly to a position.", {"lat": SIZE, "lon": SIZE}, {"lat": 1.5, "lon": 2.5},
         "fly to a position at latitude 1.5"),
        ("geofence", "Limit where the drone may fly.", {"radius_m": WHOLE}, {"radius_m": 40},
         "limit where the drone may fly"),
        ("order", "Place an order.", {"gift_wrap": YES}, {"gift_wrap": False}, "without gift wrap"),
        ("list_all_ports", "List all ports", {"page": WHOLE}, {"page": 2}, " all ports"),
        ("reserve", "Reserve a reservation", {"page": WHOLE}, {"page": 2}, "book a reserv"),
        ("cancel", "Cancel the whole order", {"order_id": TEXT}, {"order_id": "A-1"},
         "order A-1"),
        ("unlockZone", "Open a zone again", {"zone": ZONE}, {"zone": "A"}, "zone A again"),
        ("listRobots", "List robots", {"zone": ZONE}, {"zone": "B"}, "robots in zone B"),
        ("getBin", "Get what a bin holds", {"binId": TEXT}, {"binId": "A-1-2"},
         "what bin A-1-2 holds"),
        ("cancelPick", "Cancel a pick task", {"pickId": WHOLE}, {"pickId": 7}, "pick task 7"),
        ("gcd", "Greatest common divisor of a and b", {"a": WHOLE, "b": WHOLE},
         {"a": 12, "b": 18}, "of 12 and 18"),
        ("timer", "Stops playback after some time", {"minutes": WHOLE}, {"minutes": 30},
         "stop playback after 30 minutes"),
        ("follow", "Follow or unfollow an artist", {"artist": TEXT, "follow": YES},
         {"artist": "Adele", "follow": False}, "unfollow the artist Adele"),
        ("alerts", "Subscribe to weather alerts for a place", {"place": TEXT}, {"place": "Oslo"},
         "subscribe to weather alerts for Oslo"),
        ("report", "Report picks", {"groupBy": {"type": "string", "enum": ["zone", "hour"]}},
         {"groupBy": "zone"}, "grouped by zone"),
        ("remind", "Send a reminder", {"days_before": WHOLE}, {"days_before": 3}, "days before"),
        ("charge", "Charge a robot", {"until": {"type": "integer", "description": "in percent"}},
         {"until": 80}, "until 80 percent"),
        ("remind", "Send a reminder", {"channel": {"type": "string", "enum": ["sms", "phone"]}},
         {"channel": "sms"}, "reminder by sms"),
        ("belt", "Set the speed of a conveyor belt", {"metersPerMinute": SIZE},
         {"metersPerMinute": 40}, "to 40 meters per minute"),
        ("fly", "Fly a drone", {"altitude_m": WHOLE}, {"altitude_m": 30}, "altitude"),
        ("scale", "Scale a deployment to a number of replicas",
         {"deployment": TEXT, "replicas": WHOLE}, {"deployment": "api", "replicas": 4},
         "scale the deployment api to"),
        ("lock", "Lock a door", {"door": {"type": "string", "enum": ["front door", "back door"]}},
         {"door": "back door"}, "lock the back door"),
        ("fx", "Spot rate between two currencies.", {"base": CODE, "quote": CODE},
         {"base": "EUR", "quote": "USD"}, "spot rate between EUR and USD"),
        ("units", "Converts a quantity from one unit to another.",
         {"value": SIZE, "from_unit": UNIT, "to_unit": UNIT},
         {"value": 440, "from_unit": "lb", "to_unit": "kg"}, "convert 440 from lb to kg"),
        ("top", "Top up a prepaid phone by some amount.", {"phone": TEXT},
         {"phone": "+1-202-555-0916"}, "top up a prepaid phone"),
        ("pause", "Pauses a customer's subscription for up to three months.",
         {"subscription_id": TEXT}, {"subscription_id": "SUB-1"}, "pause subscription SUB-1"),
        ("table", "Books a table for a party, at a time.",
         {"guests": WHOLE, "when": {"type": "string", "format": "date-time"}},
         {"guests": 40, "when": "2027-10-05T11:30:00"}, "table for a party of 40 on "),
        ("invite", "Invite people by e-mail to a workspace.",
         {"emails": {"type": "array", "items": {"type": "string", "format": "email"}}},
         {"emails": ["a@b.org"]}, "invite a@b.org to a workspace"),
        ("dim", "Dims the lights of a room to a percentage.", {"percent": WHOLE},
         {"percent": 60}, "at 60 percent"),
        ("flights", "Use this when the user wants to fly. Searches for flights.",
         {"cabin": {"type": "string", "enum": ["economy"]}}, {"cabin": "economy"}, "flights "),
        ("ship", "This endpoint allows merchants to make a new shipment for one of their orders.",
         {"orderId": TEXT}, {"orderId": "ORD-1"}, "a new shipment for order ORD-1"),
        ("invoices", "Returns a paginated list of invoices, newest first.", {"customer": TEXT},
         {"customer": "Ana"}, "invoices"),
        ("merge", "Merge several PDF files into one.",
         {"files": {"type": "array", "items": {"type": "string"}}},
         {"files": ["a.pdf", "b.pdf"]}, "merge a.pdf and b.pdf into one"),
        ("off", "Switches off a smart home device.",
         {"device": {"type": "string", "enum": ["heater", "fan"]}}, {"device": "fan"},
         "switch off the smart home fan"),
        ("water", "Turns the sprinklers on for a number of minutes.", {"minutes": WHOLE},
         {"minutes": 20}, "turn the sprinklers on for 20 minutes"),
        ("mute", "Mutes notifications until a given time.",
         {"until": {"type": "string", "format": "date-time"}}, {"until": "2026-09-25T13:15:00"},
         "mute notifications until "),
        ("pickup", "Have shipments picked up from an address.", {"address": TEXT},
         {"address": "44 Wilde Heights"}, "have shipments picked up from 44 Wilde Heights"),
        ("key", "Revokes an API key immediately; apps using it stop working.", {"key_id": TEXT},
         {"key_id": "key_9"}, "revoke API key_9"),
        ("rent", "Rents a car of some class.",
         {"car_class": {"type": "string", "enum": ["compact", "van"]}}, {"car_class": "van"},
         "rent a van car"),
        ("cook", "Suggest dishes one can cook with the ingredients at hand.",
         {"ingredients": {"type": "array", "items": {"type": "string"}}},
         {"ingredients": ["rice"]}, "suggest dishes one can cook with"),
        ("worth", "Says how much an amount in one currency is worth in another.",
         {"amount": SIZE, "src": CODE, "dst": CODE}, {"amount": 540, "src": "CAD", "dst": "PLN"},
         "how much 540 in CAD is worth in PLN"),
        ("log", "Get logs from a Kubernetes node",
         {"name": {"type": "string", "description": "Name of the node to get logs from"}},
         {"name": "db-1"}, "logs from db-1"),
        ("list", "List the issues of a repository", {"owner": TEXT, "repo": TEXT},
         {"owner": "acme", "repo": "checkout"}, "acme/checkout"),
        ("runs", "Tools for GitHub Actions",
         {"method": {"type": "string", "enum": ["cancel_workflow_run", "list_workflows"]}},
         {"method": "list_workflows"}, " workflows"),
        ("pay", "Reimburse an expense claim", {"id": WHOLE}, {"id": 80046},
         "reimburse expense claim 80046"),
        ("staff", "List employees", {"hired_after": {"type": "string", "format": "date"}},
         {"hired_after": "2026-07-30"}, "hired after "),
        ("left", "How many of an item are left on the shelf.", {"item": TEXT}, {"item": "gauze"},
         "how many of gauze are left on the shelf"),
        ("ticket_close", "Ticket close.", {"id": WHOLE}, {"id": 7}, "close ticket 7"),
        ("job", "Change job title or hours of an employee",
         {"employee": {"type": "string", "example": "E-20317"}, "job_title": TEXT},
         {"employee": "E-1", "job_title": "nurse"},
         "the job title to nurse"),
        ("given", "Record that a vaccination was given.", {"batch": TEXT}, {"batch": "RB1"},
         "record that a vaccination was given"),
        ("stop", "Cancel a shipment that has not been picked up", {"trackingNumber": TEXT},
         {"trackingNumber": "JJD12"}, "shipment JJD12"),
        ("volume", "Sets the volume of a speaker", {"level": WHOLE}, {"level": 40}, "to 40"),
        ("alarm", "Arms or disarms the alarm system",
         {"mode": {"type": "string", "enum": ["armed", "disarmed"]}}, {"mode": "disarmed"},
         "disarm the alarm system"),
        ("door", "Lock or unlock a door", {"locked": YES}, {"locked": False}, "unlock a door"),
        ("label", "Register an animal with the practice", {"name": TEXT}, {"name": "Milo"},
         'an animal named "Milo" with the practice'),
        ("case", "Rename a case", {"case_id": TEXT, "name": TEXT},
         {"case_id": "C-1", "name": "Flood"}, "case C-1 to Flood"),
    ],
)  # fmt: skip
def test_a_value_stands_where_the_description_speaks_of_it(
    name, description, properties, args, said
) -> None:
    tool = tool_of(name, description, properties)
    for seed in range(8):
        rng = random.Random(seed)
        wish = described_requests.compose(tool, args, Scene(rng), rng, "order")
        assert said in f"{wish.text} {wish.rest}", wish.text


def test_several_things_stand_in_a_sentence_of_their_own() -> None:
    line = {"type": "object", "properties": {"item": TEXT, "price": SIZE}}
    tool = tool_of("bill", "Make out an invoice", {"lines": {"type": "array", "items": line}})
    args = {"lines": [{"item": "backpack", "price": 78}, {"item": "lamp", "price": 45}]}
    wish = described_requests.compose(tool, args, Scene(random.Random(1)), random.Random(1))
    assert wish.rest == "Lines: backpack (price 78); lamp (price 45)."


@pytest.mark.parametrize(
    ("name", "schema", "kind", "values"),
    [
        ("owner", {"description": "Repository owner (username or organization)"}, "repo_owner", []),
        ("note_id", {"description": "Required when method is 'edit' or 'drop'"}, "id", []),
        ("answers", {"description": "JSON string such as '{...}'"}, "", []),
        ("customer", {"example": "cus_NffrFeUfNV2Hib"}, "id", ["cus_NffrFeUfNV2Hib"]),
        ("state", {"description": "State of the sprint (e.g. 'active', 'closed')"}, "",
         ["active", "closed"]),
        ("length_m", {"type": "number"}, "amount", []),
        ("duration_in_months", {"type": "integer"}, "months", []),
    ],
)  # fmt: skip
def test_values_are_what_a_description_means(name, schema, kind, values) -> None:
    tool = tool_of("t", "Edit a comment in a repository", {name: TEXT | schema})
    (found,) = arguments.parameters_of(tool)
    assert (found.kind, found.values) == (kind, values)


@pytest.mark.parametrize(
    ("words", "about", "thing"),
    [
        ("name", "Name of the node to get logs from", "node"),
        ("d", "Pipe diameter in mm", "pipe diameter"),
        ("pull", "Pull request number", "pull request"),
        ("name", "What the animal is called.", "animal"),
        ("city", "The city to look up", ""),
        ("id", "unique identifier", ""),
    ],
)
def test_a_description_says_what_a_parameter_is_called(words, about, thing) -> None:
    assert descriptions.thing_of(words, about) == thing


def test_a_code_is_said_without_its_noun_twice() -> None:
    tool = tool_of("pick", "Create a pick task", {"sku": {"type": "string", "example": "SKU-881"}})
    rng = random.Random(1)
    wish = described_requests.compose(tool, {"sku": "SKU-881"}, Scene(rng), rng, "order")
    assert re.findall(r"(?i)sku", wish.text) == ["SKU"]


def drawn(tool: ToolConfig, count: int = 40) -> list[dict[str, Any]]:
    names = list(tool.parameters["properties"])
    return [arguments.sample(tool, names, random.Random(seed))[0] for seed in range(count)]


def test_numbers_keep_the_bounds_that_schema_and_description_give() -> None:
    tool = tool_of("belt", "Set the speed of a belt",
                   {"id": {"type": "integer", "minimum": 1, "maximum": 12},
                    "grade": {"type": "integer", "description": "1 (best) to 6"}})  # fmt: skip
    for args in drawn(tool):
        assert 1 <= args["id"] <= 12
        assert 1 <= args["grade"] <= 6


def test_values_come_from_pattern_list_digits_and_file_type() -> None:
    tool = tool_of("t", "Print a part on a machine", {
        "robots": {"type": "array", "items": {"type": "string", "pattern": "^RB-[0-9]{3}$"}},
        "treatment": {"type": "string", "description": "Cleaning, filling, root canal or checkup."},
        "bike": {"type": "string", "description": "Number on the frame, 5 digits"},
        "file": {"type": "string", "description": "STL file"},
    })  # fmt: skip
    for args in drawn(tool):
        assert all(re.fullmatch(r"RB-\d{3}", r) for r in args["robots"])
        assert args["treatment"] in ("cleaning", "filling", "root canal", "checkup")
        assert re.fullmatch(r"\d{5}", args["bike"])
        assert args["file"].endswith(".stl")


def test_values_of_one_request_fit_each_other() -> None:
    makers = scenes.banks()["made_by"]["songs"]
    songs = tool_of("lyrics", "Get the lyrics of a song", {"artist": TEXT, "song": TEXT})
    assert all(makers[a["song"]] == a["artist"] for a in drawn(songs))
    albums = scenes.banks()["made_by"]["albums"]
    record = tool_of("play", "Play an album", {"artist": TEXT, "album": TEXT})
    assert all(albums[a["album"]] == a["artist"] for a in drawn(record))
    meals = tool_of("order", "Order a meal", {
        "meal": {"type": "string", "enum": ["breakfast", "dinner"]},
        "time": {"type": "string", "description": "HH:MM"}})  # fmt: skip
    for args in drawn(meals):
        hour = int(args["time"][:2])
        assert 7 <= hour <= 10 if args["meal"] == "breakfast" else 18 <= hour <= 21
    sums = tool_of("gcd", "Greatest common divisor of a and b", {"a": WHOLE, "b": WHOLE})
    assert all(a["a"] != a["b"] for a in drawn(sums))


def test_a_flight_has_two_airports_and_a_bank_no_value_twice() -> None:
    for name in ("city", "airport"):
        assert len({getattr(c, name) for c in scenes.cities()}) == len(scenes.cities())
    for name, bank in scenes.banks().items():
        if isinstance(bank, list) and all(isinstance(v, str) for v in bank):
            assert len({v.lower() for v in bank}) == len(bank), name


def test_what_no_phrase_fits_is_given_with_its_noun() -> None:
    tool = tool_of(
        "stock",
        "Count the stock",
        {"delta": WHOLE, "bin": TEXT, "cause": {"type": "string", "enum": ["theft", "damage"]}},
    )
    args = {"delta": 85, "bin": "A-1", "cause": "theft"}  # fmt: skip
    for seed in range(20):
        rng = random.Random(seed)
        wish = described_requests.compose(tool, args, Scene(rng), rng, "order")
        said = f"{wish.text}{wish.rest}"
        for noun, text in (("delta", "85"), ("bin", "A-1"), ("cause", "theft")):
            assert re.search(rf"\b{noun}:? {text}\b", said), said


def test_the_examples_of_a_catalogue_beat_our_own_values() -> None:
    supplies = {"type": "array", "items": TEXT, "description": "e.g. gauze 10x10, surgical tape"}
    shop = tool_of("order", "Order products from the shop", {"items": supplies, "bin": {
        "type": "string", "description": "Bin location", "example": "A-12-03"}})  # fmt: skip
    for args in drawn(shop):
        assert set(args["items"]) <= {"gauze 10x10", "surgical tape"}
        assert re.fullmatch(r"A-\d\d-\d\d", args["bin"])
    digits = {"type": "string", "description": 'Last four digits of the card, e.g. "4471"'}
    card = tool_of("block", "Block a card", {"last_four": digits})
    assert all(re.fullmatch(r"\d{4}", args["last_four"]) for args in drawn(card))


def test_a_stay_starts_with_the_end_that_the_schema_names_first() -> None:
    when = {"type": "string", "format": "date-time"}
    dock = tool_of("dock", "Reserve a dock", {"arrival": when, "departure": when})
    assert all(args["arrival"] < args["departure"] for args in drawn(dock))
    flight = tool_of("fly", "Add a flight", {"departure": when, "arrival": when})
    assert all(args["departure"] < args["arrival"] for args in drawn(flight))


def test_a_code_with_a_date_in_it_keeps_a_date() -> None:
    for seed in range(30):
        code = shaped("S-20260312-0930", random.Random(seed))
        datetime.strptime(code, "S-%Y%m%d-%H%M")


def test_a_letter_and_an_abbreviation_are_what_their_words_say() -> None:
    loan = tool_of("pmt", "Monthly payment of a loan", {
        "p": {"type": "number", "description": "principal in EUR"},
        "r": {"type": "number", "description": "yearly interest rate in percent"}})  # fmt: skip
    assert all(a["p"] >= 20000 and a["r"] <= 9 for a in drawn(loan))
    sky = tool_of("weather", "Get the weather", {"loc": TEXT})
    cities = {p.city for p in scenes.cities()}
    assert all(a["loc"] in cities for a in drawn(sky))


def test_one_name_means_the_same_in_the_whole_catalogue() -> None:
    allowed = {"type": "string", "enum": ["cleaning", "filling"]}
    named = {"type": "string", "description": "Name of the treatment"}
    schema = {"type": "object", "required": ["treatment"]}
    spec = spec_of(
        {"name": "find_slots", "description": "Find free slots",
         "parameters": schema | {"properties": {"treatment": allowed}}},
        {"name": "estimate_cost", "description": "Estimate what a treatment costs",
         "parameters": schema | {"properties": {"treatment": named}}},
    )  # fmt: skip
    assert [g.parameter for g in known.gaps(spec)] == ["treatment"]
    assert known.gaps(known.with_known(spec)) == []


@pytest.mark.parametrize(
    ("description", "reason"),
    [
        ("Sucht Zugverbindungen zwischen zwei Bahnhöfen", known.FOREIGN),
        ("Reserva una mesa en un restaurante", known.FOREIGN),
        ("Find a table in a café", ""),
        ("Get the menu of the Café Zürich", ""),
    ],
)
def test_a_foreign_description_is_said_to_be_one(description: str, reason: str) -> None:
    tool = tool_of("t", description, {"n": {"type": "integer", "minimum": 1}})
    found = [g.advice for g in known.gaps(spec_of(tool.model_dump(exclude_defaults=True)))]
    assert found == ([reason] if reason else [])
    rng = random.Random(1)
    with pytest.raises(NoValue) if reason else nullcontext():
        described_requests.compose(tool, {"n": 2}, Scene(rng), rng)


def test_what_somebody_does_is_not_swapped() -> None:
    reason = arguments.parameters_of(tool_of("t", "Do a thing", {"reason": {"type": "string"}}))[0]
    assert not variants.is_free(reason, "found it", "cancel 42, I found it")
    assert variants.is_free(reason, "found it", "cancel 42 (reason: found it)")


@pytest.mark.parametrize(
    ("text", "value", "free"),
    [
        ("my brakes squeal badly", "brakes", False),
        ("got a flat, fix the puncture", "puncture", False),
        ("with high priority please", "high", True),
        ("the priority is high", "high", True),
        ("in the Old Town", "Old Town", True),
    ],
)
def test_a_word_that_others_speak_of_is_not_swapped(text: str, value: str, free: bool) -> None:
    listed = {"type": "string", "enum": [value, "other"]}
    tool = tool_of("t", "Do a thing", {"priority": listed})
    assert variants.is_free(arguments.parameters_of(tool)[0], value, text) is free


def test_a_form_is_kept_by_another_value() -> None:
    assert variants.is_alike("31-40", "20-23")
    assert not variants.is_alike("192.168.0.1", "20-23")
    assert not variants.is_alike("14:42", "the last decade")
    assert variants.is_alike(7, 3)
    assert not variants.is_alike("7", 3)


def test_a_schema_that_no_value_fits_makes_no_row() -> None:
    tool = tool_of("never", "Do a thing", {"v": {"type": "integer", "minimum": 10, "maximum": 3}})
    with pytest.raises(NoValue, match="no number lies between 10 and 3"):
        arguments.sample(tool, ["v"], random.Random(1))


def test_a_noun_that_is_a_tools_name_names_no_tool() -> None:
    moist, find = ToolSpec("soil_moisture", "", "{}"), ToolSpec("find_room", "", "{}")
    assert realism.names_tool("what is the soil moisture of field F-1", [moist]) == ""
    assert realism.names_tool("call soil_moisture for F-1", [moist]) == "soil_moisture"
    assert realism.names_tool("please find room 12", [find]) == "find_room"


def test_rows_that_list_no_tools_get_the_agents(tmp_path) -> None:
    tool = ToolSpec("find_room", "Find a room", '{"type": "object"}')
    turns = (Message("user", "a room?"), Message("assistant", tool_calls=(ToolCall.of("f"),)))
    bare, listed = Trajectory(turns), Trajectory(turns, (ToolSpec("f", "", "{}"),))
    assert with_catalogue(bare, [tool]).tools == (tool,)
    assert with_catalogue(bare, []) is bare
    assert with_catalogue(listed, [tool]) is listed
    spec = spec_of({"name": "f", "description": "Do it",
                    "parameters": {"type": "object", "properties": {}}})  # fmt: skip
    first = FirstRun("strange", "strange.yaml", spec, "rows.jsonl", [bare], bare=1)
    assert "{path: rows.jsonl, agent: strange.yaml}]  # 1 rows list no tools" in run_yaml(first)
    assert "agent:" not in run_yaml(replace(first, bare=0))


def test_a_number_that_rules_its_noun_stays_one() -> None:
    assert not variants.is_alike(6, 1)
    assert variants.is_alike(6, 2)


DOCSTRING = """Get the state of a device.

Use this when the user asks about a device.

Args:
    device_id: The device to look at (e.g. 'light.kitchen')
    attribute: What to show ("brightness" or "power")

Returns:
    A dictionary with the state
"""


def test_a_docstring_for_a_description_says_what_its_arguments_are() -> None:
    look = {"name": "look", "description": DOCSTRING, "parameters": {
        "type": "object", "required": ["device_id", "attribute"],
        "properties": {"device_id": {"title": "Device Id", "type": "string"},
                       "attribute": {"title": "Attribute", "type": "string"}}}}  # fmt: skip
    logs = {
        "name": "logs",
        "description": "List what a device logged.",
        "parameters": {
            "type": "object",
            "required": ["device_id"],
            "properties": {"device_id": TEXT},
        },
    }
    spec = known.with_known(spec_of(look, logs))
    for args in drawn(spec.tools[0], 10):
        assert args["attribute"] in ("brightness", "power")
        wish = described_requests.compose(
            spec.tools[0], args, Scene(random.Random(1)), random.Random(1)
        )
        assert not re.search("Args|Returns|user", wish.text)
    rng = random.Random(2)  # quoted by one tool, meant by the other, too
    args, _ = arguments.sample(
        spec.tools[1], ["device_id"], rng, arguments.spec_values(spec.tools[1], rng)
    )
    assert args == {"device_id": "light.kitchen"}


def test_a_uid_is_an_id_and_no_name_is_lost() -> None:
    name = TEXT | {"description": "Name of the payee"}
    payee = tool_of("payee_create", "Create a payee", {"payeeName": name, "accountUid": TEXT})
    args = {"payeeName": "Ana Silva", "accountUid": "0b1f8f0e-7b39-4c4e-8e6b-6f6f4a6ad1c2"}
    wish = described_requests.compose(payee, args, Scene(random.Random(3)), random.Random(3))
    assert all(value in wish.text for value in args.values())
    account = tool_of("balance", "Get the balance of an account", {"accountUid": TEXT})
    assert known.gaps(spec_of(account.model_dump())) == []


def test_letters_of_a_list_keep_their_case_and_a_code_its_first_letter() -> None:
    contract = TEXT | {"description": "starts with C followed by 8 digits"}
    tariff = TEXT | {"description": "S, M, L or XL"}
    change = tool_of("change", "Switch a contract", {"contract_id": contract, "tariff": tariff})
    for args in drawn(change, 20):
        assert re.fullmatch(r"C\d{8}", args["contract_id"])
        assert args["tariff"] in ("S", "M", "L", "XL")


def test_what_a_bakery_sells_is_food() -> None:
    order = tool_of("order", "Order from the bakery", {"product": TEXT})
    assert {a["product"] for a in drawn(order, 20)} <= set(bank_of("dish"))
