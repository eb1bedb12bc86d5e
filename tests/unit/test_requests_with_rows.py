"""Faults found by eye in the requests of a small module of tools and fourteen good rows."""

from __future__ import annotations

import json
import random
import re
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from stranger_tools import TEXT, WHOLE, drawn, drawn_beside, of, order, tool_of

from raytune_agents import sandbox
from raytune_agents.agents import parse_spec
from raytune_agents.agents.analyse import Argument, Profile, grain
from raytune_agents.agents.init import init_spec
from raytune_agents.agents.phrasing import taken_apart
from raytune_agents.config import GenerateConfig
from raytune_agents.generate import arguments
from raytune_agents.generate.described_requests import _filled
from raytune_agents.generate.descriptions import is_english
from raytune_agents.generate.dialogue_patterns import parallel_calls
from raytune_agents.generate.frames import framed
from raytune_agents.generate.grammar import plural
from raytune_agents.generate.known import with_known
from raytune_agents.generate.own_words import shortened
from raytune_agents.generate.quantities import number
from raytune_agents.generate.sampling import sample_rows
from raytune_agents.generate.scenes import Scene
from raytune_agents.generate.tasks import tasks
from raytune_agents.generate.variants import joined_requests
from raytune_agents.records import Message, ToolCall, ToolSpec, Trajectory, finish

NUMBER = {"type": "number"}
FIRING = tool_of("book_firing", "Reserve kiln space for a firing.", {
    "piece_count": of(WHOLE, "number of pieces"),
    "kind": of(TEXT, "firing type", enum=["bisque", "glaze"]),
    "max_height_cm": of(WHOLE, "height of the tallest piece in cm"),
    "member_no": of(TEXT, "membership number such as PT-2041")})  # fmt: skip


def test_the_kind_of_a_thing_and_a_count_are_said_with_their_nouns() -> None:
    args = {"piece_count": 5, "kind": "glaze", "max_height_cm": 14, "member_no": "PT-2041"}
    for seed in range(8):
        text = order(FIRING, args, seed)
        assert all(x in text for x in ("for a glaze firing", "5 pieces", "14 cm in height")), text
        assert not any(x in text for x in ("firing PT-2041", "and 5 pieces and")), text


@pytest.mark.parametrize(("about", "counted", "described", "said"), [
    ("Order clay for pickup", "bags", "how many 12.5 kg bags", "3 bags of clay"),
    ("Order oranges", "crates", "number of crates", "3 crates of oranges"),
    ("Find suppliers of clay", "bags", "how many bags", "suppliers"),
    ("Order a sofa", "boxes", "number of boxes", "a sofa"),
])  # fmt: skip
def test_what_is_ordered_comes_in_packs(
    about: str, counted: str, described: str, said: str
) -> None:
    tool = tool_of("t", about, {counted: of(WHOLE, described)})
    assert said in order(tool, {counted: 3})
    assert "kg" not in order(tool, {counted: 3})


def test_numbers_lie_near_those_of_the_rows() -> None:
    hours = tool_of("find_wheel", "Look up free wheels", {
        "hours": of(NUMBER, "Length of the session in hours (0.5 to 4)"),
        "height": of(WHOLE, "height in cm")})  # fmt: skip
    habits = {"hours": Argument(given=1, numbers=[1.5, 2, 3]),
              "height": Argument(given=1, numbers=[2, 14, 32])}  # fmt: skip
    seen = drawn_beside(hours, habits)
    assert {x["hours"] for x in seen} <= {1, 1.5, 2, 2.5, 3, 3.5}
    assert len({x["hours"] for x in seen}) > 3
    assert 1 <= min(x["height"] for x in seen) < max(x["height"] for x in seen) <= 47


@pytest.mark.parametrize(("numbers", "step"), [
    ([1.5, 2, 3], 0.5), ([2, 14, 32], 1), ([20, 40, 300], 10), ([9.99, 12.5, 20], 0.01),
    ([250, 500, 1000], 50), ([0, 0, 0], 1000), ([14.2, 3.7], 0.1),
])  # fmt: skip
def test_numbers_are_as_round_as_those_seen(numbers: list[float], step: float) -> None:
    assert grain(numbers) == step


