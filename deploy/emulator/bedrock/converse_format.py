"""Wire format of Converse and ConverseStream: Bedrock's own message format."""

from typing import Any

from deploy.emulator.answer import ContentBlock, EmulatedAnswer, TokenUsage
from deploy.emulator.bedrock.event_stream import EventStreamFormat, encode_event
from deploy.emulator.request import EmulatedRequest
from deploy.emulator.wire import Timing


class ConverseFormat(EventStreamFormat):
    """Encodes events in Bedrock's order; Bedrock sends no contentBlockStart for a text block."""

    def __init__(self, request: EmulatedRequest, answer: EmulatedAnswer) -> None:
        """Keep the answer."""
        del request
        self._answer = answer

    def opening(self) -> list[bytes]:
        """Return messageStart."""
        return [encode_event("messageStart", {"role": "assistant"})]

    def block_start(self, index: int, block: ContentBlock) -> list[bytes]:
        """Return contentBlockStart for a tool, and nothing for other blocks."""
        if block.kind != "tool":
            return []
        start = {"toolUse": {"name": block.tool_name, "toolUseId": block.tool_id}}
        return [encode_event("contentBlockStart", {"contentBlockIndex": index, "start": start})]

    def delta(self, index: int, block: ContentBlock, text: str) -> bytes:
        """Return contentBlockDelta."""
        match block.kind:
            case "text" | "refusal":
                delta: dict[str, Any] = {"text": text}
            case "tool":
                delta = {"toolUse": {"input": text}}
            case "reasoning":
                delta = {"reasoningContent": {"text": text}}
        return encode_event("contentBlockDelta", {"contentBlockIndex": index, "delta": delta})

    def signature(self, index: int, block: ContentBlock) -> bytes:
        """Return contentBlockDelta with the signature."""
        delta = {"reasoningContent": {"signature": block.signature}}
        return encode_event("contentBlockDelta", {"contentBlockIndex": index, "delta": delta})

    def block_stop(self, index: int, block: ContentBlock) -> list[bytes]:
        """Return contentBlockStop."""
        del block
        return [encode_event("contentBlockStop", {"contentBlockIndex": index})]

    def closing(self, timing: Timing) -> list[bytes]:
        """Return messageStop."""
        del timing
        return [encode_event("messageStop", {"stopReason": self._answer.stop_reason})]

    def end_mark(self, timing: Timing) -> list[bytes]:
        """Return metadata."""
        metadata = {"usage": _usage(self._answer.usage), "metrics": {"latencyMs": timing.total_ms}}
        return [encode_event("metadata", metadata)]

    def whole(self, timing: Timing) -> dict[str, Any]:
        """Return Converse's response."""
        return {
            "output": {"message": {"role": "assistant", "content": [_content(block) for block in self._answer.blocks]}},
            "stopReason": self._answer.stop_reason,
            "usage": _usage(self._answer.usage),
            "metrics": {"latencyMs": timing.total_ms},
        }


def _content(block: ContentBlock) -> dict[str, Any]:
    match block.kind:
        case "text" | "refusal":
            return {"text": block.content}
        case "tool":
            return {"toolUse": {"toolUseId": block.tool_id, "name": block.tool_name, "input": block.tool_input}}
        case "reasoning":
            return {"reasoningContent": {"reasoningText": {"text": block.content, "signature": block.signature}}}


def _usage(usage: TokenUsage) -> dict[str, int]:
    return {
        "inputTokens": usage.input_tokens,
        "outputTokens": usage.output_tokens,
        "totalTokens": usage.total_tokens,
        "cacheReadInputTokens": usage.cache_read_tokens,
        "cacheWriteInputTokens": usage.cache_write_tokens,
    }
