"""Errors that reject a request, and the faults that a caller scripts; each wire words them in its own way.

ServiceError     rejects a request: HTTP status, the wire's error code, message; raised only before a response has begun
ScriptedError    describes a scripted error, both as an HTTP response and as an error within a stream
"""

import json
from typing import Annotated, Any, Literal

import msgspec

ErrorFault = Literal[
    "throttle",
    "validation",
    "unavailable",
    "stream_error",
    "server_error",
    "authentication",
    "expired",
    "quota",
    "no_model",
    "no_streaming",
    "blocked_prompt",
    "input_too_long",
    "prompt_too_long",
    "over_context_limit",
    "too_many_tokens",
    "too_many_bytes",
    "too_large",
]
TransportFault = Literal[
    "stall", "stall_headers", "disconnect", "no_stop", "no_end", "corrupt", "malformed_json", "html", "proxy_error"
]
Fault = ErrorFault | TransportFault

_PAGE = b"""<!DOCTYPE html>
<html><head><title>%b</title></head><body><h1>%b</h1><hr><center>nginx</center></body></html>
"""
LOGIN_PAGE = _PAGE % (b"Sign in", b"Sign in")
GATEWAY_PAGE = _PAGE % (b"502 Bad Gateway", b"502 Bad Gateway")


class ServiceError(Exception):
    """A rejected request: HTTP `status`, the wire's error `code`, and the `message` for the caller.

    Without a code it has the wire's own code for this status. `raw_body` replaces the JSON of the response's body.
    """

    def __init__(
        self,
        status: int,
        code: str | None,
        message: str,
        raw_body: bytes | None = None,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        """Keep the parts of the error."""
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.raw_body = raw_body
        self.headers = headers


ErrorCode = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9.#/_-]{0,100}$")]


class ScriptedError(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A scripted service error, as an HTTP response or as a message within a stream. README.md documents each key.

    `exception` is its name within a stream, by default `code` with a small first letter; a message of the `kind` error
    has the code itself. Any JSON as `body` replaces the error's.
    """

    status: Annotated[int, msgspec.Meta(ge=300, le=599)] = 400
    code: ErrorCode | None = None
    message: Annotated[str, msgspec.Meta(max_length=10_000)] = "The model returned the following errors: scripted."
    exception: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{0,100}$")] = ""
    kind: Literal["exception", "error"] = "exception"
    body: Any = msgspec.UNSET
    in_stream: bool = False
    headers: "dict[HeaderName, HeaderValue]" = {}

    def to_service_error(self) -> ServiceError:
        """Return the error that replaces a response."""
        raw_body = None if self.body is msgspec.UNSET else json.dumps(self.body).encode("ascii")
        return ServiceError(self.status, self.code, self.message, raw_body, tuple(self.headers.items()))


HeaderName = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9-]{1,100}$")]
HeaderValue = Annotated[str, msgspec.Meta(pattern=r"^[\x20-\x7e]{0,1000}$")]


def invalid_request(message: str) -> ServiceError:
    """Return the error for a request that a wire rejects as invalid (400), under the wire's own code."""
    return ServiceError(400, None, message)