def test_a_thing_is_asked_for_without_a_verb() -> None:
    assert taken_apart("any wheels free on Friday?").frame == "{thing}?"
    assert taken_apart("4 bags of stoneware please").form == "thing"
    assert taken_apart("book two seats please").form == "order"


def test_nobody_asks_whether_they_may_find_themselves_something() -> None:
    habits = Profile(frames={"can i {wish}": 60})
    texts = [framed("find me a wheel", random.Random(k), (), habits)[1] for k in range(30)]
    assert not any(t.startswith("can i find me") for t in texts)
    assert any(
        framed("book a wheel", random.Random(k), (), habits)[1] == "can i book a wheel"
        for k in range(5)
    )


@pytest.mark.parametrize(("one", "many"), [
    ("piece", "pieces"), ("box", "boxes"), ("party", "parties"), ("day", "days"),
    ("child", "children"), ("guests", "guests"), ("dish", "dishes"),
])  # fmt: skip
def test_plurals(one: str, many: str) -> None:
    assert plural(one) == many


@pytest.mark.parametrize(("name", "about", "properties", "args", "said"), [
    ("cancel", "Cancel a booking", {"booking_ref": of(TEXT, "Six letters, such as QWERTY")},
     {"booking_ref": "ABCDEF"}, "booking ABCDEF"),
    ("preorder", "Pre-order meals for a crossing", {"meal": of(TEXT, "e.g. pasta, fish")},
     {"meal": "pasta"}, "pre-order"),
    ("put", "Put a show into the schedule", {"length_min": of(WHOLE, "Length in minutes")},
     {"length_min": 45}, "a length of 45 minutes"),
    ("invite", "Invite a guest", {"guest": TEXT, "needs_parking": {"type": "boolean"}},
     {"guest": "Ana Ruiz", "needs_parking": True}, "with parking"),
    ("stats", "Listener numbers of a show per hour", {"show_title": TEXT},
     {"show_title": "Dune"}, "listener numbers of Dune per hour"),
    ("power", "Change the output power of a transmitter", {
        "power_kw": NUMBER, "site": of(TEXT, "Site code like TX-NORTH")},
     {"power_kw": 4, "site": "TX-NORTH"}, "at the TX-NORTH site"),
    ("put", "Put a show into the schedule", {"show_title": TEXT, "slot_start": of(
        TEXT, "ISO 8601 start")}, {"show_title": "Dune", "slot_start": "2026-03-27"}, "starting"),
])  # fmt: skip
def test_requests_of_a_ferry_and_a_radio_station(
    name: str, about: str, properties: dict, args: dict, said: str
) -> None:
    tool = tool_of(name, about, properties)
    assert said in order(tool, args)
    assert len({str(x) for x in drawn(tool, 20)}) > 1 or name == "power"


@pytest.mark.parametrize(("about", "name", "described", "kind"), [
    ("Put a show into the schedule", "host", "Name of the presenter", "person"),
    ("Restart a service", "host", "", "host"),
    ("Cancel a booking", "booking_ref", "", "id"),
    ("Compare two commits of a repository", "ref", "", "branch"),
])  # fmt: skip
def test_a_host_is_a_person_or_a_machine(about: str, name: str, described: str, kind: str) -> None:
    (found,) = arguments.parameters_of(tool_of("t", about, {name: of(TEXT, described)}))
    assert found.kind == kind


# --- a module of payroll and a dozen rows ---------------------------------------------------------

DAY = of(TEXT, "day off (YYYY-MM-DD)")
LEAVE = tool_of("request_leave", "Request leave for an employee.", {
    "emp_id": of(TEXT, "employee id, e.g. E-1042"),
    "kind": of(TEXT, "sort of leave", enum=["vacation", "sick"]),
    "first_day": DAY, "last_day": DAY})  # fmt: skip
HABITS = {"emp_id": Argument(given=1, texts={"E-1042": 3}),
          "first_day": Argument(given=1, texts={"2026-07-06": 1, "2027-01-11": 1}),
          "last_day": Argument(given=1, texts={"2026-07-17": 1})}  # fmt: skip


