"""Responses of OpenAI's routes in tests: the frames of a stream, and errors."""

import json
from typing import Any, NamedTuple

from werkzeug.test import TestResponse

from tests.webapp.harness import Json, json_of


class NumberedFrame(NamedTuple):
    """A frame's id and its data, which is parsed unless it is `[DONE]`."""

    number: int
    data: Any


def frames_of(answer: TestResponse) -> list[NumberedFrame]:
    """Return the frames of a stream, after its opening comment."""
    assert answer.status_code == 200, answer.text
    assert answer.mimetype == "text/event-stream"
    opening, *frames, rest = answer.get_data(as_text=True).split("\n\n")
    assert opening.startswith(":")
    assert not rest
    return [_parse(frame) for frame in frames]


def _parse(frame: str) -> NumberedFrame:
    data, number = frame.split("\n")
    text = data.removeprefix("data: ")
    return NumberedFrame(int(number.removeprefix("id: ")), text if text == "[DONE]" else json.loads(text))


def text_of(frames: list[NumberedFrame]) -> str:
    """Return the text that the chunks of a stream add up to."""
    chunks = [frame.data for frame in frames if frame.data != "[DONE]"]
    return "".join(choice["delta"].get("content", "") for chunk in chunks for choice in chunk["choices"])


def check_error(answer: TestResponse, status: int, code: str, param: str | None = None) -> Json:
    """Assert that a response is this error in OpenAI's shape, and return it."""
    assert (answer.status_code, answer.mimetype) == (status, "application/json"), answer.text
    body = json_of(answer)
    assert set(body) == {"error"}
    error: Json = body["error"]
    assert (error["code"], error["param"]) == (code, param), error
    assert error["message"]
    if status in (429, 503):
        assert int(answer.headers["Retry-After"]) > 0
    return error
