"""The form that a request asks of its answer: JSON that fits a schema.

The web tier checks the schema, the worker the answer.

Schemas come from users, so checking an answer must neither fetch anything nor take long: a schema has no regular
expressions, refers only to its own definitions, is not recursive, and is small also when its references are expanded.
A small schema may still ask for much work, such as a thousand rules for each item of a long list. So each check takes a
bounded time of the processor, and gives way to the other answers of the process meanwhile.
"""

import json
import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, cast

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend
from jsonschema_specifications import REGISTRY
from referencing import Registry
from referencing.jsonschema import DRAFT202012

Schema = dict[str, Any]

MAX_NODES = 2000  # values in the schema, each reference counted as often as it is used
MAX_DEPTH = 50
CHECK_SECONDS = 2.0  # of the processor, for one check
_TURN_SECONDS = 0.005  # of it, after which other greenlets have their turn
_REFUSED = {"pattern", "patternProperties", "$dynamicRef", "$dynamicAnchor", "$recursiveRef", "$anchor", "$id"}


class SchemaRefused(ValueError):
    """The schema is not a JSON schema, or is one that cannot be checked safely; the text says why."""


def check_schema(schema: Schema) -> None:
    """Raise SchemaRefused for a schema that is not valid or not supported."""
    _Inspection(schema).inspect(schema, 0, ())
    try:
        with _paced():
            error = next(_PacedValidator(_META_SCHEMA, registry=_META_SCHEMAS).iter_errors(schema), None)
    except _TooSlow as slow:
        raise SchemaRefused("it takes too long to check") from slow
    if error is not None:
        raise SchemaRefused(f"it is not a JSON schema: {error.message[:200]}") from error


class _Inspection:
    """Walks through a schema with its references expanded, and counts its values."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._nodes = 0

    def inspect(self, value: Any, depth: int, used: tuple[str, ...]) -> None:
        """Inspect a value within the schema, which the references `used` have led to; raises SchemaRefused."""
        self._nodes += 1
        if self._nodes > MAX_NODES or depth > MAX_DEPTH:
            raise SchemaRefused(f"it is too large: at most {MAX_NODES} values, {MAX_DEPTH} within each other")
        children: list[Any] = [*cast("list[Any]", value)] if isinstance(value, list) else []
        if isinstance(value, dict):
            members = cast("Schema", value)
            for name in _REFUSED & members.keys():
                if name == "patternProperties" or not isinstance(members[name], dict | bool):  # else a property's name
                    raise SchemaRefused(f"{name} is not supported")
            if depth and isinstance(members.get("$schema"), str):  # the validator would go on with another version's
                raise SchemaRefused("$schema is not supported within the schema")
            children = [*members.values()]
            reference = members.get("$ref")
            if isinstance(reference, str):
                if reference in used:
                    raise SchemaRefused("it is recursive, which is not supported")
                self.inspect(_definition(self._schema, reference), depth + 1, (*used, reference))
        for each in children:
            self.inspect(each, depth + 1, used)


def _definition(schema: Schema, reference: str) -> Any:
    """Return the definition that a reference within the schema names."""
    place, _, name = reference.rpartition("/")
    definitions = schema.get(place.removeprefix("#/")) if place in ("#/$defs", "#/definitions") else None
    if not isinstance(definitions, dict) or name not in definitions:
        raise SchemaRefused(f"$ref refers to a definition of its own, such as #/$defs/NAME, not to {reference[:100]}")
    return cast("Schema", definitions)[name]


def fits(text: str, schema: Schema) -> bool:
    """Return whether the text is JSON that fits the schema, which `check_schema` has accepted.

    One that cannot be checked within `CHECK_SECONDS` counts as one that does not fit.
    """
    try:
        value = json.loads(text, parse_constant=_refuse, parse_float=_number)
        with _paced():
            return _PacedValidator(schema, registry=Registry()).is_valid(value)
    except (ValueError, RecursionError, _TooSlow):
        return False


def _refuse(name: str) -> Any:
    raise ValueError(name)


def _number(digits: str) -> float | int:
    """Return a number with a fraction or an exponent; 1.0 is the same value as 1 in JSON."""
    value = float(digits)
    return int(value) if value.is_integer() else value


class _TooSlow(Exception):
    """A check has used up its time."""


class _Pace:
    """Measures one check's time of the processor."""

    def __init__(self) -> None:
        self._used = 0.0
        self._turn_began = time.thread_time()

    def step(self) -> None:
        """Let other greenlets run when the check's turn is over; raises _TooSlow when its time is used up."""
        turn = time.thread_time() - self._turn_began
        if turn < _TURN_SECONDS:
            return
        self._used += turn
        if self._used > CHECK_SECONDS:
            raise _TooSlow
        time.sleep(0)
        self._turn_began = time.thread_time()


_pace: ContextVar[_Pace] = ContextVar("pace")


@contextmanager
def _paced() -> Generator[None]:
    token = _pace.set(_Pace())
    try:
        yield
    finally:
        _pace.reset(token)


def _with_pace(check: Any) -> Any:
    """Return a keyword's check that makes a step of the pace first."""

    def run(validator: Any, value: Any, instance: Any, schema: Schema) -> Iterable[ValidationError] | None:
        _pace.get().step()
        return check(validator, value, instance, schema)

    return run


def _unique_items(validator: Any, is_wanted: bool, instance: Any, _schema: Schema) -> Iterator[ValidationError]:
    """Check `uniqueItems` in linear time; jsonschema compares each pair of objects."""
    if is_wanted and validator.is_type(instance, "array"):
        items = cast("list[Any]", instance)
        if len({json.dumps(each, sort_keys=True) for each in items}) < len(items):
            yield ValidationError("the list holds a value twice")


_CHECKS = {**Draft202012Validator.VALIDATORS, "uniqueItems": _unique_items}
_PacedValidator: Any = extend(Draft202012Validator, {name: _with_pace(check) for name, check in _CHECKS.items()})

# The schema of schemas, without `$schema`, by which the validator would leave the paced one for its own.
_META_SCHEMAS: Registry[Any] = Registry[Any]().with_contents(
    (
        (uri, {name: value for name, value in cast("Schema", REGISTRY.contents(uri)).items() if name != "$schema"})
        for uri in REGISTRY
        if "/2020-12/" in uri
    ),
    default_specification=DRAFT202012,
)
_META_SCHEMA = _META_SCHEMAS.contents(str(Draft202012Validator.META_SCHEMA["$id"]))
