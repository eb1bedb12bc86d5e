"""Duplicates and leaks on small pools whose answer is known by eye."""

import json
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from datasketch import MinHash

from raytune_agents.config import ConfigError, LabelConfig
from raytune_agents.dedup import minhash, step
from raytune_agents.dedup.leaks import LeakIndex
from raytune_agents.dedup.minhash import (
    clusters,
    shingles,
    signatures,
    similarity,
    sketches,
)
from raytune_agents.dedup.text import exact_key, near_text
from raytune_agents.records import Message, ToolCall, ToolSpec, Trajectory, finish

WEATHER = ToolSpec(
    "weather",
    "Weather of a city",
    json.dumps(
        {"type": "object", "properties": {"city": {"type": "string"}, "day": {"type": "string"}}}
    ),
)
LONG = ("Please book a table for four people at the Blue Lagoon in Lisbon on Friday evening and "
        "send the confirmation to my assistant")  # fmt: skip


def jaccard(a: str, b: str) -> float:
    """Exact Jaccard similarity of the shingle sets of two texts; 1 for equal texts."""
    x, y = (set(shingles([t])[0].tolist()) for t in (a, b))
    return len(x & y) / len(x | y)


def make(query: str = "Weather in Paris?", text: str = "", call: ToolCall | None = None, **changes):
    calls = (call or ToolCall.of("weather", city="Paris", day="today"),) if not text else ()
    turns = (Message("user", query), Message("assistant", text, tool_calls=calls))
    return finish(replace(Trajectory(messages=turns, tools=(WEATHER,)), **changes))


def prints_of(rows, config):
    """Fingerprints of the accepted rows; a row's handle is its place."""
    kept = [i for i, r in enumerate(rows) if not r.reject_reason]
    good = [rows[i] for i in kept]
    sketch = sketches([near_text(r) for r in good])
    return step.fingerprints(good, np.array(kept, np.uint64), sketch, config)


def mark(rows, work, **options):
    """The rows with what `work` finds in all their fingerprints."""
    config = LabelConfig(**options)
    pairs = work(prints_of(rows, config), config).sort_by("handle")
    said = step.marked(
        [r.reject_reason for r in rows], np.arange(len(rows), dtype=np.uint64), pairs
    )
    return [replace(r, reject_reason=reason) for r, reason in zip(rows, said)]


def mark_duplicates(rows):
    return mark(rows, step.duplicates_of, duplicates="exact")


def mark_near_duplicates(rows, threshold=0.8):
    return mark(rows, step.duplicates_of, duplicates="minhash", minhash_threshold=threshold)


def mark_contradictions(rows):
    return mark(rows, step.contradictions_of)


def test_the_key_ignores_case_space_order_of_arguments_and_tool_descriptions():
    a = make("Weather  in PARIS?", call=ToolCall("weather", '{"day": "today",  "city": "Paris"}'))
    b = make(tools=(replace(WEATHER, description="x"),))
    assert exact_key(a) == exact_key(b) == exact_key(make())
    assert len(exact_key(a)) == 32


def test_the_key_tells_apart_query_call_tools_and_negatives():
    rows = [
        make(),
        make("Weather in Rome?"),
        make(call=ToolCall.of("weather", city="Paris")),
        make(tools=(WEATHER, replace(WEATHER, name="news"))),
        make(text="It rains."),
        make(text="It is dry."),
        make(pool="negative.wrong_value"),
        make(call=ToolCall("weather", '{"city": "Paris"')),
    ]
    assert len({exact_key(r) for r in rows}) == len(rows)
    assert exact_key(make(pool="synthetic.tflan")) == exact_key(make())


def test_the_survivor_has_the_best_quality_then_is_a_positive():
    low, high = make(quality=0.2, source="a"), make(quality=0.9, source="b", pool="synthetic.tflan")
    out = mark_duplicates([low, high])
    assert [r.reject_reason for r in out] == [f"duplicate_of:{high.id}", ""]
    made, read = make(pool="synthetic.tflan", source="a"), make(source="z")
    assert [r.reject_reason for r in mark_duplicates([made, read])] == [
        f"duplicate_of:{read.id}",
        "",
    ]


