"""Wire format of chat completions, with the extensions of servers that send reasoning."""

from typing import Any
from uuid import NAMESPACE_OID, uuid5

from deploy.emulator.answer import CitedSource, ContentBlock, EmulatedAnswer, TokenUsage
from deploy.emulator.call_history import CallRecord
from deploy.emulator.faults import ScriptedError
from deploy.emulator.openai.errors import stream_payload
from deploy.emulator.request import EmulatedRequest
from deploy.emulator.sse_format import SseFormat, encode_event
from deploy.emulator.wire import Timing

_REASONING_FIELD = "reasoning_content"  # as DeepSeek, vLLM and llama.cpp name it
_OPENROUTERS_FIELD = "reasoning"
_FINISH_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "content_filtered": "content_filter",
    "guardrail_intervened": "content_filter",
}


class ChatCompletionFormat(SseFormat):
    """Encodes an answer as chunks, or as one completion; a call of a tool is known by its index among the calls."""

    def __init__(self, request: EmulatedRequest, answer: EmulatedAnswer, call: CallRecord) -> None:
        """Keep the answer, and what all of its chunks repeat."""
        self._answer = answer
        options = request.inference.get("stream_options")
        self._has_usage = isinstance(options, dict) and options.get("include_usage") is True
        self._id = f"chatcmpl-{uuid5(NAMESPACE_OID, call.id).hex[:29]}"
        self._shared = {"created": int(call.started), "model": request.model, "system_fingerprint": "fp_emulator"}
        self._reasoning_field = answer.reasoning_field or _REASONING_FIELD
        self._calls = [index for index, block in enumerate(answer.blocks) if block.kind == "tool"]
        self._is_forced = request.forced_tool is not None

    def opening(self) -> list[bytes]:
        """Return the chunk that names the role."""
        return [self._chunk({"role": "assistant", "content": None if self._calls else "", "refusal": None})]

    def block_start(self, index: int, block: ContentBlock) -> list[bytes]:
        """Return the chunk that names a tool, and nothing for other blocks."""
        if block.kind != "tool":
            return []
        call = {"index": self._calls.index(index)} | _tool_call(block, "")
        return [self._chunk({"tool_calls": [call]})]

    def delta(self, index: int, block: ContentBlock, text: str) -> bytes:
        """Return the chunk of a delta."""
        match block.kind:
            case "text":
                return self._chunk({"content": text})
            case "refusal":
                return self._chunk({"refusal": text})
            case "reasoning":
                return self._chunk({self._reasoning_field: text})
            case "tool":
                call = {"index": self._calls.index(index), "function": {"arguments": text}}
                return self._chunk({"tool_calls": [call]})
            case _:
                return self._chunk({})  # of a search on the vendor's side, the text and its citations are all one sees

    def citation(self, index: int, block: ContentBlock, source: CitedSource) -> bytes:
        """Return the chunk of an annotation."""
        del index
        return self._chunk({"annotations": [_annotation(block, source)]})

    def signature(self, index: int, block: ContentBlock) -> bytes:
        """Return the reasoning's encrypted form, as OpenRouter sends it; for other servers a delta without content."""
        if self._reasoning_field != _OPENROUTERS_FIELD:
            return self._chunk({})
        return self._chunk({"reasoning_details": [_reasoning_detail(index, block)]})

    def block_stop(self, index: int, block: ContentBlock) -> list[bytes]:
        """Return nothing: the next block's deltas end this one."""
        del index, block
        return []

    def closing(self, timing: Timing) -> list[bytes]:
        """Return the chunk with the finish reason, and the one with the usage if the request asks for it."""
        del timing
        last = [self._chunk({}, self._finish_reason())]
        if self._has_usage:
            last.append(encode_event("", self._base() | {"choices": [], "usage": _usage(self._answer.usage)}))
        return last

    def end_mark(self, timing: Timing) -> list[bytes]:
        """Return the end mark."""
        del timing
        return [b"data: [DONE]\n\n"]

    def whole(self, timing: Timing) -> dict[str, Any]:
        """Return the completion."""
        del timing
        blocks = self._answer.blocks
        message: dict[str, Any] = {
            "role": "assistant",
            "content": _joined(blocks, "text"),
            "refusal": _joined(blocks, "refusal"),
            "annotations": [_annotation(block, source) for block in blocks for source in block.citations],
        }
        if not self._calls and message["content"] is None and message["refusal"] is None:
            message["content"] = ""
        if calls := [_tool_call(block, block.content) for block in blocks if block.kind == "tool"]:
            message["tool_calls"] = calls
        if (reasoning := _joined(blocks, "reasoning")) is not None:
            message[self._reasoning_field] = reasoning
        if self._reasoning_field == _OPENROUTERS_FIELD:
            signed = [(index, block) for index, block in enumerate(blocks) if block.signature]
            message["reasoning_details"] = [_reasoning_detail(index, block) for index, block in signed]
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": self._finish_reason()}
        completion = self._base() | {"object": "chat.completion", "choices": [choice]}
        return completion | {"usage": _usage(self._answer.usage)}

    def error(self, error: ScriptedError) -> bytes:
        """Return the error alone; of the kind `error`, within a chunk that also ends the answer, as OpenRouter does."""
        payload = stream_payload(error)
        if error.kind == "error":
            choice = {"index": 0, "delta": {"content": ""}, "finish_reason": "error"}
            return encode_event("", self._base() | payload | {"choices": [choice]})
        return encode_event("", payload)

    def malformed(self) -> bytes:
        """Return a chunk whose JSON is cut."""
        return encode_event("", raw=b'{"choices":[{"index":0,"delta":{"con')

    def _base(self) -> dict[str, Any]:
        return {"id": self._id, "object": "chat.completion.chunk", "service_tier": "default"} | self._shared

    def _chunk(self, delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        chunk = self._base() | {"choices": [choice]}
        return encode_event("", chunk | {"usage": None} if self._has_usage else chunk)

    def _finish_reason(self) -> str | None:
        given = self._answer.finish_reason
        if given is None or isinstance(given, str):
            return given
        if self._is_forced and self._answer.stop_reason == "tool_use":
            return "stop"  # the model did not decide on the call, so that OpenAI reports no call either
        if self._calls and self._answer.stop_reason == "end_turn":
            return "tool_calls"
        return _FINISH_REASONS.get(self._answer.stop_reason, "error")


def _joined(blocks: tuple[ContentBlock, ...], kind: str) -> str | None:
    texts = [block.content for block in blocks if block.kind == kind]
    return "".join(texts) if texts else None


def _tool_call(block: ContentBlock, arguments: str) -> dict[str, Any]:
    return {"id": block.tool_id, "type": "function", "function": {"name": block.tool_name, "arguments": arguments}}


def _annotation(block: ContentBlock, source: CitedSource) -> dict[str, Any]:
    cited = {"url": source.url, "title": source.title, "start_index": 0, "end_index": len(block.content)}
    return {"type": "url_citation", "url_citation": cited}


def _reasoning_detail(index: int, block: ContentBlock) -> dict[str, Any]:
    return {"type": "reasoning.encrypted", "data": block.signature, "id": f"rs_{index}", "index": index}


def _usage(usage: TokenUsage) -> dict[str, Any]:
    read = usage.cache_read_tokens
    sent = usage.input_tokens + read + usage.cache_write_tokens
    return {
        "prompt_tokens": sent,
        "completion_tokens": usage.output_tokens,
        "total_tokens": sent + usage.output_tokens,
        "prompt_tokens_details": {
            "cached_tokens": read,
            "cache_write_tokens": usage.cache_write_tokens,
            "audio_tokens": 0,
        },
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning_tokens,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }
