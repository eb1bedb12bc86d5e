"""Faults found by eye in a catalogue of some hundred tools whose parameters are texts, of which
descriptions tell by examples alone: "The unit of the age (e.g., years, seconds)"."""

from __future__ import annotations

import random
import re
from typing import Any

import pytest
from stranger_tools import TEXT, WHOLE, drawn, of, order, tool_of

from raytune_agents.agents import parse_spec
from raytune_agents.agents.analyse import Profile, analyse
from raytune_agents.agents.phrasing import clauses_of
from raytune_agents.generate import arguments
from raytune_agents.generate.described_requests import compose, known_clause
from raytune_agents.generate.scenes import Scene
from raytune_agents.generate.tasks import from_template
from raytune_agents.generate.variants import is_free
from raytune_agents.records import Message, ToolCall, Trajectory

NUMBER: dict[str, Any] = {"type": "number"}


def only(about: str, name: str, described: str, value: Any, kind: dict[str, Any] = TEXT) -> str:
    """The order of a tool with one parameter."""
    return order(tool_of("t", about, {name: of(kind, described)}), {name: value})


@pytest.mark.parametrize(
    ("about", "name", "described", "value", "said"),
    [
        # the preposition that people use before a value of the noun
        ("Estimate the age of the universe", "unit", "The unit (e.g., years, seconds)",
         "seconds", "universe in seconds"),
        ("Retrieve the ranking of a product", "search_engine", "Search engine (e.g., Bing, Yahoo)",
         "Yahoo", "on Yahoo"),
        ("Analyze a blood sample", "method", "The method (e.g., chromatography, spectroscopy)",
         "spectroscopy", "spectroscopy"),
        ("Check the privacy settings", "user_role", "The role (e.g., librarian, patron)",
         "librarian", "as a librarian"),
        ("Retrieve the energy forecast", "time_period", "The period (e.g., daily, weekly)",
         "weekly", "on a weekly basis"),
        ("Retrieve public feedback", "time_period", "The period (e.g., past 5 years, last week)",
         "past 5 years", "the past 5 years"),
        ("Retrieve information on an ancient town", "time_period",
         "The period (e.g., 3000 BC - 30 BC, 1200 BC - 146 BC)", "3000 BC - 30 BC",
         "from 3000 BC - 30 BC"),
        ("Retrieve the metabolism rate", "cell_type", "The cell (e.g., liver cell, nerve cell)",
         "liver cell", "a liver cell"),
        ("Move the robot", "direction", "Where to (e.g., forward, backward)", "forward",
         "in the forward direction"),
        ("Assess the impact of a charity", "coverage", "The coverage (e.g., local, national)",
         "local", "with local coverage"),
        ("Retrieve the geothermal gradient at a specified location", "location",
         "The location (e.g., Lima, Oslo)", "Oslo", "gradient in Oslo"),
        # a place that is no name has an article
        ("Retrieve water quality information", "location", "Where (e.g., river, lake)", "lake",
         "the lake"),
        # the noun of the value is said once
        ("Run a hypothesis test", "test_type", "The test (e.g., t-test, chi-square test)",
         "chi-square test", "run a chi-square test"),
        # one of the many that a complement speaks of
        ("Retrieve information about ancient civilizations", "civilization_name",
         "Its name (e.g., Egypt, Greece)", "Egypt", "about the ancient civilization Egypt"),
        # either of two nouns of a complement
        ("Analyze the coverage for a company or brand", "company_name",
         "The company (e.g., Google, Amazon)", "Google", "for Google"),
    ],
)  # fmt: skip
def test_a_value_that_an_example_shows_is_joined_as_people_do(
    about: str, name: str, described: str, value: Any, said: str
) -> None:
    assert said in only(about, name, described, value)


@pytest.mark.parametrize(
    ("about", "name", "value", "said"),
    [
        # a compound speaks of no user
        ("Generate a secure token for user authentication and authorization", "user_id", "U-1",
         "for user authentication and authorization for user U-1"),
        ("Send commands to control an actuator connected to a device", "actuator_id", "A-1",
         "an actuator A-1 connected"),
        ("Calculate the employee engagement score", "employee_id", "E-1",
         "the engagement score of employee E-1"),
        ("Instruct a robot to perform a task", "robot_id", "R-1", "robot R-1 to perform"),
        ("Recognize speech in an audio file", "audio_file", "a.mp3", "speech in a.mp3"),
    ],
)  # fmt: skip
def test_an_id_stands_behind_its_own_noun(about: str, name: str, value: str, said: str) -> None:
    text = only(about, name, "", value)
    assert said in text
    assert "a speech" not in text


