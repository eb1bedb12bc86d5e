"""What all sections share: the base class, the error, value types, the check of weights."""

from __future__ import annotations

import math
import re
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

# What may be the name of a folder of a run: a run, an arm.
FOLDER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[int, Field(ge=1)]
# A count that follows from what Ray reports (infra.placement): "auto", held as 0.
Auto = Annotated[int, BeforeValidator(lambda v: 0 if v == "auto" else v), Field(ge=0)]


class ConfigError(ValueError):
    """A config that must not start. The message names key, value and what to write instead."""


class BaseConfig(BaseModel):
    model_config = ConfigDict(extra="forbid", validate_default=True, protected_namespaces=())


def check_weights(weights: dict[str, float], key: str) -> dict[str, float]:
    """Weights must be finite, not negative, and not all zero, so that they can be normalised."""
    bad = {k: w for k, w in weights.items() if not math.isfinite(w) or w < 0}
    if bad or not weights or sum(weights.values()) <= 0:
        raise ValueError(
            f"{key}={weights} cannot be normalised; write at least one weight above 0 "
            "and none negative, for example {positive: 0.6, synthetic: 0.4}"
        )
    return weights