def test_every_cluster_keeps_exactly_one_row_and_the_order():
    rows = [
        make(source=str(i % 7), source_id=str(i), query=f"Weather in city {i % 5}?")
        for i in range(50)
    ]
    out = mark_duplicates(rows)
    assert [r.id for r in out] == [r.id for r in rows]
    kept = [r for r in out if not r.reject_reason]
    assert sorted(r.query for r in kept) == [f"Weather in city {i}?" for i in range(5)]
    by_id = {r.id: r for r in kept}
    assert all(
        by_id[r.reject_reason.split(":")[1]].query == r.query for r in out if r.reject_reason
    )


def test_a_negative_is_no_duplicate_of_its_twin_but_of_an_equal_negative():
    twin = make(pool="negative.wrong_value", call=ToolCall.of("weather", city="Rome", day="today"))
    again = replace(twin, source="b", id="b" * 16)
    assert [r.reject_reason == "" for r in mark_duplicates([make(), twin, again])].count(False) == 1


def test_a_rejected_row_is_left_alone_and_never_survives():
    bad, good = replace(make(quality=1.0), reject_reason="too_long:9"), make(quality=0.1)
    assert mark_duplicates([bad, good]) == [bad, good]


def test_an_evaluation_row_is_never_a_duplicate_of_a_training_row():
    rows = [make(split="train", quality=1.0), make(split="val"), make(split="test_seen")]
    assert mark_duplicates(rows) == rows


def test_a_training_row_with_an_evaluation_query_is_contaminated():
    leak = make("weather in PARIS?", split="train", call=ToolCall.of("weather", city="Rome"))
    clean = make("Will it snow in Oslo next Friday?", split="train")
    rejected = replace(leak, reject_reason="outcome:0")
    index = LeakIndex([make(split="test_unseen")], LabelConfig())
    out = index.marked([leak, clean, rejected])
    assert [r.reject_reason for r in out] == ["contaminated:test_unseen", "", "outcome:0"]


def reasons(rows):
    return [r.reject_reason for r in rows]


# --- contradictions ---


def test_the_answer_of_the_majority_stays():
    rows = [
        make(source=str(i), call=ToolCall.of("weather", city=c))
        for i, c in enumerate(["Paris", "Rome", "Paris"])
    ]
    assert reasons(mark_contradictions(rows)) == ["", f"contradicts:{rows[0].id}", ""]


def test_of_two_answers_the_better_one_stays_and_of_two_equal_ones_none():
    a, b = make(quality=0.9), make(quality=0.5, call=ToolCall.of("weather", city="Rome"))
    assert reasons(mark_contradictions([a, b])) == ["", f"contradicts:{a.id}"]
    b = replace(b, quality=0.9)
    assert reasons(mark_contradictions([a, b])) == [f"contradicts:{b.id}", f"contradicts:{a.id}"]


def test_negatives_other_tools_other_splits_and_orders_do_not_contradict():
    rome = ToolCall.of("weather", city="Rome")
    paris = ToolCall.of("weather", city="Paris")
    row = make(call=paris)
    news = replace(WEATHER, name="news")
    rows = [
        row,
        make(call=rome, pool="negative.wrong_value"),
        make(call=rome, split="val"),
        make(call=rome, tools=(WEATHER, news)),
        make(text="No call."),
    ]
    assert mark_contradictions(rows) == rows
    both, swapped = (
        replace(row, messages=(*row.prompt, Message("assistant", tool_calls=c)))
        for c in ((rome, paris), (paris, rome))
    )
    assert mark_contradictions([both, swapped]) == [both, swapped]


ROME, BERN = (ToolCall.of("weather", city=c) for c in ("Rome", "Bern"))


def told(call: ToolCall, *before: Message, **changes) -> Trajectory:
    turns = (
        *before,
        Message("user", "The weather where I am?"),
        Message("assistant", tool_calls=(call,)),
    )
    return finish(replace(Trajectory(messages=turns, tools=(WEATHER,)), **changes))


