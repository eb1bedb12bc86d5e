"""Kinds of faults found by eye in catalogues of clubs and services: undertakers, marinas,
opticians, ski schools, property managers, chess clubs, tool hire, kennels, cleaners, climbing
gyms, chimney sweeps, hospital porters and winter services."""

from __future__ import annotations

import re
from typing import Any

import pytest
from stranger_tools import TEXT, WHOLE, YES, drawn, drawn_beside, of, order, saying, tool_of

from raytune_agents.agents import ToolConfig, parse_spec
from raytune_agents.agents.analyse import Argument
from raytune_agents.generate import known
from raytune_agents.generate.arguments import parameters_of

NUMBER: dict[str, Any] = {"type": "number"}
DAY = TEXT | {"format": "date"}


def one_of(*values: str) -> dict[str, Any]:
    return TEXT | {"enum": list(values)}


@pytest.mark.parametrize(
    ("tool", "args", "said"),
    [
        # who is told something is not looked up
        (tool_of("away", "Tell the office that a holder is away so that the berth can be let",
         {"holder_id": of(TEXT, "e.g. H-14")}), {"holder_id": "H-20"},
         "let the office know that holder H-20 is away"),
        (tool_of("ready", "Let a customer know that the glasses are ready", {"customer_id":
         of(TEXT, "e.g. K1014")}), {"customer_id": "K2033"},
         "let customer K2033 know that the glasses are ready"),
        (tool_of("shipped", "Inform a customer that an order has shipped", {"order_id": of(TEXT,
         "e.g. K1014")}), {"order_id": "K2033"}, "inform a customer that order K2033 has shipped"),
        # in which state a thing is reported, what is still so, what ends soon
        (tool_of("sick", "Report an instructor sick", {"instructor": of(TEXT, "e.g. INS-101")}),
         {"instructor": "INS-220"}, "report instructor INS-220 sick"),
        (tool_of("paid", "Mark an invoice paid", {"invoice_no": of(TEXT, "e.g. R-101")}),
         {"invoice_no": "R-220"}, "mark invoice R-220 paid"),
        (tool_of("balance", "What is still owed on a case", {"case_no": TEXT}),
         {"case_no": "F-2111"}, "what is still owed on case F-2111"),
        (tool_of("due", "Dogs whose vaccination runs out soon", {"within_days": WHOLE}),
         {"within_days": 10}, ("runs out within 10 days", "runs out within ten days")),
        (tool_of("med", "Log a medicine given to a dog", {"dog": of(TEXT, "dog's name")}),
         {"dog": "Luna"}, "log a medicine given to Luna"),
        # how much of what, at which one, with which discount, where to, on which day, at least
        (tool_of("fuel", "Record fuel sold at the fuel dock", {"litres": NUMBER}), {"litres": 40},
         "record 40 litres of fuel sold at the fuel dock"),
        (tool_of("clock", "Adjust a clock", {"board": WHOLE}), {"board": 12}, "board 12"),
        (tool_of("bill", "Make the bill for a stay", {"discount_pct": WHOLE}),
         {"discount_pct": 15}, "with a discount of 15 percent"),
        (tool_of("move", "Arrange a transfer", {"destination": one_of("mortuary", "airport")}),
         {"destination": "airport"}, "a transfer to the airport"),
        (tool_of("read", "Enter a meter reading", {"read_on": DAY}), {"read_on": "2027-05-04"},
         "a meter reading read on "),
        (tool_of("arrears", "List tenants who are behind with the rent", {"min_months": WHOLE}),
         {"min_months": 2}, ("for at least 2 months", "for at least two months")),
        (tool_of("quit", "Withdraw a player from the tournament", {"name": TEXT, "after_round":
         WHOLE}), {"name": "Ana Lind", "after_round": 3}, "from the tournament after round 3"),
        # a round is no game, a flat no unit, "white or black" no noun
        (tool_of("result", "Enter the result of a game", {"round_no": WHOLE}), {"round_no": 4},
         "round 4"),
        (tool_of("reading", "Enter a meter reading for a flat", {"unit": of(TEXT, "Flat, e.g. "
         "14B/3"), "value": NUMBER}), {"unit": "12A/4", "value": 2333}, "for flat 12A/4"),
        (tool_of("time", "Add time to a clock", {"side": of(TEXT, "white or black")}),
         {"side": "white"}, ("side: white", "side white", "side of white")),
        (tool_of("standings", "Print the standings", {"top": WHOLE}), {"top": 10}, "(top 10)"),
        # verbs apart from their particle, two verbs, a sentence that is noted, who is asked
        (tool_of("pick_up", "Hand garments out", {"ticket": WHOLE}), {"ticket": 40871},
         "hand out garments for ticket 40871"),
        (tool_of("strip_wall", "Plan to strip a wall", {"wall": of(TEXT, "e.g. Cave, Slab")}),
         {"wall": "Slab"}, "plan to strip "),
        (tool_of("nobody", "Note that nobody was at home", {"household": of(TEXT, "e.g. H-17")}),
         {"household": "H-20"}, "note that nobody was at home"),
        (tool_of("collect", "Asks a porter to collect specimens from a ward", {"count": of(WHOLE,
         "Number of specimens")}), {"count": 6}, ("ask a porter to collect 6 specimens",
         "ask a porter to collect six specimens")),
        # a job that is not needed, how long it waits, one of two sorts of places
        (tool_of("cancel_job", "Cancel a job that is no longer needed", {"job_id": of(TEXT,
         "e.g. PJ-88213")}), {"job_id": "PJ-11111"}, "job PJ-11111"),
        (tool_of("waiting", "Shows the jobs that have been waiting longer than a number of minutes",
         {"minutes": WHOLE}), {"minutes": 45}, ("have been waiting for 45 minutes")),
        (tool_of("move", "Move a bed from one ward or department to another", {"from_ward":
         of(TEXT, "e.g. W4B"), "to_ward": of(TEXT, "e.g. W4B")}), {"from_ward": "W5B", "to_ward":
         "W6C"}, ("from W5B to W6C", "from ward W5B to ward W6C")),
        # an order of so many tonnes, switches that are verbs with a particle
        (tool_of("salt", "Order road salt", {"tonnes": NUMBER}), {"tonnes": 12},
         "order 12 tonnes of road salt"),
        (tool_of("defect", "Report a defect", {"shut_down": YES}), {"shut_down": True},
         "and shut it down"),
        (tool_of("complaint", "Log a complaint", {"call_back": YES}), {"call_back": False},
         "and do not call back"),
    ],
)  # fmt: skip
def test_a_club_s_tool_is_asked_for_as_its_people_would(
    tool: ToolConfig, args: dict[str, Any], said: str | tuple[str, ...]
) -> None:
    for text in saying(tool, args, said):
        assert not any(s in text for s in ("game 4", "a tenants", "a fuel")), text


