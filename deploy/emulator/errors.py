"""Errors in AWS's shape: those that reject a bad request, and those that a caller scripts as faults.

ServiceError     rejects a request: HTTP status, AWS's error code, message; raised only before a response has begun
ScriptedError    describes a scripted fault, both as an HTTP response and as an exception within a stream
"""

import json
from typing import Annotated, Any, Literal

import msgspec

ErrorFault = Literal[
    "throttle",
    "validation",
    "unavailable",
    "stream_error",
    "expired",
    "input_too_long",
    "prompt_too_long",
    "over_context_limit",
    "too_many_tokens",
    "too_many_bytes",
    "too_large",
]
TransportFault = Literal["stall", "disconnect", "no_stop", "corrupt"]
Fault = ErrorFault | TransportFault


class ServiceError(Exception):
    """A rejected request: HTTP `status`, AWS's error `code`, and the `message` for the caller.

    `raw_body` replaces the JSON of the response's body.
    """

    def __init__(self, status: int, code: str, message: str, raw_body: bytes | None = None) -> None:
        """Keep the parts of AWS's error shape."""
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self._raw_body = raw_body

    def body(self) -> bytes:
        """Return the JSON body of the response, in ASCII."""
        return json.dumps({"message": self.message}).encode("ascii") if self._raw_body is None else self._raw_body


def validation_error(message: str) -> ServiceError:
    """Return a ValidationException (400)."""
    return ServiceError(400, "ValidationException", message)


def missing_authentication() -> ServiceError:
    """Return AWS's error for a request without a signature (403)."""
    return ServiceError(403, "MissingAuthenticationTokenException", "Missing Authentication Token")


def unknown_operation(method: str, path: str) -> ServiceError:
    """Return AWS's error for a path that it does not serve (404)."""
    return ServiceError(404, "UnknownOperationException", f"Unable to determine service/operation for {method} {path}")


class ScriptedError(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A scripted service error, as an HTTP response or as a message within a stream. README.md documents each key.

    `exception` is its name within a stream, by default `code` with a small first letter; a message of the `kind` error
    has the code itself. Any JSON as `body` replaces the error's.
    """

    status: Annotated[int, msgspec.Meta(ge=400, le=599)] = 400
    code: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9.#/_-]{0,100}$")] = "ValidationException"
    message: Annotated[str, msgspec.Meta(max_length=10_000)] = "The model returned the following errors: scripted."
    exception: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{0,100}$")] = ""
    kind: Literal["exception", "error"] = "exception"
    body: Any = msgspec.UNSET
    in_stream: bool = False

    def to_service_error(self) -> ServiceError:
        """Return the error that replaces a response."""
        raw_body = None if self.body is msgspec.UNSET else json.dumps(self.body).encode("ascii")
        return ServiceError(self.status, self.code, self.message, raw_body)

    def to_stream_payload(self) -> Any:
        """Return the payload of the exception within a stream."""
        return {"message": self.message} if self.body is msgspec.UNSET else self.body

    @property
    def stream_name(self) -> str:
        """The name of the exception within a stream."""
        return self.exception or self.code[:1].lower() + self.code[1:]


def _overflow(message: str) -> ScriptedError:
    return ScriptedError(message=message)


SCRIPTED_ERRORS: dict[ErrorFault, ScriptedError] = {
    "throttle": ScriptedError(429, "ThrottlingException", "Too many requests, please wait before trying again."),
    "validation": ScriptedError(),
    "unavailable": ScriptedError(503, "ServiceUnavailableException", "Bedrock is unable to process your request."),
    "stream_error": ScriptedError(  # an operation that does not stream has no such exception: there it is ModelError
        424,
        "ModelErrorException",
        "The system encountered an unexpected error during processing. Try your request again.",
        "modelStreamErrorException",
        in_stream=True,
    ),
    "expired": ScriptedError(403, "ExpiredTokenException", "The security token included in the request is expired"),
    # The wordings in which Bedrock's models reject a prompt that is too long.
    "input_too_long": _overflow("Input is too long for requested model."),
    "prompt_too_long": _overflow("prompt is too long: 208310 tokens > 200000 maximum"),
    "over_context_limit": _overflow(
        "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000, decrease input length or "
        "`max_tokens` and try again"
    ),
    "too_many_tokens": _overflow("Too many input tokens. Max input tokens: 8192, request input token count: 9001"),
    "too_many_bytes": _overflow("messages: too many total text bytes: 12345678 > 9000000"),
    "too_large": ScriptedError(413, "RequestEntityTooLargeException", "Request Entity Too Large"),
}


def find_scripted_error(fault: Fault | ScriptedError) -> TransportFault | ScriptedError:
    """Return the error of a fault's name; a fault of the transport, or an error in full, is returned unchanged."""
    match fault:
        case "stall" | "disconnect" | "no_stop" | "corrupt" | ScriptedError():
            return fault
        case _:
            return SCRIPTED_ERRORS[fault]
