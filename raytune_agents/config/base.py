"""What all sections share: the base class, the error, value types, the check of weights."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, ClassVar, Self, Union, get_args, get_origin

import yaml
from annotated_types import Le, Lt
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from raytune_agents.records import JsonObject

PRICES = yaml.safe_load(Path(__file__).with_name("prices.yaml").read_text(encoding="utf-8"))
# What may be the name of a folder of a run: a run, an arm.
FOLDER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[int, Field(ge=1)]
# A count that follows from what Ray reports (infra.placement): "auto", held as 0.
Auto = Annotated[int, BeforeValidator(lambda v: 0 if v == "auto" else v), Field(ge=0)]


class ConfigError(ValueError):
    """A config that must not start. The message names key, value and what to write instead."""


# What no run needs: a number above it is a slip of the hand. An option that may be larger has an
# upper bound of its own.
HIGHEST_INT, HIGHEST_FLOAT = 10**9, 1e6


class BaseConfig(BaseModel):
    model_config = ConfigDict(
        extra="forbid", validate_default=True, protected_namespaces=(), allow_inf_nan=False
    )

    # Options of where, how fast and how often: other values give the same output, so that a step
    # that ended stays done, and one under way goes on.
    OPERATIONAL: ClassVar[frozenset[str]] = frozenset()

    @model_validator(mode="before")
    @classmethod
    def _no_switch_for_a_number(cls, value: Any) -> Any:
        for name, info in cls.model_fields.items() if isinstance(value, dict) else ():
            kinds = set(_plain_types(info.annotation))
            if isinstance(value.get(name), bool) and kinds & {int, float} and bool not in kinds:
                raise ValueError(f"{name}={value[name]}: write a number")
        return value

    @model_validator(mode="after")
    def _plausible(self) -> Self:
        for name, info in type(self).model_fields.items():
            value = getattr(self, name)
            if not isinstance(value, int | float) or isinstance(value, bool):
                continue
            highest = HIGHEST_INT if isinstance(value, int) else HIGHEST_FLOAT
            bounded = any(isinstance(m, Le | Lt) for m in info.metadata)
            if not bounded and abs(value) >= highest:
                raise ValueError(f"{name}={value!r}: write a number below {highest:g}")
        return self

    def deciding(self) -> JsonObject:
        """The options that decide the output, as JSON values."""
        return {k: json_values(v, deciding=True) for k, v in self if k not in self.OPERATIONAL}


def _plain_types(kind: Any) -> Iterator[Any]:
    """The types that an annotation allows: int and NoneType of `Annotated[int, ...] | None`."""
    parts = get_args(kind)
    if get_origin(kind) is Annotated:
        yield from _plain_types(parts[0])
    elif get_origin(kind) in (Union, UnionType):
        for part in parts:
            yield from _plain_types(part)
    else:
        yield kind


def json_values(value: Any, deciding: bool = False) -> Any:
    """A section, or a list or dict of sections, as JSON values; `deciding`: see OPERATIONAL."""
    if isinstance(value, BaseConfig):
        return value.deciding() if deciding else value.model_dump(mode="json")
    if isinstance(value, list | tuple):
        return [json_values(v, deciding) for v in value]
    if isinstance(value, dict):
        return {k: json_values(v, deciding) for k, v in value.items()}
    return value


def _normalisable(weights: dict[str, float]) -> dict[str, float]:
    bad = {k: w for k, w in weights.items() if not math.isfinite(w) or w < 0}
    if bad or not weights or sum(weights.values()) <= 0:
        raise ValueError(
            f"{weights} cannot be normalised; write weights of 0 or more, at least one above 0"
        )
    return weights


# Finite, not negative, and not all zero, so that they can be normalised.
Weights = Annotated[dict[str, float], AfterValidator(_normalisable)]
