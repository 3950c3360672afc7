"""Wire format of InvokeModel and InvokeModelWithResponseStream, for Anthropic's models.

Each event of Anthropic's stream is JSON, in base64, within an event named `chunk`.
"""

from base64 import b64encode
from typing import Any
from uuid import NAMESPACE_OID, uuid5

from deploy.emulator.answer import ContentBlock, EmulatedAnswer, TokenUsage
from deploy.emulator.bedrock.event_stream import EventStreamFormat, encode_event
from deploy.emulator.request import EmulatedRequest
from deploy.emulator.wire import Timing, json_bytes


class InvokeFormat(EventStreamFormat):
    """Encodes events in the order of Anthropic's stream; the last one carries Bedrock's metrics."""

    def __init__(self, request: EmulatedRequest, answer: EmulatedAnswer) -> None:
        """Keep the request's model and question, and the answer."""
        self._request = request
        self._answer = answer

    def opening(self) -> list[bytes]:
        """Return message_start."""
        message = _message(self._request, self._answer.usage, output_tokens=1)
        return [_chunk({"type": "message_start", "message": message})]

    def block_start(self, index: int, block: ContentBlock) -> list[bytes]:
        """Return content_block_start."""
        return [_chunk({"type": "content_block_start", "index": index, "content_block": _empty_content(block)})]

    def delta(self, index: int, block: ContentBlock, text: str) -> bytes:
        """Return content_block_delta."""
        match block.kind:
            case "text" | "refusal":
                delta = {"type": "text_delta", "text": text}
            case "tool":
                delta = {"type": "input_json_delta", "partial_json": text}
            case "reasoning":
                delta = {"type": "thinking_delta", "thinking": text}
        return _chunk({"type": "content_block_delta", "index": index, "delta": delta})

    def signature(self, index: int, block: ContentBlock) -> bytes:
        """Return content_block_delta with the signature."""
        delta = {"type": "signature_delta", "signature": block.signature}
        return _chunk({"type": "content_block_delta", "index": index, "delta": delta})

    def block_stop(self, index: int, block: ContentBlock) -> list[bytes]:
        """Return content_block_stop."""
        del block
        return [_chunk({"type": "content_block_stop", "index": index})]

    def closing(self, timing: Timing) -> list[bytes]:
        """Return message_delta."""
        del timing
        delta = {"stop_reason": self._answer.stop_reason, "stop_sequence": None}
        usage = {"output_tokens": self._answer.usage.output_tokens}
        return [_chunk({"type": "message_delta", "delta": delta, "usage": usage})]

    def end_mark(self, timing: Timing) -> list[bytes]:
        """Return message_stop with Bedrock's metrics."""
        usage = self._answer.usage
        metrics = {
            "inputTokenCount": usage.input_tokens,
            "outputTokenCount": usage.output_tokens,
            "cacheReadInputTokenCount": usage.cache_read_tokens,
            "cacheWriteInputTokenCount": usage.cache_write_tokens,
            "invocationLatency": timing.total_ms,
            "firstByteLatency": timing.first_ms,
        }
        return [_chunk({"type": "message_stop", "amazon-bedrock-invocationMetrics": metrics})]

    def whole(self, timing: Timing) -> dict[str, Any]:
        """Return Anthropic's message."""
        del timing
        answer = self._answer
        message = _message(self._request, answer.usage, output_tokens=answer.usage.output_tokens)
        content = [_content(block) for block in answer.blocks]
        return message | {"content": content, "stop_reason": answer.stop_reason}


def _chunk(value: dict[str, Any]) -> bytes:
    return encode_event("chunk", {"bytes": b64encode(json_bytes(value)).decode("ascii")})


def _message(request: EmulatedRequest, usage: TokenUsage, *, output_tokens: int) -> dict[str, Any]:
    return {
        "id": f"msg_bdrk_{uuid5(NAMESPACE_OID, ascii(request.question)).hex[:24]}",
        "type": "message",
        "role": "assistant",
        "model": request.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {
            "input_tokens": usage.input_tokens,
            "cache_creation_input_tokens": usage.cache_write_tokens,
            "cache_read_input_tokens": usage.cache_read_tokens,
            "output_tokens": output_tokens,
        },
    }


def _empty_content(block: ContentBlock) -> dict[str, Any]:
    match block.kind:
        case "text" | "refusal":
            return {"type": "text", "text": ""}
        case "tool":
            return {"type": "tool_use", "id": block.tool_id, "name": block.tool_name, "input": {}}
        case "reasoning":
            return {"type": "thinking", "thinking": "", "signature": ""}


def _content(block: ContentBlock) -> dict[str, Any]:
    match block.kind:
        case "text" | "refusal":
            return {"type": "text", "text": block.content}
        case "tool":
            return _empty_content(block) | {"input": block.tool_input}
        case "reasoning":
            return {"type": "thinking", "thinking": block.content, "signature": block.signature}
