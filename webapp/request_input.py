"""The parts of a request that routes share: a JSON object as its body, and the cursor and limit of a page."""

import json
import re
from collections.abc import Callable
from math import isinf
from typing import Any, NoReturn, TypeVar, cast

from flask import Request, request

from millrace.webapp.guard.permits import without_permit
from millrace.webapp.problems import Problem, invalid

MAX_PAGE_ITEMS = 100

Json = dict[str, Any]
Page = TypeVar("Page")


def read_object(request: Request, max_bytes: int) -> Json:
    """Return the JSON object of the body; raises Problem 400, 408, 413, 415."""
    if request.mimetype != "application/json":
        raise Problem(
            415, "unsupported_media_type", "The body must be JSON, with the header Content-Type: application/json."
        )
    if (request.content_length or 0) > max_bytes:
        raise _too_large(max_bytes)
    return parse_object(_read_body(request, max_bytes), "body")


def parse_object(raw: bytes, place: str) -> Json:
    """Return a JSON object; `place` is where it stands, for the detail of the Problem 400 that is raised.

    Uses the standard library's parser, because it accepts lone surrogates, which occur in users' texts. A byte order
    mark before the object is skipped: some clients on Windows send it.
    """
    try:
        parsed: Any = json.loads(
            raw.decode("utf-8-sig"),
            parse_constant=_reject_constant,
            parse_float=_parse_finite,
            object_pairs_hook=_object_of,
        )
    except _RepeatedKey as error:
        raise Problem(400, "malformed", f"The {place} has an object with the same key twice.") from error
    except (ValueError, RecursionError) as error:  # too deep a nesting is the client's error, not a 500
        raise Problem(400, "malformed", f"The {place} is not valid JSON in UTF-8, or is nested too deeply.") from error
    if not isinstance(parsed, dict):
        raise Problem(400, "malformed", f"The {place} must be a JSON object.")
    return cast("Json", parsed)


def read_optional_object(request: Request, max_bytes: int) -> Json:
    """Return the same, an empty object for a request without a body."""
    if not request.content_length and "Transfer-Encoding" not in request.headers:
        return {}
    return read_object(request, max_bytes)


def _read_body(request: Request, max_bytes: int) -> bytes:
    """Return the whole body; raises Problem 400 if it ended early or is not in valid chunks, 408, 413."""
    # One byte more than allowed: Werkzeug silently truncates a body of unknown length at this limit.
    request.max_content_length = max_bytes + 1
    request.environ["wsgi.input"] = source = _Input(request.environ["wsgi.input"])
    with without_permit():
        raw = request.get_data(cache=False)
    if isinstance(source.error, TimeoutError):
        detail = "The body did not arrive in time (MILLRACE_BODY_SECONDS). Send the request again."
        raise Problem(408, "body_timeout", detail) from source.error
    if source.error is not None:
        raise Problem(400, "malformed", "The body ended early, or is not in valid chunks.") from source.error
    if len(raw) > max_bytes:
        raise _too_large(max_bytes)
    if request.content_length is not None and len(raw) < request.content_length:
        raise Problem(400, "malformed", "The body is shorter than its Content-Length.")
    return raw


class _Input:
    """The server's input stream; keeps the error of a read and ends there.

    Werkzeug takes some of these errors for the end of a body of unknown length, which then counts as whole.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.error: Exception | None = None

    def read(self, size: int = -1) -> bytes:
        try:
            return self._stream.read(size)
        except Exception as error:  # noqa: BLE001 - each server has errors of its own for a bad body
            self.error = error
            return b""


def _too_large(max_bytes: int) -> Problem:
    return Problem(413, "too_large", f"The body is larger than {max_bytes} bytes (MILLRACE_MAX_BODY_BYTES).")


class _RepeatedKey(ValueError):
    """A JSON object has a key twice: parsers differ in which of the two values counts."""


def _object_of(pairs: list[tuple[str, Any]]) -> Json:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _RepeatedKey
    return found


def _parse_finite(text: str) -> float:
    number = float(text)
    if isinf(number):  # 1e400 is valid JSON, but cannot be stored or sent back
        raise ValueError("a number is too large")
    return number


def _reject_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def read_page(read: Callable[[str | None, int], Page], default_limit: int) -> Page:
    """Return the page that `read` returns for the request's cursor and limit; raises Problem 400 and 422."""
    limit = request.args.get("limit") or str(default_limit)
    if not re.fullmatch(r"[0-9]{1,3}", limit, re.ASCII) or not 1 <= int(limit) <= MAX_PAGE_ITEMS:
        raise invalid("limit", f"limit must be between 1 and {MAX_PAGE_ITEMS}.")
    try:
        return read(request.args.get("cursor") or None, int(limit))
    except ValueError as error:
        raise Problem(400, "bad_cursor", "Invalid cursor. Use the value of `next` from the previous page.") from error
