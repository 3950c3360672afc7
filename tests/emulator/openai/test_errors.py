"""Tests of scripted errors: the classes and codes of the official SDK that they become."""

from typing import Any

import openai
import pytest

from tests.emulator.harness import emulate
from tests.emulator_process import EmulatorProcess

TOO_LONG = "context_length_exceeded"
ERRORS: list[tuple[Any, type[openai.APIStatusError], str | None]] = [
    ("throttle", openai.RateLimitError, "rate_limit_exceeded"),
    ("quota", openai.RateLimitError, "insufficient_quota"),
    ("validation", openai.BadRequestError, "invalid_value"),
    ("unavailable", openai.InternalServerError, None),
    ("server_error", openai.InternalServerError, None),
    ("authentication", openai.AuthenticationError, "invalid_api_key"),
    ("expired", openai.AuthenticationError, "token_expired"),
    ("no_model", openai.NotFoundError, "model_not_found"),
    ("no_streaming", openai.BadRequestError, "unsupported_value"),
    ("blocked_prompt", openai.BadRequestError, "content_filter"),
    ("input_too_long", openai.BadRequestError, TOO_LONG),
    ("prompt_too_long", openai.BadRequestError, TOO_LONG),
    ("over_context_limit", openai.BadRequestError, "400"),
    ("too_many_tokens", openai.BadRequestError, "400"),
    ("too_many_bytes", openai.BadRequestError, "string_above_max_length"),
    ("too_large", openai.APIStatusError, None),
    ({"status": 403, "code": "no"}, openai.PermissionDeniedError, "no"),
    ({"status": 422}, openai.UnprocessableEntityError, None),
    ("proxy_error", openai.InternalServerError, None),
]


@pytest.mark.parametrize(("fault", "kind", "code"), ERRORS)
def test_an_error_before_the_first_delta_is_an_http_error(
    sdk: openai.OpenAI, emulator: EmulatorProcess, fault: Any, kind: type[openai.APIStatusError], code: str | None
) -> None:
    calls = (
        lambda text, stream: sdk.chat.completions.create(
            model="m", messages=[{"role": "user", "content": text}], stream=stream
        ),
        lambda text, stream: sdk.responses.create(model="m", input=text, stream=stream),
    )
    for call in calls:
        for stream in (True, False):
            if fault == "no_streaming" and not stream:
                call(emulate(fault=fault), stream)
                continue
            with pytest.raises(kind) as caught:
                call(emulate(fault=fault), stream)
            assert caught.value.code is None or str(caught.value.code) == code
            assert (caught.value.code is None) == (code is None)
            assert caught.value.request_id or fault == "proxy_error"
    assert [call["deltas_sent"] for call in emulator.calls() if call["ended"] == "fault"] == [0] * (
        2 if fault == "no_streaming" else 4
    )


def test_a_throttled_client_is_given_the_time_to_wait(sdk: openai.OpenAI) -> None:
    for after in ({}, {"retry_after": 7}):
        with pytest.raises(openai.RateLimitError) as caught:
            sdk.responses.create(model="m", input=emulate(fault="throttle", **after))
        assert caught.value.response.headers.get("retry-after") == ("7" if after else None)


def test_a_cut_connection_is_a_connection_error(sdk: openai.OpenAI) -> None:
    with pytest.raises(openai.APIConnectionError):
        sdk.responses.create(model="m", input=emulate(fault="disconnect"))


def test_a_page_with_status_200_is_not_an_answer(sdk: openai.OpenAI) -> None:
    found: Any = sdk.responses.create(model="m", input=emulate(fault="html"))
    assert isinstance(found, str)  # the SDK hands over the page
    assert found.startswith("<!DOCTYPE html>")
