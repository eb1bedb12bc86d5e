"""What a search may change: `tune.space` in YAML -> flat independent variables -> dotted options.

Every axis is one variable (`axes`), except the mix, which is one variable in [0, 1] a pool
(`simplex`). `Space.resolve` turns a proposal into options for `config`; `parse_space` refuses
whatever would fail in a trial, or change nothing there, before Ray starts.

Left out on purpose: options that act before the trials (reading, generation, labels): the pool is
made once and every trial sees the same rows. `negatives.per_positive` is searched all the same, as
the number of negatives of the pool that a trial takes for each positive.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from graphlib import CycleError, TopologicalSorter
from operator import attrgetter
from typing import Any

from raytune_agents.config import (
    Config,
    ConfigError,
    build_config,
    known_keys,
    nearest_option,
    set_dotted,
)
from raytune_agents.config.method_options import unread
from raytune_agents.mix import weight_key
from raytune_agents.records import Options
from raytune_agents.storage import yaml_beside
from raytune_agents.tune.axes import RANGES, Axis, Sample
from raytune_agents.tune.simplex import Simplex

KINDS = (*RANGES, "choice", "simplex")
RATIO = "negatives.per_positive"
# Options of train that a trial sets itself.
FIXED = ("arms", "num_train_epochs", "max_steps", "save_steps", "max_failures", "num_workers")
OTHERS = ("mix.weights", "mix.max_epochs", "mix.no_call", RATIO, "tune.method")
# These change the columns of a row, so each value needs a pool of its own.
TEXT = ("tune.method", "train.nat", "train.sft", "train.dpo.pairs")
MOST_TEXTS = 8  # tokenised pools in memory
SIMPLEX_OPTIONS = ("prior", "floors", "epochs")
# The preset `literature`: axes with published effects.
LITERATURE: Options = yaml_beside(__file__, "literature.yaml")


def with_preset(preset: str, own: Mapping[str, Any]) -> Options:
    """The axes of the preset under the `own` ones; those of a method that is not searched are left
    out."""
    if preset == "none":
        return dict(own)
    method = own.get("tune.method", LITERATURE["tune.method"])
    methods = method.get("choice") if isinstance(method, Mapping) else None

    def kept(axis: Mapping[str, Any]) -> bool:
        return axis.get("when", {}).get("tune.method") in (None, *(methods or ()))

    return {key: axis for key, axis in LITERATURE.items() if kept(axis)} | dict(own)


@dataclass(frozen=True)
class Space:
    """The parsed search space; make one with `parse_space`."""

    axes: tuple[Axis | Simplex, ...]
    constants: Mapping[str, Any] = field(default_factory=dict)  # options settled before the search

    def fixed(self, key: str, value: Any) -> Space:
        """The space without this axis, its option settled at `value`."""
        rest = tuple(axis for axis in self.axes if axis.key != key)
        return Space(rest, {**self.constants, key: value})

    def tune_space(self) -> Options:
        """Variable -> ray.tune domain, flat: the `param_space` of a Tuner."""
        return {name: d for axis in self.axes for name, d in axis.domains().items()}

    def resolve(self, sample: Mapping[str, Any]) -> Options:
        """A proposal -> dotted options; axes whose `when` does not hold are left out."""
        values = {axis.key: axis.value(sample) for axis in self.axes}
        by_key = {axis.key: axis for axis in self.axes}

        def active(key: str) -> bool:
            # A parent may itself be off: then what hangs on it is off too.
            axis = by_key.get(key)  # None where its own condition never holds
            return axis is not None and all(
                values.get(p) in ok and active(p) for p, ok in axis.when.items()
            )

        found = {key: value for key, value in values.items() if active(key)}
        return {**self.constants, **found}

    def texts(self) -> list[Options]:
        """Every combination of the searched options that change the tokens of a row."""
        axes = [a for a in self.axes if isinstance(a, Axis) and is_text(a.key)]
        return [
            dict(zip([a.key for a in axes], values))
            for values in itertools.product(*(a.options for a in axes))
        ]

    def simplex(self) -> Simplex | None:
        """The mix axis; None where the search does not change the mix."""
        return next((axis for axis in self.axes if isinstance(axis, Simplex)), None)

    def baselines(self) -> dict[str, dict[str, float]]:
        """Name -> weights of the mixes every search contains; {} without a simplex."""
        simplex = self.simplex()
        return simplex.mixes() if simplex else {}

    def baseline_samples(self, base: Config | None = None) -> list[Sample]:
        """Proposals for `points_to_evaluate`: each baseline mix at the base config's other options.

        An option whose base value lies outside its axis takes its prior, else the middle.
        """
        base, simplex, rest = base or Config(), self.simplex(), {}
        for axis in self.axes:
            if isinstance(axis, Axis):
                rest |= axis.invert(attrgetter(axis.key)(base)) or axis.middle()
        mixes = [simplex.invert(mix) for mix in self.baselines().values()] if simplex else [{}]
        points = [rest | mix for mix in mixes]
        # Natural and stratified are one mix where the pools are equally large.
        return [p for i, p in enumerate(points) if p not in points[:i]]


# --- parsing -------------------------------------------------------------------------------------


def parse_space(
    space: Mapping[str, Any],
    sizes: Mapping[str, float] | None = None,
    tokens: int | None = None,
    base: Config | None = None,
    preset: str = "none",
) -> Space:
    """`tune.space` -> Space; raises ConfigError naming key, value and what to write instead.

    `sizes` (dotted pool -> trained tokens, those below it included) and `tokens` (one trial's
    budget) are known once the pool is made; without them the shape is checked, and what needs them
    (prior natural, epochs) raises when it is used. `when` reads options that are not searched from
    `base`; an axis whose condition never holds is left out. The axes of the preset lie under the
    given ones.
    """
    space = with_preset(preset, space)
    axes: dict[str, Axis | Simplex] = {}
    for key, spec in space.items():
        _check_key(key)
        kind, when = _kind_of(key, spec), _when_of(key, spec, space, base or Config())
        if kind == "simplex":
            axis = _simplex(key, spec, when or {}, dict(sizes or {}), tokens)
        elif kind == "choice":
            axis = _choice(key, spec["choice"], when or {})
        else:
            axis = _range(key, kind, spec[kind], when or {})
        if isinstance(axis, Axis) and "prior" in spec:
            axis = _with_prior(axis, spec["prior"])
        if when is not None:
            axes[key] = axis
    if not axes:
        raise ConfigError(
            "tune.space is empty, so every trial would be the same; write an option and its "
            "distribution, for example train.learning_rate: {loguniform: [3.0e-4, 3.0e-3]}"
        )
    _check_chain({key: set(axis.when) for key, axis in axes.items()})
    found = Space(tuple(axes.values()))
    _check_together(found, base or Config())
    return found


def _wrong(key: str, text: str) -> ConfigError:
    return ConfigError(f"tune.space.{key}{text}")


def _check_key(key: str) -> None:
    if key not in known_keys():
        raise _wrong(key, f": unknown option{nearest_option(key)}")
    if key == "mix.tokens":
        raise _wrong(key, ": trials are compared at one budget; set tune.tokens instead")
    config, _, option = key.partition(".")
    if key not in OTHERS and (config != "train" or option.split(".")[0] in FIXED):
        raise _wrong(
            key,
            f": a trial does not read this option, so it would change nothing; search {OTHERS} "
            f"or options of train other than {list(FIXED)}",
        )


def is_text(key: str) -> bool:
    """Whether the option changes the tokens of a row: each value then needs its own pool."""
    return any(key == t or key.startswith(f"{t}.") for t in TEXT)


def _check_together(space: Space, base: Config) -> None:
    """What single axes cannot tell: text options are few choices; negatives are searched once; an
    option of a method is read by one that is searched."""
    choices = {a.key: a.options for a in space.axes if isinstance(a, Axis)}
    methods = choices.get("tune.method", [base.tune.method])
    for axis in space.axes:
        if why := unread(axis.key.removeprefix("train."), methods):
            raise _wrong(axis.key, f": {why}; take it out, or search one of them")
    ranges = [a.key for a in space.axes if isinstance(a, Axis) and a.kind != "choice"]
    for key in filter(is_text, ranges):
        raise _wrong(key, ": this changes the tokens of every row; write a choice of few values")
    texts = [a for a in space.axes if is_text(a.key)]
    for axis in texts:
        other = [p for p in axis.when if not is_text(p)]
        if other:
            raise _wrong(axis.key, f".when: {other} does not change tokens; depend only on {TEXT}")
    count = math.prod(len(choices[a.key]) for a in texts if a.key in choices)
    if count > MOST_TEXTS:
        keys = [a.key for a in texts]
        text = f": {keys} need {count} tokenised pools; write choices of at most {MOST_TEXTS}"
        raise _wrong(keys[0], text)
    mix = space.simplex()
    searched = [axis.key for axis in space.axes]
    if mix and RATIO in searched and any(p.split(".")[0] == "negative" for p in mix.pools):
        raise _wrong(
            RATIO, f": the share of negatives is searched twice; take them out of {mix.key}.simplex"
        )


def _kind_of(key: str, spec: Any) -> str:
    kinds = [k for k in spec if k in KINDS] if isinstance(spec, Mapping) else []
    if len(kinds) != 1:
        raise _wrong(key, f"={spec!r} is not one distribution; write one of {list(KINDS)}")
    allowed = ["when", *(SIMPLEX_OPTIONS if kinds[0] == "simplex" else ("prior",))]
    extra = [k for k in spec if k not in (*allowed, kinds[0])]
    if extra:
        raise _wrong(key, f": {kinds[0]} does not take {extra}, only {allowed}")
    return kinds[0]


def _when_of(
    key: str, spec: Mapping[str, Any], space: Mapping[str, Any], base: Config
) -> dict[str, tuple[Any, ...]] | None:
    """`when: {train.lora.use_dora: true}` -> searched option -> values; None where none holds."""
    when, out, holds = spec.get("when", {}), {}, True
    if not isinstance(when, Mapping):
        raise _wrong(key, f".when={when!r} is not a mapping; write {{tune.method: nat}}")
    for parent, wanted in when.items():
        if parent not in known_keys():
            raise _wrong(key, f".when: {parent} is an unknown option{nearest_option(parent)}")
        values = tuple(
            _valid(parent, w) for w in (wanted if isinstance(wanted, list) else [wanted])
        )
        if parent not in space:
            holds = holds and attrgetter(parent)(base) in values
            continue
        choices = space[parent].get("choice") if isinstance(space[parent], Mapping) else None
        if not isinstance(choices, list):
            raise _wrong(key, f".when: {parent} must be searched by a choice, not {space[parent]}")
        never = [v for v in values if v not in [_valid(parent, c) for c in choices]]
        if never or not values:
            raise _wrong(key, f".when: {parent} is never {never}; write some of {choices}")
        out[parent] = values
    return out if holds else None


def _check_chain(parents: dict[str, set[str]]) -> None:
    try:
        TopologicalSorter(parents).prepare()
    except CycleError as error:
        key = error.args[1][0]
        raise _wrong(key, ".when depends on itself; take one condition out") from None


def _range(key: str, kind: str, bounds: Any, when: dict[str, tuple[Any, ...]]) -> Axis:
    shape = "[low, high]" if RANGES[kind] == 2 else "[low, high, step]"
    label = f"={{{kind}: {bounds}}}"
    if not isinstance(bounds, list) or len(bounds) != RANGES[kind]:
        raise _wrong(key, f"{label} is not bounded; write {kind}: {shape}")
    low, high, step = (_number(key, label, b) for b in (*bounds, 0.0)[:3])
    if low >= high:
        raise _wrong(key, f"{label} is reversed or empty; write {shape} with low below high")
    if "log" in kind and low <= 0:
        raise _wrong(key, f"{label} takes a logarithm; write a low end above 0, not {low}")
    if kind == "randint" and (low != int(low) or high != int(high)):
        raise _wrong(key, f"{label} takes whole numbers; both ends are included")
    if len(bounds) == 3:
        if step <= 0:
            raise _wrong(key, f"{label} steps by {step}; write a step above 0")
        # Ends on multiples of the step; 0.3 / 0.1 is a little less than 3.
        low, high = math.ceil(low / step - 1e-9) * step, math.floor(high / step + 1e-9) * step
        if low >= high:
            raise _wrong(
                key, f"{label} holds fewer than two multiples of {step}; write a smaller step"
            )
    axis = Axis(key, kind, low, high, step, (), when)
    # Both ends and a value between: the config may refuse any of them.
    for u in (0.0, 0.371, 1.0):
        _valid(key, axis.value({key: axis.at(u)}))
    return axis


def _with_prior(axis: Axis, value: Any) -> Axis:
    """The axis drawn around `prior: value`."""
    prior = _valid(axis.key, value)
    if axis.invert(prior) is None:
        inside = list(axis.options) or [axis.low, axis.high]
        raise _wrong(axis.key, f".prior={prior!r} is not in the axis; write a value of {inside}")
    return replace(axis, prior=prior)


def _choice(key: str, options: Any, when: dict[str, tuple[Any, ...]]) -> Axis:
    if not isinstance(options, list) or len(options) < 2:
        raise _wrong(
            key, f"={{choice: {options}}} leaves nothing to search; write two values or more"
        )
    values = tuple(_valid(key, o) for o in options)
    if twice := [v for k, v in enumerate(values) if v in values[:k]]:
        raise _wrong(key, f"={{choice: {options}}} holds {twice[0]!r} twice; write it once")
    return Axis(key, "choice", options=values, when=when)


def _simplex(
    key: str,
    spec: Mapping[str, Any],
    when: dict[str, tuple[Any, ...]],
    sizes: dict[str, float],
    tokens: int | None,
) -> Simplex:
    pools, prior = spec["simplex"], spec.get("prior", "uniform")
    named = isinstance(pools, list) and all(isinstance(p, str) for p in pools)
    if not named or len(set(pools)) != len(pools) or len(pools) < 2:
        raise _wrong(
            key, f".simplex={pools!r}; write two or more different pools: [positive, negative]"
        )
    if prior not in ("uniform", "natural"):
        raise _wrong(key, f".prior={prior!r}; write uniform or natural")
    epochs = _by_pool(key, "epochs", spec.get("epochs", {}), pools)
    if any(e <= 0 for e in epochs.values()):
        raise _wrong(key, f".epochs={epochs} must be above 0")
    floors = _by_pool(key, "floors", spec.get("floors", {}), pools)
    if any(not 0 <= v <= 1 for v in floors.values()):
        raise _wrong(key, f".floors={floors}; write shares between 0 and 1")
    if empty := empty_pools(pools, sizes):
        have = f"the run has {sorted(sizes)}; write two of these or more, or tune.num_samples: 0"
        raise _wrong(key, f".simplex: pools {empty} hold no rows; {have}")
    simplex = Simplex(
        key,
        tuple(pools),
        prior,
        floors,
        epochs,
        sizes={p: _tokens(p, pools, sizes) for p in pools} if sizes else {},
        tokens=tokens,
        when=when,
    )
    if simplex.sizes or not simplex.epochs:
        simplex.box()
    _valid(key, dict.fromkeys(pools, 1.0 / len(pools)))
    return simplex


def empty_pools(pools: list[str], sizes: Mapping[str, float]) -> list[str]:
    """Those of a simplex's pools that hold no rows; none where no sizes are known."""
    return [p for p in pools if sizes and not _tokens(p, pools, sizes)]


