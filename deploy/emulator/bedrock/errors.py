"""Errors in AWS's shape: their codes and their wordings."""

import json

from deploy.emulator.bedrock.event_stream import VALIDATION
from deploy.emulator.faults import ErrorFault, ScriptedError, ServiceError
from deploy.emulator.http_connection import Reply

_CODES = {404: "UnknownOperationException", 413: "RequestEntityTooLargeException"}


def encode_response(error: ServiceError) -> Reply:
    """Return the HTTP response of an error; its JSON is in ASCII."""
    code = _CODES.get(error.status, VALIDATION) if error.code is None else error.code
    body = json.dumps({"message": error.message}).encode("ascii") if error.raw_body is None else error.raw_body
    return Reply(error.status, [("Content-Type", "application/json"), ("x-amzn-ErrorType", code), *error.headers], body)


def validation_error(message: str) -> ServiceError:
    """Return a ValidationException (400)."""
    return ServiceError(400, VALIDATION, message)


def missing_authentication() -> ServiceError:
    """Return AWS's error for a request without a signature (403)."""
    return ServiceError(403, "MissingAuthenticationTokenException", "Missing Authentication Token")


def unknown_operation(method: str, path: str) -> ServiceError:
    """Return AWS's error for a path that it does not serve (404)."""
    return ServiceError(404, "UnknownOperationException", f"Unable to determine service/operation for {method} {path}")


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
    "server_error": ScriptedError(500, "InternalServerException", "The server encountered an internal error."),
    "authentication": ScriptedError(
        403, "UnrecognizedClientException", "The security token included in the request is invalid."
    ),
    "quota": ScriptedError(400, "ServiceQuotaExceededException", "Your account has reached a quota of the service."),
    "no_model": ScriptedError(
        404, "ResourceNotFoundException", "The model does not exist or has reached its end of life."
    ),
    "no_streaming": ScriptedError(message="The model is unsupported for streaming."),
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
