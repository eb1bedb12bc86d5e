"""JSON Schema checks that end, whatever the schema: a tool's schema comes with a stranger's rows.

A regular expression may take a tenth of a second, a reference and a composition count as a step,
and steps are bounded; what takes more is a `CostlySchema`. `unevaluatedProperties` is not looked at
(its search is exponential), nor does anything fetch a far `$ref`.
"""

from __future__ import annotations

import copy
import json
import re
import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from decimal import Decimal
from functools import lru_cache, reduce
from operator import getitem
from typing import Any

import regex
from jsonschema import Draft202012Validator, FormatChecker, ValidationError
from jsonschema.protocols import Validator
from jsonschema.validators import extend
from referencing import Registry
from referencing.exceptions import Unresolvable

from raytune_agents.records import JsonSchema

PATTERN_SECONDS = 0.1  # of one search; the honest pattern takes a microsecond
MAX_WRITTEN_OUT = 20_000  # characters; a hundredth of a second and a few MiB to compile
MAX_STEPS = 10_000  # half a second; an honest call takes some dozens
MOST_OPEN = 64  # references, one within the other; of a loop there would be no end
FEW_ITEMS = 100  # of a list whose items are compared each with each

Errors = Iterator[ValidationError]
_SPENT = threading.local()


class CostlySchema(ValueError):
    """A check that would take too long: it neither passed nor failed."""


def _spend(steps: int = 1) -> None:
    _SPENT.steps = getattr(_SPENT, "steps", 0) + steps
    if _SPENT.steps > MAX_STEPS:
        raise CostlySchema(f"more than {MAX_STEPS} steps")


_TOKEN = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*+\]?|\{(\d+)(?:,\d*)?\}|.", re.DOTALL)


def written_out(pattern: str) -> int:
    """The size of a pattern with its repeats written out, as `regex` compiles them: `a{9}` is 9;
    no more than a little above MAX_WRITTEN_OUT."""
    sizes, last = [0], 0
    for token in _TOKEN.finditer(pattern):
        if token[0] == "(":
            sizes.append(0)
            continue
        if token[0] == ")" and len(sizes) > 1:
            last = sizes.pop()
            added = last
        elif token[1]:
            times = min(int(token[1][:9]), MAX_WRITTEN_OUT)
            added, last = last * (times - 1), last * times
        else:
            added = last = 1
        sizes[-1] += added
        if sizes[-1] > MAX_WRITTEN_OUT:
            break
    return max(sizes)


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> regex.Pattern[str]:
    if written_out(pattern) > MAX_WRITTEN_OUT:
        raise CostlySchema("a pattern of too many repeats")
    return regex.compile(pattern)


def found_in(pattern: str, text: str) -> bool:
    """Whether a stranger's regular expression matches anywhere in the text.

    Raises CostlySchema where that takes too long, regex.error for one that is none.
    """
    _spend()
    try:
        return _compiled(pattern).search(text, timeout=PATTERN_SECONDS) is not None
    except TimeoutError:
        raise CostlySchema("a slow pattern") from None


# --- keywords ---


def _stepped(keyword: str) -> Any:
    """jsonschema's own check of a keyword, counted."""
    own = Draft202012Validator.VALIDATORS[keyword]

    def check(validator: Validator, value: Any, instance: Any, schema: Any) -> Errors:
        _spend(len(value) if isinstance(value, list) else 1)
        yield from own(validator, value, instance, schema) or ()

    return check


def _reference(validator: Validator, ref: Any, instance: Any, schema: Any) -> Errors:
    _spend()
    _SPENT.open += 1
    try:
        if _SPENT.open > MOST_OPEN:
            raise CostlySchema(f"more than {MOST_OPEN} references, one within the other")
        yield from Draft202012Validator.VALIDATORS["$ref"](validator, ref, instance, schema)
    finally:  # also where nobody asks for the next error
        _SPENT.open -= 1


def _pattern(validator: Validator, pattern: str, instance: Any, schema: Any) -> Errors:
    if isinstance(instance, str) and not found_in(pattern, instance):
        yield ValidationError(f"{instance!r:.80} does not match {pattern!r:.80}")


def _pattern_properties(validator: Validator, patterns: Any, instance: Any, schema: Any) -> Errors:
    if not isinstance(instance, dict):
        return
    for pattern, inner in patterns.items():
        for key, value in instance.items():
            if found_in(pattern, key):
                yield from validator.descend(value, inner, path=key, schema_path=pattern)