@pytest.mark.parametrize(
    ("about", "name", "schema", "form"),
    [
        ("Add a child to a group course", "childName", TEXT, r"[A-Z]\S+ [A-Z].+"),
        ("Enter a player in the tournament", "name", TEXT, r"[A-Z]\S+ [A-Z].+"),
        ("Enter a player in the tournament", "rating", WHOLE, r"9\d0|[12]\d\d0"),
        ("Set a feeding plan", "dog", of(TEXT, "dog's name"), "[A-Z][a-z]+"),
        ("Book a dog in", "from", of(TEXT, "dd/mm/yyyy"), r"\d\d/\d\d/20\d\d"),
        ("Draw up the pairings of the next round", "round_no", WHOLE, r"[1-9]"),
        ("Print the standings", "top", WHOLE, r"[3-9]|1\d|2[0-5]"),
    ],
)
def test_values_of_a_club_s_tool_fit(about: str, name: str, schema: dict, form: str) -> None:
    for args in drawn(tool_of("t", about, {name: schema})):
        assert re.fullmatch(form, str(args[name])), args


@pytest.mark.parametrize(
    ("about", "name", "texts"),
    [
        ("Check whether a machine is free", "machine", ["dumper 3t"]),
        ("Arrange a transfer", "pickup", ["Marien hospital"]),
        ("How many of a frame are in stock", "brand", ["Lindberg"]),
    ],
)
def test_rows_whose_values_are_none_of_ours_say_which_there_are(
    about: str, name: str, texts: list[str]
) -> None:
    tool = tool_of("t", about, {name: TEXT})
    seen = drawn_beside(tool, {name: Argument(given=1, texts=dict.fromkeys(texts, 1))})
    assert {args[name] for args in seen} == set(texts)


def test_what_another_tool_quotes_is_meant_by_a_name_of_ours() -> None:
    hire = tool_of("hire", "Hire out a machine", {"machine": of(TEXT, "e.g. mini digger, cherry "
                                                                "picker")})  # fmt: skip
    free = tool_of("free", "Check whether it is free", {"machine": TEXT})
    tools = [hire.model_dump(), free.model_dump()]
    spec = known.with_known(parse_spec({"name": "s", "description": "d", "tools": tools}))
    assert set(spec.tools[1].values["machine"]) == {"mini digger", "cherry picker"}


def test_a_text_on_a_plate_is_no_message() -> None:
    plate = of(TEXT, "Text engraved on the name plate")
    (p,) = parameters_of(tool_of("order", "Order a coffin", {"plate_text": plate}))
    assert p.kind == ""


def test_the_symptom_of_a_machine_is_no_illness() -> None:
    tool = tool_of("report", "Report a breakdown of a machine", {"symptom": TEXT})
    assert parameters_of(tool)[0].kind == "problem"


def test_what_is_given_to_a_thing_is_not_called_as_it() -> None:
    rating = TEXT | {"enum": ["3", "4"]}
    tool = tool_of("rate", "Give a rating to a book", {"rating": rating, "object_name": TEXT})
    for seed in range(6):
        assert "to book Dracula" in order(tool, {"rating": "3", "object_name": "Dracula"}, seed)
