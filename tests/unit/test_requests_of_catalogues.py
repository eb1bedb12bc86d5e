"""Requests for the tools of large catalogues: how a description speaks of numbers, lists and codes,
and values that fit each other."""

from __future__ import annotations

import random
import re
from typing import Any

import pytest
from stranger_tools import TEXT, WHOLE, drawn, of, saying, tool_of

from raytune_agents.agents import ToolConfig
from raytune_agents.generate import arguments, described_requests
from raytune_agents.generate.actions import action
from raytune_agents.generate.grammar import asked
from raytune_agents.generate.scenes import Scene

ARRAY, NUMBER, YES = {"type": "array"}, {"type": "number"}, {"type": "boolean"}
NUMBERS = of(ARRAY, "The list of numbers.")
SPANS = of(ARRAY, "A list of intervals, each represented as [start_time, end_time].")
POINTS = of(ARRAY, "A list of polygon vertices represented as tuples (x, y).")


def body(**more: Any) -> dict[str, Any]:
    """Parameters that tell of a body."""
    return {"age": of(WHOLE, "Age in years."), "sex": of(TEXT, "either 'male' or 'female'"),
            "weight_kg": of(NUMBER, "Body weight in kilograms."), **more}  # fmt: skip


@pytest.mark.parametrize(
    ("tool", "args", "said"),
    [
        # nobody is told by a check
        (tool_of("valid", "Checks if an email address is valid.", {"email": TEXT}),
         {"email": "a@b.com"}, "if a@b.com is valid"),
        (tool_of("exists", "Validates if an email address exists using the X service.",
                 {"email": TEXT}), {"email": "a@b.com"}, "if a@b.com exists"),
        (tool_of("check", "Validates whether the given input is a disposable domain.",
                 {"validate": of(TEXT, "The domain to be validated.", default="spam4.me")}),
         {"validate": "spam4.me"}, "whether spam4.me is a disposable domain"),
        # how things are chosen is no object
        (tool_of("torrents", "Search for torrents based on given keywords using the X service.",
                 {"keywords": of(TEXT, "Keywords")}), {"keywords": "Dune"}, "torrents for Dune"),
        # letters of a description
        (tool_of("fib", "Generates the first n Fibonacci numbers.", {"n": WHOLE}), {"n": 9},
         "the first 9 Fibonacci numbers"),
        (tool_of("fib", "Calculates the nth Fibonacci number.", {"n": WHOLE}), {"n": 3},
         "the 3rd Fibonacci number"),
        (tool_of("fib", "Calculates the nth Fibonacci number.", {"n": WHOLE}), {"n": 12},
         "the 12th Fibonacci number"),
        (tool_of("top", "Finds the n largest numbers in a list.", {"nums": NUMBERS, "n": WHOLE}),
         {"nums": [4, 9], "n": 1}, "the 1 largest numbers in the list 4 and 9"),
        # lists of numbers
        (tool_of("mean", "Calculates the mean of a list of numbers.", {"numbers": NUMBERS}),
         {"numbers": [4, 9]}, "the mean of the numbers 4 and 9"),
        (tool_of("sort", "Sorts a list of numbers in ascending or descending order.",
                 {"numbers": NUMBERS, "descending": YES}), {"numbers": [4, 9], "descending": True},
         "sort the numbers 4 and 9 in descending order"),
        (tool_of("sort", "Sorts a list of numbers in ascending or descending order.",
                 {"numbers": NUMBERS, "descending": YES}), {"numbers": [4, 9], "descending": False},
         "sort the numbers 4 and 9 in ascending order"),
        (tool_of("add", "Adds two binary numbers.", {"a": of(TEXT, "The first binary number."),
                 "b": of(TEXT, "The second binary number.")}), {"a": "101", "b": "11"},
         "add the binary numbers 101 and 11"),
        (tool_of("rooms", "Finds the number of rooms for all meetings.", {"intervals": SPANS}),
         {"intervals": [[0, 30], [5, 10]]}, "[[0, 30], [5, 10]]"),
        (tool_of("area", "Calculates the area of a polygon.", {"vertices": POINTS}),
         {"vertices": [[0, 0], [5, 0], [5, 5]]}, "[(0, 0), (5, 0), (5, 5)]"),
        # names, units, numbers that say which one
        (tool_of("stats", "Fetches the base stats of a specified League of Legends champion.",
                 {"name": of(TEXT, "The name of the champion", default="ekko")}), {"name": "ekko"},
         "of League of Legends champion ekko"),
        (tool_of("wire", "Calculates the resistance of a wire", {"area_sq_m": NUMBER}),
         {"area_sq_m": 68}, ("an area of 68 square metres", "(area: 68 square metres)")),
        (tool_of("pages", "Fetches companies from a given page.", {"page": WHOLE}), {"page": 5},
         "from page 5"),
        (tool_of("log", "Logs a user into the system.", {"username": TEXT}), {"username": "ana"},
         "log in ana"),
        (tool_of("dates", "Converts a date string from one format to another.", {
            "date": of(TEXT, "The date string to convert."),
            "input_format": of(TEXT, "The format of the input date string."),
            "output_format": of(TEXT, "The desired format of the output date string.")}),
         {"date": "05/12/2026", "input_format": "DD/MM/YYYY", "output_format": "YYYY-MM-DD"},
         "convert 05/12/2026 from DD/MM/YYYY to YYYY-MM-DD"),
        (tool_of("series", "Fetches time series data within a given time interval.", {
            "interval": of(WHOLE, "Time interval in minutes, e.g., `1` or `5`"),
            "is_from": of(TEXT, "The start date and time, e.g. '2020-04-21 10:00'")}),
         {"interval": 5, "is_from": "2026-05-04 09:30"}, "data from "),
        (tool_of("series", "Fetches time series data within a given time interval.", {
            "interval": of(WHOLE, "Time interval in minutes, e.g., `1` or `5`")}),
         {"interval": 5}, "data at 5-minute intervals"),
        (tool_of("reverse", "Reverses the order of words in a sentence.", {"sentence": TEXT}),
         {"sentence": "It rains."}, 'the order of words in the sentence "It rains."'),
        (tool_of("posts", "Fetches information about an Instagram user using their user ID.",
                 {"is_id": of(WHOLE, "The user ID of the account.")}), {"is_id": 4711},
         "about Instagram user 4711"),
        (tool_of("stores", "Fetches all stores in a specified country.", {"countrycode": of(TEXT,
                 "The two-letter country code")}), {"countrycode": "dk"}, ("in dk", "in Denmark")),
        (tool_of("visa", "Fetches visa requirements for a given passport and destination.", {
            "passport": of(TEXT, "The passport country code.")}), {"passport": "FR"},
         ("for the passport country FR", "for the passport country France")),
        (tool_of("units", "Fetches all units associated with a specific measurement type.", {
            "measure": of(TEXT, "The type of measurement (e.g., 'length', 'weight').")}),
         {"measure": "length"}, "with measurement type length"),
        (tool_of("prices", "Retrieves the latest prices of a product", {"locale": of(TEXT,
                 "The locale code. Options include 'au', 'fr', 'it', 'uk'.")}), {"locale": "it"},
         ("for the it locale", "for the Italian locale")),
        # people and places
        (tool_of("intake", "Calculates the calorie intake based on goals", body()),
         {"age": 80, "sex": "female", "weight_kg": 60},
         "for an 80-year-old female weighing 60 kg"),
        (tool_of("weather", "Get the weather for a place", {"city": TEXT, "state": TEXT,
                 "current_location": TEXT}), {"city": "Austin", "state": "Texas",
                                              "current_location": "Austin"},
         "the weather for Austin, Texas"),
        (tool_of("find", "Search for a creative work", {"object_name": TEXT}),
         {"object_name": "Dune"}, ("find Dune", "find me Dune", "for Dune")),
        (tool_of("add", "Add a track, an album or an artist to a playlist", {"playlist": TEXT,
                 "entity_name": TEXT}), {"playlist": "Focus", "entity_name": "Halo"},
         "add Halo to the Focus playlist"),
        (tool_of("play", "Play music by track or artist", {"track": TEXT, "artist": TEXT}),
         {"track": "Yellow", "artist": "Coldplay"}, "play Yellow by Coldplay"),
        (tool_of("book", "Book a table in a restaurant", {"party_size_number": TEXT}),
         {"party_size_number": "4"}, ("for 4 people", "for four people")),
        (tool_of("book", "Book a table in a restaurant", {"restaurant_name": TEXT, "timeRange":
                 TEXT}), {"restaurant_name": "Sakura", "timeRange": "tomorrow"},
         "at Sakura tomorrow"),
    ],
)  # fmt: skip
def test_a_description_is_said_with_its_values_in_their_places(
    tool: ToolConfig, args: dict[str, Any], said: str | tuple[str, ...]
) -> None:
    assert saying(tool, args, said)