def test_an_update_is_an_order_where_the_name_says_so() -> None:
    tool = tool_of("updatePlan", "Update workforce planning information", {"team": TEXT})
    assert re.match("(update|change) ", order(tool, {"team": "Sales"}))


def test_a_number_is_a_size_of_its_noun() -> None:
    text = only("Show the turn radius", "grip", "The grip of the tyres", 4, NUMBER)
    assert "a grip of 4" in text


@pytest.mark.parametrize(
    ("tool", "name", "form"),
    [
        # sorts of values are no values
        (tool_of("check", "Check a vehicle", {"vehicle_id": of(TEXT, "The identifier of the "
         "vehicle (e.g., VIN or license plate number)")}), "vehicle_id", r"[A-Z]{2}-\d+"),
        (tool_of("guide", "Retrieve a recycling guide", {"location": of(TEXT, "The location "
         "(e.g., city name, address)")}), "location", r"[A-Z][\w ,]+"),
        (tool_of("care", "Retrieve healthcare data", {"location": of(TEXT, "The location (e.g., "
         "hospital, city, country)")}), "location", r"[A-Z][\w ,]+"),
        # what a parameter says of itself beats a word of the tool's description
        (tool_of("show_in_app", "Create an in-app message for mobile apps", {"title": of(TEXT,
         "The title of the in-app message")}), "title", r"[A-Z][a-zA-Z' ]+"),
        (tool_of("sounds", "Retrieve sounds of a specific bird species", {"species_name": of(TEXT,
         "The name of the bird species")}), "species_name", "[a-z ]+"),
        (tool_of("rgb", "Convert a color code to its RGB representation", {"color_code": TEXT}),
         "color_code", "#[0-9A-F]{6}"),
        (tool_of("html", "Validate the syntax of HTML code", {"html_code": TEXT}), "html_code",
         "<.*>"),
        (tool_of("encrypt", "Encrypt a message", {"key": of(TEXT, "The encryption key")}), "key",
         r"[\w-]*[a-z][\w-]*"),
        (tool_of("plan", "Analyze a person", {"gender": of(TEXT, "e.g., male, female, other")}),
         "gender", "male|female"),
        (tool_of("radius", "Find a shop", {"radius": of(WHOLE, "e.g., 500 meters, 1 mile")}),
         "radius", r"[2-9]\d\d|1000"),
    ],
)  # fmt: skip
def test_values_are_of_what_a_parameter_says_of_itself(tool: Any, name: str, form: str) -> None:
    for args in drawn(tool):
        assert re.fullmatch(form, str(args[name])), args


def test_a_range_runs_from_low_to_high() -> None:
    ages = tool_of("users", "Retrieve users", {"age_range": of(TEXT, "e.g., 18-25, 35-45")})
    for args in drawn(ages):
        low, high = map(int, args["age_range"].split("-"))
        assert low < high
    described = of(TEXT, "The date range (e.g., 2021-01-01 to 2021-12-31)")
    days = tool_of("tests", "Retrieve test results", {"date_range": described})
    for args in drawn(days):
        first, last = args["date_range"].split(" to ")
        assert first < last
        assert f"from {first} to {last}" in order(days, args)


def test_two_countries_are_two() -> None:
    tool = tool_of("trade", "Retrieve the trade volume between two countries",
                   {"export_country": TEXT, "import_country": TEXT})  # fmt: skip
    assert all(args["export_country"] != args["import_country"] for args in drawn(tool))
    text = order(tool, {"export_country": "Peru", "import_country": "Chile"})
    assert "between countries Peru and Chile" in text or "between Peru and Chile" in text


def test_units_are_read_whole() -> None:
    schema = {"speed": of(NUMBER, "The speed in km/h"), "pause": of(WHOLE, "Pause in milliseconds")}
    tool = tool_of("turn", "Calculate the turn radius", schema)
    assert [p.unit for p in arguments.parameters_of(tool)] == ["km/h", "milliseconds"]


