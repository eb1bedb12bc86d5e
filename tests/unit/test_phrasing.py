"""How requests are put: counted in good rows, and drawn by the counts."""

import json
import random
import re
from collections import Counter

import pytest

from raytune_agents import agents
from raytune_agents.agents import parse_spec
from raytune_agents.agents.analyse import Profile, analyse, examples
from raytune_agents.agents.phrasing import (
    Phrasing,
    clause_in,
    clauses_of,
    join_of,
    taken_apart,
    value_marks,
)
from raytune_agents.filters import grounding
from raytune_agents.generate import actions, frames, grammar, own_words, variants
from raytune_agents.generate.arguments import parameters_of
from raytune_agents.generate.described_requests import known_clause
from raytune_agents.generate.dialogue_patterns import listed_calls, parallel_calls
from raytune_agents.generate.frames import (
    PRIOR_ROWS,
    Wish,
    form_weights,
    frame_weights,
    framed,
    joined_orders,
)
from raytune_agents.generate.tasks import tasks
from raytune_agents.generate.tool_actions import unlisted
from raytune_agents.records import Message, ToolCall, ToolSpec, Trajectory, finish

TEXT, NUMBER = {"type": "string"}, {"type": "integer"}
SCHEMA = {"type": "object", "required": ["city"], "properties": {
    "city": TEXT, "people": NUMBER, "user_id": TEXT,
    "room": {"type": "string", "enum": ["hall", "bar"]}}}  # fmt: skip
BOOK = ToolSpec("book", "Books a table in a city.", json.dumps(SCHEMA))
SPEC = parse_spec({"name": "s", "description": "d", "tools": [
    {"name": "book", "description": BOOK.description, "parameters": SCHEMA}]})  # fmt: skip


def row(text: str, *calls: dict) -> Trajectory:
    made = tuple(ToolCall.of("book", **args) for args in calls)
    turns = (Message("user", text), Message("assistant", tool_calls=made))
    return finish(Trajectory(turns, (BOOK,), outcome=1.0, split="train"))


@pytest.mark.parametrize(
    ("text", "frame", "form", "wish", "lead"),
    [
        ("Book a table in Rome.", "{Wish}.", "order", "Book a table in Rome", "book"),
        ("book a table", "{wish}", "order", "book a table", "book"),
        ("Could you please book it, please?", "Could you please {wish}, please?", "order",
         "book it", "book"),
        ("Hi there! Show me the news. Thanks!", "Hi there! {wish}. Thanks!", "order",
         "Show me the news", "show me"),
        ("Provide me with the rates.", "{Wish}.", "order", "Provide me with the rates",
         "provide me with"),
        ("I need to sort 3 and 1. Can you help with that?",
         "I need to {wish}. Can you help with that?", "order", "sort 3 and 1", "sort"),
        ("I'd like to see the rates", "I'd like to see {thing}", "thing", "the rates", ""),
        ("What is the weather in Rome?", "{Question}?", "question", "What is the weather in Rome",
         ""),
        ("is it cold in Oslo", "{question}", "question", "is it cold in Oslo", ""),
        ("Tell me what it costs.", "Tell me {reported}.", "question", "what it costs", ""),
        ("Please reverse 'good day.'", "Please {wish}.", "order", "reverse 'good day", "reverse"),
        ("My group of seven wants to eat.", "", "", "", ""),
    ],
)  # fmt: skip
def test_a_request_is_taken_apart(text, frame, form, wish, lead):
    assert taken_apart(text) == Phrasing(frame, form, wish, lead)


def test_joins_and_clauses_by_hand():
    assert join_of("Get the rates. Also, show the news.") == ". Also, "
    assert join_of("Get the rates and also the news of today and here") == " and also "
    assert join_of("Get rates, then news") == ", then "
    assert join_of("Get rates") == ""
    assert join_of("Get rates for Rome, and news") == ", and "
    text = "Book a table in Rome for 3 people with the user ID 'A1'."
    assert clause_in(text, "Rome", "city")[0] == " in Rome"
    assert clause_in(text, 3, "people", True)[0] == " for 3 people"
    assert clause_in(text, "A1", "user_id")[0] == " with the user ID 'A1'"
    assert clause_in(text, "A1", "order") is None  # whose words are these?
    assert clause_in("the end of the Rome trip", "Rome", "city") is None