@pytest.mark.parametrize("role", ["system", "tool", "assistant", "user"])
def test_what_was_said_before_makes_another_situation(role: str) -> None:
    rows = [
        told(c, Message("user", "Hi."), Message(role, f"You are in {c.arguments}"))
        for c in (ROME, BERN)
    ]
    assert mark_contradictions(rows) == rows
    same = [told(c, Message(role, "You are somewhere."), source=c.arguments) for c in (ROME, BERN)]
    assert all(r.reject_reason for r in mark_contradictions(same))


def test_answers_that_are_known_to_succeed_all_stay() -> None:
    good = [told(c, outcome=1.0) for c in (ROME, BERN)]
    assert reasons(mark_contradictions(good)) == ["", ""]
    paris = ToolCall.of("weather", city="Paris")
    rows = [*good, told(paris), told(ROME, source="again"), told(paris, source="b")]
    found = [r.partition(":")[0] for r in reasons(mark_contradictions(rows))]
    assert found == ["", "", "contradicts", "", "contradicts"]


# --- MinHash ---

TEXTS = ["weather in paris tomorrow", "", "ab", "weather in paris today", "日本語", "x" * 50]


def test_signatures_are_those_of_datasketch():
    hashes, starts = shingles(TEXTS)
    edges = [*starts, len(hashes)]
    for i, got in enumerate(signatures(TEXTS)):
        own = MinHash(num_perm=256, seed=1, hashfunc=int)
        own.update_batch(hashes[edges[i] : edges[i + 1]].tolist())
        assert (own.hashvalues == got).all()


def test_sketches_are_made_in_parts(monkeypatch):
    monkeypatch.setattr(minhash, "_TEXTS", 4)
    assert (sketches(TEXTS) == signatures(TEXTS).astype(np.uint8)).all()


def test_shingles_never_reach_into_the_next_text():
    hashes, starts = shingles(["abcdef", "abcdefg", "abc"])
    assert starts.tolist() == [0, 2, 5]
    assert len(hashes) == 6  # abcde bcdef | abcde bcdef cdefg | abc padded
    assert hashes[:2].tolist() == hashes[2:4].tolist()
    assert len(set(hashes.tolist())) == 4


def test_jaccard_by_hand_and_its_estimate():
    a, b = "abcdefghij", "abcdefghix"  # 6 shingles each, 5 in common, 7 in all
    assert jaccard(a, b) == pytest.approx(5 / 7)
    assert jaccard(a, a) == 1.0
    left, right = "one two three four " * 3 + "five six seven", "one two three four five six seven"
    sketch = sketches([left, right, left])
    near, same = similarity(sketch[0], sketch[1:])
    assert near == pytest.approx(jaccard(left, right), abs=0.1)
    assert same == 1.0


def test_the_estimate_is_unbiased_with_the_stated_error():
    rng = random.Random(5)
    errors = []
    for _ in range(60):
        words = [rng.choice("abcdefgh") * 3 + str(rng.randrange(99)) for _ in range(20)]
        other = [w if rng.random() < 0.85 else "zz" for w in words]
        x, y = " ".join(words), " ".join(other)
        sketch = sketches([x, y])
        errors.append(similarity(sketch[0], sketch[1:])[0] - jaccard(x, y))
    assert abs(np.mean(errors)) < 0.012  # 0.03 / sqrt(60) = 0.004
    assert np.std(errors) < 0.045


def test_every_duplicate_is_like_its_survivor_and_survivors_differ():
    rng = random.Random(3)
    texts = []
    for i in range(40):
        base = " ".join(str(rng.randrange(10**6)) for _ in range(12))
        texts += [base, base + "!", base[:-1], base.replace(" ", "  ", 1)][: 1 + i % 4]
    keys = np.zeros(len(texts), np.uint64)
    sketch = sketches(texts)
    owner = clusters(keys, sketch, np.arange(len(texts)), 0.8)
    assert (owner[owner] == owner).all()
    for i, j in enumerate(owner):
        assert i == j or similarity(sketch[i], sketch[[j]])[0] >= 0.8
    assert len(set(owner.tolist())) == 40
    assert (owner <= np.arange(len(texts))).all()  # the best rank survives