def test_a_reported_question_is_asked() -> None:
    assert asked("whether {room} is free") == "is {room} free"
    assert asked("if a person can attend all meetings") == "can a person attend all meetings"
    assert asked("if {email} exists") == asked("what is free") == ""


def test_where_one_searches_is_not_what_one_wants() -> None:
    tool = tool_of("search", "Search the X database for artist names", {"page": WHOLE})
    for seed in range(20):
        rng = random.Random(seed)
        wish = described_requests.compose(tool, {"page": 6}, Scene(rng), rng)
        assert wish.text.startswith("search the X database for artist names")


def test_only_who_is_told_is_me() -> None:
    assert action("x", "Alert when a value leaves its range").verbs == ("alert me",)
    assert action("x", "Determines if a person can attend").verbs == ("determine",)


def test_pairs_of_numbers_are_drawn_as_they_are_described() -> None:
    for args in drawn(tool_of("rooms", "Finds the number of meeting rooms", {"v": SPANS})):
        assert all(start < end for start, end in args["v"])
        assert args["v"] == sorted(args["v"])
    for args in drawn(tool_of("area", "Calculates the area of a polygon", {"v": POINTS})):
        assert len(args["v"]) > 2
        assert all(len(point) == 2 for point in args["v"])


@pytest.mark.parametrize(
    "about", ["The board as a 2D list of strings", "A list of tuples", "Matrix"]
)
def test_of_lists_of_what_nobody_knows_no_value_is_drawn(about: str) -> None:
    (p,) = arguments.parameters_of(tool_of("solve", "Solves a puzzle", {"board": of(ARRAY, about)}))
    assert not p.kind


