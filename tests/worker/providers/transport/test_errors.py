"""The mapping of statuses, messages and exceptions that all wires share."""

import json
import time
from email.utils import formatdate
from typing import Any

import pytest
from urllib3 import exceptions as urllib3_errors

from millrace.worker.providers.transport.errors import (
    Rejection,
    is_overflow,
    is_streaming_refusal,
    map_exception,
    map_status,
    retry_after,
)

TOO_LONG = """
Input is too long for requested model.
prompt is too long: 208310 tokens > 200000 maximum
input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000, decrease input length or `max_tokens`
Too many input tokens. Max input tokens: 8192, request input token count: 9001
messages: too many total text bytes: 12345678 > 9000000
The model returned the following errors: Input Tokens Exceeded: Number of input tokens exceeds maximum length.
This model's maximum context length is 32768 tokens. However, you requested 40000 tokens.
Malformed input request: expected maxLength: 50000, actual: 90000, please reformat your input and try again.
The input token count (1200293) exceeds the maximum number of tokens allowed (1048576).
Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context length
Input validation error: `inputs` tokens + `max_new_tokens` must be <= 32768. Given: 40000 `inputs` tokens
Your input exceeds the context window of this model.
Unable to submit request because the input token count is 1180562 but model only supports up to 1048576.
The conversation history is over the limit of 128000 tokens.
Value at 'messages.1.member.content' failed to satisfy constraint: Member must have length less than or equal to 9
Request size exceeds the limit.
the request exceeds the available context size. try increasing the context size or enable context shift
"""
NOT_TOO_LONG = """
The maximum tokens you requested exceeds the model limit of 8192. Try again with a maximum tokens value that is lower.
max_tokens: 100000 > 8192, which is the maximum allowed number of output tokens for this model
Value '9' at 'inferenceConfig.maxTokens' failed to satisfy constraint: Member must have value less than or equal to 4
Malformed input request: 2 schema violations found, please reformat your input and try again.
A conversation must alternate between user and assistant roles. Make sure it does and try again.
The text field in the ContentBlock object at messages.0.content.0 is blank. Add text to the text field.
This model does not support assistant message prefill. The conversation must end with a user message.
A maximum of 4 blocks with cache_control may be provided. Found 5.
Too many stop_sequences in the request: 5 > 4
Too many requests.
Too many concurrent requests, please wait before trying again.
Rate limit exceeded: 100000 tokens per minute.
You exceeded your current quota of input tokens.
A schema in GenerationConfig in the request exceeds the maximum allowed nesting depth.
`temperature` and `top_p` cannot both be specified for this model. Please use only one.
The provided model identifier is invalid.
Too many tokens per minute: limit 30000
max_tokens is too large: 200000. This model supports at most 4096 completion tokens, whereas you provided 200000.
"""
STREAMING_REFUSALS = """
Unsupported value: 'stream' does not support true with this model. Only the default (false) value is supported.
This model does not support streaming.
Streaming is not supported for this model
Your organization must be verified to stream this model. Please go to settings.
The model is unsupported for streaming.
"""


def test_a_message_of_a_prompt_that_is_too_long_is_known_in_any_wording_and_no_other_message_is() -> None:
    assert [each for each in TOO_LONG.strip().splitlines() if not is_overflow(each)] == []
    others = NOT_TOO_LONG + STREAMING_REFUSALS
    assert [each for each in others.strip().splitlines() if is_overflow(each)] == []


def test_a_message_that_refuses_streaming_is_known_and_no_other_message_is() -> None:
    assert [each for each in STREAMING_REFUSALS.strip().splitlines() if not is_streaming_refusal(each)] == []
    others = TOO_LONG + NOT_TOO_LONG + "\nUnknown parameter: stream_options is not supported here."
    assert [each for each in others.strip().splitlines() if is_streaming_refusal(each)] == []