def test_keys_keep_equal_texts_apart():
    sketch = sketches(["the same text"] * 4)
    owner = clusters(np.array([1, 2, 1, 2], np.uint64), sketch, np.array([3, 2, 1, 0]), 0.8)
    assert owner.tolist() == [2, 3, 2, 3]
    assert clusters(np.zeros(0, np.uint64), sketches([]), np.zeros(0), 0.8).tolist() == []


def test_near_duplicates_have_equal_calls_and_nearly_equal_words():
    base = "Please tell me what the weather in Paris will be like today, thank you"
    rows = [
        make(base),
        make(base + "."),
        make(base.replace("tell me", "tel me")),
        make(base, call=ToolCall.of("weather", city="paris", day="Today"), source="b"),
        make(base.replace("Paris", "Lyon"), call=ToolCall.of("weather", city="Lyon")),
        make("Is it going to rain in Paris today?"),
        make(base, pool="negative.wrong_value"),
        make(base, text="It rains."),
        make(base, text="It rains!"),
        make(base, split="val"),
    ]
    rows = [replace(r, quality=1.0 - i / 100) for i, r in enumerate(rows)]
    got = reasons(mark_near_duplicates(rows))
    near = f"near_duplicate_of:{rows[0].id}"
    said = f"near_duplicate_of:{rows[7].id}"
    assert got == ["", near, near, near, "", "", "", "", said, ""]


def test_a_higher_threshold_keeps_more():
    base = "Please tell me what the weather in Paris will be like today, thank you"
    rows = [make(base, quality=1.0), make(base.replace("Please tell", "Tell"))]
    share = jaccard(rows[0].query.casefold(), rows[1].query.casefold())
    assert 0.8 < share < 0.95
    assert reasons(mark_near_duplicates(rows, 0.7))[1] != ""
    assert reasons(mark_near_duplicates(rows, 0.99)) == ["", ""]


# --- any number of rows: files of fingerprints, grouped ---


def pool(count=60):
    rng = random.Random(11)
    rows = []
    for i in range(count):
        city = rng.choice(["Paris", "Rome", "Oslo"])
        text = f"Please tell me what the weather in {city} is like, number {i // 3}, thank you"
        text += rng.choice(["", ".", " "])
        call = ToolCall.of("weather", city=city)
        rows.append(
            make(
                text,
                call=call,
                source_id=str(i),
                quality=rng.random(),
                reject_reason=rng.choice(["", "", "", "outcome:0"]),
            )
        )
    return rows


@pytest.mark.parametrize("mode", ["exact", "minhash"])
def test_partitions_give_what_one_piece_gives(mode):
    config = LabelConfig(duplicates=mode)
    prints = prints_of(pool(), config)
    for by, work in (("group", step.duplicates_of), ("request", step.contradictions_of)):
        part = pc.bit_wise_and(prints[by], pa.scalar(3, pa.uint64()))
        parts = [prints.filter(pc.equal(part, pa.scalar(i, pa.uint64()))) for i in range(4)]
        found = pa.concat_tables([work(p, config) for p in parts]).sort_by("handle")
        assert found == work(prints, config).sort_by("handle")
        assert (found.num_rows > 5) == (by == "group")


def test_a_row_of_a_rejected_answer_is_nobodys_survivor(tmp_path):
    rome = ToolCall.of("weather", city="Rome", day="today")
    rows = [
        make(LONG, source="a", quality=0.9),
        make(LONG, source="b", quality=0.2),
        make(LONG, source="c", call=rome, quality=1.0),
        make(LONG + ".", source="d", call=rome, quality=0.5),
    ]
    config = LabelConfig(duplicates="minhash")
    pq.write_table(prints_of(rows[:2], config), tmp_path / "prints-0.parquet")
    rest = prints_of(rows, config).slice(2)
    pq.write_table(rest, tmp_path / "prints-1.parquet")
    pairs = step.pairs_of(tmp_path, config)
    found = step.marked([""] * 4, np.arange(4, dtype=np.uint64), pairs)
    assert found == ["", f"duplicate_of:{rows[0].id}", f"contradicts:{rows[0].id}", ""]
    off = config.model_copy(update={"contradictions": False})
    found = step.marked([""] * 4, np.arange(4, dtype=np.uint64), step.pairs_of(tmp_path, off))
    assert found[2:] == ["", f"near_duplicate_of:{rows[2].id}"]