def test_what_is_counted_in_rows_by_hand():
    rows = [
        row("Book a table in Rome for 3 people.", {"city": "Rome", "people": 3}),
        row("Could you book it in 'Oslo' and in \"Lima\"?", {"city": "Oslo"}, {"city": "Lima"}),
        row("Book a bar in Rome", {"city": "Rome", "room": "bar"}),
    ]
    found = analyse(rows)
    assert found.frames == {"{Wish}.": 1, "Could you {wish}?": 1, "{Wish}": 1}
    assert found.verbs == {"book": 3}
    assert found.joins == {" and ": 1}
    assert found.marks == {"": 2, "'": 1, '"': 1}  # a choice and a number do not count
    assert found.clauses == {"book": {"city": {"in {x}": 4}, "people": {"for {x} people": 1}}}
    assert list(value_marks(rows[1])) == ["'", '"']
    assert list(clauses_of(rows[2])) == [("book", "city", "in {x}")]


def test_counts_stand_beside_a_prior_of_four_rows():
    assert frames.weighed({"a": 3, "b": 1}, {"b": 2, "c": 5}) == {"a": 3, "b": 3, "c": 5}
    seen = Profile(frames={"Kindly {wish}!": 12, "{thing}, now": 4})
    weights = frame_weights("order", seen)
    assert weights["Kindly {wish}!"] == 12
    assert sum(weights.values()) == pytest.approx(12 + PRIOR_ROWS)
    forms = form_weights(seen)
    assert sum(forms.values()) == pytest.approx(16 + PRIOR_ROWS)
    assert forms["order"] > 12 > forms["thing"] > 4 > forms["question"] > 0
    texts = [framed("book it", random.Random(i), (), seen)[1] for i in range(400)]
    assert texts.count("Kindly book it!") / 400 == pytest.approx(12 / 16, abs=0.06)


def test_without_rows_most_requests_are_one_plain_sentence():
    texts = [framed("book it", random.Random(i))[1] for i in range(400)]
    assert sum(t[0].isupper() and t[-1] in ".?" for t in texts) > 320
    assert sum(len(t.split(". ")) > 1 or t.startswith(("Hey", "Hi")) for t in texts) < 30
    assert len(set(texts)) > 12


def test_joined_orders():
    seen = Profile(joins={" plus ": 10**6})
    wish = joined_orders(["get a", "get b"], random.Random(1), seen)
    assert wish == Wish("order", "get a plus get b")
    seen = Profile(joins={". Next, ": 10**6})
    apart = joined_orders(["say: a", "get b"], random.Random(1), seen)
    assert (apart.text, apart.rest) == ("say: a", "Next, get b.")
    seen = Profile(joins={" and ": 10**6})
    three = joined_orders(["get a", "get b", "get c"], random.Random(1), seen)
    assert three.text == "get a, get b and get c"


def test_a_request_may_list_the_values_of_several_calls():
    tries = (listed_calls(SPEC.tools[0], 2, random.Random(i), SPEC) for i in range(20))
    wish, calls, anchors = next(filter(None, tries))
    assert len(calls) == 2
    cities = [c.args["city"] for c in calls]
    assert f"{cities[0]} and {cities[1]}" in wish.text
    assert set(cities) <= set(anchors.values())
    assert all(not grounding.check_values(r)[1] for r in parallel_calls(SPEC, 30, 1))


def test_every_tool_has_its_turn():
    names = [f"book_{word}" for word in ("table", "room", "car", "boat", "bike", "tour", "desk")]
    spec = parse_spec({"name": "many", "description": "d", "tools": [
        {"name": n, "description": f"Books a {n[5:]} in a city.", "parameters": SCHEMA}
        for n in names]})  # fmt: skip
    assert {r.calls[0].name for r in tasks(spec, 7, 1)} == set(names)


def test_values_quotes_and_clauses_follow_the_rows():
    seen = Profile(marks={"'": 10**6}, clauses={"book": {"user_id": {"as user {x}": 5}}})
    spec = SPEC.model_copy(update={"profile": seen})
    said = [r for r in tasks(spec, 60, 1) if "user_id" in r.calls[0].args]
    assert said
    assert all(f"as user '{r.calls[0].args['user_id']}'" in r.query for r in said)
    cities = [r.calls[0].args.get("city") for r in said]
    assert not any(f"'{city}'" in r.query for city, r in zip(cities, said))  # it stands bare


def test_a_copy_with_another_profile_has_its_habits():
    spec = agents.load_spec("qa")
    assert spec.habits == analyse(examples(spec))
    assert spec.model_copy(update={"profile": Profile(rows=7)}).habits.rows == 7


