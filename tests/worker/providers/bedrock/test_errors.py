"""The error mapping: the same for a response, an exception within the stream and an error of the connection."""

from typing import Any

import pytest
from botocore import exceptions as sdk
from botocore.eventstream import ChecksumMismatch
from urllib3 import exceptions as wire

from millrace.worker.providers.bedrock.errors import EXCEPTIONS, UnreadableResponse, map_error


def client_error(code: Any, message: Any = "no", status: int = 400) -> sdk.ClientError:
    return sdk.ClientError(
        {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}},  # pyright: ignore[reportArgumentType]
        "ConverseStream",
    )


def stream_error(code: Any, message: Any = "no") -> sdk.EventStreamError:
    """Return an exception within a stream; botocore gives all of them the status 400."""
    details: Any = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": 400}}
    return sdk.EventStreamError(details, "ConverseStream")


def mapping(error: Exception) -> tuple[str, bool, bool]:
    failure = map_error(error)
    assert failure is not None
    return failure.code, failure.retryable, failure.is_transient


@pytest.mark.parametrize(
    "code", sorted(EXCEPTIONS.keys() - {"ModelTimeoutException"})
)  # within a stream it is repeated
def test_an_exception_is_mapped_alike_in_a_response_and_within_a_stream(code: str) -> None:
    assert mapping(client_error(code)) == mapping(stream_error(code[0].lower() + code[1:]))


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
        (client_error("AccessDeniedException"), ("provider_authentication", False, False)),
        (client_error("InvalidSignatureException", status=400), ("provider_authentication", False, False)),
        (client_error("", status=401), ("provider_authentication", False, False)),
        (client_error("SomethingNew", status=429), ("provider_throttled", True, True)),
        (client_error("SomethingNew", status=408), ("provider_timeout", True, False)),
        (client_error("SomethingNew", status=502), ("provider_unavailable", True, True)),
        (client_error("ExpiredTokenException", status=403), ("provider_authentication", False, False)),
        (client_error("RequestEntityTooLargeException", status=413), ("context_too_long", False, False)),
        (client_error("", status=413), ("context_too_long", False, False)),
        (client_error("SomethingNew", status=400), ("provider_rejected", False, False)),
        (client_error("SomethingNew", status=302), ("provider_unavailable", True, True)),
        (client_error("ModelErrorish", status=424), ("provider_unavailable", True, True)),
        (stream_error(""), ("provider_unavailable", True, True)),
        (stream_error("modelTimeoutException"), ("provider_timeout", True, True)),
        (stream_error("somethingNewException"), ("provider_unavailable", True, True)),
        (stream_error("expiredTokenException"), ("provider_authentication", False, False)),
        (stream_error("InternalFailure"), ("provider_unavailable", True, True)),
        (stream_error("validationException", "prompt is too long"), ("context_too_long", False, False)),
        (stream_error(None, None), ("provider_unavailable", True, True)),
        (client_error("ValidationException", None), ("provider_rejected", False, False)),
        (client_error(403, ["odd"], status=503), ("provider_unavailable", True, True)),
        (sdk.ReadTimeoutError(endpoint_url="u"), ("provider_timeout", True, False)),
        (wire.ReadTimeoutError(None, "u", "late"), ("provider_timeout", True, False)),  # pyright: ignore[reportArgumentType]
        (sdk.ConnectTimeoutError(endpoint_url="u"), ("provider_unavailable", True, True)),
        (sdk.EndpointConnectionError(endpoint_url="u"), ("provider_unavailable", True, True)),
        (sdk.ConnectionClosedError(endpoint_url="u"), ("provider_unavailable", True, True)),
        (sdk.NoCredentialsError(), ("provider_authentication", False, False)),
        (sdk.TokenRetrievalError(provider="sso", error_msg="expired"), ("provider_authentication", False, False)),
        (sdk.LoginTokenLoadError(error_msg="expired"), ("provider_authentication", False, False)),
        (sdk.SSOTokenLoadError(error_msg="expired"), ("provider_authentication", False, False)),
        (sdk.ProfileNotFound(profile="p"), ("provider_unavailable", False, False)),
        (UnreadableResponse(), ("provider_rejected", True, False)),
        (sdk.ParamValidationError(report="no"), ("provider_rejected", False, False)),
        (wire.ProtocolError("cut"), ("provider_unavailable", True, True)),
        (ChecksumMismatch(1, 2), ("provider_unavailable", True, True)),
        (ConnectionResetError(), ("provider_unavailable", True, True)),
    ],
)
def test_each_error_has_its_code(error: Exception, expected: tuple[str, bool, bool]) -> None:
    assert mapping(error) == expected


def test_a_rejection_that_refuses_streaming_says_so_outside_of_a_stream_only() -> None:
    message = "The model is unsupported for streaming."
    for error, expected in (
        (client_error("ValidationException", message), True),
        (client_error("ValidationException"), False),
        (stream_error("validationException", message), False),
    ):
        failure = map_error(error)
        assert failure
        assert (failure.code, failure.refuses_streaming) == ("provider_rejected", expected)


def test_the_service_says_how_long_to_wait_only_where_a_wait_helps() -> None:
    for code, given, seconds in (
        ("ThrottlingException", "7", 7.0),
        ("ServiceUnavailableException", "1.5", 1.5),
        ("ThrottlingException", "soon", None),
        ("ValidationException", "7", None),
    ):
        details: Any = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPHeaders": {"retry-after": given}}}
        failure = map_error(sdk.ClientError(details, "ConverseStream"))
        assert failure
        assert failure.retry_after == seconds


def test_an_error_that_is_not_the_providers_is_not_mapped() -> None:
    assert map_error(ZeroDivisionError()) is None