def test_a_span_ends_after_it_begins_whatever_days_the_rows_name() -> None:
    rng = random.Random(0)
    for args in drawn_beside(LEAVE, HABITS):
        assert args["first_day"] < args["last_day"], args
        known = arguments.spec_values(LEAVE, rng, HABITS)
        fixed = {"first_day": "2027-01-11"}
        args, _ = arguments.sample(LEAVE, ["first_day", "last_day"], rng, known, fixed)
        assert args["last_day"] > "2027-01-11"


def test_other_ids_of_the_form_of_the_known_ones_exist() -> None:
    ids = {args["emp_id"] for args in drawn_beside(LEAVE, HABITS)}
    assert len(ids) > 5
    assert all(re.fullmatch(r"E-\d{4}", x) for x in ids)


def test_the_days_of_a_request_are_written_alike() -> None:
    args = {"emp_id": "E-1042", "kind": "sick", "first_day": "2026-07-06", "last_day": "2026-07-17"}
    for seed in range(12):
        text = order(LEAVE, args, seed)
        assert "sick leave for employee E-1042" in text
        assert ("2026-07-06" in text) == ("2026-07-17" in text), text


def test_a_change_is_valid_from_a_month_and_a_factor_is_one_of_two() -> None:
    bank = tool_of("set", "Change the bank account of an employee", {
        "emp_id": of(TEXT, "employee id, e.g. E-1042"),
        "valid_from": of(TEXT, "first month with it (YYYY-MM)")})  # fmt: skip
    assert "valid from" in order(bank, {"emp_id": "E-1042", "valid_from": "2027-05"})
    assert "set the valid from" not in order(bank, {"emp_id": "E-1042", "valid_from": "2027-05"})
    rate = tool_of("log", "Log overtime", {"rate": of(NUMBER, "pay factor, 1.25 or 1.5")})
    assert {x["rate"] for x in drawn(rate)} == {1.25, 1.5}


@pytest.mark.parametrize(("second", "said"), [
    ("E-1042 is off on Friday", "E-1042 is off"), ("Show me my payslip", "show me"),
    ("Ana gets a bonus", "Ana gets"), ("What is due?", "what is due"),
])  # fmt: skip
def test_a_joined_request_keeps_its_names_and_codes(second: str, said: str) -> None:
    def row(text: str, **args: str) -> Trajectory:
        answer = Message("assistant", tool_calls=(ToolCall.of("f", **args),))
        turns = (Message("user", text), answer)
        return Trajectory(turns, (ToolSpec("f", "d"),), meta={"anchors": {}})

    both = joined_requests(row("Book a room", a="1"), row(second, a="2"), random.Random(0))
    assert said in (both.query if both else "")


# --- a support desk and fifteen rows --------------------------------------------------------------


def test_whole_numbers_of_the_rows_stay_whole() -> None:
    tool = tool_of("snooze", "Snooze a ticket", {"ticketId": WHOLE, "hours": NUMBER})
    habits = {"ticketId": Argument(given=1, numbers=[90412, 90518, 90777]),
              "hours": Argument(given=1, numbers=[2, 3, 8])}  # fmt: skip
    for args in drawn_beside(tool, habits):
        assert all(isinstance(v, int) for v in args.values()), args


@pytest.mark.parametrize(("kind", "texts", "form"), [
    ({"format": "date-time"}, ["2026-05-04T09:00:00Z"], r"\d{4}-\d\d-\d\dT\d\d:\d\d:00Z"),
    ({"description": "the day"}, ["13/02/2026", "04/05/2026"], r"\d\d/\d\d/\d{4}"),
    ({"description": "the day"}, ["04.05.2026"], r"\d\d\.\d\d\.\d{4}"),
    ({"description": "the day"}, ["tomorrow", "next Friday"], "tomorrow|next Friday"),
])  # fmt: skip
def test_days_are_written_as_the_rows_write_them(kind: dict, texts: list[str], form: str) -> None:
    tool = tool_of("book", "Book a desk", {"day": TEXT | kind})
    habits = {"day": Argument(given=1, texts=dict.fromkeys(texts, 1))}
    days = {args["day"] for args in drawn_beside(tool, habits)}
    assert all(re.fullmatch(form, day) for day in days), days
    assert len(days) > 5 or "tomorrow" in texts


