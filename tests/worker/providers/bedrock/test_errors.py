"""What goes wrong at the provider's means the same, whether it comes as an answer, in the stream, or from the wire."""

import pytest
from botocore import exceptions as sdk
from botocore.eventstream import ChecksumMismatch
from urllib3 import exceptions as wire

from millrace.worker.providers.bedrock.errors import CODES, failure_of


def told(code: str, message: str = "no", status: int = 400) -> sdk.ClientError:
    return sdk.ClientError(
        {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}},  # pyright: ignore[reportArgumentType]
        "ConverseStream",
    )


def meaning(error: Exception) -> tuple[str, bool, bool]:
    failure = failure_of(error)
    assert failure is not None
    return failure.code, failure.retryable, failure.is_transient


@pytest.mark.parametrize("code", CODES)
def test_an_exception_means_the_same_within_the_stream(code: str) -> None:
    inner = code[0].lower() + code[1:]
    stream_error = sdk.EventStreamError({"Error": {"Code": inner, "Message": "no"}}, "ConverseStream")
    assert meaning(told(code)) == meaning(stream_error)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (told("ThrottlingException"), ("provider_throttled", True, True)),
        (told("ServiceUnavailableException"), ("provider_unavailable", True, True)),
        (told("ModelTimeoutException"), ("provider_timeout", True, False)),
        (told("ValidationException"), ("provider_rejected", False, False)),
        (told("ValidationException", "Input is too long for requested model."), ("context_too_long", False, False)),
        (told("ValidationException", "prompt is too long: 9 > 8"), ("context_too_long", False, False)),
        (told("AccessDeniedException"), ("provider_rejected", False, False)),
        (told("SomethingNew", status=429), ("provider_throttled", True, True)),
        (told("SomethingNew", status=408), ("provider_timeout", True, False)),
        (told("SomethingNew", status=502), ("provider_unavailable", True, True)),
        (told("ExpiredTokenException", status=403), ("provider_rejected", False, False)),
        (sdk.ReadTimeoutError(endpoint_url="u"), ("provider_timeout", True, False)),
        (wire.ReadTimeoutError(None, "u", "late"), ("provider_timeout", True, False)),  # pyright: ignore[reportArgumentType]
        (sdk.ConnectTimeoutError(endpoint_url="u"), ("provider_unavailable", True, True)),
        (sdk.EndpointConnectionError(endpoint_url="u"), ("provider_unavailable", True, True)),
        (sdk.ConnectionClosedError(endpoint_url="u"), ("provider_unavailable", True, True)),
        (sdk.NoCredentialsError(), ("provider_unavailable", False, False)),
        (sdk.ParamValidationError(report="no"), ("provider_rejected", False, False)),
        (wire.ProtocolError("cut"), ("provider_unavailable", True, True)),
        (ChecksumMismatch(1, 2), ("provider_unavailable", True, True)),
        (ConnectionResetError(), ("provider_unavailable", True, True)),
    ],
)
def test_each_mishap_has_its_meaning(error: Exception, expected: tuple[str, bool, bool]) -> None:
    assert meaning(error) == expected


def test_what_is_none_of_the_providers_is_left_alone() -> None:
    assert failure_of(ZeroDivisionError()) is None
