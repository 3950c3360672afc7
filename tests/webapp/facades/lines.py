"""The lines of a response in a foreign protocol, parsed from its event stream."""

import json
from typing import Any

from werkzeug.test import TestResponse


def lines_of(answer: TestResponse) -> list[Any]:
    """Return the stream's `data:` lines, JSON parsed, after its opening comment."""
    assert answer.status_code == 200, answer.text
    opening, *frames, rest = answer.get_data(as_text=True).split("\n\n")
    assert opening.startswith(":")
    assert not rest
    assert all(frame.startswith("data: ") and "\n" not in frame for frame in frames)
    texts = [frame.removeprefix("data: ") for frame in frames]
    return [text if text == "[DONE]" else json.loads(text) for text in texts]
