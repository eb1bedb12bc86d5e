"""Values by what a parameter is: kinds, forms, pairs, patterns, and what nothing is known of."""

from __future__ import annotations

import random
import re
from datetime import date

import pytest
import strangers
from jsonschema import Draft202012Validator

from raytune_agents.agents import ToolConfig, parse_spec
from raytune_agents.generate import arguments, kinds, known, tasks
from raytune_agents.generate.arguments import invented
from raytune_agents.generate.bounds import bounds_in
from raytune_agents.generate.codes import NoValue, is_code, shaped
from raytune_agents.generate.descriptions import examples_in, subject_of
from raytune_agents.generate.frames import EVEN_HABITS
from raytune_agents.generate.scenes import Scene


def tool(name: str, about: str, **properties) -> ToolConfig:
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    return ToolConfig(name=name, description=about, parameters=schema)


def text(about: str = "", **more) -> dict:
    return {"type": "string", "description": about} | more


def test_values_fit_their_schema():
    rng = random.Random(5)
    schemas = {
        "count": {"type": "integer", "minimum": 3, "maximum": 7},
        "even": {"type": "integer", "minimum": 1, "maximum": 9, "multipleOf": 2},
        "share": {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
        "unit": {"type": "string", "enum": ["c", "f"]},
        "day": {"type": "string", "format": "date", "pattern": r"^\d{4}-\d\d-\d\d$"},
        "email": {"type": "string", "pattern": "^[^@ ]+@[^@ ]+$"},
        "tags": {"type": "array", "items": {"type": "string"}, "minItems": 2, "maxItems": 3,
                 "uniqueItems": True},
        "box": {"type": "object", "properties": {"w": {"type": "integer"}}, "required": ["w"]},
        "on": {"type": "boolean"},
        "maybe": {"type": ["null", "integer"]},
    }  # fmt: skip
    for name, schema in schemas.items():
        for _ in range(50):
            drawn = invented(name, schema, rng)
            Draft202012Validator(schema).validate(drawn)
    assert {invented("n", {"type": "integer", "minimum": 1, "maximum": 2}, rng)
            for _ in range(40)} == {1, 2}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "schema", "kind"),
    [
        ("city", text(), "city"),
        ("where_to", text("Name of the city to look up"), "city"),
        ("country", text("Country code, ISO 3166"), "country_code"),
        ("attendees", text("Email addresses of the attendees"), "email"),
        ("checkInDate", text(), "date"),
        ("from", text("First day, YYYY-MM-DD"), "date"),
        ("at", text("When, ISO 8601 date-time"), "datetime"),
        ("t", text("Time, HH:MM"), "time"),
        ("order_id", text(), "id"),
        ("max_price", {"type": "number"}, "money"),
        ("nights", {"type": "integer"}, "nights"),
        ("mode", text("Travel mode: 'walking', 'driving' or 'transit'"), "choice"),
        ("color_of_it", text("", enum=["red"]), "choice"),
        ("api_key", text("Your API key"), ""),
        ("gizmo", text("The gizmo"), ""),
        ("x", text(), ""),
        ("team_id", text("The team. Accepts values from 1 to 30."), "id_number"),
        ("team_id", text("The team, between 8 and 12 characters."), "id"),
        ("origin", text("an address or a latitude, longitude pair"), "city"),
        ("max_price_per_night", {"type": "number"}, "money"),
        ("cost_per_guest", {"type": "number", "description": "Cost per guest"}, "money"),
        ("daily_rate", {"type": "number", "description": "Price per day"}, "money"),
        ("price_per_square_meter", {"type": "number"}, "money"),
        ("guests_per_room", {"type": "integer"}, "people"),
        ("beds_per_room", {"type": "integer"}, "beds"),
        ("batch_no", text("Batch number, like 26-117"), "id"),
        ("country_of_origin", text(), "country"),
        ("city_of_departure", text(), "city"),
        ("author_of_book", text(), "author"),
        ("language_of_reply", text(), "language"),
        ("address_of_the_customer", text(), "street"),
        ("time_of_arrival", text(), "time"),
        ("date_of_birth", text(), "date"),
        ("reason_for_visit", text(), "reason"),
        ("time_of_day", text(), "time"),
        ("lead_actor", text(), "actor"),
        ("director_name", text(), "person"),
        ("plant_species", text(), "plant"),
        ("log_level", text(), "log_level"),
        ("savings_goal", text(), ""),
    ],
)
def test_what_a_parameter_is(name: str, schema: dict, kind: str) -> None:
    assert kinds.parameter(name, schema, True, "").kind == kind