def test_rows_of_one_id_are_told_apart_by_their_handle():
    found = reasons(mark_duplicates([make(), make(), make("Other?")]))
    assert [r.split(":")[0] for r in found] == ["", "duplicate_of", ""]


def toy(texts):
    """Vectors that know that rain and wet weather are one thing."""
    return [[1.0, 0.0] if "rain" in t or "wet" in t else [0.0, 1.0] for t in texts]


def test_semantic_duplicates_of_one_answer_join():
    rows = [
        make("Is there any rain over Paris today?", quality=0.9),
        make("Tell me whether it gets wet in Paris", quality=0.8),
        make("tell me whether it gets wet in Paris!", quality=0.7),
        make("How hot does Paris get on this day?", quality=0.6),
        make("Is it wet there?", call=ToolCall.of("weather", city="Rome")),
    ]
    first = rows[0].id
    found = reasons(mark(rows, step.duplicates_of, duplicates="minhash", embed="test_dedup:toy"))
    assert found == ["", f"semantic_duplicate_of:{first}", f"semantic_duplicate_of:{first}", "", ""]
    plain = reasons(mark_near_duplicates(rows))
    assert plain == ["", "", f"near_duplicate_of:{rows[1].id}", "", ""]
    with pytest.raises(ConfigError, match="write module:function"):
        mark(rows, step.duplicates_of, duplicates="minhash", embed="nowhere:f")
    with pytest.raises(ValueError, match="write duplicates=minhash"):
        LabelConfig(embed="test_dedup:toy")


def test_only_rows_that_share_a_key_are_looked_at(tmp_path: Path) -> None:
    columns = {f.name: [0] * 5 for f in step.PRINTS} | {"sketch": [b""] * 5, "vector": [b""] * 5}
    columns |= {"handle": range(5), "group": [7, 8, 7, 9, 0], "request": [0, 0, 3, 0, 4]}
    columns["proved"] = [False] * 5
    table = pa.table({f.name: pa.array(columns[f.name], f.type) for f in step.PRINTS})
    for part in range(2):
        pq.write_table(table.slice(part * 3, 3), tmp_path / f"{part}.parquet")
    files = sorted(tmp_path.glob("*.parquet"))
    keys, share = step.shared_keys(files, "group")
    assert (keys.tolist(), share) == ([7], pytest.approx(0.4))
    assert step.shared_keys(files, "request")[0].tolist() == []  # 0 takes no part
    config = LabelConfig(contradictions=True, duplicates="off")
    assert step.pairs_of(tmp_path, config).num_rows == 0


def test_requests_refused_in_the_same_words_are_as_different_as_they_are():
    refusal = ("I'm sorry, but none of the tools that I have been given can do this for you. I can "
               "look up the weather of a city, and nothing else. Which city is it?")  # fmt: skip
    asked = ("Order me a pizza", "Book a flight to Rome", "What is the capital of France?",
             "What is the capital of Spain?")  # fmt: skip
    rows = mark_near_duplicates([make(q, refusal) for q in asked])
    assert [r.reject_reason for r in rows] == [""] * 4
    again = mark_near_duplicates([make(asked[2], refusal), make(asked[2] + "!", refusal)])
    assert sorted(r.reject_reason[:12] for r in again) == ["", "near_duplica"]


def test_what_nobody_sees_makes_no_other_row():
    turns = make().messages
    both = [ToolCall.of("weather", city=city) for city in ("Oslo", "Rome")]
    one, two = (
        finish(replace(make(), messages=(turns[0], Message("assistant", tool_calls=calls))))
        for calls in (tuple(both), tuple(both[::-1]))
    )
    assert exact_key(one) == exact_key(two)
    hidden = [make("Weather in Pa\u200bris?"), make("Wea\u00adther in Paris?\ufeff")]
    assert {exact_key(r) for r in hidden} == {exact_key(make())}
