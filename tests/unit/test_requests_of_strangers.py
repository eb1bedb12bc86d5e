"""More kinds of faults found by eye in catalogues of strangers: applicants, clusters, meals,
chargers, customers, drugs, maps, a help desk, a laboratory, newsletters, drones."""

from __future__ import annotations

import random
import re
from datetime import date
from typing import Any

import pytest
from stranger_tools import TEXT, WHOLE, YES, drawn, of, saying, tool_of

from raytune_agents.agents import ToolConfig, parse_spec
from raytune_agents.generate import arguments, known
from raytune_agents.generate.actions import action
from raytune_agents.generate.wordlists import word_data

EMAIL, DAY = TEXT | {"format": "email"}, TEXT | {"format": "date"}
LIST = {"type": "array", "items": TEXT}


def one_of(*values: str) -> dict[str, Any]:
    return TEXT | {"enum": list(values)}


@pytest.mark.parametrize(
    ("tool", "args", "said"),
    [
        # an id is that of its own noun, an address that of whom the description speaks of
        (tool_of("schedule", "Put an interview on the calendar of an interviewer", {"candidate_id":
         TEXT, "interviewer_email": EMAIL}), {"candidate_id": "CAND-1", "interviewer_email":
         "ana@mail.com"}, "calendar of ana@mail.com"),
        (tool_of("reserve", "Reserve a connector", {"station_id": TEXT, "minutes": WHOLE}),
         {"station_id": "ST-1", "minutes": 20}, "reserve a connector at station ST-1"),
        (tool_of("assign_owner", "Assign a sales rep as the owner of an account", {"account_id":
         TEXT, "rep_email": EMAIL}), {"account_id": "A-1", "rep_email": "ana@mail.com"},
         "assign ana@mail.com as the owner of account A-1"),
        (tool_of("unsubscribe", "Remove an address from all lists", {"email": EMAIL}),
         {"email": "ana@mail.com"}, "ana@mail.com from all lists"),
        (tool_of("reset_password", "Reset a user's password", {"username": TEXT}),
         {"username": "ana"}, "reset ana's password"),
        (tool_of("grant", "Grant a user access to a system", {"username": TEXT, "system":
         one_of("vpn", "erp")}), {"username": "ana", "system": "erp"},
         "grant ana access to the erp system"),
        (tool_of("voucher", "Apply a voucher code to an order", {"order_number": of(TEXT, "e.g. "
         "TX-9"), "code": TEXT}), {"order_number": "TX-9", "code": "SPRING"}, "to order TX-9"),
        (tool_of("hold_seats", "Hold seats for a customer", {"seats": LIST, "customer_phone":
         TEXT}), {"seats": ["C1", "C2"], "customer_phone": "+1202"}, "hold "),
        (tool_of("share", "Share an activity with friends", {"activity_id": TEXT, "with_users": of(
         LIST, "usernames of the friends")}), {"activity_id": "A-1", "with_users": ["ana", "bo"]},
         "activity A-1 with ana and bo"),
        # what a path or a text is of
        (tool_of("apply", "Apply a YAML manifest to the cluster", {"path": of(TEXT, "Path to the "
         "manifest file")}), {"path": "web.yaml"}, "the YAML manifest web.yaml to the cluster"),
        (tool_of("swap", "Suggest a substitute for an ingredient", {"ingredient": TEXT}),
         {"ingredient": "tofu"}, "suggest a substitute for tofu"),
        (tool_of("check", "Check a list of drugs for known interactions", {"drugs": LIST}),
         {"drugs": ["ibuprofen", "metformin"]}, "check ibuprofen and metformin for known"),
        (tool_of("copy", "Duplicate a template under a new name", {"template_id": TEXT,
         "new_name": TEXT}), {"template_id": "T-1", "new_name": "Welcome"}, "under the name Welc"),
        (tool_of("merge", "Merge duplicate contacts into one", {"primary_id": TEXT,
         "duplicate_ids": LIST}), {"primary_id": "C-1", "duplicate_ids": ["C-2", "C-3"]},
         "merge duplicate contacts C-2 and C-3 into C-1"),
        (tool_of("log", "Log a call, email or meeting against a contact", {"contact_id": TEXT,
         "type": one_of("call", "email", "meeting")}), {"contact_id": "C-1", "type": "meeting"},
         "log a meeting against contact C-1"),
        # names that say how a value is joined
        (tool_of("drain", "Drain a node", {"node": TEXT, "grace_period_seconds": WHOLE}),
         {"node": "web-1", "grace_period_seconds": 90},
         ("with a grace period of 90 seconds", "(grace period: 90 seconds)")),
        (tool_of("find_people", "Search the pool by skills", {"skills": LIST,
         "min_years_experience": WHOLE}), {"skills": ["Go"], "min_years_experience": 5},
         "at least 5 years of experience"),
        (tool_of("logs", "Fetch logs of a pod", {"pod": TEXT, "tail_lines": WHOLE}),
         {"pod": "web-1", "tail_lines": 50}, "the last 50 lines"),
        (tool_of("shop", "Build a list from the plan of a week", {"week_of": DAY}),
         {"week_of": "2027-03-01"}, "the plan of the week of"),
        (tool_of("route", "Plan a route", {"avoid": LIST}), {"avoid": ["tolls"]},
         "avoiding tolls"),
        (tool_of("reach", "Compute the area reachable within a travel time", {"minutes": WHOLE}),
         {"minutes": 40}, "within 40 minutes"),
        (tool_of("outages", "Check for recent outages", {"hours": WHOLE}), {"hours": 24},
         "for the last 24 hours"),
        (tool_of("forecast", "Forecast revenue", {"region": one_of("EMEA", "APAC")}),
         {"region": "EMEA"}, "in the EMEA region"),
        (tool_of("book", "Book a vaccination", {"patient_dob": of(TEXT, "Date of birth")}),
         {"patient_dob": "1990-05-04"}, "for a patient born on"),
        (tool_of("plan", "Add a recipe to the plan", {"recipe_id": TEXT, "day": of(TEXT, "Day of "
         "the week")}), {"recipe_id": "R-1", "day": "Monday"}, "on Monday"),
        (tool_of("renew", "Renew a lease", {"lease_id": TEXT, "months": WHOLE | {"enum": [6, 12]}}),
         {"lease_id": "LS-1", "months": 12}, "for 12 months"),
        (tool_of("viewing", "Schedule a viewing", {"slot": TEXT | {"format": "date-time"}}),
         {"slot": "2027-03-01T09:00:00"}, "a viewing on"),
        (tool_of("log_workout", "Log a workout", {"duration_min": of(WHOLE, "in minutes")}),
         {"duration_min": 30}, "for 30 minutes"),
        # two of one sort, one that is made from another
        (tool_of("compare", "Compare two commits", {"base_sha": TEXT, "head_sha": TEXT}),
         {"base_sha": "6dab451", "head_sha": "7d867ce"}, "commits 6dab451 and 7d867ce"),
        (tool_of("weeks", "Compare steps between two weeks", {"week_a": of(TEXT, "ISO week"),
         "week_b": of(TEXT, "ISO week")}), {"week_a": "2026-W12", "week_b": "2026-W13"},
         "between weeks 2026-W12 and 2026-W13"),
        (tool_of("branch", "Create a branch from another branch", {"branch": TEXT, "from_branch":
         TEXT}), {"branch": "fix/x", "from_branch": "main"}, "called fix/x from main"),
        (tool_of("tag", "Tag a commit as a release", {"version": TEXT, "commit": TEXT}),
         {"version": "v1.4.2", "commit": "6dab451"}, "commit 6dab451 as release v1.4.2"),
        (tool_of("claim", "File a claim for a lost or damaged shipment", {"claim_type":
         one_of("lost", "damaged")}), {"claim_type": "lost"}, "for a lost shipment"),
        (tool_of("pickup", "Schedule a pickup", {"time_window": one_of("morning", "evening")}),
         {"time_window": "evening"}, "in the evening"),
        (tool_of("quote", "Get a quote for a parcel", {"origin_zip": TEXT, "dest_zip": TEXT,
         "weight_lb": WHOLE}), {"origin_zip": "74538", "dest_zip": "65759", "weight_lb": 79},
         "from 74538 to 65759"),
        (tool_of("enroll", "Enroll a student in a course", {"student_id": TEXT, "term":
         one_of("fall", "spring")}), {"student_id": "S-1", "term": "fall"}, "for the fall term"),
        (tool_of("drop", "Drop a course for a student", {"student_id": TEXT, "course_code": TEXT}),
         {"student_id": "S-1", "course_code": "MATH-2"}, "drop "),
        (tool_of("queue", "Add a track to the queue", {"title": TEXT, "play_next": YES}),
         {"title": "Halo", "play_next": True}, "and play it next"),
        (tool_of("rule", "Create a rule", {"forward_to": EMAIL, "mark_read": YES}),
         {"forward_to": "ana@mail.com", "mark_read": False},
         "and forward it to ana@mail.com and do not mark it as read"),
        (tool_of("run", "Run an appliance", {"appliance": one_of("dishwasher", "dryer")}),
         {"appliance": "dryer"}, "the dryer"),
        (tool_of("bill", "Estimate the bill", {"tariff": of(TEXT, "basic, green or dynamic")}),
         {"tariff": "green"}, "tariff"),
        (tool_of("book_seat", "Book a seat on a train", {"train_number": of(TEXT, "e.g. ICE 5"),
         "date": DAY}), {"train_number": "ICE 5", "date": "2027-03-01"}, "on train ICE 5 "),
        (tool_of("invite", "Invite people to answer a survey", {"survey_id": TEXT, "emails": LIST,
         "remind_after_days": WHOLE}), {"survey_id": "S-1", "emails": ["a@b.com", "c@d.com"],
         "remind_after_days": 5}, "to answer survey S-1 and remind them after "),
        (tool_of("block", "Block an IP address or range", {"ip": TEXT}), {"ip": "10.1.2.3"},
         "block 10.1.2.3"),
        (tool_of("stock", "How many units of a blood type are in stock", {"center": of(TEXT,
         'e.g. "Riverside"')}), {"center": "Riverside"}, "at the Riverside center"),
        (tool_of("units", "Request units for a hospital", {"hospital": of(TEXT, "Its name")}),
         {"hospital": "Oslo Hospital"}, "for Oslo Hospital"),
        (tool_of("survey", "Create a survey with a title and questions", {"title": TEXT,
         "questions": LIST, "closes_on": DAY}, ("title",)), {"title": "Mood", "closes_on":
         "2027-03-01"}, '"Mood" closing on'),
        (tool_of("claim_compensation", "Claim compensation for a delayed journey", {"booking_ref":
         of(TEXT, "e.g. QX7P2M")}), {"booking_ref": "QX7P2M"}, "for the delayed journey QX7P2M"),
        (tool_of("facilities", "Check whether a station has a facility", {"station": TEXT,
         "facility": one_of("lockers", "toilets")}), {"station": "Ghent", "facility": "lockers"},
         "whether station Ghent has lockers"),
        (tool_of("export", "Export the responses", {"include_partial": YES}),
         {"include_partial": True}, "including partial ones"),
        (tool_of("plan", "Plan when to plant something in a bed", {"plant": TEXT, "bed": of(TEXT,
         'e.g. "south bed"'), "month": one_of("March", "April")}), {"plant": "basil", "bed":
         "south bed", "month": "April"}, "plan when to plant basil in the south bed in April"),
        (tool_of("diagnose", "Find out what is wrong with a plant", {"plant": TEXT, "symptoms":
         LIST}), {"plant": "basil", "symptoms": ["spots"]}, "what is wrong with basil "),
        (tool_of("gain", "Raise or lower the gain of a track", {"track": WHOLE, "db": {"type":
         "number"}}), {"track": 5, "db": 3}, "raise the gain of track 5 by 3 dB"),
        (tool_of("mute", "Mute one or more tracks", {"tracks": {"type": "array", "items": WHOLE}}),
         {"tracks": [2, 7]}, ("tracks 2 and 7", "tracks [2, 7]")),
        (tool_of("invite", "Invite a guest to a project", {"project_id": TEXT, "can_edit": YES}),
         {"project_id": "P-1", "can_edit": True}, "(can edit)"),
        (tool_of("cancel", "Cancel a policy", {"policy_number": TEXT, "effective": of(DAY, "Date "
         "when it ends")}), {"policy_number": "P-1", "effective": "2027-03-01"}, "P-1 effective "),
        # adjectives, two nouns, a second clause
        (tool_of("abort", "Abort a running mission", {"mission_id": TEXT}), {"mission_id": "M-1"},
         "abort the running mission M-1"),
        (tool_of("drones", "List drones and their battery level", {"status": one_of("idle",
         "flying")}), {"status": "idle"}, ("drones and their", "the drones and their")),
        (tool_of("discard", "Discard a sample and record why", {"sample_id": TEXT}),
         {"sample_id": "S-1"}, "discard sample S-1"),
        (tool_of("storage", "Show what is stored in a freezer", {"freezer": of(TEXT, "e.g. F3")}),
         {"freezer": "F3"}, "what is stored in freezer F3"),
    ],
)  # fmt: skip
def test_a_stranger_s_description_is_said_as_it_is_meant(
    tool: ToolConfig, args: dict[str, Any], said: str | tuple[str, ...]
) -> None:
    assert saying(tool, args, said)


