"""Tests of scripted service errors that replace the response, as a boto3 client meets them."""

import json
from typing import TYPE_CHECKING, Any, cast
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from botocore.exceptions import ClientError, EventStreamError

from tests.emulator.harness import MODEL, converse_body, converse_events, emulate, user_message
from tests.emulator_process import EmulatorProcess

if TYPE_CHECKING:
    from mypy_boto3_bedrock_runtime import BedrockRuntimeClient

HTTP_ERRORS = [
    ("throttle", "ThrottlingException", 429),
    ("validation", "ValidationException", 400),
    ("unavailable", "ServiceUnavailableException", 503),
    ("expired", "ExpiredTokenException", 403),
    ("input_too_long", "ValidationException", 400),
    ("prompt_too_long", "ValidationException", 400),
    ("over_context_limit", "ValidationException", 400),
    ("too_many_tokens", "ValidationException", 400),
    ("too_many_bytes", "ValidationException", 400),
    ("too_large", "RequestEntityTooLargeException", 413),
]


@pytest.mark.parametrize(("fault", "code", "status"), HTTP_ERRORS)
def test_service_error_before_the_first_delta_is_an_http_error(
    bedrock: "BedrockRuntimeClient", emulator: EmulatorProcess, fault: str, code: str, status: int
) -> None:
    with pytest.raises(ClientError) as caught:
        converse_events(bedrock, emulate(fault=fault))
    assert not isinstance(caught.value, EventStreamError)
    assert caught.value.response.get("Error", {}).get("Code") == code
    assert caught.value.response.get("ResponseMetadata", {}).get("HTTPStatusCode") == status
    (call,) = emulator.calls()
    assert (call["ended"], call["deltas_sent"], call["sent_at"]) == ("fault", 0, None)


@pytest.mark.parametrize(
    ("fault", "code"), [(fault, code) for fault, code, _ in HTTP_ERRORS] + [("stream_error", "ModelErrorException")]
)
def test_service_error_without_a_stream_is_an_http_error_at_any_delta(
    bedrock: "BedrockRuntimeClient", fault: str, code: str
) -> None:
    for at in (0, 3):
        with pytest.raises(ClientError) as caught:
            bedrock.converse(modelId=MODEL, messages=cast(Any, user_message(emulate(fault=fault, at=at))))
        assert caught.value.response.get("Error", {}).get("Code") == code


def test_any_error_can_be_scripted_with_its_status_code_and_body(emulator: EmulatorProcess) -> None:
    for path in ("converse", "converse-stream"):
        for body in (None, [], {"message": None}, "odd"):
            fault = {"status": 418, "code": "Some#TeapotException", "body": body}
            request = json.dumps(converse_body(emulate(fault=fault))).encode()
            with pytest.raises(HTTPError) as caught:
                urlopen(Request(f"{emulator.url}/model/m/{path}", request, {"Authorization": "x"}), timeout=30)
            with caught.value as error:
                assert (error.code, error.headers["x-amzn-ErrorType"]) == (418, "Some#TeapotException")
                assert json.load(error) == body


def test_a_response_can_be_scripted_in_full(emulator: EmulatorProcess) -> None:
    for response in ({"output": {}, "stopReason": None}, [], None):
        request = json.dumps(converse_body(emulate(response=response))).encode()
        asked = Request(f"{emulator.url}/model/m/converse", request, {"Authorization": "x"})
        with urlopen(asked, timeout=30) as answer:
            assert json.load(answer) == response
