"""Members of the JSON that a provider sends, with the type that the wire promises. Pure.

An absent or null member says nothing. One of a wrong type ends the answer with `provider_rejected`, never `internal`.
"""

import json
from base64 import b64decode
from collections.abc import Iterable, Mapping
from typing import Any, cast

import msgspec

from millrace.worker.errors import ProviderError

Members = dict[str, Any]

MAX_COUNT = 2**53  # tokens; larger numbers are not exact in a browser
MAX_DEPTH = 100  # of lists and objects within each other

_decode = msgspec.json.Decoder().decode


def unreadable() -> ProviderError:
    """Return the error of an answer that cannot be read; sampling is random, so another answer may be readable."""
    return ProviderError("provider_rejected", retryable=True)


def merge(own: Members, given: Mapping[str, Any]) -> Members:
    """Return the members of a request with the operator's (`MILLRACE_BEDROCK_REQUEST` and its like).

    An object is merged with its namesake; any other value takes the place of it.
    """
    merged = dict(own)
    for name, value in given.items():
        mine = merged.get(name)
        is_object = isinstance(mine, dict) and isinstance(value, Mapping)
        merged[name] = merge(cast("Members", mine), cast("Members", value)) if is_object else value
    return merged


def parse_object(data: bytes | str) -> Members:
    """Return the JSON object in `data`; raises ProviderError if there is none.

    Half of a surrogate pair is allowed: models split an emoji over two deltas.
    """
    try:
        value = _decode(data)
    except (ValueError, RecursionError):
        value = _parse_leniently(data)
    if type(value) is not dict:
        raise unreadable()
    return value


def _parse_leniently(data: bytes | str) -> Any:
    # msgspec takes neither half of a surrogate pair nor a number like 1e999; the standard library takes both.
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise unreadable() from error


def object_of(value: Any) -> Members:
    """Return a member that is an object, an empty one if it is absent."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise unreadable()
    return cast("Members", value)


def list_of(value: Any) -> list[Any]:
    """Return a member that is a list, an empty one if it is absent."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise unreadable()
    return cast("list[Any]", value)


def text_of(value: Any) -> str:
    """Return a member that is a text, an empty one if it is absent."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise unreadable()
    return value


def bytes_of(value: Any) -> bytes:
    """Return a member that is in base64, none if it is absent."""
    if isinstance(value, bytes):
        return value  # decoded by an SDK
    try:
        return b64decode(text_of(value), validate=True)
    except ValueError as error:
        raise unreadable() from error


def name_of(value: Any) -> str:
    """Return a text without which the rest cannot be used, such as the name of a tool."""
    text = text_of(value)
    if not text:
        raise unreadable()
    return text


def count_of(value: Any) -> int:
    """Return a member that is a number of tokens; 0 if it is none, because a count is never worth an answer."""
    return value if type(value) is int and 0 <= value <= MAX_COUNT else 0


def checked(value: Any) -> Any:
    """Return JSON that every reader can parse: without NaN and 1e999, which Python accepts, and not nested too deep."""
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        if not level:
            break
        level = [child for each in level if isinstance(each, dict | list) for child in _children(each)]
    if level:
        raise unreadable()
    try:
        json.dumps(value, allow_nan=False)
    except ValueError as error:
        raise unreadable() from error
    return value


def _children(value: "Members | list[Any]") -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value
