"""Converse and ConverseStream: Bedrock's own message format."""

import json
from typing import Any

from deploy.emulator.answer import Answer, Block, Usage
from deploy.emulator.frames import event
from deploy.emulator.request import Request
from deploy.emulator.shape import Timing


class ConverseShape:
    """The events in the order in which Bedrock sends them; a text block has no contentBlockStart there."""

    def opening(self, request: Request, answer: Answer) -> list[bytes]:
        """Return messageStart."""
        del request, answer
        return [event("messageStart", {"role": "assistant"})]

    def block_start(self, index: int, block: Block) -> list[bytes]:
        """Return contentBlockStart for a tool, nothing for other blocks."""
        if block.kind != "tool":
            return []
        start = {"toolUse": {"name": block.tool_name, "toolUseId": block.tool_id}}
        return [event("contentBlockStart", {"contentBlockIndex": index, "start": start})]

    def delta(self, index: int, block: Block, text: str) -> bytes:
        """Return contentBlockDelta."""
        match block.kind:
            case "text":
                delta: dict[str, Any] = {"text": text}
            case "tool":
                delta = {"toolUse": {"input": text}}
            case "reasoning":
                delta = {"reasoningContent": {"text": text}}
        return event("contentBlockDelta", {"contentBlockIndex": index, "delta": delta})

    def signature(self, index: int, signature: str) -> bytes:
        """Return contentBlockDelta with the signature."""
        delta = {"reasoningContent": {"signature": signature}}
        return event("contentBlockDelta", {"contentBlockIndex": index, "delta": delta})

    def block_stop(self, index: int) -> bytes:
        """Return contentBlockStop."""
        return event("contentBlockStop", {"contentBlockIndex": index})

    def closing(self, answer: Answer, timing: Timing) -> list[bytes]:
        """Return messageStop and metadata."""
        metadata = {"usage": _usage(answer.usage), "metrics": {"latencyMs": timing.total_ms}}
        return [event("messageStop", {"stopReason": answer.stop_reason}), event("metadata", metadata)]

    def whole(self, request: Request, answer: Answer, timing: Timing) -> dict[str, Any]:
        """Return Converse's response."""
        del request
        return {
            "output": {"message": {"role": "assistant", "content": [_content(block) for block in answer.blocks]}},
            "stopReason": answer.stop_reason,
            "usage": _usage(answer.usage),
            "metrics": {"latencyMs": timing.total_ms},
        }


def tool_input(block: Block) -> Any:
    """Return a tool's input, or an empty one where `max_tokens` cut it in two."""
    try:
        return json.loads(block.content)
    except ValueError:
        return {}


def _content(block: Block) -> dict[str, Any]:
    match block.kind:
        case "text":
            return {"text": block.content}
        case "tool":
            return {"toolUse": {"toolUseId": block.tool_id, "name": block.tool_name, "input": tool_input(block)}}
        case "reasoning":
            return {"reasoningContent": {"reasoningText": {"text": block.content, "signature": block.signature}}}


def _usage(usage: Usage) -> dict[str, int]:
    return {
        "inputTokens": usage.input_tokens,
        "outputTokens": usage.output_tokens,
        "totalTokens": usage.total_tokens,
        "cacheReadInputTokens": usage.cache_read_tokens,
        "cacheWriteInputTokens": usage.cache_write_tokens,
    }
