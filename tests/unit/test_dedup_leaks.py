"""Training rows that give an evaluation row away: copies, edits, renamed tools; real splits."""

import gzip
import json
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_dedup import LONG, WEATHER, make

from raytune_agents.config import LabelConfig
from raytune_agents.dedup.leaks import LeakIndex, masked
from raytune_agents.dedup.windows import fuzzy_share
from raytune_agents.pipeline.rows import without_trained
from raytune_agents.records import Message, ToolCall, ToolSpec, Trajectory, finish, to_table


def mark_leaks(rows, held):
    return LeakIndex(held, LabelConfig()).marked(rows)


def find_leaks(rows, held):
    return [leak for leak in LeakIndex(held, LabelConfig()).find(rows) if leak]


def leak(query: str, **changes):
    row = make(query, split="train", call=ToolCall.of("weather", city="Oslo"), **changes)
    held = make(LONG, split="test_seen")
    return [(x.how, x.split, x.of == held.id) for x in find_leaks([row], [held])]


def test_fuzzy_share_by_hand():
    asked = np.arange(20)
    said = asked.copy()
    assert fuzzy_share(asked, said, [0], 0) == 1.0
    said[[5, 6]] = -1
    assert fuzzy_share(asked, said, [0], 2) == 1.0
    assert fuzzy_share(asked, said, [0], 1) == 0.7  # windows from word 6 on: words 6 to 19
    said[7] = -1
    assert fuzzy_share(asked, said, [0], 2) == 0.7
    moved = np.concatenate([np.full(4, -1), asked])
    assert fuzzy_share(asked, moved, [4], 0) == 1.0
    assert fuzzy_share(asked, moved, [0], 0) == 0.0
    assert fuzzy_share(asked[:9], asked[:9], [0], 2) == 0.0
    put_in = np.concatenate([asked[:10], [-1], asked[10:]])
    assert fuzzy_share(asked, put_in, [0, 1], 0) == 1.0
    assert fuzzy_share(asked, put_in, [0], 0) == 0.0  # half of it cannot pass 80 %


def test_one_turn_of_a_conversation_may_be_an_evaluation_question():
    held = make("Weather in Oslo?", split="test_seen")
    row = make("Weather in Oslo?", split="train")
    turns = [Message("user", "Hello."), Message("assistant", "Hi."), *row.messages]
    more = [Message("user", "Thank you."), Message("assistant", "You are welcome.")]
    for messages in ((*turns,), (*row.messages, *more), (*turns, *more)):
        [found] = find_leaks([finish(replace(row, messages=messages))], [held])
        assert (found.how, found.of) == ("query", held.id)
    polite = make("Thank you.", split="test_seen")
    assert not find_leaks([finish(replace(row, messages=(*row.messages, *more)))], [polite])


def test_copies_and_edits_of_an_evaluation_query_are_leaks():
    assert leak(LONG.upper() + "!!") == [("query", "test_seen", True)]
    edited = LONG.replace("four", "five").replace("Friday", "Sunday")
    assert leak("Hello there, I would like this: " + edited + ". Thanks, and take your time.") == [
        ("ngram", "test_seen", True)
    ]
    assert leak(LONG.replace(" a ", " a nice ").replace("evening and", "evening. And also")) in (
        [("ngram", "test_seen", True)],
        [("minhash", "test_seen", True)],
    )


def test_half_a_query_or_the_same_words_in_disorder_are_no_leak():
    assert leak(" ".join(LONG.split()[:12])) == []
    shuffled = LONG.split()
    random.Random(1).shuffle(shuffled)
    assert leak(" ".join(shuffled)) == []


def test_short_requests_of_one_template_are_no_leak():
    held = make("What is the weather in Paris?", split="test_seen")
    row = make(
        "What is the weather in Oslo?", split="train", call=ToolCall.of("weather", city="Oslo")
    )
    assert find_leaks([row], [held]) == []


def test_a_renamed_copy_is_caught_by_its_values_and_by_its_masked_tool():
    spec = {
        "type": "object",
        "properties": {
            "from_city": {"type": "string", "description": "where the from_city of the trip lies"},
            "to_city": {"type": "string", "description": "where the trip ends"},
        },
    }
    tool = ToolSpec("find_trains", "Find trains between two cities of Europe", json.dumps(spec))
    other = json.dumps(spec).replace("from_city", "origin").replace("to_city", "target")
    renamed = ToolSpec("rail_search", tool.description, other)
    held = make(
        "Trains from Lisbon to Copenhagen please",
        tools=(tool,),
        split="test_unseen",
        call=ToolCall.of("find_trains", from_city="Lisbon", to_city="Copenhagen"),
    )
    copy = make(
        "How can I get up north by rail?",
        tools=(renamed,),
        split="train",
        call=ToolCall.of("rail_search", origin="lisbon", target="Copenhagen"),
    )
    assert len(set(masked(tool)) & set(masked(renamed))) == 1
    cancel = replace(tool, description="Cancel a booking of a train")
    assert not set(masked(cancel)) & set(masked(tool))
    assert masked(WEATHER) == ()  # too little is said
    (found,) = find_leaks([copy], [held])
    assert (found.how, found.split) == ("answer", "test_unseen")
    elsewhere = make(
        "From Rome to Bern",
        tools=(renamed,),
        split="train",
        call=ToolCall.of("rail_search", origin="Rome", target="Bern"),
    )
    assert [x.how for x in find_leaks([elsewhere], [held])] == ["tool"]
    assert find_leaks([elsewhere], [replace(held, split="test_seen")]) == []


