"""What a search may change: `tune.space` in YAML -> flat independent variables -> dotted options.

Every axis is one variable, except the mix, which is one variable in [0, 1] a pool (`simplex`).
`Space.resolve` turns a proposal into options for `config`; `parse` refuses whatever would fail in a
trial, or change nothing there, before Ray starts.

Left out on purpose: options that act before the trials (reading, generation, labels): the pool is
made once and every trial sees the same rows.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from raytune_agents.config import Config, ConfigError, build, known_keys, nearest, set_dotted
from raytune_agents.mix import key_of
from raytune_agents.records import canonical
from raytune_agents.tune.simplex import Simplex

RANGES = {"uniform": 2, "loguniform": 2, "randint": 2, "quniform": 3, "qloguniform": 3}
KINDS = (*RANGES, "choice", "simplex")
# Options of train that a trial sets itself, or that act on text tokenised before the trials.
FIXED = ("arms", "epochs", "max_steps", "save_steps", "max_failures", "workers", "nat", "dpo")
SIMPLEX_OPTIONS = ("prior", "strength", "floors", "caps", "epochs")
PRESETS: dict[str, dict[str, Any]] = {
    # Axes with published effects: mixes around the natural one with at most 4 epochs a source
    # (RegMix, Olmix), LoRA rank and learning rate on function calls (xLAM, Tool-N1, Hammer).
    "evidence": {
        "mix.weights": {
            "simplex": ["positive", "synthetic", "negative"],
            "prior": "natural",
            "floors": {"positive": 0.1},
            "epochs": 4,
        },
        "train.learning_rate": {"loguniform": [1e-4, 3e-3]},
        "train.lora.r": {"choice": [8, 16, 32]},
    }
}


@dataclass(frozen=True)
class Axis:
    """One option with a range or a list of choices. `randint` includes both ends."""

    key: str
    kind: str
    low: float = 0.0
    high: float = 1.0
    step: float = 0.0
    options: tuple[Any, ...] = ()
    when: dict[str, tuple[Any, ...]] = field(default_factory=dict)

    def domains(self) -> dict[str, Any]:
        """The ray.tune domain of the variable."""
        from ray import tune

        if self.kind == "choice":
            return {self.key: tune.choice([_code(o) for o in self.options])}
        if self.kind == "randint":
            return {self.key: tune.randint(int(self.low), int(self.high) + 1)}
        bounds = (self.low, self.high, self.step)[: RANGES[self.kind]]
        return {self.key: getattr(tune, self.kind)(*bounds)}

    def at(self, u: float) -> Any:
        """Quantile function: u in [0, 1] -> the variable's value."""
        if self.kind == "choice":
            return _code(self.options[min(int(u * len(self.options)), len(self.options) - 1)])
        if self.kind == "randint":
            return min(int(self.low + u * (self.high + 1 - self.low)), int(self.high))
        if self.kind == "quniform":
            return self._round(self.low - self.step / 2 + u * (self.high - self.low + self.step))
        if self.kind in ("loguniform", "qloguniform"):
            value = self.low * (self.high / self.low) ** u
            return self._round(value) if self.step else min(max(value, self.low), self.high)
        return self.low + u * (self.high - self.low)

    def _round(self, value: float) -> float | int:
        """The nearest multiple of `step` inside the range; an int where all of them are whole."""
        rounded = round(min(max(value, self.low), self.high) / self.step) * self.step
        whole = self.step == int(self.step)
        return int(rounded) if whole else float(f"{rounded:.12g}")

    def sample(self, rng: random.Random) -> dict[str, Any]:
        return {self.key: self.at(rng.random())}

    def value(self, sample: Mapping[str, Any]) -> Any:
        """The option's value in a proposal; quantised again, as some searchers ignore steps."""
        raw = sample[self.key]
        if self.kind == "choice":
            return next(o for o in self.options if _code(o) == raw)
        if self.kind == "randint":
            return round(raw)
        return self._round(raw) if self.step else raw

    def invert(self, value: Any) -> dict[str, Any] | None:
        """The proposal that gives `value`; None where the axis does not hold it."""
        if self.kind == "choice":
            return {self.key: _code(value)} if value in self.options else None
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        inside = number and self.low <= value <= self.high
        same = inside and (not self.step or math.isclose(self._round(value), value))
        return {self.key: value} if same else None


