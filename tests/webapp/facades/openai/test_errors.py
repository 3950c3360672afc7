"""Problems in OpenAI's shape."""

from typing import Any, get_args

import pytest
from flask import Flask

from millrace.webapp.facades.openai import errors
from millrace.webapp.problems import Problem, invalid
from millrace.worker.contract.events import Error
from millrace.worker.errors import ErrorCode


def rendered(problem: Problem, **headers: str) -> tuple[int, dict[str, Any], dict[str, str]]:
    with Flask(__name__).test_request_context(headers=headers):
        response = errors.render(problem)
    body: Any = response.get_json()
    assert set(body) == {"error"}
    assert {"message", "type", "param", "code"} <= set(body["error"])
    return response.status_code, body["error"], dict(response.headers)


def test_problem_has_the_four_members_and_names_the_parameter() -> None:
    status, error, _ = rendered(errors.unsupported_parameter("n", "One only."))
    assert (status, error) == (
        400,
        {"message": "One only.", "type": "invalid_request_error", "param": "n", "code": "unsupported_parameter"},
    )
    status, error, _ = rendered(invalid("temperature", "Too hot."))
    assert (status, error["param"], error["code"]) == (400, "temperature", "invalid_value")


@pytest.mark.parametrize(
    ("headers", "message"), [({}, "didn't provide an API key"), ({"Authorization": "Bearer x"}, "Incorrect API key")]
)
def test_401_tells_a_missing_key_from_a_wrong_one(headers: dict[str, str], message: str) -> None:
    problem = Problem(401, "unauthorized", "Sign in.", headers={"WWW-Authenticate": "Bearer"})
    status, error, sent = rendered(problem, **headers)
    assert (status, error["code"], error["type"]) == (401, "invalid_api_key", "invalid_request_error")
    assert message in error["message"]
    assert sent["WWW-Authenticate"] == "Bearer"


def test_rate_limit_keeps_its_waiting_time() -> None:
    status, error, headers = rendered(Problem(429, "rate_limited", "Slow down.", retry_after=7))
    assert (status, error["type"], error["code"], headers["Retry-After"]) == (
        429,
        "requests",
        "rate_limit_exceeded",
        "7",
    )


def test_every_failure_has_a_status_and_says_whether_to_repeat_the_request() -> None:
    for code in get_args(ErrorCode):
        failure = Error(code, "Oh.", retryable=True)
        status, error, headers = rendered(errors.failed_answer(failure, "1", "chatcmpl-1"))
        assert (status >= 500) == (error["type"] == "server_error")
        assert (error["id"], error["message"]) == ("chatcmpl-1", "Oh.")
        assert (headers["x-should-retry"], headers["Millrace-Generation-Id"]) == ("true", "1")
        assert errors.failure_in_stream(code, "Oh.", "chatcmpl-1").error.code == error["code"]
        final = rendered(errors.failed_answer(failure, "1", "chatcmpl-1", is_final=True))
        assert final[2]["x-should-retry"] == "false"
    for code, expected in {"content_filtered": 400, "provider_throttled": 429, "provider_rejected": 502}.items():
        status, _, headers = rendered(errors.failed_answer(Error(code, "", retryable=False), "1", "c"))
        assert (status, headers["x-should-retry"]) == (expected, "false")


def test_request_whose_repetition_would_do_harm_is_not_repeated() -> None:
    problem = errors.still_running("1", "chatcmpl-1", "/v1/chat/completions/chatcmpl-1")
    status, error, headers = rendered(problem)
    assert (status, error["id"], headers["x-should-retry"]) == (504, "chatcmpl-1", "false")
    assert "GET /v1/chat/completions/chatcmpl-1" in error["message"]
    assert headers["Millrace-Generation-Id"] == "1"
    assert rendered(Problem(409, "idempotency_conflict", "Another."))[2]["x-should-retry"] == "false"
    assert "x-should-retry" not in rendered(Problem(409, "conversation_busy", "Busy."))[2]


def test_shown_names_are_short() -> None:
    for problem in (
        errors.unknown_parameter("x" * 5000),
        errors.model_not_found("x" * 5000, ("m",)),
        errors.invalid_parameter("x" * 5000, "No."),
    ):
        _, error, _ = rendered(problem)
        assert len(error["message"]) < 400
        assert len(error["param"]) <= 200
    assert rendered(errors.missing_parameter("messages"))[1]["code"] == "missing_required_parameter"
    assert (
        rendered(errors.wrong_type("stop", "a string"))[1]["message"] == "Invalid type for 'stop': expected a string."
    )
