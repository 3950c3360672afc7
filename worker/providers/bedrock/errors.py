"""What Bedrock, botocore and the wire raise, and what each of it means for an answer."""

import re
from dataclasses import dataclass

from botocore import exceptions as sdk
from botocore.eventstream import ParserError
from urllib3 import exceptions as wire

from millrace.worker.errors import ErrorCode, GenerationFailed


@dataclass(frozen=True)
class Meaning:
    """The protocol's code, may the user ask again, may we, before the first delta."""

    code: ErrorCode
    retryable: bool
    is_transient: bool

    def failure(self) -> GenerationFailed:
        """Return it as the error to raise."""
        return GenerationFailed(self.code, retryable=self.retryable, is_transient=self.is_transient)


_THROTTLED = Meaning("provider_throttled", retryable=True, is_transient=True)
_UNAVAILABLE = Meaning("provider_unavailable", retryable=True, is_transient=True)
_MISCONFIGURED = Meaning("provider_unavailable", retryable=False, is_transient=False)
_TIMED_OUT = Meaning("provider_timeout", retryable=True, is_transient=False)  # one more wait as long helps nobody
_REJECTED = Meaning("provider_rejected", retryable=False, is_transient=False)
_TOO_LONG = Meaning("context_too_long", retryable=False, is_transient=False)

CODES = {
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
"""Every exception of ConverseStream, by the name it has as an answer; within a stream it begins in lower case."""

# The first that fits; the narrow ones stand before their parents.
_RAISED: tuple[tuple[tuple[type[Exception], ...], Meaning], ...] = (
    ((sdk.ReadTimeoutError, wire.ReadTimeoutError, TimeoutError), _TIMED_OUT),
    ((sdk.ParamValidationError,), _REJECTED),
    ((sdk.HTTPClientError, sdk.ConnectionError), _UNAVAILABLE),
    ((sdk.BotoCoreError,), _MISCONFIGURED),  # no credentials, a broken profile: asking again changes nothing
    ((wire.HTTPError, ParserError, OSError), _UNAVAILABLE),
)

# Bedrock has no code of its own for it: "Input is too long for requested model.", "prompt is too long: …",
# "input length and `max_tokens` exceed context limit: …".
_TOO_LONG_WORDS = re.compile(r"too long|context (window|length|limit)|maximum context", re.IGNORECASE)


def failure_of(error: Exception) -> GenerationFailed | None:
    """Return what an exception means for the answer, None where it is none of the provider's."""
    meaning = _meaning_of(error)
    return meaning.failure() if meaning else None


def _meaning_of(error: Exception) -> Meaning | None:
    if isinstance(error, sdk.ClientError):  # EventStreamError, an exception within the stream, is one
        return _of_answer(error)
    return next((meaning for kinds, meaning in _RAISED if isinstance(error, kinds)), None)


def _of_answer(error: sdk.ClientError) -> Meaning:
    told = error.response.get("Error", {})
    code, words = told.get("Code", ""), told.get("Message", "")
    meaning = CODES.get(code[:1].upper() + code[1:]) or _of_status(
        error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 400)
    )
    return _TOO_LONG if meaning is _REJECTED and _TOO_LONG_WORDS.search(words) else meaning


def _of_status(status: int) -> Meaning:
    if status == 429:
        return _THROTTLED
    if status == 408:
        return _TIMED_OUT
    return _UNAVAILABLE if status >= 500 else _REJECTED