@dataclass(frozen=True)
class Space:
    """The parsed search space; make one with `parse`."""

    axes: tuple[Axis | Simplex, ...]

    def keys(self) -> list[str]:
        """The searched options, dotted."""
        return [axis.key for axis in self.axes]

    def tune_space(self) -> dict[str, Any]:
        """Variable -> ray.tune domain, flat: the `param_space` of a Tuner."""
        return {name: d for axis in self.axes for name, d in axis.domains().items()}

    def sample(self, rng: random.Random) -> dict[str, Any]:
        """One random proposal, without Ray."""
        return {name: v for axis in self.axes for name, v in axis.sample(rng).items()}

    def resolve(self, sample: Mapping[str, Any]) -> dict[str, Any]:
        """A proposal -> dotted options; axes whose `when` does not hold are left out."""
        values = {axis.key: axis.value(sample) for axis in self.axes}
        by_key = {axis.key: axis for axis in self.axes}

        def active(key: str) -> bool:
            axis = by_key.get(key)  # None where its own condition never holds
            return axis is not None and all(
                values.get(p) in ok and active(p) for p, ok in axis.when.items()
            )

        return {key: value for key, value in values.items() if active(key)}

    def simplex(self) -> Simplex | None:
        """The mix axis; None where the search does not change the mix."""
        return next((axis for axis in self.axes if isinstance(axis, Simplex)), None)

    def baselines(self) -> dict[str, dict[str, float]]:
        """Name -> weights of the mixes every search contains; {} without a simplex."""
        simplex = self.simplex()
        return simplex.mixes() if simplex else {}

    def baseline_samples(self, base: Config | None = None) -> list[dict[str, Any]]:
        """Proposals for `points_to_evaluate`: each baseline mix at the base config's other options.

        An option whose base value lies outside its axis takes the middle of the axis.
        """
        base, simplex, rest = base or Config(), self.simplex(), {}
        for axis in self.axes:
            if isinstance(axis, Axis):
                rest |= axis.invert(_get(base, axis.key)) or {axis.key: axis.at(0.5)}
        points = [rest]
        if simplex:
            points = [rest | simplex.invert(mix) for mix in simplex.mixes().values()]
        return [p for i, p in enumerate(points) if p not in points[:i]]


# --- parsing -------------------------------------------------------------------------------------


def parse(
    space: Mapping[str, Any],
    sizes: Mapping[str, float] | None = None,
    tokens: int | None = None,
    base: Config | None = None,
) -> Space:
    """`tune.space` -> Space; raises ConfigError naming key, value and what to write instead.

    `sizes` (dotted pool -> trained tokens, those below it included) and `tokens` (one trial's
    budget) are known once the pool is made; without them the shape is checked, and what needs them
    (prior natural, epochs) raises when it is used. `when` reads options that are not searched from
    `base`; an axis whose condition never holds is left out. `preset: evidence` adds the axes of
    PRESETS, under the given ones.
    """
    space = dict(space)
    preset = space.pop("preset", None)
    if preset is not None and preset not in PRESETS:
        raise _wrong("preset", f"={preset!r} is unknown; write one of {list(PRESETS)}")
    space = PRESETS.get(preset, {}) | space
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
        if when is not None:
            axes[key] = axis
    if not axes:
        raise ConfigError(
            "tune.space is empty, so every trial would be the same; write an option and its "
            "distribution, for example train.learning_rate: {loguniform: [3.0e-4, 3.0e-3]}"
        )
    _check_chain({key: set(axis.when) for key, axis in axes.items()})
    return Space(tuple(axes.values()))


def _wrong(key: str, text: str) -> ConfigError:
    return ConfigError(f"tune.space.{key}{text}")


def _check_key(key: str) -> None:
    if key not in known_keys():
        raise _wrong(key, f": unknown option{nearest(key)}")
    if key == "mix.tokens":
        raise _wrong(key, ": trials are compared at one budget; set tune.tokens instead")
    section, _, option = key.partition(".")
    if key != "mix.weights" and (section != "train" or option.split(".")[0] in FIXED):
        raise _wrong(
            key,
            ": a trial does not read this option, so it would change nothing; search mix.weights "
            f"or options of train other than {list(FIXED)}",
        )


def _kind_of(key: str, spec: Any) -> str:
    kinds = [k for k in spec if k in KINDS] if isinstance(spec, Mapping) else []
    if len(kinds) != 1:
        raise _wrong(key, f"={spec!r} is not one distribution; write one of {list(KINDS)}")
    allowed = ["when", *(SIMPLEX_OPTIONS if kinds[0] == "simplex" else ())]
    extra = [k for k in spec if k not in (*allowed, kinds[0])]
    if extra:
        raise _wrong(key, f": {kinds[0]} does not take {extra}, only {allowed}")
    return kinds[0]


def _when_of(
    key: str, spec: Mapping[str, Any], space: Mapping[str, Any], base: Config
) -> dict[str, tuple] | None:
    """`when: {train.lora.dora: true}` -> searched option -> values; None where it never holds."""
    when, out, holds = spec.get("when", {}), {}, True
    if not isinstance(when, Mapping):
        raise _wrong(key, f".when={when!r} is not a mapping; write {{tune.method: nat}}")
    for parent, wanted in when.items():
        if parent not in known_keys():
            raise _wrong(key, f".when: {parent} is an unknown option{nearest(parent)}")
        values = tuple(
            _valid(parent, w) for w in (wanted if isinstance(wanted, list) else [wanted])
        )
        if parent not in space:
            holds = holds and _get(base, parent) in values
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
    for key in parents:
        above, seen = set(parents[key]), set()
        while above:
            if key in above:
                raise _wrong(key, ".when depends on itself; take one condition out")
            seen |= above
            above = {p for a in above for p in parents.get(a, ())} - seen


