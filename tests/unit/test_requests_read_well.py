"""Requests for made-up tools that are written as strangers write theirs: each test is a kind of
fault that was found by eye in a catalogue of somebody else."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from stranger_tools import TEXT, WHOLE, YES, drawn, of, order, saying, tool_of

from raytune_agents.agents import ToolConfig, parse_spec
from raytune_agents.agents.init import init_spec
from raytune_agents.config import ConfigError
from raytune_agents.generate import (
    arguments,
    descriptions,
    kinds,
    known,
    realism,
)
from raytune_agents.generate.bounds import one_bound_in
from raytune_agents.generate.codes import NoValue
from raytune_agents.generate.tasks import tasks
from raytune_agents.generate.wordlists import word_data
from raytune_agents.records import Message, ToolCall, ToolSpec, Trajectory

STATES = ["IN_PROGRESS", "DONE"]
SORTED = {"type": "string", "enum": ["asc", "desc"]}


@pytest.mark.parametrize(
    ("tool", "args", "said"),
    [
        # values as people say them
        (tool_of("set_state", "Set the state of a ticket", {"ticket_id": TEXT, "state":
         {"type": "string", "enum": STATES}}), {"ticket_id": "T-1", "state": "IN_PROGRESS"},
         "in progress"),
        (tool_of("list_notes", "List all notes", {"order": SORTED}), {"order": "desc"},
         "in descending order"),
        (tool_of("find", "Find members", {"fields": {"type": "array", "items": {"type": "string",
         "enum": ["jobTitle", "homeCity"]}}}), {"fields": ["jobTitle"]}, "job title"),
        (tool_of("find_tours", "Find tours", {"landmark": TEXT}), {"landmark": "Statue of Liberty"},
         "at the Statue of Liberty"),
        (tool_of("find_hotels", "Find hotels", {"country": TEXT}), {"country": "Philippines"},
         "the Philippines"),
        # booleans
        (tool_of("build_site", "Build the site", {"dryRun": YES}), {"dryRun": True},
         "as a dry run"),
        (tool_of("make_list", "Create a list", {"print_header": YES}), {"print_header": False},
         "without print header"),
        (tool_of("close", "Close a case", {"archive": YES}), {"archive": True}, "and archive it"),
        (tool_of("mark", "Mark a draft as public or ready for review", {"public": YES}),
         {"public": False}, "as ready for review"),
        # what is left out, how much of it, until when
        (tool_of("search_logs", "Search the logs of a job", {"job_id": TEXT, "exclude_patterns":
         {"type": "array", "items": TEXT}}), {"job_id": "J-1", "exclude_patterns": ["*.tmp"]},
         "excluding *.tmp"),
        (tool_of("read_page", "Read a page", {"page_id": TEXT, "head": of(WHOLE, "Returns only the "
         "first N lines of the page")}), {"page_id": "P-1", "head": 12}, "only the first 12 lines"),
        (tool_of("list_shifts", "List shifts", {"end_date": of(TEXT, "Last day, YYYY-MM-DD")}),
         {"end_date": "2026-05-06"}, ("until", "through")),
        (tool_of("heat", "Set the target temperature of a room", {"room": {"type": "string", "enum":
         ["living room", "bedroom"]}, "temperature": WHOLE, "until": of(TEXT, "HH:MM")}),
         {"room": "bedroom", "temperature": 20, "until": "14:15"},
         ("temperature of the bedroom until",)),
        # what a choice of times, days and places says alone
        (tool_of("get_usage", "Get the usage of the site", {"period": {"type": "string", "enum":
         ["today", "this month"]}}), {"period": "this month"}, "usage of the site for this month"),
        (tool_of("set_alarm", "Set an alarm", {"days": {"type": "array", "items": {"type": "string",
         "enum": ["Mon", "Tue", "Wed"]}}}), {"days": ["Tue"]}, "alarm on Tue"),
        (tool_of("clean", "Start the vacuum", {"rooms": {"type": "array", "items": {"type":
         "string", "enum": ["living room", "kitchen"]}}}), {"rooms": ["kitchen"]},
         "in the kitchen"),
        (tool_of("lock", "Lock a door", {"door": {"type": "string", "enum": ["front door",
         "garage"]}}), {"door": "garage"}, "lock the garage"),
        # how many of them, and how much of it
        (tool_of("buy", "Buy tickets for an event", {"event_id": TEXT, "quantity": WHOLE}),
         {"event_id": "E-1", "quantity": 5}, ("5 tickets for event E-1", "five tickets for")),
        (tool_of("drive", "Record the mileage of a car", {"plate": TEXT, "kilometres": WHOLE}),
         {"plate": "KB-6", "kilometres": 40}, "a mileage of 40 km for KB-6"),
        (tool_of("log_time", "Log time spent on a card", {"card_id": WHOLE, "minutes": WHOLE}),
         {"card_id": 7, "minutes": 35}, ("log time spent on card 7", "log the time spent on")),
        (tool_of("fuel_costs", "Calculates the fuel costs of a vehicle or of the whole fleet",
         {"vehicle_id": TEXT}), {"vehicle_id": "TRK-8"}, "fuel costs of vehicle TRK-8"),
        (tool_of("set_fence", "Sets up a fence around a point and alerts when vehicles leave it",
         {"radius": WHOLE}), {"radius": 8}, "a fence around a point"),
        (tool_of("book_lab", "Book a room for a lesson", {"room": of(TEXT, "Room, such as B204"),
         "lesson": of(WHOLE, "Lesson of the day, 1 to 8")}), {"room": "B204", "lesson": 7},
         "room B204 for lesson 7"),
        (tool_of("change_plan", "Change the plan or number of seats of a subscription", {"id": TEXT,
         "plan": {"type": "string", "enum": ["starter", "team"]}}), {"id": "S-1", "plan": "team"},
         "the plan to team for subscription S-1"),
        (tool_of("create_coupon", "Create a coupon", {"percentOff": WHOLE}), {"percentOff": 30},
         "a coupon with 30 percent off"),
        (tool_of("get_log", "Gets the last lines of the log of a job", {"job_id": WHOLE, "lines":
         WHOLE}), {"job_id": 8, "lines": 50}, "the last 50 lines of the log of job 8"),
        (tool_of("pay", "Create a recurring payment", {"every": {"type": "string", "enum": ["week",
         "month"]}}), {"every": "month"}, "payment every month"),
        (tool_of("ask", "Ask housekeeping for something in a room", {"room_number": WHOLE}),
         {"room_number": 411}, "ask housekeeping"),
        (tool_of("promote", "Promotes a release", {"version": of(TEXT, "e.g. 2.14.0")}),
         {"version": "2.14.0"}, "the release 2.14.0"),
        (tool_of("settle", "Mark a debt with a friend as settled", {"friend": of(TEXT, "Name of "
         "the friend")}), {"friend": "Ana Lind"}, "a debt with Ana Lind as settled"),
        (tool_of("raise_pay", "Raise the salary of an employee", {"employee_id": WHOLE, "percent":
         of(WHOLE, "By how many percent")}), {"employee_id": 7, "percent": 5}, "by 5 percent"),
        (tool_of("insert_ad", "Insert an ad", {"position_seconds": WHOLE}),
         {"position_seconds": 55}, "an ad at 55 seconds"),
        (tool_of("log_overtime", "Record overtime", {"hours": WHOLE, "paid": YES}),
         {"hours": 5, "paid": False}, "(not paid)"),
        (tool_of("edit_notes", "Replaces the notes of an episode", {"episode_id": TEXT, "text":
         TEXT}), {"episode_id": "EP-1", "text": "all new"}, 'of episode EP-1 with "all new"'),
        (tool_of("publish", "Publishes an episode of a podcast", {"episode_id": TEXT}),
         {"episode_id": "EP-1"}, ("publish episode EP-1", "publish the episode EP-1")),
        # when it is fetched, which of them, what is looked for
        (tool_of("order_cake", "Place an order for pickup", {"pickup_time": of(TEXT, "ISO 8601 "
         "date and time")}), {"pickup_time": "2026-05-06T09:15:00"}, "for pickup on "),
        (tool_of("list_cards", "List the cards of a board", {"overdue": YES}), {"overdue": True},
         "(overdue)"),
        (tool_of("search_cards", "Full-text search over all cards", {"text": TEXT}),
         {"text": "budget"}, ("for budget", "budget")),
        (tool_of("get_parts", "List the parts of an item", {"item": of(TEXT, "e.g. sourdough")}),
         {"item": "sourdough"}, ("list the parts of sourdough", "me the parts", "t the parts",
                                 "d the parts")),
        # the thing itself
        (tool_of("add_item", "Add an item to the shopping list", {"item": of(TEXT, "What to buy")}),
         {"item": "oat milk"}, "oat milk to the shopping list"),
        (tool_of("play", "Play a song, album or playlist on a speaker", {"title": of(TEXT, "Song "
         "or album"), "speaker": {"type": "string", "enum": ["kitchen speaker"]}}),
         {"title": "Imagine", "speaker": "kitchen speaker"}, "play Imagine on a speaker"),
        # which thing, what it is called
        (tool_of("note_case", "Add a note", {"case_number": WHOLE}), {"case_number": 41},
         "for case number 41"),
        (tool_of("create_events", "Create special events", {"name": of(TEXT, "Name of the special "
         "event"), "city": TEXT}), {"name": "Product demo", "city": "Oslo"},
         'a special event called "Product demo" in Oslo'),
        (tool_of("create_group", "Create a new group in a project", {"project_id": TEXT, "name":
         of(TEXT, "Group name")}), {"project_id": "P-1", "name": "Sales"},
         'a new group called "Sales" in project P-1'),
        (tool_of("buy_tickets", "Buy museum tickets", {"ticket_date": of(TEXT, "YYYY-MM-DD")}),
         {"ticket_date": "2026-05-06"}, ("tickets on ", "tickets for ")),
        (tool_of("top_up", "Refuel the data of a line", {"gb_amount": WHOLE}),
         {"gb_amount": 19}, "19 GB"),
        # descriptions
        (tool_of("edit", "Make small edits to a page", {"page_id": TEXT}), {"page_id": "P-1"},
         "make small edits"),
        (tool_of("get_impact", "Get a Status Page Impact", {"id": of(TEXT, "ID of the status page"),
         "impact_id": TEXT}), {"id": "S-1", "impact_id": "I-2"},
         "the status page impact I-2 for status page S-1"),
        (tool_of("set_mode", "Set the mode of a site", {"value": YES}), {"value": True}, "to true"),
        (tool_of("get_user", "Get a single user", {"user_id": TEXT}), {"user_id": "U-1"},
         "the user U-1"),
        (tool_of("link", "Link an Object to another Object", {"reason": TEXT}),
         {"reason": "plans have changed"}, "link an object to another object"),
        (tool_of("spots", "Fetch a list of Spots for the Devices or Groups", {}), {},
         "spots for the devices"),
        (tool_of("list_slack", "List all Slack channels", {}), {}, "all Slack channels"),
        (tool_of("hand_over", "Transfer the user to a human agent", {"summary": TEXT}),
         {"summary": "it stopped"}, "transfer me to a human agent"),
        (tool_of("roam", "Enables international roaming on a line", {"line_id": TEXT}),
         {"line_id": "L1"}, "enable international roaming on line L1"),
        (tool_of("owner", "Retrieves an owner directly by their unique ID.", {"owner_id": TEXT}),
         {"owner_id": "O1"}, "owner O1"),
        (tool_of("jobs", "Returns all jobs incl. the next planned run", {}), {}, "all jobs"),
        (tool_of("when", "Returns either the current time in a format, or converts it", {}), {},
         "the current time"),
        (tool_of("tree", "Get a tree of folders as a JSON structure", {}), {}, "tree of folders"),
        (tool_of("why", "Investigate why a user failed to log in.", {"user_id": TEXT}),
         {"user_id": "U1"}, "why user U1 failed to log in"),
        (tool_of("write_issue", "Create a new or update an existing issue", {"title": TEXT}),
         {"title": "Lamp"}, "an issue"),
        (tool_of("brand", "Replace the brand associated with a domain", {"brand_id": TEXT}),
         {"brand_id": "B1"}, "brand B1 associated with"),
    ],
)  # fmt: skip
def test_an_order_is_said_as_a_colleague_would(
    tool: ToolConfig, args: dict[str, Any], said: str | tuple[str, ...]
) -> None:
    for text in saying(tool, args, said):
        assert not re.search(r"JSON|: (yes|no)\b|\ba an?\b", text), text


def test_a_description_that_is_no_english_is_named_not_used() -> None:
    broken = tool_of("move_x", "Moves the given amount of the by its code given item", {"n": WHOLE})
    chinese = tool_of("get_weather", "获取特定地点的当前天气", {"city": TEXT})
    for tool in (broken, chinese):
        spec = parse_spec({"name": "s", "description": "d", "tools": [tool.model_dump()]})
        assert [g.tool for g in known.gaps(spec)] == [tool.name]
        assert tasks(spec, 5, 1) == []


def test_a_day_of_a_pattern_is_a_day() -> None:
    zoned = r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?(Z|[-+]\d{2}:\d{2})$"
    tool = tool_of("ship", "Ship a parcel", {"ship_date": TEXT | {"format": "date-time",
                   "pattern": zoned}})  # fmt: skip
    for args in drawn(tool):
        assert 2025 <= datetime.fromisoformat(args["ship_date"]).year <= 2029
    odd = tool_of("ship", "Ship a parcel", {"ship_date": TEXT | {"format": "date-time",
                  "pattern": r"^\d{3}/\d{2}$"}})  # fmt: skip
    with pytest.raises(NoValue, match="pattern"):
        drawn(odd, 1)


def test_a_timestamp_lies_near_the_present_of_the_row() -> None:
    tool = tool_of("at", "Get the price at a time", {"ts": of(WHOLE, "Unix timestamp"),
                   "until_ms": of(WHOLE, "End, milliseconds since the epoch")})  # fmt: skip
    for args in drawn(tool):
        assert 2025 <= datetime.fromtimestamp(args["ts"]).year <= 2029
        assert 2025 <= datetime.fromtimestamp(args["until_ms"] / 1000).year <= 2029


def test_places_of_one_call_agree() -> None:
    tool = tool_of("weather", "Get the weather of a city", {"city": TEXT, "state_code":
                   of(TEXT, "State, e.g. 'CA'"),
                   "country_code": of(TEXT, "e.g. 'US' or 'GB'")})  # fmt: skip
    places = {(a["city"], a["state_code"], a["country_code"]) for a in drawn(tool)}
    assert ("Denver", "CO", "US") in places
    assert all(code in ("US", "CA") for _, _, code in places)


def test_a_file_is_moved_and_not_converted() -> None:
    tool = tool_of("move_file", "Move or rename files", {"source": TEXT, "destination": TEXT})
    for args in drawn(tool):
        assert args["source"] != args["destination"]
        assert args["source"].split(".")[-1] == args["destination"].split(".")[-1]


@pytest.mark.parametrize(
    ("about", "values", "closed"),
    [
        ("Trading exchange (NSE, BSE, MCX)", ["NSE", "BSE", "MCX"], True),
        ("Side (BUY | SELL)", ["BUY", "SELL"], True),
        ("Subject (optional, string)", [], False),
        ("BUY or SELL", ["BUY", "SELL"], True),
        ("Name. Example: ``\"a.example.com\"`` Note: ``b.{org}.com`` is not allowed",
         ["a.example.com"], False),
    ],
)  # fmt: skip
def test_values_that_a_description_lists(about: str, values: list[str], closed: bool) -> None:
    assert descriptions.examples_in(about) == (values, closed)


def test_a_quoted_word_is_no_id_and_no_boolean() -> None:
    quoted = of(TEXT, "ID of the domain of the `From` address")
    assert kinds.parameter("domain_id", quoted, True, "delete a domain").kind == "id"
    assert kinds.parameter("domain_id", quoted, True, "delete a domain").examples == ()
    total = of(YES, "The `total` of pages is left out. Set `total` to `true` for it")
    assert kinds.parameter("total", total, False, "list pages").kind == "flag"


def test_a_bare_id_of_a_route_is_that_of_its_thing(tmp_path: Path) -> None:
    plain = {"name": "id", "in": "path", "required": True, "schema": {"type": "integer"}}
    told = plain | {"description": "The ID of the resource."}
    alerts = {"get": {"operationId": "alerts", "summary": "List alerts", "parameters": [told]}}
    group = {"parameters": [plain, plain | {"name": "groupId", "in": "query", "required": False}],
             "operationId": "putGroup", "summary": "Update a Group"}  # fmt: skip
    paths = {"/users/{id}/alerts": alerts, "/groups/{id}": {"put": group}}
    document = {"openapi": "3.0.0", "info": {"title": "t", "version": "1"}, "paths": paths}
    file = tmp_path / "api.json"
    file.write_text(json.dumps(document))
    listed, changed = init_spec(file).tools
    assert "for user 12" in order(listed, {"id": 12})
    assert order(changed, {"id": 12, "groupId": 13}).startswith(("update the group 12 ", "change"))


def test_a_faulty_tool_is_named() -> None:
    tool = {"name": "get_orders", "description": "d", "parameters": {"type": "object",
            "properties": {}, "required": ["shop"]}}  # fmt: skip
    with pytest.raises(ConfigError, match=r"tools\.0 \(get_orders\)\.parameters"):
        parse_spec({"name": "s", "description": "d", "tools": [tool]})


def test_what_is_searched_is_not_left_out_too() -> None:
    globs = {"type": "array", "items": TEXT}
    tool = tool_of("search", "Search files", {"pattern": TEXT, "exclude_patterns": globs})
    assert all(a["pattern"] not in a["exclude_patterns"] for a in drawn(tool))


def test_a_question_for_what_is_missing_says_it_once() -> None:
    from raytune_agents.generate.forms import request_noun

    assert request_noun(kinds.parameter("project_id", of(TEXT, "Project ID"), True, "")) == (
        "project ID"
    )
    assert request_noun(kinds.parameter("dob", of(TEXT, "YYYY-MM-DD"), True, "")) == "date of birth"


def test_requests_are_as_long_and_give_as_much_as_the_rows() -> None:
    tool = tool_of("find_flats", "Find flats", {"city": TEXT, "max_rent": WHOLE, "rooms": WHOLE,
                   "furnished": YES}, ("city",))  # fmt: skip
    shown = (ToolSpec("find_flats", tool.description, json.dumps(tool.parameters)),)
    rows = [
        Trajectory((Message("user", f"flats in {city} please"), Message("assistant", tool_calls=(
            ToolCall.of("find_flats", city=city),))), shown)
        for city in ("Oslo", "Lima", "Rome", "Lyon", "Bonn", "Kyiv")
    ]  # fmt: skip
    spec = parse_spec({"name": "s", "description": "d", "tools": [tool.model_dump()]})
    plain, like = tasks(spec, 80, 1), tasks(known.with_known(spec, rows), 80, 1)
    assert spec.profile is None
    for measure in (lambda r: len(r.calls[0].args), lambda r: len(r.query.split())):
        assert sum(map(measure, like)) / len(like) < 0.8 * sum(map(measure, plain)) / len(plain)


def test_of_several_things_a_call_is_about_one() -> None:
    tool = tool_of("add", "Add a track, an album or an artist to a playlist", {"playlist": TEXT})
    assert order(tool, {"playlist": "Party"}) == "add a track to the Party playlist"


def test_rows_made_of_the_real_ones_are_not_held_against_them() -> None:
    real = [Trajectory((Message("user", f"weather in {n} now"),)) for n in range(12)]
    own = [replace(r, meta={"wording": "own"}) for r in real]
    other = [Trajectory((Message("user", f"show bus {n}"),)) for n in range(12)]
    alike = realism.realism_figures([*own, *other], real, [])["auc_real"]
    assert alike == realism.realism_figures(other, real, [])["auc_real"] > 0.9
    assert realism.realism_figures([*own, *other], real, [], unseen=True)["auc_real"] < 0.9


SECONDS_OF_CLIP = {"clip_id": TEXT, "start_s": {"type": "number"}, "end_s": {"type": "number"}}
CREW = of(TEXT, "Crew code, e.g. KLMN")
KEY = of(TEXT, "Issue key, e.g. WEB-231")
METRIC = {"type": "string", "enum": ["soil_moisture", "ph"]}
MODE = {"type": "string", "enum": ["eco", "backup"]}


@pytest.mark.parametrize(
    ("tool", "args", "said"),
    [
        # a number's name tells where it stands
        (tool_of("list_unpaid", "Unpaid invoices.", {"older_than_days": WHOLE}),
         {"older_than_days": 31}, "the unpaid invoices older than 31 days"),
        (tool_of("list_sensors", "List sensors", {"battery_below": of(WHOLE, "percent")}),
         {"battery_below": 60}, "sensors with battery below 60 percent"),
        (tool_of("trim_clip", "Trim a clip to a time range (seconds).", SECONDS_OF_CLIP),
         {"clip_id": "C-7", "start_s": 24, "end_s": 65},
         "trim the clip C-7 from 24 seconds to 65 seconds"),
        (tool_of("split_clip", "Split a clip in two at a point in time",
         {"clip_id": TEXT, "at_s": {"type": "number"}}), {"clip_id": "C-7", "at_s": 21},
         "split the clip C-7 in two at 21 seconds"),
        (tool_of("set_allowance", "Set the yearly allowance", {"days_per_year": WHOLE}),
         {"days_per_year": 29}, "set the yearly allowance to 29 days per year"),
        (tool_of("carry_over", "Carry over unused days to the next year.",
         {"employee_id": TEXT, "days": WHOLE}), {"employee_id": "E-1", "days": 17},
         "carry over 17 unused days to the next year for employee E-1"),
        (tool_of("write_off", "Write off part of an invoice", {"id": WHOLE, "amount": WHOLE}),
         {"id": 562, "amount": 860}, "write off 860 of invoice 562"),
        (tool_of("print_label", "Print a shipping label", {"shipment_id": TEXT, "copies": WHOLE}),
         {"shipment_id": "SH-1", "copies": 3}, "for shipment SH-1 (3 copies)"),
        (tool_of("set_mode", "Sets the battery mode", {"mode": MODE, "reserve": of(WHOLE, "In %")}),
         {"mode": "eco", "reserve": 90}, "mode to eco "),
        (tool_of("adjust", "Change brightness, contrast or saturation of a clip",
         {"clip_id": TEXT, "contrast": WHOLE}, ("clip_id",)), {"clip_id": "C-7", "contrast": 70},
         "the contrast to 70 for clip C-7"),
        (tool_of("find_files", "Find files larger than a size", {"min_size": of(TEXT, "Size with "
         "unit, e.g. 500MB")}), {"min_size": "200MB"}, "files larger than 200MB"),
        (tool_of("set_pump", "Update heat pump settings", {"night": {"type": "object",
         "properties": {"start": of(TEXT, "HH:MM"), "end": of(TEXT, "HH:MM")}}}),
         {"night": {"start": "10:00", "end": "19:00"}}, "the start time to 1"),
        # which thing is meant
        (tool_of("find_slots", "Free chair slots of a dentist on a day.",
         {"dentist_id": WHOLE, "day": TEXT | {"format": "date"}}),
         {"dentist_id": 61, "day": "2027-05-06"}, "free chair slots of dentist 61 "),
        (tool_of("put_standby", "Put crew on standby", {"crew_ids": {"type": "array",
         "items": CREW}}), {"crew_ids": ["MDXG", "FJTP"]}, "put crew MDXG and FJTP on standby"),
        (tool_of("send_recall", "Send reminders to patients", {"patient_ids": {"type": "array",
         "items": TEXT}}), {"patient_ids": ["P-372"]}, "to patient P-372"),
        (tool_of("check_legality", "Checks whether a crew member may fly", {"crew_id": CREW}),
         {"crew_id": "FSBR"}, "whether crew member FSBR may fly"),
        (tool_of("swap_duty", "Swap a duty between two crew members.",
         {"duty_id": TEXT, "crew_a": CREW, "crew_b": CREW}),
         {"duty_id": "D-2", "crew_a": "CTHX", "crew_b": "REPB"},
         "swap the duty D-2 between crew members CTHX and REPB"),
        (tool_of("link_issues", "Link two issues", {"source": KEY, "target": KEY}),
         {"source": "WEB-2", "target": "WEB-9"}, "link the issues WEB-2 and WEB-9"),
        (tool_of("get_usage", "Bucket usage", {"bucket": TEXT}), {"bucket": "raw-events"},
         "the usage of bucket raw-events"),
        (tool_of("transition", "Move an issue to another column of the board", {"issue_key": KEY,
         "to": {"type": "string", "enum": ["todo", "done"]}}), {"issue_key": "WEB-2", "to": "done"},
         "move the issue WEB-2 to done"),
        (tool_of("render", "Fill a document template", {"name": of(TEXT, "e.g. nda-mutual")}),
         {"name": "nda-mutual"}, "fill the document template nda-mutual"),
        (tool_of("alert", "Alert when a metric leaves a range", {"metric": METRIC, "max": WHOLE}),
         {"metric": "ph", "max": 9}, "alert me when ph leaves a range with a maximum of 9"),
        (tool_of("record", "Record that an object has moved", {"object_number": of(TEXT, "e.g. "
         "SK-A-48"), "to_location": of(TEXT, "e.g. D-3")}), {"object_number": "SK-A-1",
         "to_location": "D-5"}, "record that object SK-A-1 has moved to location D-5"),
        (tool_of("check_in", "Let a member in at a gate.", {"member_id": WHOLE, "gate":
         {"type": "string", "enum": ["A", "B"]}}), {"member_id": 16, "gate": "B"},
         "let member 16 in at gate B"),
        (tool_of("charge", "Charge a member a fee", {"member_id": WHOLE, "fee": {"type": "string",
         "enum": ["late", "towel"]}}), {"member_id": 16, "fee": "late"},
         "charge a late fee to member 16"),
        (tool_of("add_rule", "Add a rule", {"action": {"type": "string", "enum": ["block",
         "allow"]}}), {"action": "block"}, "add a rule"),
        (tool_of("track", "Where a shipment is", {"id": TEXT}), {"id": "FR-9"},
         "where shipment FR-9 is"),
        (tool_of("search", "Search messages", {"in_channel": TEXT}), {"in_channel": "#sales"},
         "messages in #sales"),
        (tool_of("set_status", "Sets the status", {"status_text": TEXT}), {"status_text": "away"},
         'set the status to "away"'),
        (tool_of("order_reagent", "Order a reagent", {"name": of(TEXT, 'Trade name, e.g. "Tris"')}),
         {"name": "Tris"}, "the reagent Tris"),
        (tool_of("set_env", "Set an environment variable", {"key": of(TEXT, "e.g. LOG_LEVEL"),
         "value": of(TEXT, 'e.g. "debug"')}), {"key": "LOG_LEVEL", "value": "debug"},
         "set the environment variable LOG_LEVEL to debug"),
        (tool_of("weigh", "Log the weight of a pet", {"pet_id": TEXT, "weight_kg": WHOLE}),
         {"pet_id": "P-5", "weight_kg": 13}, "log a weight of 13 kg for pet P-5"),
        (tool_of("resize_volume", "Resize a volume", {"volume_id": TEXT, "size_gb": WHOLE}),
         {"volume_id": "V-5", "size_gb": 90}, "resize the volume V-5 to 90 GB"),
        (tool_of("redirect", "Redirect an old path to a new one", {"from_path": TEXT, "to_path":
         TEXT}), {"from_path": "/a", "to_path": "/b"}, "to /b"),
        (tool_of("publish", "Publish a draft, now or at a given time.", {"page_id": WHOLE,
         "publish_at": TEXT | {"format": "date-time"}}), {"page_id": 32, "publish_at":
         "2027-05-06T10:00:00"}, "publish draft 32 on "),
        (tool_of("tail", "Tail the logs of a service", {"since_minutes": WHOLE}),
         {"since_minutes": 60}, "for the last 60 minutes"),
        # words of the description
        (tool_of("list_visits", "Visits of a day", {"date": TEXT | {"format": "date"}}),
         {"date": "2027-05-06"}, "visits of "),
        (tool_of("list_classes", "Group classes of a trainer", {"trainer_id": WHOLE}),
         {"trainer_id": 16}, "group classes of trainer 16"),
        (tool_of("pause", "Pause a subscription for some billing cycles", {"id": TEXT, "cycles":
         WHOLE, "resume_on": TEXT | {"format": "date"}}), {"id": "S-1", "cycles": 3,
         "resume_on": "2027-05-06"}, "for 3 billing cycles and resume it on "),
        (tool_of("quote", "Quote for exchanging an amount", {"amount": WHOLE}), {"amount": 80},
         "quote for exchanging 80"),
        (tool_of("receive", "Book goods receipt for a purchase order", {"po_number": TEXT}),
         {"po_number": "PO-7"}, "book a goods receipt for purchase order PO-7"),
        (tool_of("search", "Search members with filters", {"city": TEXT}), {"city": "Oslo"},
         "members in Oslo"),
        (tool_of("irrigate", "Irrigate a field for some minutes or with an amount of water",
         {"field_id": WHOLE}), {"field_id": 28}, "irrigate field 28"),
        (tool_of("fill_gaps", "Fill gaps in a table", {"table": TEXT, "column": TEXT}),
         {"table": "orders", "column": "country"}, "in the orders table"),
    ],
)  # fmt: skip
def test_a_value_stands_where_its_name_and_the_description_mean_it(
    tool: ToolConfig, args: dict[str, Any], said: str
) -> None:
    for seed in range(6):
        text = order(tool, args, seed)
        assert said in text, text
        assert not re.search(r"filters|reserve a goods|amount of|from orders|board|eco to", text)


def test_a_code_is_varied_where_it_may_be_and_stays_what_it_is() -> None:
    path = of(TEXT, "Path, e.g. photos/2024/a.jpg")
    copy = tool_of("copy_object", "Copy an object", {"source": path, "destination": path})
    for args in drawn(copy, 10):
        assert args["source"] != args["destination"]
        assert all(re.fullmatch(r"photos/2024/[\w-]+\.jpg", v) for v in args.values())
    swap = tool_of("swap", "Swap two crew members", {"crew_a": CREW, "crew_b": CREW})
    assert all(a["crew_a"] != a["crew_b"] for a in drawn(swap, 10))
    invite = tool_of("invite", "Invite users", {"users": {"type": "array", "items": TEXT,
                     "description": "e-mail addresses"}, "ts": of(TEXT, "Timestamp of the message, "
                     "e.g. 1712345678.000200")})  # fmt: skip
    for args in drawn(invite, 10):
        assert all("@" in user for user in args["users"])
        assert re.fullmatch(r"\d{10}\.\d{6}", args["ts"])
    fixed = of(TEXT, "e.g. front door")
    with pytest.raises(NoValue, match="no values together"):
        drawn(tool_of("swap", "Swap two doors", {"door_a": fixed, "door_b": fixed}), 1)
    other = tool_of("log", "Log work in a region", {"region": of(TEXT, "e.g. eu-west-1"),
                    "spent": of(TEXT, "e.g. 2h 30m")})  # fmt: skip
    for args in drawn(other, 10):
        assert re.fullmatch(r"eu-west-\d", args["region"])
        assert re.fullmatch(r"\dh \d0m", args["spent"])


def test_numbers_are_of_the_size_that_their_name_tells() -> None:
    tool = tool_of("plan", "Plan the visits of a team", {"visits_per_year": WHOLE, "rooms": WHOLE,
                   "week": WHOLE, "from_hour": WHOLE, "to_hour": WHOLE})  # fmt: skip
    for args in drawn(tool):
        assert args["visits_per_year"] <= 40
        assert args["rooms"] <= 9
        assert args["week"] <= 53
        assert 0 <= args["from_hour"] < args["to_hour"] <= 23
    color = tool_of("adjust", "Change brightness of a clip (-1 to 1)", {"brightness":
                    {"type": "number"}})  # fmt: skip
    assert all(-1 <= a["brightness"] <= 1 and a["brightness"] for a in drawn(color, 9))
    load = tool_of("load_table", "Load a CSV file into a table.", {"path": TEXT})
    assert all(a["path"].endswith(".csv") for a in drawn(load))
    move = tool_of("move", "Move stock", {"from_warehouse": TEXT, "to_warehouse": TEXT})
    assert all("analytics" not in a.values() for a in drawn(move))


CONDITION = {
    "field": TEXT,
    "operator": {"type": "string", "enum": ["eq", "gt", "contains"]},
    "value": TEXT,
}


def test_the_value_of_a_condition_fits_its_field() -> None:
    fitting = word_data("values")["conditions"]
    several = {"type": "array", "items": {"type": "object", "properties": CONDITION,
               "required": list(CONDITION)}}  # fmt: skip
    nested = tool_of("query", "Query the records of a table", {"table": TEXT, "filters": several})
    plain = tool_of("keep_rows", "Keep only the rows where a field fits", CONDITION)
    for args in drawn(nested):
        for one in args["filters"]:
            assert one["value"] in map(str, fitting[one["field"]])
            assert one["operator"] == "eq" or one["value"].isdigit() == (one["operator"] == "gt")
    args = {"field": "amount", "operator": "gt", "value": "250"}
    assert order(plain, args) == "keep the rows where amount is over 250"
    assert "amount is over 250" in order(nested, {"table": "orders", "filters": [args]})
    change = tool_of("set_field", "Set a field of a record", {"record_id": WHOLE, "field": TEXT,
                     "value": TEXT})  # fmt: skip
    assert order(change, {"record_id": 7, "field": "status", "value": "open"}) == (
        "set the status of record 7 to open"
    )


def test_a_condition_of_fields_that_nobody_knows_makes_no_row() -> None:
    closed = CONDITION | {"field": {"type": "string", "enum": ["sku", "carrier"]}}
    tool = tool_of("find", "Find orders where a field has a value", closed)
    spec = parse_spec({"name": "s", "description": "d", "tools": [tool.model_dump()]})
    assert [g.parameter for g in known.gaps(spec)] == ["value"]


def test_a_thing_is_of_a_year_that_has_been() -> None:
    tool = tool_of("price", "Price a car", {"year": of(WHOLE, "Year it was built")})
    years = {a["year"] for a in drawn(tool)}
    assert len(years) > 5
    assert max(years) < 2029


def test_two_measures_are_both_said() -> None:
    tool = tool_of("log_run", "Record a run", {"kilometres": WHOLE, "calories": WHOLE})
    text = order(tool, {"kilometres": 12, "calories": 640})
    assert "a run of 12 km" in text
    assert "640" in text


def test_a_pattern_wants_a_month_or_a_day() -> None:
    tool = tool_of("get_usage", "Get the usage", {"month": TEXT | {"pattern": r"^\d{4}-\d{2}$"},
                   "date": TEXT | {"pattern": r"^\d{2}\.\d{2}\.\d{4}$"}})  # fmt: skip
    for row in drawn(tool, 5):
        assert datetime.strptime(row["month"], "%Y-%m").year > 2000
        assert datetime.strptime(row["date"], "%d.%m.%Y").year > 2000


def test_what_is_changed_is_among_the_values() -> None:
    change = {"plan": {"type": "string", "enum": ["a", "b"]}, "seats": WHOLE, "note": TEXT}
    tool = tool_of("change_plan", "Change the plan or number of seats", change, ("note",))
    spec = parse_spec({"name": "s", "description": "d", "tools": [tool.model_dump()]})
    for row in tasks(known.with_known(spec), 8, 3):
        assert {"plan", "seats"} & set(json.loads(row.calls[0].arguments))


def test_the_ends_of_a_choice_differ() -> None:
    ends = {f"{end}_env": {"type": "string", "enum": ["dev", "live"]} for end in ("from", "to")}
    tool = tool_of("promote", "Promotes a release from one environment to another", ends)
    assert all(a["from_env"] != a["to_env"] for a in drawn(tool))


def test_a_bound_of_the_description_holds() -> None:
    tool = tool_of("cut", "Apply a discount", {"percent": of(WHOLE, "In percent, at most 50"),
                   "days": of(WHOLE, "Days that it lasts, minimum 20")})  # fmt: skip
    rows = drawn(tool)
    assert max(a["percent"] for a in rows) <= 50
    assert min(a["days"] for a in rows) >= 20


@pytest.mark.parametrize(
    ("about", "bounds"),
    [
        ("Up to 1,000 results", (-float("inf"), 1000.0)),
        ("Amount, minimum 2.5", (2.5, float("inf"))),
        ("at least 2 and at most 6", (2.0, 6.0)),
        ("Number of at most 5 digits", (-float("inf"), float("inf"))),
        ("File of up to 10MB", (-float("inf"), float("inf"))),
    ],
)
def test_one_bound(about, bounds) -> None:
    assert one_bound_in(about) == bounds


def test_a_parameter_that_no_value_fits_is_no_help_to_another() -> None:
    odd = {"gate": of(TEXT, "Name of the city", pattern="^[A-Z]{40}[0-9]$", maxLength=3)}
    tools = [tool_of("open_gate", "Open a gate", odd), tool_of("close", "Close it", {"gate": TEXT})]
    assert not known.named_choices(tools).get("gate")


def test_a_time_in_iso_8601_has_its_day() -> None:
    tool = tool_of("move", "Move an order", {"pickup_time": of(TEXT, "New pickup time, ISO 8601")})
    assert all(datetime.fromisoformat(a["pickup_time"]) for a in drawn(tool, 5))
    assert all("T" in a["pickup_time"] for a in drawn(tool, 5))


def test_what_one_tool_says_of_a_parameter_holds_in_another() -> None:
    board = {"board": of(TEXT, "Name of the board")}
    tools = [tool_of("make_card", "Create a card on a board", board),
             tool_of("make_report", "Generate a report of a board", {"board": TEXT})]  # fmt: skip
    found = known.named_choices(tools)
    assert len(set(found["board"])) > 2


def test_a_text_that_never_differs_is_named() -> None:
    properties = {"snack": of(TEXT, "e.g. quiche"), "city": TEXT, "size": WHOLE}
    tool = tool_of("order_snack", "Order a snack", properties, ("snack",))
    spec = parse_spec({"name": "s", "description": "d", "tools": [tool.model_dump()]})
    assert [str(g)[:30] for g in known.single_values(spec)] == ["order_snack.snack: 'quiche'; g"]


PHONE = of(TEXT, "Subscriber number, e.g. +4917612345678")
NET = of(TEXT, "e.g. net_revenue, active_users")
SEGMENT = of(TEXT, "e.g. new_customers")


@pytest.mark.parametrize(
    ("tool", "args", "said"),
    [
        # whose it is, where somebody is
        (tool_of("change_tariff", "Change the tariff of a subscriber", {"msisdn": PHONE,
         "new_tariff": {"type": "string", "enum": ["S", "XL"]}}),
         {"msisdn": "+491761", "new_tariff": "XL"}, "the tariff of subscriber +491761 to XL"),
        (tool_of("set_roaming", "Enable or disable roaming for a subscriber", {"msisdn": PHONE,
         "enabled": YES}), {"msisdn": "+491761", "enabled": True},
         "enable roaming for subscriber +491761"),
        (tool_of("get_usage", "Data, voice and SMS usage for a month", {"msisdn": PHONE}),
         {"msisdn": "+491761"}, "data, voice and SMS usage for +491761"),
        (tool_of("find_garages", "Find partner garages near the customer", {"postcode": TEXT}),
         {"postcode": "63558"}, "partner garages near 63558"),
        (tool_of("teleport", "Teleports a player to another player", {"player": TEXT,
         "target_player": TEXT}, ("player",)), {"player": "ana.b"}, "teleport ana.b"),
        # what something is set to, when one wants to know
        (tool_of("set_reserve", "Set the reserve of a claim", {"claim_id": TEXT, "amount_eur":
         WHOLE}), {"claim_id": "CL-1", "amount_eur": 790}, "the reserve of claim CL-1 to 790"),
        (tool_of("set_rule", "Set a game rule in a world", {"world": {"type": "string", "enum":
         ["nether", "plots"]}, "rule": {"type": "string", "enum": ["pvp", "griefing"]}, "value":
         YES}), {"world": "nether", "rule": "pvp", "value": True},
         "set the game rule pvp in the nether"),
        (tool_of("set_alert", "Notifies a channel when a metric crosses a threshold",
         {"metric": NET, "operator": {"type": "string", "enum": [">", "<"]}, "threshold": WHOLE,
          "channel": TEXT}),
         {"metric": "active_users", "operator": "<", "threshold": 100, "channel": "#data"},
         "#data when active_users is under 100"),
        # nouns and their numbers
        (tool_of("kick", "Kicks a player from the server", {"player": TEXT, "ban_minutes": WHOLE}),
         {"player": "ana.b", "ban_minutes": 30},
         ("with a ban of 30 minutes", "(ban: 30 minutes)")),
        (tool_of("run_query", "Runs a query", {"timeoutSec": WHOLE}), {"timeoutSec": 15},
         "with a timeout of 15 seconds"),
        (tool_of("history", "Look up previous claims", {"years": of(WHOLE, "How many years to look "
         "back")}), {"years": 5}, "for the last 5 years"),
        (tool_of("list_invoices", "List invoices", {"to": TEXT | {"format": "date"}}),
         {"to": "2027-05-21"}, ("until", "through")),
        (tool_of("describe", "Shows the columns of a table", {"schema": TEXT, "table": TEXT}),
         {"schema": "sales", "table": "orders"}, "the orders table in the sales schema"),
        (tool_of("compare", "Compare a metric between two customer segments over a date range",
         {"metric": NET, "segmentA": SEGMENT, "segmentB": SEGMENT, "startDate": TEXT | {"format":
         "date"}, "endDate": TEXT | {"format": "date"}}), {"metric": "net_revenue", "segmentA":
         "new_customers", "segmentB": "lost_customers", "startDate": "2027-05-01", "endDate":
         "2027-05-09"}, "between new customers and lost customers from"),
        (tool_of("comment", "Adds a comment to a page", {"page_id": WHOLE, "reply_to": of(WHOLE,
         "Id of the comment to answer")}), {"page_id": 7, "reply_to": 8},
         "in reply to 8"),
        # words of lists, adverbs, whole things
        (tool_of("export_space", "Export a whole space", {"space_key": of(TEXT, "e.g. ENG"),
         "include_files": YES, "include_comments": YES}), {"space_key": "OPS", "include_files":
         True, "include_comments": True}, "export the space OPS including files and comments"),
        (tool_of("search_pages", "Full-text search over wiki pages", {"query": TEXT, "spaceKey": of(
         TEXT, "e.g. ENG, HR")}), {"query": "leave", "spaceKey": "HR"}, "in space HR"),
        (tool_of("mail_report", "Schedules a report", {"report_id": WHOLE, "frequency": {"type":
         "string", "enum": ["daily", "weekly"]}}), {"report_id": 5, "frequency": "daily"},
         "report 5 daily"),
        (tool_of("restrict", "Restrict who can view or edit a page", {"page_id": WHOLE}),
         {"page_id": 7}, "who can view or edit page 7"),
        (tool_of("restrict", "Restrict who can view or edit a page", {"page_id": WHOLE, "operation":
         {"type": "string", "enum": ["view", "edit"]}}), {"page_id": 7, "operation": "edit"},
         "restrict who can edit page 7"),
    ],
)  # fmt: skip
def test_a_stranger_s_words_are_joined_as_they_are_meant(
    tool: ToolConfig, args: dict[str, Any], said: str | tuple[str, ...]
) -> None:
    assert saying(tool, args, said)


def test_a_value_is_of_what_its_description_says() -> None:
    properties = {
        "description": of(TEXT, "Short account of the incident"),
        "buyer_name": of(TEXT, "Full name of the buyer"),
        "users": of({"type": "array", "items": TEXT}, "Usernames"),
        "line_number": WHOLE,
    }
    claim = tool_of("open_claim", "Register a new claim", properties)
    found = {p.name: (p.items or p).kind for p in arguments.parameters_of(claim)}
    expected = {"description": "problem", "buyer_name": "person", "users": "username"}
    assert found == expected | {"line_number": "index"}
    assert all(1 <= args["line_number"] <= 6 for args in drawn(claim))
    area = kinds.parameter("floor_area", of(WHOLE, "Living space in square metres."), True, "")
    assert area.unit == "square metres"