def test_a_leak_is_recorded_on_the_row():
    row = make(LONG + " now", split="train", meta={"kept": 1})
    held = make(LONG, split="val")
    (got,) = mark_leaks([row], [held])
    assert got.reject_reason == "contaminated:val"
    assert got.meta == {"kept": 1, "leak": {"of": held.id, "how": "ngram", "share": 1.0}}
    assert mark_leaks([row], []) == [row]


@settings(deadline=None)  # the first call loads datasketch
@given(st.integers(0, 2**32), st.integers(0, 2))
def test_no_window_within_the_tolerance_is_missed(seed, mismatches):
    rng = random.Random(seed)
    vocabulary = ["".join(rng.choices("abcdefgh", k=5)) for _ in range(400)]
    asked = rng.choices(vocabulary, k=rng.randrange(10, 31))
    said = list(asked)
    wrong: list[int] = []
    for at in rng.sample(range(len(said)), len(said)):  # as many as every window of ten allows
        near = [w for w in wrong if abs(w - at) < 10]
        if all(
            sum(a <= w < a + 10 for w in [*near, at]) <= mismatches for a in range(at - 9, at + 1)
        ):
            wrong.append(at)
            said[at] = "other"
    index = LeakIndex(
        [make(" ".join(asked), split="val")],
        LabelConfig(leak_mismatches=mismatches, minhash_threshold=1.0),
    )
    found = index.find([make("well then " + " ".join(said), split="train")])
    assert found[0] is not None


PREPARED = Path(__file__).parents[2].parent / "shared/data/prepared"


@pytest.mark.skipif(not PREPARED.exists(), reason="shared/data is absent")
def test_real_splits_have_few_leaks_and_planted_ones_are_found():
    def rows(name, split, count):
        with gzip.open(PREPARED / name, "rt", encoding="utf-8") as lines:
            for line, _ in zip(lines, range(count)):
                raw = json.loads(line)
                calls = tuple(
                    ToolCall(a["name"], json.dumps(a["arguments"]))
                    for a in json.loads(raw["answers"])
                )
                turns = (Message("user", raw["query"]), Message("assistant", tool_calls=calls))
                yield finish(Trajectory(turns, source_id=raw["id"], split=split))

    held = list(rows("test_seen.jsonl.gz", "test_seen", 400))
    train = list(rows("train.jsonl.gz", "train", 1500))
    assert sum(bool(r.reject_reason) for r in mark_leaks(train, held)) <= 15
    planted = [
        replace(
            r,
            split="train",
            messages=(
                replace(r.messages[0], content="Hi! " + r.query.replace(",", " ,").swapcase()),
                *r.messages[1:],
            ),
        )
        for r in held[:100]
    ]
    assert all(r.reject_reason for r in mark_leaks(planted, held))


def test_row_groups_one_by_one_find_what_one_index_finds(tmp_path):
    rng = random.Random(3)
    words = [f"word{i}" for i in range(300)]
    calls = [ToolCall.of("f", a=f"{i:020}", b=i) for i in range(60)]
    trained = [make(" ".join(rng.choices(words, k=20)), split="train", call=call) for call in calls]
    asked = [make(row.query, split="mine") for row in trained[::9]]
    asked += [make(row.query[:-9] + "and more", split="mine") for row in trained[1::9]]
    asked += [
        make(" ".join(rng.choices(words, k=20)), split="mine", call=row.calls[0])
        for row in trained[2::9]
    ]
    # The same sign twice: of equal ones the first counts, of unlike ones the surest.
    trained += [make(trained[0].query, split="train"), make(trained[1].query + " x", split="train")]
    trained += [replace(asked[0], split="val"), replace(asked[5], reject_reason="short")]
    table = to_table(trained)
    pq.write_table(table.slice(0, 30), tmp_path / "rows-0.parquet", row_group_size=7)
    pq.write_table(table.slice(30), tmp_path / "rows-1.parquet", row_group_size=11)
    kept = [row for row in trained if row.split == "train" and not row.reject_reason]
    one = LeakIndex(kept, LabelConfig()).marked(asked)
    assert without_trained(None, [tmp_path], asked) == one
    hows = {row.meta["leak"]["how"] for row in one if row.reject_reason}
    assert hows >= {"query", "ngram", "answer"}


def test_accents_hide_no_question():
    held = make("Météo à Zürich demain ?", split="test_seen")
    [found] = find_leaks([make("meteo a Zurich demain")], [held])
    assert found.how == "query"


def test_another_tool_of_one_catalogue_may_take_the_same_values():
    """An order is shown, and cancelled, by the same ids; a renamed copy knows no other tool."""
    schema = {"type": "object", "properties": {k: {"type": "string"} for k in ("order", "who")}}
    show, cancel, abort = (ToolSpec(n, n, json.dumps(schema)) for n in ("show", "cancel", "abort"))
    ids = {"order": "ORD-2024-001234", "who": "CUST-0099"}

    def asks(query, tool, *tools, **changes):
        return replace(make(query, call=ToolCall.of(tool.name, **ids), **changes), tools=tools)

    held = asks("Cancel my order", cancel, show, cancel, split="test_seen")
    other = asks("Where is it?", show, show, cancel)
    same = asks("I do not want it any more", cancel, show, cancel)
    renamed = asks("I do not want it any more", abort, abort)
    hows = [x and x.how for x in LeakIndex([held], LabelConfig()).find([other, same, renamed])]
    assert hows == [None, "answer", "answer"]
    both = LeakIndex([held, asks("Show it", show, show, cancel, split="test_seen")], LabelConfig())
    assert both.find([other])[0].how == "answer"