def _range(key: str, kind: str, bounds: Any, when: dict[str, tuple]) -> Axis:
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
        low, high = math.ceil(low / step - 1e-9) * step, math.floor(high / step + 1e-9) * step
        if low >= high:
            raise _wrong(
                key, f"{label} holds fewer than two multiples of {step}; write a smaller step"
            )
    axis = Axis(key, kind, low, high, step, (), when)
    for u in (0.0, 0.371, 1.0):
        _valid(key, axis.value({key: axis.at(u)}))
    return axis


def _choice(key: str, options: Any, when: dict[str, tuple]) -> Axis:
    if not isinstance(options, list) or len(options) < 2:
        raise _wrong(
            key, f"={{choice: {options}}} leaves nothing to search; write two values or more"
        )
    return Axis(key, "choice", options=tuple(_valid(key, o) for o in options), when=when)


def _simplex(
    key: str, spec: Mapping[str, Any], when: dict, sizes: dict, tokens: int | None
) -> Simplex:
    pools, prior = spec["simplex"], spec.get("prior", "uniform")
    named = isinstance(pools, list) and all(isinstance(p, str) for p in pools)
    if not named or len(set(pools)) != len(pools) or len(pools) < 2:
        raise _wrong(
            key, f".simplex={pools!r}; write two or more different pools: [positive, negative]"
        )
    if prior not in ("uniform", "natural"):
        raise _wrong(key, f".prior={prior!r}; write uniform or natural")
    numbers = {k: _number(key, f".{k}", spec[k]) for k in ("strength", "epochs") if k in spec}
    if any(v <= 0 for v in numbers.values()):
        raise _wrong(key, f": {numbers} must be above 0")
    bounds = {k: _shares(key, k, spec[k], pools) for k in ("floors", "caps") if k in spec}
    held = {p: _tokens(p, pools, sizes) for p in pools}
    empty = [p for p in pools if sizes and not held[p]]
    if empty:
        raise _wrong(key, f".simplex: pools {empty} hold no rows; the run has {sorted(sizes)}")
    simplex = Simplex(
        key,
        tuple(pools),
        prior,
        sizes=held if sizes else {},
        tokens=tokens,
        when=when,
        **numbers,
        **bounds,
    )
    if simplex.sizes or simplex.epochs is None:
        simplex.box()
    _valid(key, dict.fromkeys(pools, 1.0 / len(pools)))
    return simplex


def _tokens(pool: str, pools: list[str], sizes: Mapping[str, float]) -> float:
    """Trained tokens that this pool's weight covers; more specific pools have their own."""
    if pool not in sizes:
        return sum(n for name, n in sizes.items() if key_of(name, pools) == pool)
    below = [p for p in pools if p.startswith(f"{pool}.")]
    inner = [p for p in below if key_of(p, [b for b in below if b != p]) is None]
    return sizes[pool] - sum(sizes.get(p, 0) for p in inner)


def _shares(key: str, name: str, values: Any, pools: list[str]) -> dict[str, float]:
    if not isinstance(values, Mapping) or not set(values) <= set(pools):
        raise _wrong(key, f".{name}={values!r}; write {{pool: share}} over {pools}")
    shares = {p: _number(key, f".{name}.{p}", v) for p, v in values.items()}
    if any(not 0 <= v <= 1 for v in shares.values()):
        raise _wrong(key, f".{name}={values}; write shares between 0 and 1")
    return shares


def _valid(key: str, value: Any) -> Any:
    """The value as the config reads it ("1e-4" is a number); raises ConfigError where it cannot."""
    tree: dict[str, Any] = {}
    set_dotted(tree, key, value)
    try:
        built = _get(build(tree), key)
    except ConfigError as error:
        raise _wrong(key, f" holds {value!r}, which no trial can use: {error}") from None
    return value if isinstance(value, (dict, list)) else built


def _get(config: Config, key: str) -> Any:
    value: Any = config
    for part in key.split("."):
        value = getattr(value, part)
    return value


def _number(key: str, label: str, value: Any) -> float:
    try:
        number = float("nan") if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise _wrong(key, f"{label}: {value!r} is not a finite number; write one, for example 0.5")
    return number


def _code(option: Any) -> Any:
    """A choice as every searcher takes it: plain values as they are, lists and mappings as JSON."""
    return option if isinstance(option, (str, int, float, bool, type(None))) else canonical(option)