def test_three_nouns_that_look_like_verbs_are_no_orders() -> None:
    act = action("get_campaign_stats", "Opens, clicks and unsubscribes of a campaign")
    assert (act.verbs, act.head) == (("get",), "the opens, clicks and unsubscribes")
    assert action("x", "Creates, updates or deletes a ticket").verbs == (
        "create", "update", "delete",
    )  # fmt: skip


def test_a_list_of_nouns_is_read_and_not_done() -> None:
    act = action("traffic_report", "Requests, bandwidth and threats of a zone")
    assert act.head == "requests, bandwidth and threats"
    assert act.verbs == ("get",)


def test_a_name_that_says_nothing_is_of_the_kind_of_its_examples() -> None:
    tool = tool_of("purge", "Purge the files of a zone", {"zone": of(TEXT, "e.g. example.com")})
    assert len({args["zone"] for args in drawn(tool)}) > 5
    types = tool_of("stock", "Show the stock", {"blood_type": of(TEXT, "A+, A-, AB+ or O-")})
    assert {args["blood_type"] for args in drawn(types)} == {"A+", "A-", "AB+", "O-"}


def test_questions_of_a_survey_are_questions() -> None:
    text = {"type": "object", "properties": {"text": TEXT}, "required": ["text"]}
    properties = {"questions": {"type": "array", "items": text}}
    tool = tool_of("create", "Create a survey", properties)
    assert all(q["text"].endswith("?") for args in drawn(tool) for q in args["questions"])