def test_own_rows_are_shortened_and_reframed():
    full = row("Book a table in Rome for 3 people.", {"city": "Rome", "people": 3})
    short = own_words.shortened(full, random.Random(1))
    assert (short.query, short.calls[0].args) == ("Book a table in Rome.", {"city": "Rome"})
    only = row("Book a table in Rome.", {"city": "Rome"})
    assert own_words.shortened(only, random.Random(1)) is only
    seen = Profile(frames={"Kindly {wish}!": 10**6})
    said = own_words.reframed(full, random.Random(1), seen)
    assert (said.query, said.calls) == ("Kindly book a table in Rome for 3 people!", full.calls)
    foreign, stated = "Reserva una mesa en Rome.", "Book in Rome is lost."
    for text in (foreign, stated, "Is a table free in Rome?", "Book it. In Rome."):
        other = row(text, {"city": "Rome"})
        assert own_words.reframed(other, random.Random(1), seen) is other


def test_own_rows_are_extended_by_a_known_clause():
    seen = Profile(clauses={"book": {"people": {"for {x} guests": 1}}}, marks={"": 9})
    spec = SPEC.model_copy(update={"profile": seen})
    plain = row("Book a table in Rome.", {"city": "Rome"})
    said = [own_words.extended(plain, spec, random.Random(i)) for i in range(12)]
    guests = [r for r in said if "people" in r.calls[0].args]
    assert guests
    assert all(re.fullmatch(r"Book a table in Rome for \w+ guests\.", r.query) for r in guests)
    joint = row("Book it in Rome. It is late.", {"city": "Rome"})
    assert own_words.extended(joint, spec, random.Random(1)) is joint


def test_a_learned_clause_is_for_values_of_its_kind():
    tool = SPEC.tools[0]
    p = next(p for p in parameters_of(tool) if p.name == "city")
    seen = Profile(clauses={"book": {"city": {"on {x}": 1}}})
    values = ("Oslo", "tonight", "in the area", "week", ["a"])
    said = [known_clause("book", p, v, random.Random(1), seen) for v in values]
    assert said == ["on {city}", "{city}", "{city}", "", ""]


def test_a_clause_of_another_tool_is_known_where_it_suits_any():
    p = next(p for p in parameters_of(SPEC.tools[0]) if p.name == "city")
    known = {"in {x}": "in {city}", "to {x}": "", "for {x} trips": "for {city} trips"}
    for clause, said in known.items():
        seen = Profile(clauses={"other": {"city": {clause: 1}}})
        assert known_clause("book", p, "Oslo", random.Random(1), seen) == said


def test_a_noun_behind_a_value_is_of_its_clause():
    seen = row("Is a table free in the Rome city for chilly weather?", {"city": "Rome"})
    assert list(clauses_of(seen)) == [("book", "city", "in the {x} city")]
    assert clause_in("for chilly weather", "chilly", "getWeather mood") is None


def test_swapped_values_suit_their_place():
    assert not variants.is_alike("now", "October the fifth")
    assert variants.is_alike("today", "tonight")
    tool = parameters_of(SPEC.tools[0])[0]
    assert not variants.is_free(tool, "city", "a table in the city")
    assert variants.is_free(tool, "Rome", "a table in Rome")


def test_a_swapped_value_is_no_part_of_an_address_and_calls_stay_different():
    text = "Check a.com and whether me@a.com exists, b-a.com too."
    assert variants._swapped_text(text, {"a.com": "x.org"}) == (
        "Check x.org and whether me@a.com exists, b-a.com too."
    )
    two = row("Book it in Rome and Oslo.", {"city": "Rome"}, {"city": "Oslo"})
    same = row("Book it in Oslo and Oslo.", {"city": "Oslo"}, {"city": "Oslo"})
    assert not own_words.as_good(same, two)
    assert own_words.as_good(two, two)


def test_a_list_of_things_is_asked_for_as_the_things():
    act = actions.action("f", "Returns a list of all stores in a country.")
    assert (act.head, act.parts) == ("a list", (("of", "all stores"), ("in", "a country")))
    short = unlisted(act)
    assert (short.head, short.parts) == ("all stores", (("in", "a country"),))
    other = actions.action("f", "Returns the list price of a car.")
    assert unlisted(other) is other
    assert grammar.with_article("data related to tourism", False) == "data related to tourism"


def test_each_own_row_has_the_same_share():
    rows = [row("Book a table in Rome for 3 people.", {"city": "Rome", "people": 3}),
            row("Book a bar in Rome", {"city": "Rome", "room": "bar"}),
            row("Reserva una mesa en Lima, por favor", {"city": "Lima"})]  # fmt: skip
    made = variants.value_variants(SPEC, rows, 30, 1)
    shares = Counter(r.parents[0] for r in made)
    assert len(made) > 20
    assert max(shares.values()) <= 10 + 3  # ten of each, and those that join another
    assert all(not grounding.check_values(r)[1] for r in made)
    assert not {r.query for r in made} & {r.query for r in rows}
