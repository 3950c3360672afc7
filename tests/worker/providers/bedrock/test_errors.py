"""The error mapping: the same for a response, an exception within the stream and an error of the connection."""

import pytest
from botocore import exceptions as sdk
from botocore.eventstream import ChecksumMismatch
from urllib3 import exceptions as wire

from millrace.worker.providers.bedrock.errors import EXCEPTIONS, map_error


def client_error(code: str, message: str = "no", status: int = 400) -> sdk.ClientError:
    return sdk.ClientError(
        {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}},  # pyright: ignore[reportArgumentType]
        "ConverseStream",
    )


def mapping(error: Exception) -> tuple[str, bool, bool]:
    failure = map_error(error)
    assert failure is not None
    return failure.code, failure.retryable, failure.is_transient


@pytest.mark.parametrize("code", EXCEPTIONS)
def test_an_exception_is_mapped_alike_in_a_response_and_within_a_stream(code: str) -> None:
    inner = code[0].lower() + code[1:]
    stream_error = sdk.EventStreamError({"Error": {"Code": inner, "Message": "no"}}, "ConverseStream")
    assert mapping(client_error(code)) == mapping(stream_error)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (client_error("ThrottlingException"), ("provider_throttled", True, True)),
        (client_error("ServiceUnavailableException"), ("provider_unavailable", True, True)),
        (client_error("ModelTimeoutException"), ("provider_timeout", True, False)),
        (client_error("ValidationException"), ("provider_rejected", False, False)),
        (
            client_error("ValidationException", "Input is too long for requested model."),
            ("context_too_long", False, False),
        ),
        (client_error("ValidationException", "prompt is too long: 9 > 8"), ("context_too_long", False, False)),
        (client_error("AccessDeniedException"), ("provider_rejected", False, False)),
        (client_error("SomethingNew", status=429), ("provider_throttled", True, True)),
        (client_error("SomethingNew", status=408), ("provider_timeout", True, False)),
        (client_error("SomethingNew", status=502), ("provider_unavailable", True, True)),
        (client_error("ExpiredTokenException", status=403), ("provider_rejected", False, False)),
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
def test_each_error_has_its_code(error: Exception, expected: tuple[str, bool, bool]) -> None:
    assert mapping(error) == expected


def test_an_error_that_is_not_the_providers_is_not_mapped() -> None:
    assert map_error(ZeroDivisionError()) is None
