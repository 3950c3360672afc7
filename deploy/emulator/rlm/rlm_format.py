"""Wire formats of `POST /rlm`: one answer as JSON, server-sent events, or JSON lines."""

from typing import Any

import msgspec

from deploy.emulator.answer import CitedSource, ContentBlock, EmulatedAnswer
from deploy.emulator.faults import ScriptedError
from deploy.emulator.request import Json
from deploy.emulator.rlm.errors import to_body
from deploy.emulator.sse_format import SseFormat, encode_event
from deploy.emulator.wire import Timing, json_bytes


class RlmSseFormat(SseFormat):
    """Encodes `data: {"content": …}` for each delta, and `data: [DONE]`."""

    def __init__(self, answer: EmulatedAnswer, field: str) -> None:
        """Keep the answer, and the name of its field in a response that is not streamed."""
        self._answer = answer
        self._field = field

    def opening(self) -> list[bytes]:
        """Return nothing: the first event is the first delta."""
        return []

    def block_start(self, index: int, block: ContentBlock) -> list[bytes]:
        """Return nothing: an answer is one text."""
        del index, block
        return []

    def delta(self, index: int, block: ContentBlock, text: str) -> bytes:
        """Return a piece of the text."""
        del index, block
        return self._frame({"content": text})

    def citation(self, index: int, block: ContentBlock, source: CitedSource) -> bytes:
        """Return an empty piece: this wire has no citations."""
        del source
        return self.delta(index, block, "")

    def signature(self, index: int, block: ContentBlock) -> bytes:
        """Return an empty piece: this wire has no signatures."""
        return self.delta(index, block, "")

    def block_stop(self, index: int, block: ContentBlock) -> list[bytes]:
        """Return nothing: an answer is one text."""
        del index, block
        return []

    def closing(self, timing: Timing) -> list[bytes]:
        """Return nothing: this wire has neither a stop reason nor usage."""
        del timing
        return []

    def end_mark(self, timing: Timing) -> list[bytes]:
        """Return `[DONE]`."""
        del timing
        return [b"data: [DONE]\n\n"]

    def whole(self, timing: Timing) -> Json:
        """Return the answer."""
        del timing
        return {self._field: "".join(block.content for block in self._answer.blocks)}

    def error(self, error: ScriptedError) -> bytes:
        """Return the body of the HTTP error as a piece of the stream."""
        return self._frame(to_body(error.to_service_error()) if error.body is msgspec.UNSET else error.body)

    def raw_event(self, name: str, payload: Any) -> bytes:
        """Return a piece with any JSON; pieces have no name."""
        del name
        return self._frame(payload)

    def malformed(self) -> bytes:
        """Return a piece whose JSON is cut short."""
        return b'data: {"conte\n\n'

    def _frame(self, value: Any) -> bytes:
        return encode_event("", value)


class RlmLinesFormat(RlmSseFormat):
    """Encodes `{"content": …}` for each delta, and `{"done": true}`, a line each."""

    def end_mark(self, timing: Timing) -> list[bytes]:
        """Return the last line."""
        del timing
        return [self._frame({"done": True})]

    def malformed(self) -> bytes:
        """Return a line whose JSON is cut short."""
        return b'{"conte\n'

    def comment(self) -> bytes:
        """Return an empty line."""
        return b"\n"

    def _frame(self, value: Any) -> bytes:
        return json_bytes(value) + b"\n"
