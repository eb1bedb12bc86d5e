"""Rows of all kinds for the tests of the methods, and the chat that writes them down."""

from __future__ import annotations

from functools import cache

from raytune_agents import agents, config, models
from raytune_agents.chat import IGNORE, Chat
from raytune_agents.config import load_config
from raytune_agents.generate.tasks import tasks
from raytune_agents.generate.world_runs import react
from raytune_agents.negatives import TRAJECTORY_FAULTS, edit
from raytune_agents.train.methods import Recipe
from raytune_agents.train.tokenized import tokenize_rows

GOOD = tasks(agents.load_spec("qa"), 8, 1)
FAULTS = ("wrong_value", "wrong_function", "missing_required", "answered_directly")
BAD = [bad for row, f in zip(GOOD, FAULTS * 2) if (bad := edit(row, f, 1)[0])]
ROWS = {r.id: r for r in (*GOOD, *BAD)}
RUNS = [r for name in agents.shipped() for r in react(agents.load_spec(name), 4, 3)]
FAILED_RUNS = [bad for row in RUNS for f in TRAJECTORY_FAULTS if (bad := edit(row, f, 2)[0])]


def costs(method, rows, chat, config):
    """Loss tokens of each row under a method, by id; 0 where it does not train on it."""
    recipe = Recipe(method, config, chat)
    _, facts = tokenize_rows(rows.values(), recipe, recipe.pairs(rows))
    return dict(zip(facts["id"].to_pylist(), facts["tokens"].to_pylist()))


@cache
def small_chat() -> Chat:
    options = load_config(None, ["model.max_length=900"]).model
    return Chat.of(models.resolve(options), options)


def section_of(*overrides: str) -> config.TrainConfig:
    return load_config(None, [f"train.{o}" for o in overrides]).train


def answers(column: dict) -> list[int]:
    return [x for x in column["labels"] if x != IGNORE]
