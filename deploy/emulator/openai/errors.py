"""Errors in OpenAI's shape, and in the wordings of the servers that speak its protocol."""

import json
from typing import Any

import msgspec

from deploy.emulator.faults import ErrorFault, ScriptedError, ServiceError
from deploy.emulator.http_connection import Reply
from deploy.emulator.wire import json_bytes

_TYPES = {429: "requests", 500: "server_error", 502: "server_error", 503: "server_error"}
_CODES = {401: "invalid_api_key", 404: "model_not_found", 429: "rate_limit_exceeded"}


def invalid(message: str, param: str | None, code: str | None = None, status: int = 400) -> ServiceError:
    """Return the error for an invalid parameter, which it names."""
    return ServiceError(status, code, message, json_bytes(_body(message, "invalid_request_error", param, code)))


def missing_authentication() -> ServiceError:
    """Return the error for a request without a key (401)."""
    return invalid(
        "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer auth "
        "(i.e. Authorization: Bearer YOUR_KEY).",
        None,
        None,
        401,
    )


def encode_response(error: ServiceError) -> Reply:
    """Return the HTTP response of an error."""
    body = (
        json_bytes(_error_body(error.status, error.code, error.message)) if error.raw_body is None else error.raw_body
    )
    return Reply(error.status, [("Content-Type", "application/json"), *error.headers], body)


def stream_payload(error: ScriptedError) -> Any:
    """Return the JSON of an error within a stream."""
    if error.body is not msgspec.UNSET:
        return error.body
    return _error_body(error.status, error.code, error.message)


def _error_body(status: int, code: str | None, message: str) -> dict[str, Any]:
    kind = _TYPES.get(status, "invalid_request_error")
    return _body(message, kind, None, _CODES.get(status) if code is None else code)


def _body(message: str, kind: str | None, param: str | None, code: str | int | None) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def _scripted(
    status: int, message: str, kind: str | None = "invalid_request_error", param: str | None = None, code: Any = None
) -> ScriptedError:
    return ScriptedError(
        status, code if isinstance(code, str) else None, message, body=_body(message, kind, param, code)
    )


_TOO_LONG = "context_length_exceeded"

SCRIPTED_ERRORS: dict[ErrorFault, ScriptedError] = {
    "throttle": _scripted(
        429,
        "Rate limit reached for a-model in organization org-local on requests per min (RPM): Limit 3, Used 3, "
        "Requested 1. Please try again in 20s.",
        *("requests", None, "rate_limit_exceeded"),
    ),
    "quota": _scripted(
        429,
        "You exceeded your current quota, please check your plan and billing details.",
        *("insufficient_quota", None, "insufficient_quota"),
    ),
    "validation": _scripted(400, "Invalid value: 'scripted'.", param="messages", code="invalid_value"),
    "unavailable": _scripted(503, "The engine is currently overloaded, please try again later.", "server_error"),
    "server_error": _scripted(
        500, "The server had an error while processing your request. Sorry about that!", "server_error"
    ),
    "stream_error": msgspec.structs.replace(
        _scripted(500, "The server had an error processing your request. Sorry about that!", "server_error"),
        in_stream=True,
    ),
    "authentication": _scripted(401, "Incorrect API key provided: local.", code="invalid_api_key"),
    "expired": _scripted(
        401, "Your authentication token has expired. Please try signing in again.", code="token_expired"
    ),
    "no_model": _scripted(
        404, "The model `a-model` does not exist or you do not have access to it.", code="model_not_found"
    ),
    "no_streaming": _scripted(
        400, "Your organization must be verified to stream this model.", param="stream", code="unsupported_value"
    ),
    "blocked_prompt": ScriptedError(  # Azure's
        body={
            "error": {
                "message": "The response was filtered due to the prompt triggering the content management policy.",
                "type": None,
                "param": "prompt",
                "code": "content_filter",
                "status": 400,
                "innererror": {
                    "code": "ResponsibleAIPolicyViolation",
                    "content_filter_result": {"violence": {"filtered": True, "severity": "medium"}},
                },
            }
        }
    ),
    # The wordings in which these servers reject a prompt that is too long: OpenAI's two, vLLM's, llama.cpp's, OpenAI's
    # for a single message.
    "input_too_long": _scripted(
        400,
        "Your input exceeds the context window of this model. Please adjust your input and try again.",
        param="input",
        code=_TOO_LONG,
    ),
    "prompt_too_long": _scripted(
        400,
        "This model's maximum context length is 128000 tokens. However, your messages resulted in 130245 tokens. "
        "Please reduce the length of the messages.",
        param="messages",
        code=_TOO_LONG,
    ),
    "over_context_limit": ScriptedError(
        body={
            "object": "error",
            "message": "This model's maximum context length is 4096 tokens. However, you requested 4500 tokens (4000 "
            "in the messages, 500 in the completion). Please reduce the length of the messages or completion.",
            "type": "BadRequestError",
            "param": None,
            "code": 400,
        }
    ),
    "too_many_tokens": ScriptedError(
        body={
            "error": {
                "code": 400,
                "message": "the request exceeds the available context size, try increasing it",
                "type": "exceed_context_size_error",
                "n_prompt_tokens": 9001,
                "n_ctx": 8192,
            }
        }
    ),
    "too_many_bytes": _scripted(
        400,
        "Invalid 'messages[0].content': string too long. Expected a string with maximum length 10485760, but got a "
        "string with length 12345678 instead.",
        param="messages[0].content",
        code="string_above_max_length",
    ),
    "too_large": _scripted(413, "Maximum content size limit (26214400) exceeded (27262976 bytes read)", "server_error"),
}


def parse_error(reason: ValueError | json.JSONDecodeError) -> ServiceError:
    """Return the error for a body that is not a JSON object."""
    return invalid(f"We could not parse the JSON body of your request. ({reason})", None)
