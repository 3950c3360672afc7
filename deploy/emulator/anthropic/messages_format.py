"""Wire format of `POST /v1/messages`: named server-sent events, or one message as JSON."""

import msgspec

from deploy.emulator.answer import CitedSource, ContentBlock, EmulatedAnswer
from deploy.emulator.anthropic.errors import to_body
from deploy.emulator.anthropic.message_events import MessageEvents
from deploy.emulator.call_history import CallRecord
from deploy.emulator.faults import ScriptedError
from deploy.emulator.request import EmulatedRequest, Json
from deploy.emulator.sse_format import SseFormat, encode_event
from deploy.emulator.wire import Timing


class MessagesFormat(SseFormat):
    """Encodes events in Anthropic's order: a ping follows message_start, usage in message_delta is cumulative."""

    def __init__(self, request: EmulatedRequest, answer: EmulatedAnswer, call: CallRecord) -> None:
        """Make the mapper of the answer's events."""
        self._events = MessageEvents(request, answer, "msg_01")
        self._request_id = call.id

    def opening(self) -> list[bytes]:
        """Return message_start and a ping."""
        return [_frame(self._events.message_start()), self.comment()]

    def block_start(self, index: int, block: ContentBlock) -> list[bytes]:
        """Return content_block_start."""
        return [_frame(event) for event in self._events.block_start(index, block)]

    def delta(self, index: int, block: ContentBlock, text: str) -> bytes:
        """Return content_block_delta."""
        return _frame(self._events.delta(index, block, text))

    def signature(self, index: int, block: ContentBlock) -> bytes:
        """Return content_block_delta with the signature."""
        return _frame(self._events.signature(index, block))

    def citation(self, index: int, block: ContentBlock, source: CitedSource) -> bytes:
        """Return content_block_delta with a citation."""
        del block
        return _frame(self._events.citation(index, source))

    def block_stop(self, index: int, block: ContentBlock) -> list[bytes]:
        """Return content_block_stop."""
        del block
        return [_frame(self._events.block_stop(index))]

    def closing(self, timing: Timing) -> list[bytes]:
        """Return message_delta."""
        del timing
        return [_frame(self._events.message_delta(self._usage()))]

    def end_mark(self, timing: Timing) -> list[bytes]:
        """Return message_stop."""
        del timing
        return [_frame(self._events.message_stop())]

    def whole(self, timing: Timing) -> Json:
        """Return the message."""
        del timing
        return self._events.whole(self._usage() | {"service_tier": "standard"})

    def error(self, error: ScriptedError) -> bytes:
        """Return an event named `error`, or the scripted name, with the body of the HTTP error."""
        body = to_body(error.to_service_error(), self._request_id) if error.body is msgspec.UNSET else error.body
        return encode_event(error.exception or "error", body)

    def malformed(self) -> bytes:
        """Return a delta whose JSON is cut short."""
        return encode_event("content_block_delta", raw=b'{"type":"content_block_delta","index":0,"delta":{"ty')

    def comment(self) -> bytes:
        """Return a ping."""
        return _frame({"type": "ping"})

    def _usage(self) -> Json:
        return self._events.input_usage() | self._events.output_usage()


def _frame(event: Json) -> bytes:
    return encode_event(event["type"], event)
