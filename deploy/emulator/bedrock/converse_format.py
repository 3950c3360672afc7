"""Wire format of Converse and ConverseStream: Bedrock's own message format."""

import json
from typing import Any

from deploy.emulator.answer import CitedSource, ContentBlock, EmulatedAnswer, TokenUsage
from deploy.emulator.bedrock.event_stream import EventStreamFormat, encode_event
from deploy.emulator.request import EmulatedRequest
from deploy.emulator.wire import Timing

_SERVER_TOOL = "server_tool_use"  # the type of a tool's use that the vendor runs itself


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
        """Return contentBlockStart for a tool or its result, and nothing for other blocks."""
        match block.kind:
            case "tool":
                start = {"toolUse": {"name": block.tool_name, "toolUseId": block.tool_id}}
            case "search":
                start = {"toolUse": {"name": block.tool_name, "toolUseId": block.tool_id, "type": _SERVER_TOOL}}
            case "search_result":
                start = {"toolResult": {"toolUseId": block.tool_id, "status": "success"}}
            case "image":
                start = {"image": {"format": "png"}}
            case _:
                return []
        return [encode_event("contentBlockStart", {"contentBlockIndex": index, "start": start})]

    def delta(self, index: int, block: ContentBlock, text: str) -> bytes:
        """Return contentBlockDelta."""
        match block.kind:
            case "text" | "refusal":
                delta: dict[str, Any] = {"text": text}
            case "tool" | "search":
                delta = {"toolUse": {"input": text}}
            case "search_result":
                delta = {"toolResult": [{"json": page} for page in json.loads(text)]}
            case "reasoning":
                delta = {"reasoningContent": {"text": text}}
            case "redacted":
                delta = {"reasoningContent": {"redactedContent": text}}
            case "image":
                delta = {"image": {"source": {"bytes": text}}}
        return encode_event("contentBlockDelta", {"contentBlockIndex": index, "delta": delta})

    def citation(self, index: int, block: ContentBlock, source: CitedSource) -> bytes:
        """Return contentBlockDelta with a citation."""
        del block
        delta = {"citation": _citation(source)}
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
            if not block.citations:
                return {"text": block.content}
            citations = [_citation(source) for source in block.citations]
            return {"citationsContent": {"content": [{"text": block.content}], "citations": citations}}
        case "tool" | "search":
            kind = {"type": _SERVER_TOOL} if block.kind == "search" else {}
            use = {"toolUseId": block.tool_id, "name": block.tool_name, "input": block.tool_input}
            return {"toolUse": use | kind}
        case "search_result":
            pages = [{"json": page} for page in json.loads(block.content)]
            return {"toolResult": {"toolUseId": block.tool_id, "content": pages, "status": "success"}}
        case "redacted":
            content = {"redactedContent": block.content}
        case "reasoning":
            content = {"reasoningText": {"text": block.content, "signature": block.signature}}
        case "image":
            return {"image": {"format": "png", "source": {"bytes": block.content}}}
    return {"reasoningContent": content}


def _citation(source: CitedSource) -> dict[str, Any]:
    location = {"web": {"url": source.url}}
    return {
        "title": source.title,
        "source": source.url,
        "sourceContent": [{"text": source.cited}],
        "location": location,
    }


def _usage(usage: TokenUsage) -> dict[str, int]:
    return {
        "inputTokens": usage.input_tokens,
        "outputTokens": usage.output_tokens,
        "totalTokens": usage.total_tokens,
        "cacheReadInputTokens": usage.cache_read_tokens,
        "cacheWriteInputTokens": usage.cache_write_tokens,
    }
