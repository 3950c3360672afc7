"""Wire format of `generateContent`: server-sent events of partial responses, or one response as JSON."""

from base64 import b64encode
from typing import Any
from uuid import NAMESPACE_OID, uuid5

import msgspec

from deploy.emulator.answer import CitedSource, ContentBlock, EmulatedAnswer
from deploy.emulator.faults import ScriptedError
from deploy.emulator.gemini.errors import to_body
from deploy.emulator.request import EmulatedRequest, Json
from deploy.emulator.sse_format import SseFormat
from deploy.emulator.wire import Timing, json_bytes

_FINISH_REASONS = {
    "max_tokens": "MAX_TOKENS",
    "model_context_window_exceeded": "MAX_TOKENS",
    "content_filtered": "SAFETY",
    "guardrail_intervened": "PROHIBITED_CONTENT",
    "malformed_model_output": "MALFORMED_RESPONSE",
    "malformed_tool_use": "MALFORMED_FUNCTION_CALL",
}
_WITH_CONTENT = ("STOP", "MAX_TOKENS", None)  # the other reasons come without content
_UNSEEN = ("search", "search_result")  # a search shows in its grounding only
_SIGNATURE_CHARS = 44


class GenerateFormat(SseFormat):
    """Encodes partial responses: each carries the usage until then, and the last one the finish reason.

    A function call is whole in one of them. Google ends its lines with CRLF, and sends no mark after the last event.
    """

    def __init__(self, request: EmulatedRequest, answer: EmulatedAnswer) -> None:
        """Keep the answer, and count what has been sent of it."""
        self._answer = answer
        self._model = request.model
        self._input_tokens = (
            answer.usage.input_tokens + answer.usage.cache_read_tokens + answer.usage.cache_write_tokens
        )
        self._id = uuid5(NAMESPACE_OID, ascii(request.question)).hex[:22]
        self._sent = 0
        self._thought = 0

    def opening(self) -> list[bytes]:
        """Return nothing: the first event is the first delta."""
        return []

    def block_start(self, index: int, block: ContentBlock) -> list[bytes]:
        """Return nothing: parts have no frames of their own."""
        del index, block
        return []

    def delta(self, index: int, block: ContentBlock, text: str) -> bytes:
        """Return a partial response with one part."""
        del index
        self._count(block)
        return self._chunk([_part(block, text)])

    def citation(self, index: int, block: ContentBlock, source: CitedSource) -> bytes:
        """Return an empty part: all sources come at the end, as Google's grounding."""
        del source
        return self.delta(index, block, "")

    def signature(self, index: int, block: ContentBlock) -> bytes:
        """Return a partial response with an empty part that carries the signature."""
        del index
        self._count(block)
        return self._chunk([_signature_part(block)])

    def block_stop(self, index: int, block: ContentBlock) -> list[bytes]:
        """Return nothing: parts have no frames of their own."""
        del index, block
        return []

    def closing(self, timing: Timing) -> list[bytes]:
        """Return the last partial response."""
        del timing
        parts: list[Json] | None = [{"text": ""}] if self._finish_reason in _WITH_CONTENT else None
        return [_frame(self._response(self._candidate(parts) | self._grounding() | self._ending()) | self._usage())]

    def end_mark(self, timing: Timing) -> list[bytes]:
        """Return nothing: a client knows the end by the finish reason."""
        del timing
        return []

    def whole(self, timing: Timing) -> Json:
        """Return the response."""
        del timing
        parts: list[Json] = []
        for block in self._answer.blocks:
            if block.kind in _UNSEEN:
                continue
            parts.append(_part(block, block.content))
            if block.signature:
                parts.append(_signature_part(block))
        return self._response(self._candidate(parts or None) | self._grounding() | self._ending()) | self._usage()

    def error(self, error: ScriptedError) -> bytes:
        """Return an event with the body of the HTTP error."""
        return _frame(to_body(error.to_service_error()) if error.body is msgspec.UNSET else error.body)

    def raw_event(self, name: str, payload: Any) -> bytes:
        """Return an event with any JSON as its data; Google's events have no name."""
        del name
        return _frame(payload)

    def malformed(self) -> bytes:
        """Return an event whose JSON is cut short."""
        return b'data: {"candidates": [{"content": {"par\r\n\r\n'

    def comment(self) -> bytes:
        """Return a comment."""
        return b": keep-alive\r\n\r\n"

    @property
    def _finish_reason(self) -> str | None:
        if self._answer.finish_reason is not msgspec.UNSET:
            return self._answer.finish_reason
        return _FINISH_REASONS.get(self._answer.stop_reason, "STOP")

    def _count(self, block: ContentBlock) -> None:
        self._sent += 1
        self._thought += block.kind == "reasoning"

    def _chunk(self, parts: list[Json]) -> bytes:
        usage = self._answer.usage
        thought = min(self._thought, usage.reasoning_tokens)
        output = min(self._sent, usage.output_tokens)
        return _frame(self._response(self._candidate(parts)) | self._usage(output, thought))

    def _candidate(self, parts: list[Json] | None) -> Json:
        content: Json = {} if parts is None else {"content": {"parts": parts, "role": "model"}}
        return content | {"index": 0}

    def _grounding(self) -> Json:
        """Return the sources of the text, each with the part of the text that it supports: here all of it."""
        block = next((block for block in self._answer.blocks if block.citations), None)
        if block is None:
            return {}
        segment = {"startIndex": 0, "endIndex": len(block.content.encode("utf-8", "replace")), "text": block.content}
        indices = range(len(block.citations))
        return {
            "groundingMetadata": {
                "webSearchQueries": [block.citations[0].title],
                "groundingChunks": [{"web": {"uri": each.url, "title": each.title}} for each in block.citations],
                "groundingSupports": [{"segment": segment, "groundingChunkIndices": [index]} for index in indices],
            }
        }

    def _ending(self) -> Json:
        reason = self._finish_reason
        if reason is None:
            return {}
        if reason == "MALFORMED_FUNCTION_CALL":
            return {"finishReason": reason, "finishMessage": "Malformed function call: call:look_up(query="}
        return {"finishReason": reason}

    def _response(self, candidate: Json) -> Json:
        """Return a response without its usage; a blocked prompt has feedback and no candidate."""
        blocked = self._answer.blocked
        head: Json = {"promptFeedback": {"blockReason": blocked}} if blocked else {"candidates": [candidate]}
        return head | {"modelVersion": self._model, "responseId": self._id}

    def _usage(self, output: int | None = None, thought: int | None = None) -> Json:
        """Return the usage: the input includes cached tokens, and the candidates exclude thoughts."""
        usage = self._answer.usage
        output = usage.output_tokens if output is None else output
        thought = usage.reasoning_tokens if thought is None else thought
        counts: Json = {"promptTokenCount": self._input_tokens}
        if not self._answer.blocked:
            counts["candidatesTokenCount"] = max(0, output - thought)
        counts["totalTokenCount"] = self._input_tokens + max(output, thought)
        counts["promptTokensDetails"] = [{"modality": "TEXT", "tokenCount": self._input_tokens}]
        if usage.cache_read_tokens:
            counts["cachedContentTokenCount"] = usage.cache_read_tokens
            counts["cacheTokensDetails"] = [{"modality": "TEXT", "tokenCount": usage.cache_read_tokens}]
        if thought:
            counts["thoughtsTokenCount"] = thought
        return {"usageMetadata": counts}


def _part(block: ContentBlock, text: str) -> Json:
    match block.kind:
        case "reasoning":
            return {"text": text, "thought": True}
        case "tool":
            call = {"id": block.tool_id, "name": block.tool_name, "args": block.tool_input}
            return {"functionCall": call, "thoughtSignature": _encode_signature(block)}
        case "search" | "search_result" | "redacted":
            return {"text": ""}
        case "image":
            return {"inlineData": {"mimeType": "image/png", "data": text}}
        case "text" | "refusal":
            return {"text": text}


def _signature_part(block: ContentBlock) -> Json:
    return {"text": "", "thoughtSignature": _encode_signature(block)}


def _encode_signature(block: ContentBlock) -> str:
    return b64encode((block.signature or block.tool_id).encode("utf-8")).decode("ascii")[:_SIGNATURE_CHARS]


def _frame(value: Any) -> bytes:
    return b"data: %b\r\n\r\n" % json_bytes(value)
