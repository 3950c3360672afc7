"""The mapping from Google's errors to error codes. Pure.

https://ai.google.dev/gemini-api/docs/troubleshooting
https://cloud.google.com/apis/design/errors#error_model
"""

import re
from typing import Any

from millrace.worker.errors import ErrorCode, ProviderError
from millrace.worker.providers.gemini.arguments import Feature
from millrace.worker.providers.members import Members
from millrace.worker.providers.transport.errors import Rejection, is_overflow, map_status, message_of, retry_after

# The status of an error, whether the user may retry, and whether the worker may.
_BY_STATUS: dict[str, tuple[ErrorCode, bool, bool]] = {
    "UNAUTHENTICATED": ("provider_authentication", False, False),
    "PERMISSION_DENIED": ("provider_authentication", False, False),
    # Google does not serve the operator's country, or wants a billing account: no matter of the question.
    "FAILED_PRECONDITION": ("provider_authentication", False, False),
    "RESOURCE_EXHAUSTED": ("provider_throttled", True, True),
    "DEADLINE_EXCEEDED": ("provider_timeout", True, False),
    "CANCELLED": ("provider_unavailable", True, True),
    "ABORTED": ("provider_unavailable", True, True),
    "INTERNAL": ("provider_unavailable", True, True),
    "UNAVAILABLE": ("provider_unavailable", True, True),
    "UNKNOWN": ("provider_unavailable", True, True),
    "DATA_LOSS": ("provider_unavailable", True, True),
}
_OF_THE_REQUEST = ("INVALID_ARGUMENT", "OUT_OF_RANGE", "INTERNAL")  # may say that the prompt is too long
_MONEY = re.compile("credits|billing account|prepa(?:id|yment)", re.IGNORECASE)  # has no status of its own
_KEY_REASONS = ("API_KEY_INVALID", "API_KEY_EXPIRED", "ACCESS_TOKEN_EXPIRED", "SERVICE_DISABLED", "BILLING_DISABLED")

# Words by which a rejection names a feature of the request; the first match counts.
_REFUSALS: tuple[tuple[tuple[Feature, ...], re.Pattern[str]], ...] = (
    (("signatures",), re.compile("thought.?signature", re.IGNORECASE)),
    (("thoughts", "no_thinking"), re.compile("thinking|thought|budget", re.IGNORECASE)),
    (("system",), re.compile(r"(?:developer|system).?instruction", re.IGNORECASE)),
    (("forced_tool",), re.compile(r"function|\btools?\b|tool_?config", re.IGNORECASE)),
    (("schema",), re.compile(r"json mode|schema|response.?(?:mime|format)|structured", re.IGNORECASE)),
)
_UNSUPPORTED = re.compile("not (?:enabled|supported|available)|n't support|unsupported", re.IGNORECASE)
_ALWAYS_GENERAL = ("thoughts", "system")


class FieldRefused(ProviderError):
    """A request was rejected because of one of its features; `is_general`: so is every request with this feature."""

    def __init__(self, features: tuple[Feature, ...], *, is_general: bool) -> None:
        super().__init__("provider_rejected", retryable=False)
        self.features = features
        self.is_general = is_general


def map_rejection(rejection: Rejection) -> ProviderError | None:
    """Return the error of a response that is not 2xx, None if its status decides."""
    failure = _map(rejection.fields, rejection.message, retry_after(rejection.headers))
    if failure is None and rejection.status == 400:
        return _find_refusal(rejection.message)
    return failure


def map_stream_error(error: Members) -> ProviderError:
    """Return the error of an error object within a stream, whose status was 200."""
    message = message_of(error)
    code: Any = error.get("code")
    failure = _map(error, message, None)
    if failure is not None:
        return failure
    if type(code) is int and 300 <= code <= 599:
        return map_status(code)
    is_rejected = error.get("status") in ("INVALID_ARGUMENT", "NOT_FOUND", "OUT_OF_RANGE", "UNIMPLEMENTED")
    if is_rejected:
        return ProviderError("provider_rejected", retryable=False)
    return ProviderError("provider_unavailable", retryable=True, is_transient=True)


def _map(error: Members, message: str, seconds: float | None) -> ProviderError | None:
    status = error.get("status")
    details = _details_of(error)
    is_out_of_money = status == "RESOURCE_EXHAUSTED" and bool(_MONEY.search(message))
    if is_out_of_money or any(each.get("reason") in _KEY_REASONS for each in details):
        return ProviderError("provider_authentication", retryable=False)
    if status in _OF_THE_REQUEST and is_overflow(message):
        return ProviderError("context_too_long", retryable=False)
    if not isinstance(status, str) or status not in _BY_STATUS:
        return None
    code, retryable, is_transient = _BY_STATUS[status]
    if code == "provider_throttled" and _is_quota_of_the_day(details):
        is_transient = False
    delay = next((found for each in details if (found := _delay_of(each)) is not None), seconds)
    return ProviderError(
        code, retryable=retryable, is_transient=is_transient, retry_after=delay if is_transient else None
    )


def _details_of(error: Members) -> list[Members]:
    details: Any = error.get("details")
    return [each for each in details if isinstance(each, dict)] if isinstance(details, list) else []


def _delay_of(detail: Members) -> float | None:
    """Return the seconds of a RetryInfo, which are written like `21.5s`."""
    delay: Any = detail.get("retryDelay")
    found = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]*)?)s", delay, re.ASCII) if isinstance(delay, str) else None
    return float(found[1]) if found else None


def _is_quota_of_the_day(details: list[Members]) -> bool:
    """Return whether the quota that is used up is one of the whole day: to wait for seconds does not help."""
    violations: list[Any] = [
        one for each in details if isinstance(given := each.get("violations"), list) for one in given
    ]
    return any(isinstance(one, dict) and "PerDay" in str(one.get("quotaId")) for one in violations)


def _find_refusal(message: str) -> FieldRefused | None:
    """Return the refusal of the feature that a rejection names."""
    named = next((features for features, pattern in _REFUSALS if pattern.search(message)), None)
    if named is None:
        return None
    return FieldRefused(named, is_general=named[0] in _ALWAYS_GENERAL or bool(_UNSUPPORTED.search(message)))
