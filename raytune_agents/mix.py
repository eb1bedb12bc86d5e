"""Pools and weights -> the training rows; the one place where rows are chosen.

A weight is a share of trained (answer) tokens. A weight's key is a pool or the head of its dotted
name: `negative` covers negative.wrong_value, and `negative.wrong_value` alone beats `negative`.
Rows on which no call is right have a share of their own (`NO_CALL`), whatever pool they come from:
a mix of calls alone teaches a model to call always. That share is one of the good rows, not of
tokens: to call or not is decided once per row, and an answer without a call is short. Failures do
not count, so that arms with and without them see as many calls for each row without one.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from raytune_agents.agents.rollout import can_roll_out
from raytune_agents.calls.gold import needs_no_call
from raytune_agents.config import ConfigError
from raytune_agents.config.lookup import did_you_mean
from raytune_agents.records import Trajectory

FAMILIES = ("positive", "synthetic", "negative")
NO_CALL = "no_call"  # the pool of good rows on which no call is right, where it has a share
Arrange = Callable[[list[str], int], list[str]]  # ids and rows wanted -> the ids, best first


@dataclass(frozen=True)
class RowKind:
    """What rows are chosen and checked by, short of their text: few kinds for many rows."""

    pool: str
    failed: bool
    no_call: bool  # a good row on which no call is right
    task: bool  # of an executable agent: it can be rolled out

    @classmethod
    def of(cls, row: Trajectory) -> RowKind:
        no_call = not row.failed and needs_no_call(row)
        return cls(row.pool, row.failed, no_call, can_roll_out(row))


@dataclass(frozen=True)
class Chosen:
    """What a mix took: row ids (with repeats), tokens and epochs by weight key, tokens that were
    asked for and could not be had."""

    ids: list[str]
    tokens: dict[str, int]
    epochs: dict[str, float]
    short: dict[str, int]


def weight_key(pool: str, keys: Sequence[str]) -> str | None:
    """The most specific key that covers the pool, or None."""
    fits = [k for k in keys if pool == k or pool.startswith(k + ".")]
    return max(fits, key=len, default=None)


def normalise(weights: Mapping[str, float]) -> dict[str, float]:
    """Shares that sum to one. Raises ConfigError where they cannot."""
    total = sum(weights.values())
    if total <= 0 or any(w < 0 for w in weights.values()):
        raise ConfigError(
            f"mix.weights={dict(weights)} cannot be normalised; write at least one above 0"
        )
    return {k: w / total for k, w in weights.items()}


def mix_pool(kind: RowKind, weights: Mapping[str, float], no_call: float) -> str:
    """The pool that a row counts under: its own, or NO_CALL where that has a share and no weight
    names the row's very pool."""
    named = "." in (weight_key(kind.pool, list(weights)) or "")
    own = not no_call or named or not kind.no_call
    return kind.pool if own else NO_CALL


def validate_weights(weights: Mapping[str, float], key: str, own: bool) -> None:
    """Raises ConfigError for a weight of a pool that no row can have. `own`: readers or faults of
    one's own are in use, whose pools only they know."""
    from raytune_agents.generate import POOLS
    from raytune_agents.negatives import FAULTS

    observed = ("observed", "rejected", "rated", "dead_branch")
    inside = {"synthetic": [*POOLS], "negative": [*FAULTS, *observed]}
    for name in weights:
        family, _, pool = name.partition(".")
        if family not in FAMILIES and not own:
            raise ConfigError(f"{key}.{name}: no such pool; {did_you_mean(name, FAMILIES)}")
        known = inside.get(family, ())
        near = did_you_mean(pool, known)
        if pool and known and pool not in known and (not own or "did you mean" in near):
            raise ConfigError(f"{key}.{name}: {family} has no such pool; {near}")


def auto_tokens(rows: Sequence[tuple[str, str, int]], weights: Mapping[str, float]) -> int:
    """The budget of a mix that names none: the tokens of all rows of its pools, once."""
    keys = [key for key, weight in weights.items() if weight > 0]
    return sum(count for _, pool, count in rows if weight_key(pool, keys))