def test_each_status_has_its_code() -> None:
    expected = {
        **dict.fromkeys((401, 402, 403), ("provider_authentication", False, False)),
        **dict.fromkeys((408, 504), ("provider_timeout", True, False)),
        413: ("context_too_long", False, False),
        429: ("provider_throttled", True, True),
        **dict.fromkeys((400, 404, 405, 409, 410, 422, 451, 499), ("provider_rejected", False, False)),
        **dict.fromkeys((424, 425, 500, 502, 503, 520, 529, 599), ("provider_unavailable", True, True)),
        **dict.fromkeys((300, 301, 302, 304, 307, 308), ("provider_unavailable", True, False)),
    }
    for status, (code, retryable, is_transient) in expected.items():
        error = map_status(status)
        assert (error.code, error.retryable, error.is_transient) == (code, retryable, is_transient), status


def test_the_wait_that_a_service_asks_for_is_read_in_every_form() -> None:
    assert retry_after({"Retry-After": "7"}) == 7
    assert retry_after({"retry-after": " 1.5 "}) == 1.5
    assert retry_after({"Retry-After": "7", "Retry-After-Ms": "250"}) == 0.25
    for now in (1_000_000_000.0, time.time()):  # by the service's clock, not by ours
        for wait in (60, 0, -60):
            headers = {"Date": formatdate(now, usegmt=True), "Retry-After": formatdate(now + wait, usegmt=True)}
            assert retry_after(headers) == max(0, wait)
    assert retry_after({"Retry-After": formatdate(time.time() + 60, usegmt=True)}) is None
    for odd in ("", "-1", "soon", "inf", "nan", "1e9", "٣", "9" * 400, "Wed, 99 Foo 9999"):
        assert retry_after({"Retry-After": odd}) is None, odd
    assert map_status(429, 3).retry_after == map_status(503, 3).retry_after == 3
    assert map_status(400, 3).retry_after is None


def test_a_rejection_is_read_in_every_form_in_which_services_wrap_it() -> None:
    text = "prompt is too long: 9 tokens > 8 maximum"
    bodies: list[Any] = [
        {"error": {"message": text, "type": "invalid_request_error"}},
        {"error": text},
        [{"error": {"message": text}}],
        {"message": text},
        {"detail": text},
        {"detail": [{"msg": text}]},
        {"type": "error", "error": {"type": "x", "message": text}},
    ]
    for body in [*(json.dumps(each).encode() for each in bodies), text.encode(), b"\xff" + text.encode()]:
        assert Rejection(400, {}, body).to_error().code == "context_too_long", body
    for body in (b"", b"null", b"[]", b"5", b'"a"', b'{"error": 5}', b'{"error": {"message": {}}}', b"[" * 100_000):
        assert Rejection(400, {}, body).to_error().code == "provider_rejected", body[:50]
    assert Rejection(400, {}, STREAMING_REFUSALS.encode()).to_error().refuses_streaming
    assert not Rejection(503, {}, STREAMING_REFUSALS.encode()).to_error().refuses_streaming


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (TimeoutError(), ("provider_timeout", False)),
        (urllib3_errors.ReadTimeoutError(None, "u", "late"), ("provider_timeout", False)),  # pyright: ignore[reportArgumentType]
        (urllib3_errors.ConnectTimeoutError(), ("provider_unavailable", True)),
        (urllib3_errors.ProtocolError("cut"), ("provider_unavailable", True)),
        (urllib3_errors.SSLError("bad"), ("provider_unavailable", True)),
        (urllib3_errors.LocationParseError("x"), ("provider_unavailable", False)),
        (ConnectionResetError(), ("provider_unavailable", True)),
    ],
)
def test_each_exception_of_the_connection_has_its_code(error: Exception, expected: tuple[str, bool]) -> None:
    failure = map_exception(error)
    assert failure
    assert (failure.code, failure.is_transient) == expected


def test_an_exception_that_is_not_the_connections_is_not_mapped() -> None:
    assert map_exception(ZeroDivisionError()) is None