def test_two_clauses_begin_with_two_prepositions() -> None:
    described = of(TEXT, "The country (e.g., USA, Canada)")
    year = of(WHOLE, "The year (e.g., 2020, 2021)")
    tool = tool_of("data", "Retrieve gender data", {"country": described, "year": year})
    for seed in range(12):
        text = order(tool, {"country": "Canada", "year": 2020}, seed)
        assert len(re.findall(r"\b(in|for|from) (Canada|2020)", text)) == 2, text


def known_row(text: str, tool: Any, args: dict[str, Any]) -> Trajectory:
    call = ToolCall.of(tool.name, **args)
    spec = parse_spec({"name": "s", "description": "d", "tools": [tool.model_dump()]})
    turns = (Message("user", text), Message("assistant", tool_calls=(call,)))
    return Trajectory(turns, tuple(spec.toolspecs), source="own")


def test_a_known_clause_keeps_its_capitals() -> None:
    tool = tool_of("show", "Show the results of a patient", {"patient_id": TEXT})
    row = known_row('Show the results for the patient with ID "P1x".', tool, {"patient_id": "P1x"})
    assert list(clauses_of(row)) == [("show", "patient_id", "with ID {x}")]


def test_a_known_clause_fits_its_value() -> None:
    rng = random.Random(0)
    habits = Profile(
        clauses={"find": {"city": {"in the {x}": 1}, "patient_id": {"with ID {x}": 1}}}
    )
    tool = tool_of("find", "Find a pharmacy", {"city": TEXT, "patient_id": TEXT})
    city, patient = arguments.parameters_of(tool)
    assert known_clause("find", city, "Phoenix", rng, habits) == "in {city}"
    assert known_clause("find", city, "city", rng, habits) == "in the {city}"
    assert known_clause("find", patient, "P1", rng, habits) == "for patient with ID {patient_id}"


def test_ids_are_said_as_the_known_requests_say_them() -> None:
    tool = tool_of("show", "Show the location of a drone", {"drone_id": TEXT})
    habits = Profile(clauses={"show": {"patient_id": {"with ID {x}": 96}}})
    rng = random.Random(0)
    wish = compose(tool, {"drone_id": "D7"}, Scene(rng), rng, "order", habits)
    assert "of the drone with ID D7" in wish.text


def test_a_code_beside_its_word_has_no_variant() -> None:
    tool = tool_of("size", "Retrieve the market size", {"currency": TEXT})
    (currency,) = arguments.parameters_of(tool)
    assert not is_free(currency, "EUR", "the market size in terms of euros (EUR)")
    assert is_free(currency, "EUR", "the market size in EUR")


def test_what_only_brackets_hold_is_given_as_often_as_the_rows_do() -> None:
    level = TEXT | {"enum": ["poor", "good"]}
    fields = {"city": TEXT, "performance_level": level}
    tool = tool_of("show", "Show the price list", fields, ("city",))
    form = "Show the price list (performance level: good)"
    shares = {}
    for brackets in (0, 200):
        habits = Profile(rows=200, optional=1.0, brackets=brackets)
        made = [from_template(tool, random.Random(i), habits) for i in range(60)]
        for wish, args in made:
            assert ("(performance level: " in wish.text) == ("performance_level" in args), wish.text
        shares[brackets] = sum("performance_level" in args for _, args in made) / len(made)
    assert shares[0] < 0.2 < 0.5 < shares[200]
    assert analyse([known_row(form, tool, {"performance_level": "good"})]).brackets == 1
    assert analyse([known_row("Show (please)", tool, {"city": "Rome"})]).brackets == 0


def test_what_belongs_to_a_value_that_is_left_out_goes_too() -> None:
    level = TEXT | {"enum": ["poor", "good"]}
    fields = {"city": TEXT, "performance_level": level, "performance_level_unit": level}
    tool = tool_of("show", "Show the price list", fields, ("city",))
    rich = Profile(rows=200, optional=1.0)
    made = [from_template(tool, random.Random(i), rich) for i in range(60)]
    assert not any({*args} == {"city", "performance_level_unit"} for _, args in made)
    either = tool.parameters | {"dependentRequired": {"city": ["performance_level"]}}
    whole = tool.model_copy(update={"parameters": either})
    made = [from_template(whole, random.Random(i), rich) for i in range(60)]
    assert all("performance_level" in args for _, args in made)