def test_days_are_those_that_the_description_names() -> None:
    tool = tool_of("plan", "Plan meals", {"day": of(TEXT, "day of the week"), "week_of": of(TEXT,
                   "Monday of the week (YYYY-MM-DD)")})  # fmt: skip
    for args in drawn(tool):
        assert args["day"].endswith("day")
        assert date.fromisoformat(args["week_of"]).weekday() == 0


def test_the_ends_of_a_conversion_are_of_one_sort() -> None:
    tool = tool_of("convert", "Convert between units", {
        "from_unit": of(TEXT, "unit such as cup, tbsp, g or oz"), "to_unit": of(TEXT, "other unit")
    })  # fmt: skip
    for args in drawn(tool):
        assert {args["from_unit"], args["to_unit"]} < {"cup", "tbsp", "g", "oz"}
        assert args["from_unit"] != args["to_unit"]


@pytest.mark.parametrize(
    ("name", "about", "form"),
    [
        ("customer", "Customer ID (cus_...)", r"cus_\w{8}"),
        ("path", "Path to the YAML config", r"\w+\.yaml"),
        ("to_pharmacy", "Name of the receiving pharmacy", r"[A-Z].* Pharmacy"),
        ("barcode", "sample barcode, e.g. S-000482", r"S-\d{6}"),
        ("equipment", "laptop, monitor, headset, dock", "laptop|monitor|headset|dock"),
    ],
)
def test_a_value_has_the_form_that_its_description_gives(name: str, about: str, form: str) -> None:
    tool = tool_of("transfer", "Transfer a prescription or a YAML config", {name: of(TEXT, about)})
    found = {args[name] for args in drawn(tool)}
    assert len(found) > 2
    assert all(re.fullmatch(form, value) for value in found), found


