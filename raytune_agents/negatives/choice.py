"""Which edited negatives a run keeps: more candidates than wanted, then those that differ most.

How many of each fault are wanted follows the mined failures above an even floor. Among the verified
candidates facility location chooses over fault x tool x words, with the wanted numbers as caps.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from raytune_agents import negatives
from raytune_agents.config import NegativesConfig
from raytune_agents.dedup.space import embed, facility_location, stratified
from raytune_agents.negatives import PLAIN, Setting
from raytune_agents.negatives.answers import Written, in_our_form
from raytune_agents.negatives.wrong_values import seen_values
from raytune_agents.records import Trajectory

TRIES = 8  # rows that are tried for one candidate
PROBE = 256  # rows that tell whether a fault applies at all
BLOCK = 2_000  # candidates that are compared with each other
ANSWERED_DIRECTLY = "answered_directly"


@dataclass(frozen=True)
class Candidate:
    """A verified negative, and the tool that its good twin calls first."""

    row: Trajectory
    tool: str


def tool_of(row: Trajectory) -> str:
    return row.calls[0].name if row.calls else row.source


def queues(
    good: Sequence[Trajectory],
    faults: Sequence[str],
    refused: Counter[str],
    seed: int,
    setting: Setting = PLAIN,
    without: Collection[str] = (),
) -> dict[str, list[Trajectory]]:
    """Fault -> the rows that may admit it, their tools in turn. A fault asked for by name that no
    row admits is counted; of the others those in `without` are left out."""
    out = {}
    for number, fault in enumerate(faults or [f for f in negatives.FAULTS if f not in without]):
        fitting = [row for row in good if negatives.suits(row, fault)]
        tools = [tool_of(row) for row in fitting]
        fitting = [fitting[i] for i in stratified(tools, len(tools), seed + number)]
        probed = (negatives.edit(r, fault, 0, setting)[1] for r in fitting[:PROBE])
        if any(reason != "not_applicable" for reason in probed):
            out[fault] = fitting
        elif faults:
            refused[f"{fault} no_row_admits"] += 1
    return out


def negative_candidates(
    queue: list[Trajectory],
    fault: str,
    most: int,
    refused: Counter[str],
    seed: int,
    setting: Setting,
) -> list[Candidate]:
    """At most `most` negatives of rows of the queue, which is used up; what the checker does not
    confirm is thrown away and counted."""
    out: list[Candidate] = []
    for k, row in enumerate(queue[: TRIES * most]):
        bad, reason = negatives.edit(row, fault, seed + k, setting)
        if bad is not None:
            out.append(Candidate(bad, tool_of(row)))
        elif reason != "not_applicable":
            refused[f"{fault} {reason}"] += 1
        if len(out) == most:
            break
    return out


def one_hot(names: Sequence[str]) -> np.ndarray:
    """[rows, names] with a single 1 in each row."""
    known, places = np.unique(names, return_inverse=True)
    return np.eye(len(known))[places]


def vectors(made: Sequence[Candidate], seed: int) -> np.ndarray:
    """Unit vectors [rows, n]; their cosine is a third each of same fault, same tool and the cosine
    of request and answer."""
    texts = [f"{c.row.query} {negatives.answer_text(c.row.answer)}" for c in made]
    parts = [one_hot([c.row.fault for c in made]), one_hot([c.tool for c in made])]
    parts += [embed(texts, seed=seed)] if len(made) > 2 else []
    return np.hstack(parts) / math.sqrt(len(parts))


def choose_negatives(
    made: Sequence[Candidate], caps: Mapping[str, int], seed: int
) -> list[Trajectory]:
    """Those that represent all candidates, at most `caps[fault]` of a fault."""
    if not made:
        return []
    faults = [c.row.fault for c in made]
    count = (Counter(faults) & Counter(caps)).total()
    if count == len(made):  # nothing to choose
        return [c.row for c in made]
    found = facility_location(vectors(made, seed), count, kinds=faults, caps=caps)
    return [made[i].row for i in found]


def within_share(counts: Mapping[str, int], most: float) -> dict[str, int]:
    """How many of each fault may stay so that none is above `most` of what stays (of fewer kinds
    than that allows: above an even share)."""
    share = max(most, 1 / len(counts)) if counts else 1.0
    allowed = dict(counts)
    while allowed:
        # The small term: 0.29 * 100 is 28.999... in floats, and int() would take one row too many
        # away.
        cap = max(1, int(share * sum(allowed.values()) + 1e-9))
        fewer = {fault: min(count, cap) for fault, count in allowed.items()}
        if fewer == allowed:
            break
        allowed = fewer
    return allowed


def over_share(rows: Sequence[Trajectory], allowed: Mapping[str, int], seed: int) -> set[str]:
    """The ids of the rows beyond `allowed[fault]`, by a draw."""
    seen: Counter[str] = Counter()
    out: set[str] = set()
    for row in random.Random(f"{seed}/share").sample(rows, len(rows)):
        seen[row.fault] += 1
        if seen[row.fault] > allowed.get(row.fault, 0):
            out.add(row.id)
    return out


def edited(
    good: Sequence[Trajectory],
    mined: Mapping[str, int],
    config: NegativesConfig,
    seed: int,
    written: Written = in_our_form,
) -> tuple[list[Trajectory], Counter[str]]:
    """Verified negatives of good training rows, at most one of a fault a row. Returns them and, by
    reason, the attempts that gave none and the candidates that were not chosen.

    `mined` counts the model's own failures by fault: where it answers in words instead of a call,
    its own words are those negatives, and none is made up."""
    rng, refused = random.Random(f"{seed}/edited"), Counter()
    setting = Setting(seen_values(good), written)
    own = [ANSWERED_DIRECTLY] if mined.get(ANSWERED_DIRECTLY) else []
    waiting = queues(good, config.faults, refused, seed, setting, own)
    if not waiting:
        return [], refused
    count = round(config.per_positive * sum(negatives.editable(row) for row in good))
    names = negatives.choose_faults(mined, count, config.uniform_floor, rng, list(waiting))
    counts = Counter(names)
    wanted = Counter(counts if config.faults else within_share(counts, config.max_fault_share))
    made = {}
    for number, (fault, want) in enumerate(sorted(wanted.items())):
        most, start = math.ceil(want * config.candidates), seed + 1000 * number
        made[fault] = negative_candidates(waiting[fault], fault, most, refused, start, setting)
        refused[f"{fault} no_row_left"] += max(0, want - len(made[fault]))
    blocks = max(1, -(-sum(map(len, made.values())) // BLOCK))
    out = []
    # Facility location is quadratic in its rows, so it runs over blocks.
    for k in range(blocks):  # every block has its share of each fault
        part = [c for found in made.values() for c in found[k::blocks]]
        caps = {f: max(0, -(-(w - k) // blocks)) for f, w in wanted.items()}
        out += choose_negatives(part, caps, seed)
    kept = Counter(row.fault for row in out)
    refused.update({f"{f} not_chosen": len(found) - kept[f] for f, found in made.items()})
    return out, +refused
