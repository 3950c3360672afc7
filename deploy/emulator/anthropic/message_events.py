"""The events of Anthropic's Messages API, as JSON without framing. Pure.

Two framings use them: server-sent events of the API itself, and `chunk` events of Bedrock's InvokeModel.
"""

import json
from base64 import b64encode
from typing import cast
from uuid import NAMESPACE_OID, uuid5

import msgspec

from deploy.emulator.answer import CitedSource, ContentBlock, EmulatedAnswer
from deploy.emulator.request import EmulatedRequest, Json

_STOP_REASONS = {  # Bedrock's names for what Anthropic calls otherwise
    "content_filtered": "refusal",
    "guardrail_intervened": "refusal",
    "malformed_model_output": "end_turn",
    "malformed_tool_use": "tool_use",
}


class MessageEvents:
    """Maps an answer to the events of its stream, and to the message that they add up to."""

    def __init__(self, request: EmulatedRequest, answer: EmulatedAnswer, id_prefix: str) -> None:
        """Keep the request's model and question, and the answer."""
        self._answer = answer
        self._message: Json = {
            "id": f"{id_prefix}{uuid5(NAMESPACE_OID, ascii(request.question)).hex[:24]}",
            "type": "message",
            "role": "assistant",
            "model": request.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
        }

    def message_start(self) -> Json:
        """Return message_start; its usage holds the whole input and the first token of the output."""
        usage = self.input_usage() | {"output_tokens": min(1, self._answer.usage.output_tokens)}
        return {"type": "message_start", "message": self._message | {"usage": usage}}

    def block_start(self, index: int, block: ContentBlock) -> list[Json]:
        """Return content_block_start, or nothing for a block that consists of this event alone."""
        return [] if is_atomic(block) else [_block_start(index, _empty_content(block))]

    def delta(self, index: int, block: ContentBlock, text: str) -> Json:
        """Return content_block_delta, or content_block_start for a block that has no deltas on this wire."""
        match block.kind:
            case "text" | "refusal":
                delta = {"type": "text_delta", "text": text}
            case "tool" | "search":
                delta = {"type": "input_json_delta", "partial_json": text}
            case "reasoning":
                delta = {"type": "thinking_delta", "thinking": text}
            case "image":
                delta = {"type": "text_delta", "text": ""}  # this protocol has none
            case "redacted" | "search_result":
                return _block_start(index, _content(block))
        return _block_delta(index, delta)

    def signature(self, index: int, block: ContentBlock) -> Json:
        """Return content_block_delta with the signature."""
        return _block_delta(index, {"type": "signature_delta", "signature": block.signature})

    def citation(self, index: int, source: CitedSource) -> Json:
        """Return content_block_delta with a citation."""
        return _block_delta(index, {"type": "citations_delta", "citation": _citation(source)})

    def block_stop(self, index: int) -> Json:
        """Return content_block_stop."""
        return {"type": "content_block_stop", "index": index}

    def message_delta(self, usage: Json) -> Json:
        """Return message_delta with the stop reason and this usage, which is cumulative."""
        delta = {"stop_reason": self.stop_reason, "stop_sequence": None}
        return {"type": "message_delta", "delta": delta, "usage": usage}

    def message_stop(self) -> Json:
        """Return message_stop."""
        return {"type": "message_stop"}

    def whole(self, usage: Json) -> Json:
        """Return the message that is not streamed."""
        content = [_content(block) for block in self._answer.blocks]
        return self._message | {"content": content, "stop_reason": self.stop_reason, "usage": usage}

    @property
    def stop_reason(self) -> str | None:
        """The scripted word of the wire, or the one for the answer's stop reason."""
        if self._answer.finish_reason is not msgspec.UNSET:
            return self._answer.finish_reason
        return _STOP_REASONS.get(self._answer.stop_reason, self._answer.stop_reason)

    def input_usage(self) -> Json:
        """Return the counts of the input; `input_tokens` excludes cached ones."""
        usage = self._answer.usage
        return {
            "input_tokens": usage.input_tokens,
            "cache_creation_input_tokens": usage.cache_write_tokens,
            "cache_read_input_tokens": usage.cache_read_tokens,
        }

    def output_usage(self) -> Json:
        """Return the counts of the output."""
        usage = self._answer.usage
        searches = sum(block.kind == "search" for block in self._answer.blocks)
        counts: Json = {"output_tokens": usage.output_tokens}
        if usage.reasoning_tokens:
            counts["output_tokens_details"] = {"thinking_tokens": usage.reasoning_tokens}
        if searches:
            counts["server_tool_use"] = {"web_search_requests": searches, "web_fetch_requests": 0}
        return counts


def is_atomic(block: ContentBlock) -> bool:
    """Return whether a block is complete in its content_block_start."""
    return block.kind in ("redacted", "search_result")


def _block_start(index: int, content: Json) -> Json:
    return {"type": "content_block_start", "index": index, "content_block": content}


def _block_delta(index: int, delta: Json) -> Json:
    return {"type": "content_block_delta", "index": index, "delta": delta}


def _empty_content(block: ContentBlock) -> Json:
    match block.kind:
        case "tool":
            return {"type": "tool_use", "id": block.tool_id, "name": block.tool_name, "input": {}}
        case "search":
            return {"type": "server_tool_use", "id": block.tool_id, "name": block.tool_name, "input": {}}
        case "reasoning":
            return {"type": "thinking", "thinking": "", "signature": ""}
        case _:
            return {"type": "text", "text": ""}


def _content(block: ContentBlock) -> Json:
    match block.kind:
        case "text" | "refusal":
            cited: Json = {"citations": [_citation(each) for each in block.citations]} if block.citations else {}
            return {"type": "text", "text": block.content} | cited
        case "tool" | "search":
            return _empty_content(block) | {"input": block.tool_input}
        case "reasoning":
            return {"type": "thinking", "thinking": block.content, "signature": block.signature}
        case "image":
            return {"type": "text", "text": ""}
        case "redacted":
            return {"type": "redacted_thinking", "data": block.content}
        case "search_result":
            found = [
                {"type": "web_search_result", "encrypted_content": _opaque(page["url"]), "page_age": None} | page
                for page in cast("list[Json]", json.loads(block.content))
            ]
            return {"type": "web_search_tool_result", "tool_use_id": block.tool_id, "content": found}


def _citation(source: CitedSource) -> Json:
    return {
        "type": "web_search_result_location",
        "cited_text": source.cited,
        "url": source.url,
        "title": source.title,
        "encrypted_index": _opaque(source.url),
    }


def _opaque(text: str) -> str:
    return b64encode(text.encode("utf-8", "replace")).decode("ascii")
