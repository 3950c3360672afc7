"""Errors in AWS's shape: those that reject a bad request, and those that a caller scripts as faults.

ServiceError     rejects a request: HTTP status, AWS's error code, message; raised only before a response has begun
ScriptedError    describes a scripted fault, both as an HTTP response and as an exception within a stream
"""

import json
from dataclasses import dataclass
from typing import Any, Literal

Fault = Literal["throttle", "validation", "unavailable", "stream_error", "stall", "disconnect", "no_stop", "corrupt"]


class ServiceError(Exception):
    """A rejected request: HTTP `status`, AWS's error `code`, and the `message` for the caller."""

    def __init__(self, status: int, code: str, message: str) -> None:
        """Keep the three parts of AWS's error shape."""
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message

    def body(self) -> bytes:
        """Return the JSON body of the response, in ASCII."""
        return json.dumps({"message": self.message}).encode("ascii")


def validation_error(message: str) -> ServiceError:
    """Return a ValidationException (400)."""
    return ServiceError(400, "ValidationException", message)


def missing_authentication() -> ServiceError:
    """Return AWS's error for a request without a signature (403)."""
    return ServiceError(403, "MissingAuthenticationTokenException", "Missing Authentication Token")


def unknown_operation(method: str, path: str) -> ServiceError:
    """Return AWS's error for a path that it does not serve (404)."""
    return ServiceError(404, "UnknownOperationException", f"Unable to determine service/operation for {method} {path}")


@dataclass(frozen=True)
class ScriptedError:
    """A scripted service error: HTTP status and code, the name of its exception event, and its message."""

    status: int
    code: str
    exception_type: str
    message: str
    is_stream_only: bool = False

    def to_service_error(self) -> ServiceError:
        """Return the error that replaces a response."""
        return ServiceError(self.status, self.code, self.message)

    def to_stream_payload(self) -> dict[str, Any]:
        """Return the payload of the exception event within a stream."""
        if self.is_stream_only:
            return {"message": self.message, "originalMessage": "Scripted by the caller", "originalStatusCode": 500}
        return {"message": self.message}


SCRIPTED_ERRORS: dict[Fault, ScriptedError] = {
    "throttle": ScriptedError(
        429, "ThrottlingException", "throttlingException", "Too many requests, please wait before trying again."
    ),
    "validation": ScriptedError(
        400, "ValidationException", "validationException", "The model returned the following errors: scripted."
    ),
    "unavailable": ScriptedError(
        503,
        "ServiceUnavailableException",
        "serviceUnavailableException",
        "Bedrock is unable to process your request.",
    ),
    "stream_error": ScriptedError(  # an operation that does not stream has no such exception: there it is ModelError
        424,
        "ModelErrorException",
        "modelStreamErrorException",
        "The system encountered an unexpected error during processing. Try your request again.",
        is_stream_only=True,
    ),
}