def test_what_a_description_says() -> None:
    assert examples_in("Kind of pet (e.g. cat, dog)") == (["cat", "dog"], False)
    assert examples_in("One of: low, medium, high") == (["low", "medium", "high"], True)
    assert examples_in("Ticket, like T-1042.") == (["T-1042"], False)
    assert examples_in("The name of the city") == ([], False)
    assert bounds_in("Rating from 1 to 5") == (1, 5)
    assert bounds_in("Volume in percent (0-100)") == (0, 100)
    assert bounds_in("How many") is None
    for text in ("A code between 8 and 12 characters", "PIN (4-6 digits)", "6 to 10 chars long"):
        assert bounds_in(text) is None, text
    assert subject_of("The name of the city to look up") == "name of city"


def test_the_last_digit_of_an_isbn_checks_the_others() -> None:
    p = kinds.parameter("isbn", text(), True, "")
    for k in range(5):
        digits = list(map(int, str(arguments.value(Scene(random.Random(k), ""), p))))
        assert len(digits) == 13
        assert sum(d * (1, 3)[i % 2] for i, d in enumerate(digits)) % 10 == 0


def test_codes_keep_their_form() -> None:
    rng = random.Random(1)
    made = {shaped("T-1042", rng) for _ in range(20)}
    assert len(made) > 15
    assert all(len(m) == 6 and m.startswith("T-") and m[2:].isdigit() for m in made)
    quarters = {shaped("2026-Q3", rng) for _ in range(40)}
    assert quarters == {"2026-Q1", "2026-Q2", "2026-Q3", "2026-Q4"}
    assert all(1 <= int(shaped("2026-W07", rng)[-2:]) <= 52 for _ in range(40))
    assert shaped("INV-2025-0412", rng).startswith("INV-2025-")
    assert is_code("SES-55021")
    assert not is_code("Paris")
    assert not is_code("2019-2020")


STAY = tool(
    "search_hotels", "Search for hotels in a city.", city=text("City"),
    origin=text("City of origin"),
    check_in=text("YYYY-MM-DD"), check_out=text("YYYY-MM-DD"),
    min_price={"type": "integer"}, max_price={"type": "integer"},
)  # fmt: skip


def test_values_are_in_keeping_with_each_other() -> None:
    for seed in range(60):
        args, _ = arguments.sample(STAY, STAY.parameters["properties"], random.Random(seed))
        assert date.fromisoformat(args["check_in"]) < date.fromisoformat(args["check_out"])
        assert args["min_price"] <= args["max_price"]
        assert args["city"] != args["origin"]
    send = tool("mail", "Send.", customer_name=text(), customer_email=text())
    args, _ = arguments.sample(send, ["customer_name", "customer_email"], random.Random(2))
    last = args["customer_name"].split()[-1].lower()
    assert args["customer_email"].split("@")[0][-1] in last or last in args["customer_email"]


@pytest.mark.parametrize(
    ("about", "form"),
    [("Day, YYYY-MM-DD", "%Y-%m-%d"), ("DD/MM/YYYY", "%d/%m/%Y"), ("as MM/DD/YYYY", "%m/%d/%Y")],
)
def test_dates_have_the_form_that_is_described(about: str, form: str) -> None:
    from datetime import datetime

    t = tool("f", "Book a slot.", day=text(about))
    for seed in range(20):
        args, _ = arguments.sample(t, ["day"], random.Random(seed))
        assert datetime.strptime(args["day"], form).strftime(form) == args["day"]


def test_a_pattern_of_a_code_is_filled_and_one_of_words_is_not() -> None:
    code = tool("f", "Find it.", ref=text("", pattern=r"^[A-Z]{2}\d{4}$"))
    drawn = {arguments.sample(code, ["ref"], random.Random(i))[0]["ref"] for i in range(20)}
    assert len(drawn) > 15
    Draft202012Validator({"items": {"pattern": r"^[A-Z]{2}\d{4}$"}}).validate(list(drawn))
    words = tool("f", "Find it.", gizmo=text("", pattern=r"^[a-z]+$"))
    with pytest.raises(NoValue, match=r"f\.gizmo"):
        arguments.sample(words, ["gizmo"], random.Random(1))


