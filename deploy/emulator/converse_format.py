"""Wire format of Converse and ConverseStream: Bedrock's own message format."""

from typing import Any

from deploy.emulator.bedrock_answer import BedrockAnswer, ContentBlock, TokenUsage
from deploy.emulator.bedrock_request import BedrockRequest
from deploy.emulator.event_stream import encode_event
from deploy.emulator.stream_plan import Timing


class ConverseFormat:
    """Encodes events in Bedrock's order; Bedrock sends no contentBlockStart for a text block."""

    def opening(self, request: BedrockRequest, answer: BedrockAnswer) -> list[bytes]:
        """Return messageStart."""
        del request, answer
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
            case "text":
                delta: dict[str, Any] = {"text": text}
            case "tool":
                delta = {"toolUse": {"input": text}}
            case "reasoning":
                delta = {"reasoningContent": {"text": text}}
        return encode_event("contentBlockDelta", {"contentBlockIndex": index, "delta": delta})

    def signature(self, index: int, signature: str) -> bytes:
        """Return contentBlockDelta with the signature."""
        delta = {"reasoningContent": {"signature": signature}}
        return encode_event("contentBlockDelta", {"contentBlockIndex": index, "delta": delta})

    def block_stop(self, index: int) -> bytes:
        """Return contentBlockStop."""
        return encode_event("contentBlockStop", {"contentBlockIndex": index})

    def closing(self, answer: BedrockAnswer, timing: Timing) -> list[bytes]:
        """Return messageStop and metadata."""
        metadata = {"usage": _usage(answer.usage), "metrics": {"latencyMs": timing.total_ms}}
        return [encode_event("messageStop", {"stopReason": answer.stop_reason}), encode_event("metadata", metadata)]

    def json_response(self, request: BedrockRequest, answer: BedrockAnswer, timing: Timing) -> dict[str, Any]:
        """Return Converse's response."""
        del request
        return {
            "output": {"message": {"role": "assistant", "content": [_content(block) for block in answer.blocks]}},
            "stopReason": answer.stop_reason,
            "usage": _usage(answer.usage),
            "metrics": {"latencyMs": timing.total_ms},
        }


def _content(block: ContentBlock) -> dict[str, Any]:
    match block.kind:
        case "text":
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
