"""The mapping from exceptions of Bedrock, botocore and urllib3 to error codes. Pure."""

from dataclasses import dataclass
from typing import Any

from botocore import exceptions as sdk
from botocore.eventstream import ParserError
from urllib3 import exceptions as wire

from millrace.worker.errors import ErrorCode, MillraceError, ProviderError
from millrace.worker.providers.transport.errors import is_overflow, is_streaming_refusal, retry_after


class UnreadableResponse(MillraceError):
    """A response, or a message within a stream, that is not of Bedrock's form."""


@dataclass(frozen=True)
class ErrorMapping:
    """An error code, whether the user may retry, and whether the worker may, before the first delta."""

    code: ErrorCode
    retryable: bool
    is_transient: bool
    refuses_streaming: bool = False

    def to_error(self) -> ProviderError:
        """Return the error to raise."""
        return ProviderError(
            self.code,
            retryable=self.retryable,
            is_transient=self.is_transient,
            refuses_streaming=self.refuses_streaming,
        )


_THROTTLED = ErrorMapping("provider_throttled", retryable=True, is_transient=True)
_OVER_QUOTA = ErrorMapping("provider_throttled", retryable=True, is_transient=False)  # it lasts
_UNAVAILABLE = ErrorMapping("provider_unavailable", retryable=True, is_transient=True)
_MISCONFIGURED = ErrorMapping("provider_unavailable", retryable=False, is_transient=False)
_TIMED_OUT = ErrorMapping("provider_timeout", retryable=True, is_transient=False)  # a retry would wait as long again
_TIMED_OUT_IN_STREAM = ErrorMapping("provider_timeout", retryable=True, is_transient=True)  # the service was there
_REJECTED = ErrorMapping("provider_rejected", retryable=False, is_transient=False)
_NOT_STREAMED = ErrorMapping("provider_rejected", retryable=False, is_transient=False, refuses_streaming=True)
_UNREADABLE = ErrorMapping("provider_rejected", retryable=True, is_transient=False)  # another answer may be readable
_UNAUTHENTICATED = ErrorMapping("provider_authentication", retryable=False, is_transient=False)
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
    "AccessDeniedException": _UNAUTHENTICATED,
    "ResourceNotFoundException": _REJECTED,
    "ServiceQuotaExceededException": _OVER_QUOTA,
}
"""Every exception of ConverseStream and InvokeModel by its name; within a stream the name begins in lower case."""

_CREDENTIALS = frozenset(
    (
        *("ExpiredToken", "RequestExpired", "InvalidClientTokenId", "UnrecognizedClient", "InvalidAccessKeyId"),
        *("InvalidSignature", "IncompleteSignature", "SignatureDoesNotMatch"),
        *("MissingAuthenticationToken", "OptInRequired", "NotAuthorized", "AccessDenied"),
    )
)
"""AWS's codes, without `Exception` at their end, for credentials that it does not accept; the status is 403 or 400.

https://docs.aws.amazon.com/bedrock/latest/APIReference/CommonErrors.html
"""

# The first match counts, so subclasses stand before their parents.
_BY_CLASS: tuple[tuple[tuple[type[Exception], ...], ErrorMapping], ...] = (
    ((sdk.ReadTimeoutError, wire.ReadTimeoutError, TimeoutError), _TIMED_OUT),
    ((sdk.ParamValidationError,), _REJECTED),
    ((UnreadableResponse,), _UNREADABLE),
    (
        (
            sdk.NoCredentialsError,
            sdk.NoAuthTokenError,
            sdk.PartialCredentialsError,
            sdk.CredentialRetrievalError,
            sdk.TokenRetrievalError,
            sdk.SSOError,
            sdk.LoginError,
        ),
        _UNAUTHENTICATED,
    ),
    ((sdk.HTTPClientError, sdk.ConnectionError), _UNAVAILABLE),
    ((sdk.BotoCoreError,), _MISCONFIGURED),  # a broken AWS profile, for example: a retry changes nothing
    ((wire.HTTPError, ParserError, OSError), _UNAVAILABLE),
)


def map_error(error: Exception) -> ProviderError | None:
    """Return the error that ends the generation, None if the exception is not the provider's."""
    mapping = _find_mapping(error)
    if mapping is None:
        return None
    failure = mapping.to_error()
    if mapping.is_transient and isinstance(error, sdk.ClientError):  # an exception within the stream has no headers
        failure.retry_after = retry_after(error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {}))
    return failure


def _find_mapping(error: Exception) -> ErrorMapping | None:
    if isinstance(error, sdk.ClientError):  # an exception within the stream, EventStreamError, is a subclass
        return _map_response(error)
    return next((mapping for classes, mapping in _BY_CLASS if isinstance(error, classes)), None)


def may_refuse_feature(error: sdk.ClientError) -> bool:
    """Return whether the model may have rejected a feature of the request, such as cache points, and not the rest.

    Bedrock rejects a feature with a ValidationException or an AccessDeniedException, which say nothing in particular.
    """
    is_of_access = _text_of(error, "Code") == "AccessDeniedException"
    return is_of_access or _map_response(error) is _REJECTED


def _map_response(error: sdk.ClientError) -> ErrorMapping:
    code = _text_of(error, "Code")
    code = code[:1].upper() + code[1:]
    mapping = EXCEPTIONS.get(code)
    if mapping is None and code.removesuffix("Exception") in _CREDENTIALS:
        mapping = _UNAUTHENTICATED
    if isinstance(error, sdk.EventStreamError):
        status = 0  # botocore makes up a status for all of them, and has no code for one that it does not know
        mapping = _TIMED_OUT_IN_STREAM if mapping is _TIMED_OUT else mapping
    else:
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    mapping = mapping or _map_status(status)
    message = _text_of(error, "Message")
    if status == 413 or (mapping is _REJECTED and is_overflow(message)):
        return _TOO_LONG
    return _NOT_STREAMED if mapping is _REJECTED and status and is_streaming_refusal(message) else mapping


def _text_of(error: sdk.ClientError, name: str) -> str:
    """Return the code or the message of an error; empty if the service has sent something else in its place."""
    value: Any = (error.response.get("Error") or {}).get(name)
    return value if isinstance(value, str) else ""


def _map_status(status: int) -> ErrorMapping:
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    return _REJECTED if 400 <= status < 500 else _UNAVAILABLE


_BY_STATUS = {401: _UNAUTHENTICATED, 403: _UNAUTHENTICATED, 408: _TIMED_OUT, 424: _UNAVAILABLE, 429: _THROTTLED}
