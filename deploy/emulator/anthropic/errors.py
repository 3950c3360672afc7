"""Errors in Anthropic's shape: their types and their wordings. https://docs.claude.com/en/api/errors"""

import json
from uuid import NAMESPACE_OID, uuid5

from deploy.emulator.faults import ErrorFault, ScriptedError, ServiceError
from deploy.emulator.http_connection import Reply
from deploy.emulator.request import Json

INVALID_REQUEST = "invalid_request_error"
_TYPES = {
    400: INVALID_REQUEST,
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def to_body(error: ServiceError, request_id: str) -> Json:
    """Return the JSON of an error, which is the same in a response and within a stream."""
    kind = error.code or _TYPES.get(error.status, "api_error" if error.status >= 500 else INVALID_REQUEST)
    return {"type": "error", "error": {"type": kind, "message": error.message}, "request_id": request_id}


def encode_response(error: ServiceError) -> Reply:
    """Return the HTTP response of an error; its JSON is in ASCII."""
    request_id = f"req_011{uuid5(NAMESPACE_OID, ascii(error.message)).hex[:21]}"
    body = json.dumps(to_body(error, request_id)).encode("ascii") if error.raw_body is None else error.raw_body
    return Reply(error.status, [("Content-Type", "application/json"), *error.headers], body)


def invalid_request(message: str) -> ServiceError:
    """Return an invalid_request_error (400)."""
    return ServiceError(400, INVALID_REQUEST, message)


def _overflow(message: str) -> ScriptedError:
    return ScriptedError(400, INVALID_REQUEST, message)


SCRIPTED_ERRORS: dict[ErrorFault, ScriptedError] = {
    "throttle": ScriptedError(
        429,
        "rate_limit_error",
        "This request would exceed your organization's rate limit of 50 requests per minute. For details, refer to: "
        "https://docs.claude.com/en/api/rate-limits.",
    ),
    "validation": _overflow("messages: at least one message is required"),
    "unavailable": ScriptedError(529, "overloaded_error", "Overloaded"),
    "stream_error": ScriptedError(500, "api_error", "Internal server error", in_stream=True),
    "server_error": ScriptedError(500, "api_error", "Internal server error"),
    "authentication": ScriptedError(401, "authentication_error", "invalid x-api-key"),
    "quota": _overflow(
        "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade or "
        "purchase credits."
    ),
    "no_model": ScriptedError(404, "not_found_error", "model: a-model"),
    "expired": ScriptedError(401, "authentication_error", "invalid x-api-key"),
    "blocked_prompt": _overflow("Output blocked by content filtering policy"),
    "no_streaming": _overflow("stream: streaming is not supported for this model"),
    # The wordings in which a prompt that is too long is rejected.
    "input_too_long": _overflow("Prompt is too long"),
    "prompt_too_long": _overflow("prompt is too long: 208310 tokens > 200000 maximum"),
    "over_context_limit": _overflow(
        "input length and `max_tokens` exceed context limit: 188240 + 21333 > 200000, decrease input length or "
        "`max_tokens` and try again"
    ),
    "too_many_tokens": _overflow("prompt is too long: 1001204 tokens > 1000000 maximum"),
    "too_many_bytes": _overflow("messages: too many total text bytes: 12345678 > 9000000"),
    "too_large": ScriptedError(413, "request_too_large", "Request exceeds the maximum size"),
}
