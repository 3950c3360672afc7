"""Tests of errors in place of a response, as the official SDK reads them."""

from typing import Any, cast

import anthropic
import pytest
from anthropic import Anthropic

from tests.emulator.sdk import scripted

OVERFLOWS = (
    "input_too_long",
    "prompt_too_long",
    "over_context_limit",
    "too_many_tokens",
    "too_many_bytes",
)
ERRORS: list[tuple[Any, type[anthropic.APIStatusError], int, str]] = [
    ("throttle", anthropic.RateLimitError, 429, "rate_limit_error"),
    ("validation", anthropic.BadRequestError, 400, "invalid_request_error"),
    ("unavailable", anthropic.InternalServerError, 529, "overloaded_error"),
    ("expired", anthropic.AuthenticationError, 401, "authentication_error"),
    ("too_large", anthropic.APIStatusError, 413, "request_too_large"),
    *[(fault, anthropic.BadRequestError, 400, "invalid_request_error") for fault in OVERFLOWS],
    ("server_error", anthropic.InternalServerError, 500, "api_error"),
    ("authentication", anthropic.AuthenticationError, 401, "authentication_error"),
    ("quota", anthropic.BadRequestError, 400, "invalid_request_error"),
    ("no_model", anthropic.NotFoundError, 404, "not_found_error"),
    ({"status": 401}, anthropic.AuthenticationError, 401, "authentication_error"),
    ({"status": 403}, anthropic.PermissionDeniedError, 403, "permission_error"),
    ({"status": 404}, anthropic.NotFoundError, 404, "not_found_error"),
    ({"status": 504}, anthropic.APIStatusError, 504, "timeout_error"),
    ({"status": 500}, anthropic.InternalServerError, 500, "api_error"),
    ({"status": 409, "code": "conflict_error"}, anthropic.ConflictError, 409, "conflict_error"),
]


@pytest.mark.parametrize("is_streamed", [False, True])
def test_each_error_has_anthropics_status_and_type(claude: Anthropic, is_streamed: bool) -> None:
    for fault, kind, status, name in ERRORS:
        with pytest.raises(kind) as caught:
            claude.messages.create(
                model="m", max_tokens=9, stream=is_streamed, messages=cast(Any, scripted(fault=fault, retry_after=3))
            )
        error = caught.value
        assert (error.status_code, error.type) == (status, name), fault
        assert error.response.headers.get_list("retry-after") == ["3"]
        assert len(error.response.headers.get_list("request-id")) == 1
        assert cast(Any, error.body)["error"]["message"]


def test_a_rejection_says_nothing_of_when_to_retry_unless_it_is_scripted(claude: Anthropic) -> None:
    with pytest.raises(anthropic.RateLimitError) as caught:
        claude.messages.create(model="m", max_tokens=9, messages=cast(Any, scripted(fault="throttle")))
    assert "retry-after" not in caught.value.response.headers


def test_only_a_stream_is_refused_where_streaming_is_not_supported(claude: Anthropic) -> None:
    messages = cast(Any, scripted(fault="no_streaming", text="Hi"))
    with pytest.raises(anthropic.BadRequestError, match="streaming is not supported"):
        claude.messages.create(model="m", max_tokens=9, stream=True, messages=messages)
    assert claude.messages.create(model="m", max_tokens=9, messages=messages).content
