"""Errors in OpenAI's shape: `{"error": {"message", "type", "param", "code"}}`, as the exceptions of its SDKs expect.

https://platform.openai.com/docs/guides/error-codes
"""

from typing import Any

import msgspec
from flask import Response, request
from msgspec import UNSET, UnsetType

from millrace.webapp.generation.validation import MAX_ECHO_CHARS
from millrace.webapp.problems import Problem
from millrace.webapp.schemas import json_response
from millrace.worker.contract.events import Error

INVALID_REQUEST = "invalid_request_error"
_SERVER_ERROR = "server_error"
_TYPES = {429: "requests"}
_STATUSES = {422: 400}
"""OpenAI has no 422; its SDKs raise BadRequestError for an invalid parameter."""
_CODES = {
    "unauthorized": "invalid_api_key",
    "invalid_field": "invalid_value",
    "rate_limited": "rate_limit_exceeded",
    "content_filtered": "content_filter",
    "context_too_long": "context_length_exceeded",
}
_FAILURE_STATUSES = {
    "content_filtered": 400,
    "context_too_long": 400,
    "provider_throttled": 429,
    "provider_timeout": 504,
    "queue_timeout": 503,
    "worker_lost": 500,
    "stream_lost": 500,
    "internal": 500,
}
"""The status of an answer that has failed, by its error code; 502 for every other code."""
_NO_KEY = (
    "You didn't provide an API key. Send it in an Authorization header, as the SDKs do with `api_key` (Authorization: "
    "Bearer YOUR_KEY)."
)
_WRONG_KEY = "Incorrect API key provided. Make one with: python3 deploy/keys.py add OWNER"


class ErrorObject(msgspec.Struct, frozen=True):
    """The reason; `param` names the parameter at fault. `id` is there where an answer exists: it can be fetched."""

    message: str
    type: str
    param: str | None
    code: str | None
    id: str | UnsetType = UNSET


class ErrorBody(msgspec.Struct, frozen=True):
    """A rejection or a failure, as the body of a response or as the last frame of a stream."""

    error: ErrorObject


def invalid_parameter(param: str, message: str, code: str = "invalid_value") -> Problem:
    """Return the 400 for a parameter's value."""
    return Problem(400, code, message, param=param[:MAX_ECHO_CHARS])


def unsupported_parameter(param: str, message: str) -> Problem:
    """Return the 400 for a parameter that would change the answer, which this server cannot do."""
    return invalid_parameter(param, message, "unsupported_parameter")


def unknown_parameter(param: str) -> Problem:
    """Return the 400 for a parameter that the protocol does not have."""
    name = param[:MAX_ECHO_CHARS]
    return invalid_parameter(name, f"Unknown parameter: '{name}'.", "unknown_parameter")


def missing_parameter(param: str) -> Problem:
    """Return the 400 for a required parameter that is absent."""
    return invalid_parameter(param, f"Missing required parameter: '{param}'.", "missing_required_parameter")


def wrong_type(param: str, expected: str) -> Problem:
    """Return the 400 for a parameter of another type than the one expected, such as `a string`."""
    return invalid_parameter(param, f"Invalid type for '{param}': expected {expected}.", "invalid_type")


def model_not_found(model: str, names: tuple[str, ...]) -> Problem:
    """Return the 404 for a model that requests may not name."""
    detail = f"The model `{model[:MAX_ECHO_CHARS]}` does not exist. The models of this server are: {', '.join(names)}."
    return Problem(404, "model_not_found", detail, param="model")


def failed_answer(error: Error, generation: str, theirs: str, *, is_final: bool = False) -> Problem:
    """Return the problem for an answer that has failed; `theirs` is its id in OpenAI's form.

    SDKs repeat a request after most errors. They are asked not to where the answer stays as it is (`is_final`), or
    where a new one would fail as well.
    """
    status, is_repeated = _FAILURE_STATUSES.get(error.code, 502), error.retryable and not is_final
    headers = {"x-should-retry": "true" if is_repeated else "false", "Millrace-Generation-Id": generation}
    return Problem(status, error.code, error.message, headers=headers, id=theirs)


def still_running(generation: str, theirs: str, url: str) -> Problem:
    """Return the 504 for an answer that takes longer than requests wait; it can be fetched at the URL.

    SDKs are asked not to repeat the request, which would create a second answer.
    """
    detail = f"The answer takes longer than this call waits. It is still running: fetch it later with GET {url}."
    headers = {"x-should-retry": "false", "Millrace-Generation-Id": generation}
    return Problem(504, "still_running", detail, headers=headers, id=theirs)


def failure_in_stream(code: str, message: str, theirs: str) -> ErrorBody:
    """Return the frame that ends the stream of an answer, of the id `theirs`, that has failed."""
    status = _FAILURE_STATUSES.get(code, 502)
    return ErrorBody(ErrorObject(message, _type_of(status), None, _CODES.get(code, code), theirs))


def body_of(problem: Problem) -> ErrorBody:
    """Return a problem in OpenAI's shape; its `param`, or the `field` of ours, is the parameter at fault."""
    members: dict[str, Any] = problem.members
    message = problem.detail
    if problem.code == "unauthorized":
        message = _WRONG_KEY if "Authorization" in request.headers else _NO_KEY
    param = members.get("param") or members.get("field") or None
    code = _CODES.get(problem.code, problem.code)
    return ErrorBody(ErrorObject(message, _type_of(problem.status), param, code, members.get("id", UNSET)))


def render(problem: Problem) -> Response:
    """Return a problem as a response in OpenAI's shape."""
    response = json_response(body_of(problem), _STATUSES.get(problem.status, problem.status))
    response.headers.update(problem.headers)
    if problem.retry_after is not None:
        response.headers["Retry-After"] = str(problem.retry_after)
    if problem.code == "idempotency_conflict":  # SDKs repeat a 409
        response.headers["x-should-retry"] = "false"
    return response


def _type_of(status: int) -> str:
    return _SERVER_ERROR if status >= 500 else _TYPES.get(status, INVALID_REQUEST)