def test_a_schema_that_holds_itself_ends() -> None:
    node = {"type": "object", "properties": {"name": {"type": "string"},
            "children": {"type": "array", "items": {"$ref": "#/$defs/node"}}}}  # fmt: skip
    schema = {"type": "object", "properties": {"tree": {"$ref": "#/$defs/node"}},
              "$defs": {"node": node}}  # fmt: skip
    (found,) = kinds.parameters("plant", "Plant a tree.", schema)
    assert [f.name for f in found.fields] == ["name", "children"]


def test_tools_that_no_row_can_be_made_of_are_named_with_what_to_add() -> None:
    hard = parse_spec({"name": "hard", "description": "d", "tools": [
        t | {"description": t["description"] or "F."} for t in strangers.HARD]})  # fmt: skip
    found = {(g.tool, g.parameter): g.advice for g in known.gaps(hard)}
    assert set(found) == {("f", "x"), ("f", "y"), ("frobnicate", "gizmo"), ("get_thing", "a"),
                          ("never", "level"), ("empty_choice", "colour"),
                          ("contradiction", "plate")}  # fmt: skip
    assert "example" in found["frobnicate", "gizmo"]
    assert "9 and 3" in found["never", "level"]
    mended = hard.tool("frobnicate").model_copy(update={"values": {"gizmo": ["G1"]}})
    assert known.gaps(hard.model_copy(update={"tools": [mended]})) == []


def test_the_state_of_a_module_is_read_and_not_run() -> None:
    assert known.module_values(strangers.HOTEL) == {
        "room": ["L-101", "L-204", "P-12", "P-31"], "city": ["Lisbon", "Porto"],
        "kind": ["single", "double", "suite"], "price": [90, 130, 110, 240],
    }  # fmt: skip


def test_a_point_has_both_coordinates_and_a_place_is_said_once():
    ends = {"latitude": {"type": "number"}, "longitude": {"type": "number"}}
    schema = {
        "type": "object",
        "properties": {**ends, "city": text("a city"), "days": {"type": "integer"}},
    }
    free = ToolConfig(name="weather", description="Get the weather", parameters=schema)
    bound = free.model_copy(update={"parameters": schema | {"required": [*ends]}})
    for k in range(60):
        names = tasks.argument_names(free, EVEN_HABITS, random.Random(k))
        assert set(names) & set(ends) in (set(), set(ends))
        assert not {"city", "latitude"} <= set(names)
        assert "city" not in tasks.argument_names(bound, EVEN_HABITS, random.Random(k))


def test_a_tools_description_says_what_form_a_value_has():
    bill = tool("bill", "What a member owes for a month (YYYY-MM).", month={"type": "string"})
    bonus = tool("bonus", "Adds a bonus (pay_date as DD.MM.YYYY).", pay_date={"type": "string"})
    alert = tool(
        "alert", "Raise it. severity goes from 1 (mild) to 5.", severity={"type": "integer"}
    )
    for k in range(20):
        rng = random.Random(k)
        assert re.fullmatch(r"20\d\d-\d\d", arguments.sample(bill, ["month"], rng)[0]["month"])
        paid = arguments.sample(bonus, ["pay_date"], rng)[0]["pay_date"]
        assert re.fullmatch(r"\d\d\.\d\d\.20\d\d", paid)
        assert 1 <= arguments.sample(alert, ["severity"], rng)[0]["severity"] <= 5


def test_what_acts_is_not_sorted() -> None:
    sort = {"sort": text()}
    told = ("Search for restaurants", "Book a table in a restaurant", "Play music")
    kinds_of = [kinds.parameters(t.split()[0].lower(), t, {"properties": sort}) for t in told]
    assert [p.kind for (p,) in kinds_of] == ["sorting", "", ""]


def test_first_and_last_day_are_a_range():
    leave = tool("leave", "Request leave.", first_day=text("ISO date"), last_day=text("ISO date"))
    for k in range(20):
        args, _ = arguments.sample(leave, ["first_day", "last_day"], random.Random(k))
        assert args["first_day"] < args["last_day"]