def usable_weights(
    weights: Mapping[str, float], rows: Sequence[tuple[str, str, int]], no_call: float = 0.0
) -> dict[str, float]:
    """The weights that an arm can use: without pools that have rows, but none that the method
    trains on (cost 0: good rows under dpo, failures under vanilla), and without FAMILIES that have
    no row at all. The others share the whole budget; where NO_CALL has rows it gets the tokens with
    which it makes up `no_call` of the good rows. Any other weight without a row stays, for
    `choose_rows` to refuse."""
    cost: Counter[str] = Counter()
    usable: Counter[str] = Counter()  # rows that cost something
    known: set[str] = set(FAMILIES)
    for _, pool, count in rows:
        key = pool if pool == NO_CALL else weight_key(pool, list(weights))
        if key is not None:
            cost[key] += count
            usable[key] += count > 0
            known.add(key)
    kept = {key: w for key, w in weights.items() if cost[key] or key not in known}
    out = kept if any(kept.values()) else dict(weights)
    if no_call and cost[NO_CALL]:
        shares = normalise(out)
        good = {k: w for k, w in shares.items() if k.split(".")[0] != "negative"} or shares
        # Rows per token: of the other good rows in this mix, and of the rows without a call.
        others = sum(w * usable[k] / cost[k] for k, w in good.items() if cost[k])
        own = usable[NO_CALL] / cost[NO_CALL]
        share = no_call * others / ((1 - no_call) * own + no_call * others)
        out = {k: w * (1 - share) for k, w in shares.items()} | {NO_CALL: share}
    return out


def with_no_call(
    rows: Iterable[tuple[str, RowKind, int]], weights: Mapping[str, float], no_call: float
) -> tuple[list[tuple[str, str, int]], dict[str, float]]:
    """Rows (id, kind, trained tokens) under the pools that they count under, and the weights that
    an arm can use on them: what `choose_rows` takes."""
    rows = list(rows)
    pools = {kind: mix_pool(kind, weights, no_call) for kind in {kind for _, kind, _ in rows}}
    pooled = [(i, pools[kind], count) for i, kind, count in rows]
    return pooled, usable_weights(weights, pooled, no_call)


def choose_rows(
    rows: Sequence[tuple[str, str, int]],
    weights: Mapping[str, float],
    tokens: int,
    max_epochs: float,
    seed: int,
    arrange: Arrange | None = None,
) -> Chosen:
    """Choose from rows (id, pool, trained tokens) until each key has its share of `tokens`.

    Every key's rows are shuffled by the seed and taken in that order (with `arrange`: in the order
    it gives), again from the start when they run out, at most `max_epochs` times; what is missing
    then is in `short`. The last row may overshoot by less than its own length. Raises ConfigError
    for a weight without rows."""
    shares = normalise(weights)
    pools: dict[str, list[tuple[str, int]]] = {k: [] for k in shares}
    for row_id, pool, count in rows:
        key = weight_key(pool, list(shares))
        if key is not None and count > 0:
            pools[key].append((row_id, count))
    ids: list[str] = []
    got, epochs, short = {}, {}, {}
    for key, share in shares.items():
        want, have = round(share * tokens), sum(c for _, c in pools[key])
        if want and not have:
            raise ConfigError(
                f"mix.weights.{key}={weights[key]}: no accepted row in that pool; pools with "
                f"rows: {sorted({p for _, p, _ in rows})}; write 0 or make such rows"
            )
        rng = random.Random(f"{seed}/{key}")
        taken, limit = 0, min(want, int(max_epochs * have))
        order = sorted(pools[key])
        if arrange and limit:
            counts, wanted = dict(order), math.ceil(limit * len(order) / have)
            # `arrange` ranks rows, it cannot know tokens: it is asked for a share of the rows.
            order = [(i, counts[i]) for i in arrange(list(counts), wanted)]
        while taken < limit:
            # Sorted before it is shuffled: the seed alone decides, not the order of the files.
            if not arrange:
                order.sort()
                rng.shuffle(order)
            for row_id, count in order:
                if taken >= limit:
                    break
                ids.append(row_id)
                taken += count
        got[key], epochs[key] = taken, round(taken / have, 3) if have else 0.0
        short[key] = max(0, want - taken)
    # Pools lie in blocks here; one order over all of them keeps batches mixed.
    random.Random(f"{seed}/order").shuffle(ids)
    return Chosen(ids, got, epochs, short)