def test_an_example_that_is_no_address_is_the_form() -> None:
    tool = tool_of("play", "Start playback", {"uri": of(TEXT, "e.g. spotify:track:4uLU6hMCjMI7")})
    assert all(args["uri"].startswith("spotify:track:") for args in drawn(tool))


def test_a_list_of_things_goes_by_the_name_of_one() -> None:
    tool = tool_of("check", "Check drugs for interactions", {"drugs": LIST})
    known_drugs = {p.items.kind for p in arguments.parameters_of(tool) if p.items}
    assert known_drugs == {"medication"}


def test_a_file_ends_as_its_format_says() -> None:
    properties = {"path": of(TEXT, "Output path"), "format": one_of("geojson", "shapefile", "pdf")}
    endings = {"shapefile": "shp"}
    for args in drawn(tool_of("export", "Export a layer to a file", properties)):
        assert args["path"].endswith(f".{endings.get(args['format'], args['format'])}")


def test_the_ids_of_one_thing_are_of_one_form_in_all_tools() -> None:
    def tool(name: str, about: str) -> dict[str, Any]:
        schema = {"type": "object", "properties": {"candidate_id": of(TEXT, about)}}
        return {"name": name, "description": "Show a candidate", "parameters": schema}

    tools = [tool("a", "such as CAND-2041"), tool("b", "The candidate")]
    spec = known.with_known(parse_spec({"name": "s", "description": "d", "tools": tools}))
    other = spec.tools[1]
    rng = random.Random(0)
    values = [
        arguments.sample(other, ["candidate_id"], rng, arguments.spec_values(other, rng))[0]
        for _ in range(20)
    ]
    ids = {v["candidate_id"] for v in values}
    assert len(ids) > 5
    assert all(re.fullmatch(r"CAND-\d{4}", i) for i in ids)


