"""The mapping from HTTP statuses and exceptions of the connection to error codes, the same for all wires. Pure.

A status decides first; the text of a rejection only where the services have nothing better than words.
"""

import http.client
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import Any, cast

from urllib3 import exceptions as urllib3_errors

from millrace.worker.errors import ErrorCode, MillraceError, ProviderError

MAX_MESSAGE_CHARS = 2_000  # of a service's message that is looked at; it may quote the prompt, so it is never logged

_BY_STATUS: dict[int, tuple[ErrorCode, bool, bool]] = {  # the code, whether the user may retry, whether the worker may
    401: ("provider_authentication", False, False),
    402: ("provider_authentication", False, False),  # the operator's account has run out of money
    403: ("provider_authentication", False, False),
    408: ("provider_timeout", True, False),
    413: ("context_too_long", False, False),
    424: ("provider_unavailable", True, True),
    425: ("provider_unavailable", True, True),
    429: ("provider_throttled", True, True),
    504: ("provider_timeout", True, False),  # a retry would wait as long again
}

# Patterns of a prompt that is too long. Each family of models has a wording of its own: a message has to speak of the
# prompt's size and of too much, and not of another limit, such as the one of the answer's tokens.
SIZES = (
    *("prompt", "input", "context", "token", "text", "message", "conversation", "history", "request", "maxlength"),
)
EXCESSES = (
    r"too (?:long|large|many|big)",
    "exceed",
    "over the",
    "(?:longer|larger|greater) than",
    "length less than or equal",
    "maximum (?:context|length|size|number|allowed)",
    "supports? up to",
    r"\blimit",
    "maxlength",
    r"(?:must be )?[<>]=? ?\d",
)
OTHER_LIMITS = (
    *("output tokens", "maximum tokens you requested", "inferenceconfig", "stop_?sequence", "temperature", "top_?p"),
    *(r"too many (?:\w+ )?requests", "rate.?limit", "quota", r"\bper (?:sec|min|hour|day)"),
    *("tool", "image", "cache", "schema", r"max_\w*tokens['`\"]? (?:is|are) too"),
)
# A request for a stream that a model or server only answers in one piece.
STREAMING_REFUSALS = (
    r"\bstream(?!_?options).{0,60}(?:not|n't|un).{0,12}(?:support|available|allow|implement|enabled)",
    r"(?:not|n't|un).{0,12}(?:support|available|allow|implement|enabled).{0,60}\bstream(?!_?options)",
    "must be verified to stream",
)


def _any_of(patterns: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(patterns), re.IGNORECASE)


_SIZE, _EXCESS, _OTHER_LIMIT = _any_of(SIZES), _any_of(EXCESSES), _any_of(OTHER_LIMITS)
_STREAMING_REFUSAL = _any_of(STREAMING_REFUSALS)


def is_overflow(message: str) -> bool:
    """Return whether the message of a rejection says that the prompt is too long."""
    return bool(_SIZE.search(message) and _EXCESS.search(message)) and not _OTHER_LIMIT.search(message)


def is_streaming_refusal(message: str) -> bool:
    """Return whether the message of a rejection says that this model's answers cannot be streamed."""
    return bool(_STREAMING_REFUSAL.search(message))


class ServiceRejection(MillraceError):
    """The status and the message of a rejection, as the cause of its ProviderError.

    The message may quote the prompt, so it is never logged. The doctor shows it, whose prompt quotes no one.
    """


@dataclass(frozen=True)
class Rejection:
    """A response whose status is not 2xx; `body` is its beginning."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @cached_property
    def fields(self) -> dict[str, Any]:
        """The error object: `{"error": {…}}`, or the body itself; empty if there is none."""
        try:
            value = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return error_fields(value)

    @cached_property
    def message(self) -> str:
        """The service's message; the body if it has another form."""
        text = message_of(self.fields) or self.body[: 4 * MAX_MESSAGE_CHARS].decode("utf-8", "replace")
        return text[:MAX_MESSAGE_CHARS]

    def to_error(self) -> ProviderError:
        """Return the error by the status and, for a rejection, by the message's words."""
        error = map_status(self.status, retry_after(self.headers))
        if error.code != "provider_rejected":
            return error
        if is_overflow(self.message):
            return ProviderError("context_too_long", retryable=False)
        return ProviderError(error.code, retryable=False, refuses_streaming=is_streaming_refusal(self.message))


def error_fields(value: Any) -> dict[str, Any]:
    """Return the object that describes an error, out of the forms in which services and gateways wrap it.

    `{"error": {…}}`, `{"error": "text"}`, `[{"error": {…}}]`, `{"detail": …}`, or the members themselves.
    """
    if isinstance(value, list) and value:
        value = cast("list[Any]", value)[0]
    if not isinstance(value, dict):
        return {}
    members = cast("dict[str, Any]", value)
    error = members.get("error")
    if isinstance(error, dict):
        return cast("dict[str, Any]", error)
    return {**members, "message": error} if isinstance(error, str) else members


def message_of(fields: dict[str, Any]) -> str:
    """Return the message of an error object; empty if it has none."""
    found = next((fields[name] for name in ("message", "detail") if fields.get(name)), "")
    return found if isinstance(found, str) else json.dumps(found)[:MAX_MESSAGE_CHARS]


def map_status(status: int, seconds: float | None = None) -> ProviderError:
    """Return the error of a status; `seconds` is how long the service asks to wait."""
    if status in _BY_STATUS:
        code, retryable, is_transient = _BY_STATUS[status]
    elif 400 <= status < 500:
        code, retryable, is_transient = "provider_rejected", False, False
    else:  # a redirect is an error: to follow it would send the key and the prompt elsewhere
        code, retryable, is_transient = "provider_unavailable", True, status >= 500
    if code not in ("provider_throttled", "provider_unavailable"):
        seconds = None
    return ProviderError(code, retryable=retryable, is_transient=is_transient, retry_after=seconds)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return how many seconds the service asks to wait, None if it does not; the names of headers have any case.

    A date is compared with the response's own, by the service's clock: this machine's may be wrong.
    """
    lower = {name.lower(): value for name, value in headers.items()}
    for name, unit in (("retry-after-ms", 1000), ("retry-after", 1)):
        text = lower.get(name, "").strip()
        if re.fullmatch(r"[0-9]{1,9}(\.[0-9]*)?", text, re.ASCII):
            return float(text) / unit
    try:
        until, now = (parsedate_to_datetime(lower.get(name, "")) for name in ("retry-after", "date"))
        return max(0.0, until.timestamp() - now.timestamp())
    except (ValueError, OverflowError):
        return None


# The first match counts, so subclasses stand before their parents.
_BY_CLASS: tuple[tuple[tuple[type[Exception], ...], tuple[ErrorCode, bool]], ...] = (
    ((urllib3_errors.ReadTimeoutError, TimeoutError), ("provider_timeout", False)),  # a retry would wait as long again
    ((urllib3_errors.LocationValueError, http.client.InvalidURL), ("provider_unavailable", False)),
    ((urllib3_errors.HTTPError, http.client.HTTPException, OSError), ("provider_unavailable", True)),
)


def map_exception(error: Exception) -> ProviderError | None:
    """Return the error of an exception of the connection, None if it is not the provider's."""
    for classes, (code, is_transient) in _BY_CLASS:
        if isinstance(error, classes):
            return ProviderError(code, retryable=True, is_transient=is_transient)
    return None