def _tokens(pool: str, pools: list[str], sizes: Mapping[str, float]) -> float:
    """Trained tokens that this pool's weight covers; more specific pools have their own."""
    if pool not in sizes:
        return sum(n for name, n in sizes.items() if weight_key(name, pools) == pool)
    below = [p for p in pools if p.startswith(f"{pool}.")]
    # Sizes of a pool hold those below it: pools that have a weight of their own go out, once.
    inner = [p for p in below if weight_key(p, [b for b in below if b != p]) is None]
    return sizes[pool] - sum(sizes.get(p, 0) for p in inner)


def _by_pool(key: str, name: str, values: Any, pools: list[str]) -> dict[str, float]:
    """`{pool: number}`, or one number for every pool."""
    if not isinstance(values, Mapping):
        return dict.fromkeys(pools, _number(key, f".{name}", values))
    if not set(values) <= set(pools):
        raise _wrong(key, f".{name}={values!r}; write one number or {{pool: number}} over {pools}")
    return {p: _number(key, f".{name}.{p}", v) for p, v in values.items()}


def _valid(key: str, value: Any) -> Any:
    """The value as the config reads it ("1e-4" is a number); raises ConfigError where it cannot."""
    tree: Options = {}
    set_dotted(tree, key, value)
    try:
        built = attrgetter(key)(build_config(tree))
    except ConfigError as error:
        raise _wrong(key, f" holds {value!r}, which no trial can use: {error}") from None
    # As written: a section that the config built has all its defaults in it.
    return value if isinstance(value, (dict, list)) else built


def _number(key: str, label: str, value: Any) -> float:
    try:
        number = float("nan") if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise _wrong(key, f"{label}: {value!r} is not a finite number; write one, for example 0.5")
    return number