@pytest.mark.parametrize(
    ("schema", "about", "form"),
    [
        (TEXT, "The first binary number.", "1[01]{3,7}"),
        (TEXT, "The IP address to query.", r"\d+\.\d+\.\d+\.\d+"),
        (WHOLE, "Activity level on a scale of 1 to 5 (1 = low)", "[1-5]"),
        (NUMBER, "The significance level of the test. Defaults to 0.05.", r"0\.(0[1-9]?|1)"),
        (WHOLE | {"default": "50000"}, "The mileage of the car", r"(2[5-9]|[3-9]\d)\d{3}|100000"),
        (WHOLE | {"default": "40"}, "Results. Maximum value is 40.", "[23]?[0-9]|40"),
        (TEXT | {"default": "USD"}, "The 3-letter currency code.", "[A-Z]{3}"),
        (TEXT, "The season, e.g. 20172018", r"(20\d\d){2}"),
        (WHOLE | {"default": 20172018}, "The season", r"(20\d\d){2}"),
    ],
)
def test_a_number_is_of_the_size_that_is_told(schema: Any, about: str, form: str) -> None:
    name = {"The IP": "address", "The 3-": "currency", "The si": "alpha"}.get(about[:6], "level")
    found = {a[name] for a in drawn(tool_of("x", "Runs a test", {name: of(schema, about)}))}
    assert len(found) > 2
    assert all(re.fullmatch(form, str(value)) for value in found), found


def test_a_day_is_written_in_the_format_that_it_is_said_to_have() -> None:
    formats = {"input_format": of(TEXT, "The format of the date"), "date": of(TEXT, "The date")}
    for args in drawn(tool_of("convert", "Converts a date", formats)):
        form = re.sub("[YMD]", r"\\d", re.escape(args["input_format"]))
        assert re.fullmatch(form, args["date"]), args


def test_no_more_numbers_of_a_list_are_wanted_than_it_has() -> None:
    tool = tool_of("top", "Finds the n largest numbers in a list.", {"nums": NUMBERS, "n": WHOLE})
    assert all(args["n"] < len(args["nums"]) for args in drawn(tool))


def test_a_song_is_of_a_year_that_is_past() -> None:
    year = {"year": TEXT}
    assert all(int(a["year"]) < 2027 for a in drawn(tool_of("play", "Play music by year", year)))
