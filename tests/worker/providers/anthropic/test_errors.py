"""Anthropic's errors, in a response and within a stream."""

import json
from typing import Any, get_args

import pytest
from anthropic.types.shared.error_details import ErrorDetails
from anthropic.types.shared.error_type import ErrorType

from deploy.emulator.anthropic.errors import SCRIPTED_ERRORS, to_body
from millrace.worker.providers.anthropic.errors import (
    ERROR_TYPES,
    OF_THE_ACCOUNT,
    map_rejection,
    map_stream_error,
    may_refuse_feature,
)
from millrace.worker.providers.transport.errors import Rejection, error_fields


def reject(status: int, kind: str, message: str = "", **headers: str) -> tuple[str, bool, bool, float | None]:
    body = json.dumps({"type": "error", "error": {"type": kind, "message": message}}).encode()
    rejection = Rejection(status, headers, body)
    error = map_rejection(rejection) or rejection.to_error()
    return error.code, error.retryable, error.is_transient, error.retry_after


@pytest.mark.parametrize(
    ("status", "kind", "message", "expected"),
    [
        (401, "authentication_error", "", "provider_authentication"),
        (402, "billing_error", "", "provider_authentication"),
        (403, "permission_error", "", "provider_authentication"),
        (404, "not_found_error", "model: claude-0", "provider_rejected"),
        (413, "request_too_large", "", "context_too_long"),
        (400, "invalid_request_error", "max_tokens: Field required", "provider_rejected"),
        (400, "invalid_request_error", "Your credit balance is too low to access the API.", "provider_authentication"),
        (400, "invalid_request_error", "Output blocked by content filtering policy", "content_filtered"),
        (504, "timeout_error", "", "provider_timeout"),
        (500, "api_error", "", "provider_unavailable"),
        (529, "overloaded_error", "Overloaded", "provider_unavailable"),
        (529, "a_new_error", "", "provider_unavailable"),
        (418, "a_new_error", "", "provider_rejected"),
        (403, "invalid_request_error", "", "provider_authentication"),
        (429, "api_error", "a gateway's", "provider_throttled"),
        (400, "overloaded_error", "a gateway's", "provider_unavailable"),
    ],
)
def test_a_rejection_has_the_code_of_its_type_or_of_its_status(
    status: int, kind: str, message: str, expected: str
) -> None:
    code, retryable, is_transient, _ = reject(status, kind, message)
    assert code == expected
    assert is_transient == (code in ("provider_throttled", "provider_unavailable"))
    assert retryable == (is_transient or code == "provider_timeout")


def test_an_account_that_cannot_be_used_is_the_operators_matter_whatever_the_status() -> None:
    known = {get_args(each.model_fields["error_code"].annotation)[0] for each in get_args(get_args(ErrorDetails)[0])}
    assert {*OF_THE_ACCOUNT} <= known
    spent = {"type": "rate_limit_error", "details": {"error_code": "contract_spend_limit_reached"}}
    ramp = {"type": "rate_limit_error", "details": {"error_code": "ramp_limit_exceeded"}}
    for fields, code, is_transient in ((spent, "provider_authentication", False), (ramp, "provider_throttled", True)):
        rejection = Rejection(429, {"retry-after": "9"}, json.dumps({"type": "error", "error": fields}).encode())
        for error in (map_rejection(rejection), map_stream_error(fields)):
            assert error is not None
            assert (error.code, error.is_transient) == (code, is_transient)


def test_every_type_of_error_of_the_sdk_is_known_but_those_of_other_services() -> None:
    assert {each for each in get_args(ErrorType) if each not in ERROR_TYPES} == {
        *("memory_precondition_failed_error", "memory_path_conflict_error", "conflict_error"),
    }


def test_the_time_to_wait_is_read_where_waiting_helps() -> None:
    assert reject(429, "rate_limit_error", **{"Retry-After": "7"}) == ("provider_throttled", True, True, 7.0)
    assert reject(529, "overloaded_error", **{"retry-after": "2"})[3] == 2.0
    assert reject(401, "authentication_error", **{"Retry-After": "7"})[3] is None


def test_every_wording_of_a_prompt_that_is_too_long_is_known_in_a_response_and_in_a_stream() -> None:
    for fault in ("input_too_long", "prompt_too_long", "over_context_limit", "too_many_tokens", "too_many_bytes"):
        error = SCRIPTED_ERRORS[fault].to_service_error()
        body: Any = to_body(error, "req")
        assert reject(error.status, body["error"]["type"], error.message)[0] == "context_too_long", fault
        assert map_stream_error(body["error"]).code == "context_too_long", fault


def test_every_type_of_error_is_known_within_a_stream_and_a_new_one_is_transient() -> None:
    for kind, expected in ERROR_TYPES.items():
        error = map_stream_error({"type": kind, "message": "?"})
        assert (error.code, error.retryable, error.is_transient) == expected
    for event in ({"error": {"type": "a_new_error"}}, {"error": "text"}, {"error": None}, {"error": {"type": 5}}, {}):
        error = map_stream_error(error_fields(event))
        assert (error.code, error.is_transient) == ("provider_unavailable", True), event


def test_only_a_rejection_of_the_request_may_refuse_a_feature() -> None:
    streaming = SCRIPTED_ERRORS["no_streaming"].message
    for message, expected in (("tools.0: not permitted", True), ("prompt is too long", False), (streaming, False)):
        body = json.dumps({"error": {"type": "invalid_request_error", "message": message}}).encode()
        rejection = Rejection(400, {}, body)
        assert may_refuse_feature(map_rejection(rejection) or rejection.to_error()) is expected, message
