"""The mapping from exceptions of Bedrock, botocore and urllib3 to error codes. Pure."""

import re
from dataclasses import dataclass

from botocore import exceptions as sdk
from botocore.eventstream import ParserError
from urllib3 import exceptions as wire

from millrace.worker.errors import ErrorCode, GenerationFailed


@dataclass(frozen=True)
class ErrorMapping:
    """An error code, whether the user may retry, and whether the worker may, before the first delta."""

    code: ErrorCode
    retryable: bool
    is_transient: bool

    def to_error(self) -> GenerationFailed:
        """Return the error to raise."""
        return GenerationFailed(self.code, retryable=self.retryable, is_transient=self.is_transient)


_THROTTLED = ErrorMapping("provider_throttled", retryable=True, is_transient=True)
_UNAVAILABLE = ErrorMapping("provider_unavailable", retryable=True, is_transient=True)
_MISCONFIGURED = ErrorMapping("provider_unavailable", retryable=False, is_transient=False)
_TIMED_OUT = ErrorMapping("provider_timeout", retryable=True, is_transient=False)  # a retry would wait as long again
_REJECTED = ErrorMapping("provider_rejected", retryable=False, is_transient=False)
_TOO_LONG = ErrorMapping("context_too_long", retryable=False, is_transient=False)

EXCEPTIONS = {
    "ThrottlingException": _THROTTLED,
    "ServiceUnavailableException": _UNAVAILABLE,
    "InternalServerException": _UNAVAILABLE,
    "ModelNotReadyException": _UNAVAILABLE,
    "ModelErrorException": _UNAVAILABLE,
    "ModelStreamErrorException": _UNAVAILABLE,
    "ModelTimeoutException": _TIMED_OUT,
    "ValidationException": _REJECTED,
    "AccessDeniedException": _REJECTED,
    "ResourceNotFoundException": _REJECTED,
}
"""Every exception of ConverseStream by its name in a response; within a stream the name begins in lower case."""

# The first match counts, so subclasses stand before their parents.
_BY_CLASS: tuple[tuple[tuple[type[Exception], ...], ErrorMapping], ...] = (
    ((sdk.ReadTimeoutError, wire.ReadTimeoutError, TimeoutError), _TIMED_OUT),
    ((sdk.ParamValidationError,), _REJECTED),
    ((sdk.HTTPClientError, sdk.ConnectionError), _UNAVAILABLE),
    ((sdk.BotoCoreError,), _MISCONFIGURED),  # no credentials, a broken AWS profile: a retry changes nothing
    ((wire.HTTPError, ParserError, OSError), _UNAVAILABLE),
)

# Bedrock has no separate code for a prompt that is too long. Its messages: "Input is too long for requested model.",
# "prompt is too long: …", "input length and `max_tokens` exceed context limit: …".
_TOO_LONG_MESSAGE = re.compile(r"too long|context (window|length|limit)|maximum context", re.IGNORECASE)


def map_error(error: Exception) -> GenerationFailed | None:
    """Return the error that ends the generation, None if the exception is not the provider's."""
    mapping = _find_mapping(error)
    return mapping.to_error() if mapping else None


def _find_mapping(error: Exception) -> ErrorMapping | None:
    if isinstance(error, sdk.ClientError):  # an exception within the stream, EventStreamError, is a subclass
        return _map_response(error)
    return next((mapping for classes, mapping in _BY_CLASS if isinstance(error, classes)), None)


def _map_response(error: sdk.ClientError) -> ErrorMapping:
    details = error.response.get("Error", {})
    code, message = details.get("Code", ""), details.get("Message", "")
    mapping = EXCEPTIONS.get(code[:1].upper() + code[1:]) or _map_status(
        error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 400)
    )
    return _TOO_LONG if mapping is _REJECTED and _TOO_LONG_MESSAGE.search(message) else mapping


def _map_status(status: int) -> ErrorMapping:
    if status == 429:
        return _THROTTLED
    if status == 408:
        return _TIMED_OUT
    return _UNAVAILABLE if status >= 500 else _REJECTED