@pytest.mark.parametrize(("about", "properties", "args", "said"), [
    ("Hand a ticket over to the next support tier.", {"ticketId": WHOLE, "tier": WHOLE},
     {"ticketId": 90518, "tier": 3}, "hand over ticket 90518 to support tier 3"),
    ("Find tickets by status and age.", {"text": TEXT}, {"text": "webhook"}, "tickets"),
    ("Refund an account", {"cents": of(WHOLE, "Amount in US cents")}, {"cents": 2500},
     "2500 cents"),
])  # fmt: skip
def test_requests_of_a_support_desk(about: str, properties: dict, args: dict, said: str) -> None:
    tool = tool_of("t", about, properties)
    for seed in range(6):
        assert said in order(tool, args, seed)


def test_a_price_in_cents_is_no_handful_of_them() -> None:
    tool = tool_of("t", "Refund an account", {"cents": of(WHOLE, "Amount in US cents")})
    assert min(x["cents"] for x in drawn(tool)) >= 500


def test_numbers_of_tickets_are_others_than_the_rows_name() -> None:
    many = {"type": "array", "items": {"type": "integer"}}
    tool = tool_of("merge", "Merge duplicate tickets", {"targetId": WHOLE, "duplicateIds": many})
    habits = {"targetId": Argument(given=1, numbers=[90750, 90750, 90750]),
              "duplicateIds": Argument(given=1, numbers=[90777, 90781, 91002])}  # fmt: skip
    seen = drawn_beside(tool, habits)
    assert len({x["targetId"] for x in seen}) > 5
    assert all(10_000 <= x["targetId"] < 100_000 for x in seen)
    assert len({tuple(x["duplicateIds"]) for x in seen}) > 20
    assert arguments.parameters_of(tool)[0].noun == "target ID"


def test_several_values_of_one_noun_have_it_in_the_plural() -> None:
    tool = tool_of("credit", "Credit an account", {"account_id": of(TEXT, "e.g. A-1042")})
    spec = parse_spec({"name": "s", "description": "d", "tools": [tool.model_dump()]})
    texts = [row.query for row in parallel_calls(spec, 12, 0)]
    assert any("accounts A-" in text for text in texts)
    assert not any(re.search(r"account A-\d+(,| and) A-", text) for text in texts)


# --- a greenhouse and a dozen rows ----------------------------------------------------------------


@pytest.mark.parametrize(("about", "properties", "args", "said"), [
    ("Record what was harvested.", {"crop": of(TEXT, "e.g. tomato, basil"), "kg": NUMBER},
     {"crop": "tomato", "kg": 14}, "record 14 kg of harvested tomato"),
    ("Record what was said.", {"words": TEXT}, {"words": "hello"}, "record what was said"),
    ("Report pests found on plants", {"photo_url": TEXT | {"format": "uri"}},
     {"photo_url": "https://a.io/b.jpg"}, "with the photo"),
    ("Start irrigation of a bed", {"bed": of(TEXT, "bed label such as B-07/3")},
     {"bed": "B-02/1"}, "start irrigation of bed B-02/1"),
])  # fmt: skip
def test_requests_of_a_greenhouse(about: str, properties: dict, args: dict, said: str) -> None:
    tool = tool_of("t", about, properties)
    assert said in order(tool, args)
    bed = tool_of("t", "Water a bed", {"bed": of(TEXT, "bed label such as B-07/3")})
    assert len({x["bed"] for x in drawn(bed, 20)}) > 5


def test_a_shortened_row_ends_without_a_comma() -> None:
    schema = {"type": "object", "required": ["bed"], "properties": {
        "bed": TEXT, "severity": {"type": "integer"}}}  # fmt: skip
    answer = Message("assistant", tool_calls=(ToolCall.of("report", bed="B-7", severity=4),))
    turns = (Message("user", "there is whitefly on B-7, about a 4"), answer)
    row = Trajectory(turns, (ToolSpec("report", "d", json.dumps(schema)),))
    new = shortened(row, random.Random(0))
    assert new.query == "there is whitefly on B-7"
    assert new.calls[0].args == {"bed": "B-7"}


