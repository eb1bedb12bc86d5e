"""Augmented rows: masked and noised names, order, candidates, irrelevant rows."""

import json
import random
from dataclasses import replace

import pytest

from raytune_agents import agents
from raytune_agents.calls import judge, render_calls, schema_errors
from raytune_agents.generate import POOLS, augment, dialogue_patterns
from raytune_agents.generate.tasks import tasks
from raytune_agents.negatives import edit
from raytune_agents.records import Message, ToolCall, ToolSpec, Trajectory, finish

BASE = [r for name in agents.shipped() for r in tasks(agents.load_spec(name), 15, 7)]
BASE += [
    r
    for name in agents.shipped()
    for r in dialogue_patterns.parallel_calls(agents.load_spec(name), 5, 7)
]


def same_parts(a: Trajectory, b: Trajectory) -> bool:
    return (a.messages, a.tools, a.gold) == (b.messages, b.tools, b.gold)


def names_of(row: Trajectory) -> set[str]:
    return {t.name for t in row.tools} | {k for t in row.tools for k in t.schema["properties"]}


def test_masking_hides_every_name_and_unmasking_restores_it():
    for i, row in enumerate(BASE):
        masked = augment.mask(row, random.Random(i))
        assert not names_of(masked) & names_of(row)
        assert all(5 <= len(t.name) <= 15 for t in masked.tools)
        assert all(4 <= len(k) <= 10 for t in masked.tools for k in t.schema["properties"])
        assert all(schema_errors(c, masked.tools) == [] for c in masked.calls)
        assert same_parts(augment.unmask(masked), row)
        assert (masked.parents, masked.split, masked.query) == ((row.id,), row.split, row.query)


def test_two_thirds_of_the_pool_are_masked():
    rows = POOLS["masked"](agents.load_spec("support"), 300, 2)
    assert sum("mask" in r.meta for r in rows) / 300 == pytest.approx(2 / 3, abs=0.08)
    assert {r.pool for r in rows} == {"synthetic.masked"}


def test_the_checker_says_the_same_before_and_after_masking():
    pairs = [(row, edit(row, "wrong_value", 1)[0]) for row in BASE[:60]]
    assert sum(bad is not None for _, bad in pairs) > 50  # some calls hold no value to change
    for i, (row, bad) in enumerate(pairs):
        if bad is None:
            continue
        masked = augment.mask(row, random.Random(i))
        assert judge(render_calls(masked.calls), masked).ok
        kept = masked.meta["mask"]
        worse = augment.rename(bad, kept["tools"], kept["args"])
        assert judge(render_calls(worse.calls), masked).error == (
            judge(render_calls(bad.calls), row).error)  # fmt: skip


def with_default(**call) -> Trajectory:
    schema = json.dumps({"type": "object", "properties": {
        "q": {"type": "string"}, "limit": {"type": "integer", "default": 10}}})  # fmt: skip
    target = Message("assistant", tool_calls=(ToolCall.of("find", **call),))
    return finish(
        Trajectory((Message("user", "find cats"), target), (ToolSpec("find", "d", schema),))
    )


def test_silent_defaults_are_masked_too():
    row = with_default(q="cats", limit=10)
    masked = augment.mask(row, random.Random(3))
    new = [p["default"] for p in masked.tools[0].schema["properties"].values() if "default" in p]
    assert new[0] in (11, 12, 13, 14)
    assert list(masked.calls[0].args.values()) == ["cats", new[0]]
    assert same_parts(augment.unmask(masked), row)
    said = with_default(q="cats", limit=5)
    assert augment.mask(said, random.Random(3)).meta["mask"]["defaults"] == {}


def test_unusual_json_is_not_masked():
    row = BASE[0]
    spaced = replace(row.calls[0], arguments=row.calls[0].arguments.replace("{", "{ ", 1))
    odd = replace(row, messages=(*row.prompt, Message("assistant", tool_calls=(spaced,))))
    assert augment.mask(odd, random.Random(1)) is None
    tight = replace(row.calls[0], arguments=json.dumps(row.calls[0].args, separators=(",", ":")))
    fine = replace(row, messages=(*row.prompt, Message("assistant", tool_calls=(tight,))))
    assert same_parts(augment.unmask(augment.mask(fine, random.Random(1))), fine)


@pytest.mark.parametrize("level", ["slight", "medium", "heavy", "union"])
def test_noise_keeps_the_meaning(level):
    changed = 0
    for i, row in enumerate(BASE[:60]):
        noisy = augment.noise(row, random.Random(i), level)
        if noisy is None:
            continue
        changed += names_of(noisy) != names_of(row) or noisy.tools != row.tools
        assert judge(render_calls(noisy.calls), noisy).ok
        assert all(schema_errors(c, noisy.tools) == [] for c in noisy.calls)
        assert same_parts(augment.unmask(noisy), row)
        if level == "heavy":
            assert names_of(noisy) == names_of(row), "names only change places"
    assert changed > 50


