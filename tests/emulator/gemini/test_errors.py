"""Tests of errors in place of a response, as the official SDK reads them."""

import json
from typing import Any, cast

import pytest
from google.genai import Client
from google.genai.errors import APIError, ClientError, ServerError

from tests.emulator.harness import emulate
from tests.emulator.sdk import raw_request
from tests.emulator_process import EmulatorProcess

MODEL = "gemini-3-pro"
ERRORS: list[tuple[Any, type[APIError], int, str]] = [
    ("throttle", ClientError, 429, "RESOURCE_EXHAUSTED"),
    ("validation", ClientError, 400, "INVALID_ARGUMENT"),
    ("unavailable", ServerError, 503, "UNAVAILABLE"),
    ("expired", ClientError, 400, "INVALID_ARGUMENT"),
    ("too_large", ClientError, 413, "INVALID_ARGUMENT"),
    ("input_too_long", ClientError, 400, "INVALID_ARGUMENT"),
    ("prompt_too_long", ClientError, 400, "INVALID_ARGUMENT"),
    ("over_context_limit", ClientError, 400, "INVALID_ARGUMENT"),
    ("too_many_tokens", ServerError, 500, "INTERNAL"),
    ("too_many_bytes", ClientError, 400, "INVALID_ARGUMENT"),
    ("server_error", ServerError, 500, "INTERNAL"),
    ("authentication", ClientError, 400, "INVALID_ARGUMENT"),
    ("quota", ClientError, 429, "RESOURCE_EXHAUSTED"),
    ("no_model", ClientError, 404, "NOT_FOUND"),
    ({"status": 504}, ServerError, 504, "DEADLINE_EXCEEDED"),
    ({"status": 403}, ClientError, 403, "PERMISSION_DENIED"),
    ({"status": 401, "code": "A_NEW_STATUS"}, ClientError, 401, "A_NEW_STATUS"),
]


def details_of(error: APIError) -> dict[str, dict[str, Any]]:
    """Return an error's details by the last word of their types."""
    details = cast(Any, error.details)["error"].get("details", [])
    return {detail["@type"].rpartition(".")[2]: detail for detail in details}


def test_each_error_has_googles_code_and_status(gemini: Client) -> None:
    for fault, kind, status, name in ERRORS:
        for call in (gemini.models.generate_content, gemini.models.generate_content_stream):
            with pytest.raises(kind) as caught:
                list(call(model=MODEL, contents=emulate(fault=fault)))
            assert (caught.value.code, caught.value.status) == (status, name), fault
            assert cast(Any, caught.value.details)["error"]["code"] == status
            assert "RetryInfo" not in details_of(caught.value)


def test_google_says_when_to_retry_in_the_details_and_not_in_a_header(
    gemini: Client, emulator: EmulatorProcess
) -> None:
    with pytest.raises(ClientError) as caught:
        gemini.models.generate_content(model=MODEL, contents=emulate(fault="throttle", retry_after=2.5))
    details = details_of(caught.value)
    assert details["RetryInfo"]["retryDelay"] == "2.5s"
    assert details["QuotaFailure"]["violations"][0]["quotaId"]
    body = {"contents": [{"parts": [{"text": emulate(fault="throttle", retry_after=2.5)}]}]}
    path = f"{emulator.url}/v1beta/models/{MODEL}:generateContent"
    assert "retry-after" not in raw_request(path, body, {"x-goog-api-key": "k"})[1]


def test_a_bad_or_expired_key_is_an_invalid_argument_with_a_reason(gemini: Client) -> None:
    for fault in ("expired", "authentication"):
        with pytest.raises(ClientError) as caught:
            gemini.models.generate_content(model=MODEL, contents=emulate(fault=fault))
        assert details_of(caught.value)["ErrorInfo"]["reason"] == "API_KEY_INVALID"


def test_only_a_stream_is_refused_where_streaming_is_not_supported(gemini: Client) -> None:
    message = emulate(fault="no_streaming", text="Hi")
    with pytest.raises(ClientError, match="does not support streaming"):
        list(gemini.models.generate_content_stream(model=MODEL, contents=message))
    assert gemini.models.generate_content(model=MODEL, contents=message).text == "Hi"


def test_an_errors_body_can_be_scripted_in_full(emulator: EmulatorProcess) -> None:
    path = f"{emulator.url}/v1beta/models/{MODEL}:generateContent"
    for given in (None, [], {"error": "odd"}):
        body = {"contents": [{"parts": [{"text": emulate(fault={"body": given})}]}]}
        status, _, data = raw_request(path, body, {"x-goog-api-key": "k"})
        assert (status, json.loads(data)) == (400, given)
