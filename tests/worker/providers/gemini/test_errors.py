"""The codes of Google's errors, in a response and within a stream."""

import json
from typing import Any

from millrace.worker.providers.gemini.errors import FieldRefused, map_rejection, map_stream_error
from millrace.worker.providers.transport.errors import Rejection

STATUSES = {
    (400, "INVALID_ARGUMENT"): ("provider_rejected", False),
    (400, "FAILED_PRECONDITION"): ("provider_authentication", False),
    (401, "UNAUTHENTICATED"): ("provider_authentication", False),
    (403, "PERMISSION_DENIED"): ("provider_authentication", False),
    (404, "NOT_FOUND"): ("provider_rejected", False),
    (429, "RESOURCE_EXHAUSTED"): ("provider_throttled", True),
    (499, "CANCELLED"): ("provider_unavailable", True),
    (500, "INTERNAL"): ("provider_unavailable", True),
    (503, "UNAVAILABLE"): ("provider_unavailable", True),
    (504, "DEADLINE_EXCEEDED"): ("provider_timeout", False),
    (503, "A_NEW_STATUS"): ("provider_unavailable", True),
}
RPC = "type.googleapis.com/google.rpc."
REFUSALS = {
    "Thinking is not enabled for models/gemini-2.0-flash": ("thoughts", True),
    "Unable to submit request because Thinking_config.include_thoughts is only enabled when thinking is enabled.": (
        "thoughts",
        True,
    ),
    "Budget 0 is invalid. This model only works in thinking mode.": ("no_thinking", True),
    "Developer instruction is not enabled for models/gemma-3-27b-it": ("system", True),
    "JSON mode is not enabled for models/gemma-3-27b-it": ("schema", True),
    "A schema in GenerationConfig in the request exceeds the maximum allowed nesting depth.": ("schema", False),
    "Function calling is not enabled for models/gemma-3-27b-it": ("forced_tool", True),
    "* GenerateContentRequest.tools[0].function_declarations[0].parameters.type: invalid": ("forced_tool", False),
}


def rejection(status: int, name: str, message: str = "x", *details: Any, **headers: str) -> Rejection:
    error = {"code": status, "message": message, "status": name, "details": details}
    return Rejection(status, headers, json.dumps({"error": error}).encode())


def code_of(given: Rejection) -> tuple[str, bool]:
    error = map_rejection(given) or given.to_error()
    return error.code, error.is_transient


def test_each_status_has_its_code_in_a_response_and_within_a_stream() -> None:
    for (status, name), expected in STATUSES.items():
        assert code_of(rejection(status, name)) == expected, name
        error = map_stream_error({"code": status, "message": "x", "status": name})
        assert (error.code, error.is_transient) == expected, name
    bare = map_stream_error({"message": "a gateway's error"})
    assert (bare.code, bare.is_transient) == ("provider_unavailable", True)
    assert map_stream_error({"status": "NOT_FOUND"}).code == "provider_rejected"


def test_a_key_that_google_does_not_accept_is_no_matter_of_the_question() -> None:
    for reason in ("API_KEY_INVALID", "SERVICE_DISABLED"):
        detail = {"@type": f"{RPC}ErrorInfo", "reason": reason}
        assert code_of(rejection(400, "INVALID_ARGUMENT", "API key not valid.", detail)) == (
            "provider_authentication",
            False,
        )


def test_an_account_without_money_is_the_operators_matter_and_a_quota_is_not() -> None:
    for message, code in (
        ("Your prepayment credits are depleted. Please go to AI Studio to manage your project.", "authentication"),
        ("You exceeded your current quota, please check your plan and billing details.", "throttled"),
    ):
        assert code_of(rejection(429, "RESOURCE_EXHAUSTED", message))[0] == f"provider_{code}"


def test_the_wait_is_read_from_the_details_and_the_quota_of_a_day_is_not_waited_for() -> None:
    info = {"@type": f"{RPC}RetryInfo", "retryDelay": "21.5s"}
    error = map_rejection(rejection(429, "RESOURCE_EXHAUSTED", "x", info))
    assert error
    assert error.retry_after == 21.5
    by_header = map_rejection(rejection(503, "UNAVAILABLE", "x", **{"Retry-After": "7"}))
    assert by_header
    assert by_header.retry_after == 7
    violation = {"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"}
    daily = map_rejection(rejection(429, "RESOURCE_EXHAUSTED", "x", {"violations": [violation]}, info))
    assert daily
    assert (daily.code, daily.is_transient, daily.retry_after) == ("provider_throttled", False, None)


def test_odd_details_are_ignored() -> None:
    odd: list[Any] = [
        *(None, 5, [], {"retryDelay": 5}, {"retryDelay": "soon"}, {"retryDelay": "1e9s"}),
        *({"violations": 5}, {"violations": [None, {"quotaId": None}]}, {"reason": []}),
    ]
    error = map_rejection(rejection(429, "RESOURCE_EXHAUSTED", "x", *odd))
    assert error
    assert (error.code, error.is_transient, error.retry_after) == ("provider_throttled", True, None)
    for body in ({"error": {"status": [], "details": {}}}, {"error": None}, {}):
        assert Rejection(500, {}, json.dumps(body).encode()).to_error().code == "provider_unavailable"
        assert map_rejection(Rejection(500, {}, json.dumps(body).encode())) is None


def test_a_prompt_that_is_too_long_is_known_with_either_status() -> None:
    for status, name, message in (
        (
            400,
            "INVALID_ARGUMENT",
            "The input token count (3475108) exceeds the maximum number of tokens allowed (1048576).",
        ),
        (500, "INTERNAL", "The input context is too long."),
    ):
        assert code_of(rejection(status, name, message)) == ("context_too_long", False)
        assert map_stream_error({"code": status, "status": name, "message": message}).code == "context_too_long"


def test_a_refused_feature_is_named_and_whether_the_model_never_takes_it() -> None:
    for message, (feature, is_general) in REFUSALS.items():
        error = map_rejection(rejection(400, "INVALID_ARGUMENT", message))
        assert isinstance(error, FieldRefused), message
        assert (feature in error.features, error.is_general) == (True, is_general), message
    for message in ("Request contains an invalid argument.", "Please use a valid role: user, model."):
        assert map_rejection(rejection(400, "INVALID_ARGUMENT", message)) is None