def test_order_and_candidates():
    row = next(r for r in BASE if len(r.calls[0].args) > 2)
    rng = random.Random(2)
    assert sorted(t.name for t in augment.shuffle(row, rng).tools) == sorted(
        t.name for t in row.tools
    )
    assert augment.shuffle(row, rng).tools != row.tools
    turned = augment.reorder(row, rng)
    assert turned.calls[0].args == row.calls[0].args
    assert list(turned.calls[0].args) != list(row.calls[0].args)
    catalogue = agents.load_spec("qa").toolspecs + agents.load_spec("legal").toolspecs
    more = augment.distract(row, rng, catalogue, 3)
    assert set(row.tools) < set(more.tools)
    assert len({t.name for t in more.tools}) == len(more.tools) == len(row.tools) + 3
    assert augment.distract(row, rng, row.tools) is None
    alone = replace(row, tools=row.tools[:1])
    assert augment.shuffle(alone, rng) is None


def test_irrelevant_rows_lack_the_called_tool():
    rng = random.Random(2)
    for row in BASE:
        made = augment.irrelevant(row, rng)
        if made is None:
            assert {c.name for c in row.calls} == {t.name for t in row.tools}
            continue
        assert not {c.name for c in row.calls} & {t.name for t in made.tools}
        assert (made.gold, made.target.tool_calls) == ("[]", ())
        named = [t.name for t in made.tools if t.name in made.target.content]
        assert len(named) == (len(made.tools) if len(made.tools) <= 3 else 0)
        assert edit(made, "should_refuse_violated", 1)[1] == ""
    only = replace(
        BASE[0], tools=tuple(t for t in BASE[0].tools if t.name == BASE[0].calls[0].name)
    )
    assert augment.irrelevant(only, rng) is None
    legal = agents.load_spec("legal").toolspecs
    # As many candidates as before, and in the same places: neither tells that no call is right.
    assert augment.irrelevant(only, rng, legal).tools == tuple(legal[:1])
    several = next(row for row in BASE if len(row.tools) > 2)
    filled = augment.irrelevant(several, rng, legal)
    called = {c.name for c in several.calls}
    assert [t in legal for t in filled.tools] == [t.name in called for t in several.tools]


@pytest.mark.parametrize("pool", sorted(POOLS))
def test_every_pool_keeps_its_promise(pool):
    """The gate: valid calls, right by the checker, own pool name, distinct ids, seeded."""
    for name in agents.shipped():
        spec = agents.load_spec(name)
        rows = POOLS[pool](spec, 20, 5)
        assert len(rows) >= 15
        assert len({r.id for r in rows}) == len(rows)
        assert rows == POOLS[pool](spec, 20, 5)
        for row in rows:
            assert (row.pool, row.split, row.outcome) == (f"synthetic.{pool}", "train", 1.0)
            text = "\n".join(
                filter(None, [row.target.content, render_calls(row.target.tool_calls)])
            )
            assert judge(text, row).ok
            assert all(schema_errors(c, row.tools) == [] for c in row.trained_calls)
            assert row.id == finish(row).id


def test_names_are_taken_only_where_descriptions_tell() -> None:
    def offered(*said: str, parameters: tuple[str, ...] = ("first", "second")) -> Trajectory:
        details = {f"p{i}": {"type": "string", "description": d} for i, d in enumerate(parameters)}
        schema = json.dumps({"type": "object", "properties": details})
        tools = tuple(ToolSpec(f"t{i}", d, schema) for i, d in enumerate(said))
        turns = (Message("user", "go"), Message("assistant", tool_calls=(ToolCall("t0"),)))
        return finish(Trajectory(turns, tools))

    rng = random.Random(1)
    assert augment.descriptions_differ(offered("Find a room.", "Book a room."))
    for row in (
        offered("Find a room.", "find a  ROOM."),
        offered("Find a room.", ""),
        offered("Find a room.", "Book a room.", parameters=("the day", "the day")),
        offered("Find a room.", "Book a room.", parameters=("the day", "")),
    ):
        assert not augment.descriptions_differ(row)
        assert augment.mask(row, rng) is None
        assert augment.noise(row, rng, "medium") is None
        assert augment.noise(row, rng, "slight") is not None  # the names can still be read


def test_names_that_lie_are_no_training_data() -> None:
    spec = agents.load_spec("qa")
    levels = {row.meta["noise"] for row in POOLS["noisy"](spec, 60, 1)}
    assert levels == {"slight", "medium", "union"}
