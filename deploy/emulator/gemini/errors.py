"""Errors in Google's shape: their statuses, wordings and details. https://ai.google.dev/gemini-api/docs/troubleshooting"""

import json
from typing import Any

from deploy.emulator.faults import ErrorFault, ScriptedError, ServiceError
from deploy.emulator.http_connection import Reply
from deploy.emulator.request import Json

_INVALID = "INVALID_ARGUMENT"
_STATUSES = {
    400: _INVALID,
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    413: _INVALID,
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_RPC = "type.googleapis.com/google.rpc."
_RETRY_AFTER = "retry-after"


def to_body(error: ServiceError) -> Json:
    """Return the JSON of an error, which is the same in a response and within a stream."""
    status = error.code or _STATUSES.get(error.status, "UNKNOWN")
    fields: Json = {"code": error.status, "message": error.message, "status": status}
    if details := _details(error):
        fields["details"] = details
    return {"error": fields}


def encode_response(error: ServiceError) -> Reply:
    """Return the HTTP response of an error.

    Google sends no Retry-After in seconds, but a RetryInfo in the error's details.
    """
    body = json.dumps(to_body(error), indent=2).encode("ascii") if error.raw_body is None else error.raw_body
    headers = [header for header in error.headers if header[0].lower() != _RETRY_AFTER or _retry_seconds(error) is None]
    return Reply(error.status, [("Content-Type", "application/json; charset=UTF-8"), *headers], body)


def _details(error: ServiceError) -> list[Json]:
    details: list[Json] = []
    if error.status == 429:
        violation = {
            "quotaMetric": "generativelanguage.googleapis.com/generate_content_paid_tier_input_token_count",
            "quotaId": "GenerateContentPaidTierInputTokensPerModelPerMinute",
            "quotaDimensions": {"location": "global"},
        }
        details.append({"@type": f"{_RPC}QuotaFailure", "violations": [violation]})
    if "API key" in error.message:
        metadata = {"service": "generativelanguage.googleapis.com"}
        info = {"reason": "API_KEY_INVALID", "domain": "googleapis.com", "metadata": metadata}
        details.append({"@type": f"{_RPC}ErrorInfo"} | info)
    seconds = _retry_seconds(error)
    if seconds is not None:
        details.append({"@type": f"{_RPC}RetryInfo", "retryDelay": f"{seconds:g}s"})
    return details


def _retry_seconds(error: ServiceError) -> float | None:
    value = next((value for name, value in error.headers if name.lower() == _RETRY_AFTER), None)
    try:
        return None if value is None else float(value)
    except ValueError:  # a date, or a scripted oddity
        return None


def invalid_argument(message: str) -> ServiceError:
    """Return an INVALID_ARGUMENT (400)."""
    return ServiceError(400, _INVALID, message)


def missing_key() -> ServiceError:
    """Return Google's error for a request without an API key (403)."""
    return ServiceError(
        403,
        "PERMISSION_DENIED",
        "Method doesn't allow unregistered callers (callers without established identity). Please use API Key or other "
        "form of API consumer identity to call this API.",
    )


def unknown_field(name: str, where: str) -> ServiceError:
    """Return Google's error for a field that its message does not have."""
    place = f" at '{where}'" if where else ""
    return invalid_argument(f'Invalid JSON payload received. Unknown name "{name}"{place}: Cannot find field.')


def field_error(field: str, reason: str) -> ServiceError:
    """Return Google's error for an invalid field of the request."""
    return invalid_argument(f"* GenerateContentRequest.{field}: {reason}\n")


def _overflow(message: str, status: int = 400, **fields: Any) -> ScriptedError:
    return ScriptedError(status, message=message, **fields)


SCRIPTED_ERRORS: dict[ErrorFault, ScriptedError] = {
    "throttle": ScriptedError(
        429,
        message="You exceeded your current quota, please check your plan and billing details. For more information on "
        "this error, head to: https://ai.google.dev/gemini-api/docs/rate-limits.",
    ),
    "validation": ScriptedError(message="Request contains an invalid argument."),
    "unavailable": ScriptedError(503, message="The model is overloaded. Please try again later."),
    "stream_error": ScriptedError(
        500,
        message="An internal error has occurred. Please retry or report in "
        "https://developers.generativeai.google/guide/troubleshooting",
        in_stream=True,
    ),
    "server_error": ScriptedError(500, message="An internal error has occurred."),
    "authentication": ScriptedError(message="API key not valid. Please pass a valid API key."),
    "quota": ScriptedError(
        429, message="Your prepayment credits are depleted. Please go to AI Studio to manage your project."
    ),
    "no_model": ScriptedError(
        404,
        message="models/a-model is not found for API version v1beta, or is not supported for generateContent. Call "
        "ListModels to see the list of available models and their supported methods.",
    ),
    "expired": ScriptedError(message="API key expired. Please renew the API key."),  # Google answers 400, not 401
    "no_streaming": ScriptedError(message="This model does not support streaming. Use generateContent instead."),
    # The wordings in which a prompt that is too long is rejected.
    "input_too_long": _overflow(
        "The input token count (3475108) exceeds the maximum number of tokens allowed (1048576)."
    ),
    "prompt_too_long": _overflow("The input token count exceeds the maximum number of tokens allowed 1048576."),
    "over_context_limit": _overflow(
        "Unable to submit request because the input token count is 1180562 but model only supports up to 1048576. "
        "Reduce the input token count and try again."
    ),
    "too_many_tokens": _overflow("The input context is too long.", 500),
    "too_many_bytes": _overflow("Request payload size exceeds the limit: 20971520 bytes."),
    "too_large": _overflow("Request payload size exceeds the limit: 20971520 bytes.", 413),
}
