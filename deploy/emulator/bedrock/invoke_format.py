"""Wire format of InvokeModel and InvokeModelWithResponseStream, for Anthropic's models.

Each event of Anthropic's stream is JSON, in base64, within an event named `chunk`.
"""

from base64 import b64encode

from deploy.emulator.answer import CitedSource, ContentBlock, EmulatedAnswer
from deploy.emulator.anthropic.message_events import MessageEvents
from deploy.emulator.bedrock.event_stream import EventStreamFormat, encode_event
from deploy.emulator.request import EmulatedRequest, Json
from deploy.emulator.wire import Timing, json_bytes


class InvokeFormat(EventStreamFormat):
    """Frames the events of Anthropic's stream; the last one carries Bedrock's metrics."""

    def __init__(self, request: EmulatedRequest, answer: EmulatedAnswer) -> None:
        """Make the mapper of the answer's events."""
        self._events = MessageEvents(request, answer, "msg_bdrk_")
        self._usage = answer.usage

    def opening(self) -> list[bytes]:
        """Return message_start."""
        return [_chunk(self._events.message_start())]

    def block_start(self, index: int, block: ContentBlock) -> list[bytes]:
        """Return content_block_start."""
        return [_chunk(event) for event in self._events.block_start(index, block)]

    def delta(self, index: int, block: ContentBlock, text: str) -> bytes:
        """Return content_block_delta."""
        return _chunk(self._events.delta(index, block, text))

    def citation(self, index: int, block: ContentBlock, source: CitedSource) -> bytes:
        """Return content_block_delta with a citation."""
        del block
        return _chunk(self._events.citation(index, source))

    def signature(self, index: int, block: ContentBlock) -> bytes:
        """Return content_block_delta with the signature."""
        return _chunk(self._events.signature(index, block))

    def block_stop(self, index: int, block: ContentBlock) -> list[bytes]:
        """Return content_block_stop."""
        del block
        return [_chunk(self._events.block_stop(index))]

    def closing(self, timing: Timing) -> list[bytes]:
        """Return message_delta, which has the output's tokens only."""
        del timing
        return [_chunk(self._events.message_delta({"output_tokens": self._usage.output_tokens}))]

    def end_mark(self, timing: Timing) -> list[bytes]:
        """Return message_stop with Bedrock's metrics."""
        metrics = {
            "inputTokenCount": self._usage.input_tokens,
            "outputTokenCount": self._usage.output_tokens,
            "cacheReadInputTokenCount": self._usage.cache_read_tokens,
            "cacheWriteInputTokenCount": self._usage.cache_write_tokens,
            "invocationLatency": timing.total_ms,
            "firstByteLatency": timing.first_ms,
        }
        return [_chunk(self._events.message_stop() | {"amazon-bedrock-invocationMetrics": metrics})]

    def whole(self, timing: Timing) -> Json:
        """Return Anthropic's message."""
        del timing
        return self._events.whole(self._events.input_usage() | {"output_tokens": self._usage.output_tokens})


def _chunk(event: Json) -> bytes:
    return encode_event("chunk", {"bytes": b64encode(json_bytes(event)).decode("ascii")})