def test_a_question_without_a_verb_is_no_frame_of_an_order() -> None:
    habits = Profile(frames={"{wish}?": 90, "{wish}": 1})
    assert not any(framed("book a desk", random.Random(k), (), habits)[1].endswith("desk?")
                   and framed("book a desk", random.Random(k), (), habits)[0] == "{wish}?"
                   for k in range(40))  # fmt: skip


# --- a workshop whose rows are in German ----------------------------------------------------------

WAGON = {"type": "object", "required": ["auftrag"], "properties": {
    "auftrag": of(TEXT, "Auftragsnummer"), "datum": TEXT, "tage": {"type": "integer"}}}  # fmt: skip
GERMAN = [
    ("Für W-2043 hätte ich gern einen Ersatzwagen, 3 Tage", {"auftrag": "W-2043", "tage": 3}),
    ("Ersatzwagen bitte am 2026-04-21 zu W-1987", {"auftrag": "W-1987", "datum": "2026-04-21"}),
    ("Ist der Wagen zu W-2101 schon da?", {"auftrag": "W-2101"}),
]


def german_rows() -> list[Trajectory]:
    tool = ToolSpec("ersatzwagen", "Reserviert einen Ersatzwagen.", json.dumps(WAGON))
    out = []
    for text, args in GERMAN:
        answer = Message("assistant", tool_calls=(ToolCall.of("ersatzwagen", **args),))
        turns = (Message("user", text), answer)
        out.append(finish(Trajectory(turns, (tool,), outcome=1.0, split="train")))
    return out


def test_rows_in_another_language_are_varied_in_it_alone(tmp_path: Path) -> None:
    tool = {"name": "ersatzwagen", "description": "Rents out a car.", "parameters": WAGON}
    spec = {"name": "kramer", "description": "d", "tools": [tool]}
    path = tmp_path / "kramer.json"
    path.write_text(json.dumps(spec))
    config = GenerateConfig(agents=[str(path)], rows=40, pools={"tflan": 0.7, "parallel": 0.3})
    made = sample_rows(config, 0, german_rows())
    texts = [row.query for row in made.rows]
    assert len(texts) >= 8
    assert len(made.gaps) == 1
    assert "not in English" in made.gaps[0]
    assert not any(re.search(r"\b(Also|Then|the|a|And)\b", text) for text in texts), texts
    days = {c.args["datum"] for r in made.rows for c in r.calls if "datum" in c.args}
    assert len(days) > 1
    assert all(date.fromisoformat(day) for day in days)


@pytest.mark.parametrize(("text", "english"), [
    ("Reserviert einen Ersatzwagen.", False), ("Fragt den Stand eines Auftrags ab.", False),
    ("Reserva una mesa.", False), ("Book a table at a restaurant", True),
    ("Reserve kiln space", True), ("Roll a die", True), ("Encrypt data using DES", True),
    ("Show me the way to El Prado", True),
])  # fmt: skip
def test_short_texts_of_another_language(text: str, english: bool) -> None:
    assert is_english(text) == english


# --- a module that runs ---------------------------------------------------------------------------

DEPOT = '''
def _load():
    return {"P-4410": "in transit", "P-4411": "delivered", "P-4502": "at depot"}


def track(parcel_id: str) -> str:
    """Tell where a parcel is.

    Args:
        parcel_id: parcel number, e.g. P-4410
    """
    return _load()[parcel_id]


def redirect(parcel_id: str, zip_code: str) -> str:
    """Send a parcel to another address.

    Args:
        parcel_id: parcel number, e.g. P-4410
        zip_code: five digits
    """
    if _load()[parcel_id] == "delivered":
        raise ValueError("already delivered")
    return zip_code
'''


