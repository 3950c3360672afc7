"""Errors of the RLM service: an `error` with a message, as simple services answer."""

import json

from deploy.emulator.faults import ErrorFault, ScriptedError, ServiceError
from deploy.emulator.http_connection import Reply
from deploy.emulator.request import Json


def to_body(error: ServiceError) -> Json:
    """Return the JSON of an error, which is the same in a response and within a stream."""
    return {"error": error.message} | ({"code": error.code} if error.code else {})


def encode_response(error: ServiceError) -> Reply:
    """Return the HTTP response of an error; its JSON is in ASCII."""
    body = json.dumps(to_body(error)).encode("ascii") if error.raw_body is None else error.raw_body
    return Reply(error.status, [("Content-Type", "application/json"), *error.headers], body)


def _overflow(message: str) -> ScriptedError:
    return ScriptedError(message=message)


SCRIPTED_ERRORS: dict[ErrorFault, ScriptedError] = {
    "throttle": ScriptedError(429, message="Too many requests."),
    "validation": ScriptedError(422, message="The field `message` is not acceptable."),
    "unavailable": ScriptedError(503, message="The service is unavailable."),
    "stream_error": ScriptedError(500, message="The service failed while it answered.", in_stream=True),
    "server_error": ScriptedError(500, message="Internal Server Error"),
    "authentication": ScriptedError(401, message="Unauthorized"),
    "quota": ScriptedError(402, message="The account has no credit left."),
    "no_model": ScriptedError(404, message="Not Found"),
    "expired": ScriptedError(401, message="The token has expired."),
    "blocked_prompt": ScriptedError(422, message="The message was blocked by the content policy."),
    "no_streaming": ScriptedError(message="Streaming is not supported."),
    # A service that passes its model's words on rejects a prompt that is too long in any of these.
    "input_too_long": _overflow("The input is too long."),
    "prompt_too_long": _overflow("prompt is too long: 208310 tokens > 200000 maximum"),
    "over_context_limit": _overflow("This model's maximum context length is 128000 tokens."),
    "too_many_tokens": _overflow("Too many input tokens."),
    "too_many_bytes": _overflow("The message exceeds 1000000 bytes."),
    "too_large": ScriptedError(413, message="Request Entity Too Large"),
}