def _additional(validator: Validator, allowed: Any, instance: Any, schema: Any) -> Errors:
    if not isinstance(instance, dict):
        return
    known, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    extra = [k for k in instance if k not in known and not any(found_in(p, k) for p in patterns)]
    if isinstance(allowed, dict):
        for key in extra:
            yield from validator.descend(instance[key], allowed, path=key)
    elif not allowed and extra:
        yield ValidationError(f"unexpected: {', '.join(extra)[:80]}")


def _unique(validator: Validator, wanted: Any, instance: Any, schema: Any) -> Errors:
    if not wanted or not isinstance(instance, list):
        return
    if len(instance) <= FEW_ITEMS:
        own = Draft202012Validator.VALIDATORS["uniqueItems"]
        yield from own(validator, wanted, instance, schema)
    elif len({json.dumps(v, sort_keys=True) for v in instance}) < len(instance):
        yield ValidationError("items are not unique")


def _multiple(validator: Validator, step: Any, instance: Any, schema: Any) -> Errors:
    if not validator.is_type(instance, "number"):
        return
    try:  # in decimals: 19.99 is a multiple of 0.01
        if not Decimal(str(instance)) % Decimal(str(step)):
            return
    except ArithmeticError:
        pass
    yield ValidationError(f"cannot be told to be a multiple of {step!r:.40}")


def _unlooked(validator: Validator, value: Any, instance: Any, schema: Any) -> Errors:
    return iter(())


_COUNTED = (
    "$dynamicRef anyOf oneOf allOf not if items prefixItems properties contains "
    "propertyNames dependentSchemas enum required"
)
Bounded = extend(
    Draft202012Validator,
    {word: _stepped(word) for word in _COUNTED.split()}
    | {
        "$ref": _reference,
        "pattern": _pattern,
        "patternProperties": _pattern_properties,
        "uniqueItems": _unique,
        "additionalProperties": _additional,
        "multipleOf": _multiple,
        "unevaluatedProperties": _unlooked,
        "unevaluatedItems": _unlooked,
    },
)


def bounded_validator(schema: JsonSchema) -> Validator:
    """The validator of a schema. Raises jsonschema.SchemaError, RecursionError."""
    # a pattern may be ECMA's and not Python's: `found_in` reads it, or says that it cannot
    Draft202012Validator.check_schema(schema, format_checker=FormatChecker(()))
    return Bounded(schema, registry=Registry())  # no $ref is ever fetched


def tolerant_validator(schema: JsonSchema) -> Validator:
    """The validator of a stranger's schema: what is no word of JSON Schema's (`minLength: "1"`, a
    broken pattern, a reference to what is not there) says nothing. Raises RecursionError."""
    schema = copy.deepcopy(schema)
    refused = {tuple(error.absolute_path) for error in _META.iter_errors(schema)}
    # the deepest first, and the last of a list
    for path in sorted(refused, key=lambda p: [str(x).zfill(9) for x in p], reverse=True):
        del reduce(getitem, path[:-1], schema)[path[-1]]
    return _Tolerant(schema, registry=Registry())


def _if_it_is_one(keyword: str) -> Any:
    """The check of a keyword whose value may name or be nothing."""
    own = Bounded.VALIDATORS[keyword]

    def check(validator: Validator, value: Any, instance: Any, schema: Any) -> Errors:
        with suppress(Unresolvable, regex.error):
            yield from own(validator, value, instance, schema) or ()

    return check


_META = Draft202012Validator(Draft202012Validator.META_SCHEMA)
_Tolerant = extend(Bounded, {word: _if_it_is_one(word) for word in ("$ref", "pattern")})


def accepts(schema: Mapping[str, Any], value: Any) -> bool:
    """Whether a value fits a schema; what takes too long to tell, or is no schema, does not."""
    return bool(accepted_values(schema, [value]))


def accepted_values(schema: Mapping[str, Any], values: Collection[Any]) -> list[Any]:
    """Those of the values that `accepts` lets pass; to make the validator costs more than to use
    it."""
    out: list[Any] = []
    if not values:
        return out
    with suppress(Exception):  # a stranger's schema may do anything to the library
        validator = Bounded(schema, registry=Registry())
        for value in values:
            with suppress(Exception):
                if next(bounded_errors(validator, value), None) is None:
                    out.append(value)
    return out


def bounded_errors(validator: Validator, instance: Any) -> Errors:
    """`iter_errors` within the bounds. Raises CostlySchema, RecursionError, regex.error,
    referencing.exceptions.Unresolvable."""
    _SPENT.steps = _SPENT.open = 0
    yield from validator.iter_errors(instance)
