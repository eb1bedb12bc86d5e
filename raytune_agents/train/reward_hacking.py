"""Signs that a policy earns its reward otherwise than by right answers, out of the steps of its
metrics.jsonl: ever longer answers, no calls where calls are due, no entropy left.

Each compares a mean over the last steps with that over the first, for models of any size differ in
length and entropy. An entropy that falls while the reward rises is what learning looks like;
without a gain it is a collapse (DAPO, arXiv 2503.14476, section 3.1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from raytune_agents.config.method_options import RewardHackingConfig
from raytune_agents.train.rewards import NO_CALL

LENGTH, ENTROPY, REWARD = "completions/mean_length", "entropy", "reward"  # TRL's names
EQUAL = "frac_reward_zero_std"  # share of the answers in groups of equal reward
STEP_KEYS = (LENGTH, ENTROPY, REWARD, EQUAL, NO_CALL)
PolicyStep = Mapping[str, float]  # those of STEP_KEYS that a step has


def start_and_now(steps: Sequence[PolicyStep], key: str, window: int) -> tuple[float, float] | None:
    """Means of the first and of the last `window` steps; None where one of them has no value. A
    step all of whose groups were dropped has no token whose entropy counts."""
    halves = []
    for half in (steps[:window], steps[-window:]):
        known = [s[key] for s in half if key in s and (key != ENTROPY or s.get(EQUAL, 0) < 1)]
        if not known:
            return None
        halves.append(sum(known) / len(known))
    return halves[0], halves[1]


def hacking_sign(steps: Sequence[PolicyStep], limits: RewardHackingConfig) -> str:
    """The first sign that the steps of a training show, with its option; "" where they show none,
    or are fewer than two windows."""
    if len(steps) < 2 * limits.window:
        return ""
    length, no_call, entropy, reward = (
        start_and_now(steps, key, limits.window) for key in (LENGTH, NO_CALL, ENTROPY, REWARD)
    )
    if limits.length and length and length[1] >= limits.length * length[0] > 0:
        return (
            f"answers are {length[1]:.0f} tokens long, {length[0]:.0f} at the start "
            f"(train.grpo.stop.length={limits.length:g})"
        )
    if limits.no_call and no_call and no_call[1] - no_call[0] >= limits.no_call:
        return (
            f"{no_call[1]:.0%} of answers have no call where one is due, {no_call[0]:.0%} at the "
            f"start (train.grpo.stop.no_call={limits.no_call:g})"
        )
    gained = reward is not None and reward[1] > reward[0]
    gone = entropy is not None and 0 <= entropy[1] <= limits.entropy * entropy[0]
    if limits.entropy and entropy and entropy[0] and gone and not gained:
        return (
            f"entropy is {entropy[1]:.4f}, {entropy[0]:.4f} at the start, and the reward is no "
            f"higher (train.grpo.stop.entropy={limits.entropy:g})"
        )
    return ""
