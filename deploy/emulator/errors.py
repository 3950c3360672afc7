"""The one error of this room: what the endpoint refuses, as Bedrock would say it.

ServiceError    an HTTP status, AWS's name of the error and a message; never raised once a stream has begun
"""

import json


class ServiceError(Exception):
    """A refusal: `status` of HTTP, `code` as AWS names it, `message` as the caller reads it."""

    def __init__(self, status: int, code: str, message: str) -> None:
        """Keep the three parts of AWS's error shape."""
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message

    def body(self) -> bytes:
        """Return the JSON body of the refusal, ASCII."""
        return json.dumps({"message": self.message}).encode("ascii")


def invalid(message: str) -> ServiceError:
    """Return a ValidationException (400)."""
    return ServiceError(400, "ValidationException", message)


def unauthenticated() -> ServiceError:
    """Return what AWS says to a request without a signature (403)."""
    return ServiceError(403, "MissingAuthenticationTokenException", "Missing Authentication Token")


def unknown_operation(method: str, path: str) -> ServiceError:
    """Return what AWS says to a path that it does not serve (404)."""
    return ServiceError(404, "UnknownOperationException", f"Unable to determine service/operation for {method} {path}")