def test_numbers_lie_about_a_default_below_zero() -> None:
    tool = tool_of("export", "Export the mix", {"loudness": WHOLE | {"default": -14}})
    assert all(-28 <= args["loudness"] <= -7 for args in drawn(tool))


def test_a_default_written_as_a_text_says_nothing_of_a_numbers_range() -> None:
    number = {"type": "number", "default": "5"}
    tool = tool_of("rent", "Rent a car", {"days": number, "price": number | {"default": "dear"}})
    assert all(args["days"] > 0 and args["price"] > 0 for args in drawn(tool))


def test_an_id_whose_schema_no_example_fits_is_named() -> None:
    long = of(TEXT, "e.g. ORD-1042", maxLength=3)
    schema = {"type": "object", "properties": {"order_id": long}, "required": ["order_id"]}
    tool = {"name": "show", "description": "Show an order", "parameters": schema}
    spec = known.with_known(parse_spec({"name": "s", "description": "d", "tools": [tool]}))
    (gap,) = known.gaps(spec)
    assert (gap.tool, gap.parameter) == ("show", "order_id")


def test_a_pair_of_texts_is_of_the_kind_of_one() -> None:
    properties = {"campaign_id": WHOLE, "subject_a": TEXT, "subject_b": TEXT, "urgent": YES}
    tool = tool_of("test", "Schedule a test of two subject lines", properties)
    kinds = {p.name: p.kind for p in arguments.parameters_of(tool)}
    assert kinds["subject_a"] == kinds["subject_b"] == "subject"


def test_subject_and_text_of_a_ticket_are_of_one_trouble() -> None:
    properties = {"subject": TEXT, "description": of(TEXT, "What is wrong")}
    troubles = dict(line.split("|") for line in word_data("values")["troubles"])
    found = drawn(tool_of("open_ticket", "Open a help desk ticket", properties))
    assert all(troubles[args["subject"]] == args["description"] for args in found)
    assert len({args["subject"] for args in found}) > 5
