"""Tests of scripted service errors that replace the response, as a boto3 client meets them."""

from typing import TYPE_CHECKING, Any, cast

import pytest
from botocore.exceptions import ClientError, EventStreamError

from tests.emulator.harness import MODEL, converse_events, emulate, user_message
from tests.emulator_process import EmulatorProcess

if TYPE_CHECKING:
    from mypy_boto3_bedrock_runtime import BedrockRuntimeClient

HTTP_ERRORS = [
    ("throttle", "ThrottlingException", 429),
    ("validation", "ValidationException", 400),
    ("unavailable", "ServiceUnavailableException", 503),
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