def test_ids_of_a_module_that_runs_are_those_of_the_rows(tmp_path: Path) -> None:
    path = tmp_path / "depot.py"
    path.write_text(DEPOT)
    spec = init_spec(path)
    tools = tuple(spec.toolspecs)
    calls = [ToolCall.of("track", parcel_id=f"P-{n}") for n in (4410, 4411, 4502)]
    calls.append(ToolCall.of("redirect", parcel_id="P-4410", zip_code="50667"))
    rows = []
    for call in calls:
        said = " ".join(map(str, call.args.values()))
        turns = (Message("user", f"please see to {said}"), Message("assistant", tool_calls=(call,)))
        rows.append(finish(Trajectory(turns, tools, outcome=1.0, split="train")))
    full = with_known(spec, rows, path)
    assert full.tools[0].values["parcel_id"] == ["P-4410", "P-4411", "P-4502"]
    assert full.tools[1].values["parcel_id"] == ["P-4410"]
    made = [call for row in tasks(full, 30, 0) for call in row.calls]
    assert all(o.error == "" for o in sandbox.run_calls(path, made, sandbox.Limits()).outcomes)


# --- a museum -------------------------------------------------------------------------------------


def test_a_class_has_a_grade_and_a_tour_its_topics() -> None:
    tour = tool_of("tour", "Book a guided tour for a school class", {
        "school": of(TEXT, "Name of the school"), "grade": of(WHOLE, "Grade, 1 to 13"),
        "topic": of(TEXT, "Topic, e.g. highlights, mummies, early cameras")})  # fmt: skip
    made = drawn(tour)
    assert {x["topic"] for x in made} == {"highlights", "mummies", "early cameras"}
    assert not any(re.search("University|ETH|MIT", x["school"]) for x in made)
    assert max(x["grade"] for x in made) <= 13
    text = order(tour, {"school": "Goethe School", "grade": 7, "topic": "mummies"})
    assert re.search("grade:? 7", text)
    assert "points" not in text


@pytest.mark.parametrize(("about", "properties", "args", "said"), [
    ("Move a party to another table.", {"from_table": WHOLE, "to_table": WHOLE},
     {"from_table": 3, "to_table": 12}, "from table 3 to table 12"),
    ("Reorder an ingredient", {"amount": NUMBER, "unit": of(TEXT, "u", enum=["kg", "l"])},
     {"amount": 20, "unit": "kg"}, "20 kg"),
    ("Place a take-away order", {"name": of(TEXT, "who picks it up")}, {"name": "Kim Okafor"},
     "a take-away order"),
])  # fmt: skip
def test_requests_of_a_restaurant(about: str, properties: dict, args: dict, said: str) -> None:
    text = order(tool_of("t", about, properties), args)
    assert said in text
    assert not re.search("unit|origin|order Kim", text)


@pytest.mark.parametrize(("value", "said"), [
    ("brakes", "see to brakes on Friday"), ("tune-up", "see to a tune-up on Friday"),
    ("bus", "see to a bus on Friday"),
])  # fmt: skip
def test_a_plural_value_takes_no_article(value: str, said: str) -> None:
    assert _filled("see to a {service} on Friday", {"service": value}, {}) == said


def test_terse_tools_of_a_purchasing_desk() -> None:
    decision = TEXT | {"enum": ["approve", "reject"]}
    tool = tool_of("po_approve", "Approve or reject PO", {"po": TEXT, "decision": decision})
    assert order(tool, {"po": "PO-20433", "decision": "reject"}) == "reject PO-20433"
    stars = tool_of("rate", "Rate vendor 1-5", {"stars": WHOLE})
    assert "1-5" not in order(stars, {"stars": 4})
    lookup = tool_of("inv", "Stock level", {"pn": TEXT})
    habits = {"pn": Argument(given=1, texts={"9034-C": 1})}
    assert len({args["pn"] for args in drawn_beside(lookup, habits)}) > 5


@pytest.mark.parametrize("known", [["2", "14", "32"], ["2", "many"], [True, 3], ["1e9"], [0.0]])
def test_numbers_of_rows_may_be_texts_or_anything(known: list[Any]) -> None:
    tool = tool_of("f", "Book a kiln", {"height_cm": of(WHOLE, "height of the pot in cm")})
    (height,) = arguments.parameters_of(tool)
    scene = Scene(random.Random(0))
    assert all(0 <= number(scene, height, known) <= 200 for _ in range(20))
