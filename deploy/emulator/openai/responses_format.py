"""Wire format of responses: named, numbered events, and output items."""

from typing import Any
from uuid import NAMESPACE_OID, uuid5

import msgspec

from deploy.emulator.answer import CitedSource, ContentBlock, EmulatedAnswer, TokenUsage
from deploy.emulator.call_history import CallRecord
from deploy.emulator.faults import ScriptedError
from deploy.emulator.openai.errors import stream_payload
from deploy.emulator.request import EmulatedRequest
from deploy.emulator.sse_format import SseFormat, encode_event
from deploy.emulator.wire import Timing

_RAW_REASONING = "reasoning_text"  # the model's own reasoning, as open models give it, in place of a summary of it
_INCOMPLETE = {
    "max_tokens": "max_output_tokens",
    "model_context_window_exceeded": "max_output_tokens",
    "content_filtered": "content_filter",
    "guardrail_intervened": "content_filter",
}
_PREFIXES = {"text": "msg", "refusal": "msg", "reasoning": "rs", "tool": "fc", "search": "ws", "image": "ig"}
_DELTA_EVENTS = {
    "text": "response.output_text.delta",
    "refusal": "response.refusal.delta",
    "tool": "response.function_call_arguments.delta",
    "search": "response.web_search_call.searching",
    "search_result": "response.web_search_call.completed",
    "image": "response.image_generation_call.generating",
}


class ResponseFormat(SseFormat):
    """Encodes an answer as events, or as one response; each block is an item, but a search and its result are one."""

    def __init__(self, request: EmulatedRequest, answer: EmulatedAnswer, call: CallRecord) -> None:
        """Keep the request and the answer; the first event has the number 0."""
        self._request = request
        self._answer = answer
        self._seed = uuid5(NAMESPACE_OID, call.id).hex
        self._created = int(call.started)
        self._number = 0
        self._items = [index for index, block in enumerate(answer.blocks) if block.kind != "search_result"]
        self._has_raw_reasoning = answer.reasoning_field == _RAW_REASONING

    def opening(self) -> list[bytes]:
        """Return the two events that announce the response."""
        started = {"response": self._response("in_progress", [])}
        return [self._event("response.created", started), self._event("response.in_progress", started)]

    def block_start(self, index: int, block: ContentBlock) -> list[bytes]:
        """Return the events that add the item and its first part."""
        if block.kind == "search_result":
            return []
        item = {"output_index": self._items.index(index), "item": self._item(index, block, "in_progress")}
        added = [self._event("response.output_item.added", item)]
        if block.kind == "reasoning" and not self._has_raw_reasoning:
            part = self._part_place(index, block) | {"part": {"type": "summary_text", "text": ""}}
            added.append(self._event("response.reasoning_summary_part.added", part))
        elif block.kind == "search":
            added.append(self._event("response.web_search_call.in_progress", self._place(index, block)))
        elif block.kind == "image":
            added.append(self._event("response.image_generation_call.in_progress", self._place(index, block)))
        elif block.kind != "tool":
            part = self._part_place(index, block) | {"part": self._part(block, "")}
            added.append(self._event("response.content_part.added", part))
        return added

    def delta(self, index: int, block: ContentBlock, text: str) -> bytes:
        """Return the event of a delta."""
        if block.kind in ("search", "search_result", "image"):
            return self._event(_DELTA_EVENTS[block.kind], self._place(index, block))
        event = self._part_place(index, block) | {"delta": text}
        if block.kind == "text":
            event["logprobs"] = []
        return self._event(_DELTA_EVENTS.get(block.kind) or f"{self._reasoning_name()}.delta", event)

    def citation(self, index: int, block: ContentBlock, source: CitedSource) -> bytes:
        """Return the event of an annotation."""
        place = self._part_place(index, block) | {"annotation_index": block.citations.index(source)}
        return self._event("response.output_text.annotation.added", place | {"annotation": _annotation(block, source)})

    def signature(self, index: int, block: ContentBlock) -> bytes:
        """Return the event that ends the reasoning's text; its signature is part of the item that follows."""
        done = self._part_place(index, block) | {"text": block.content}
        return self._event(f"{self._reasoning_name()}.done", done)

    def block_stop(self, index: int, block: ContentBlock) -> list[bytes]:
        """Return the events that state the whole text, the whole part and the whole item."""
        if block.kind == "search":
            return []  # its result ends it
        if block.kind == "search_result":
            index -= 1
            block = self._answer.blocks[index]
            return [self._item_done(index, block)]
        if block.kind == "image":
            finished = self._event("response.image_generation_call.completed", self._place(index, block))
            return [finished, self._item_done(index, block)]
        place = self._part_place(index, block)
        done: list[bytes] = []
        match block.kind:
            case "text":
                text = place | {"text": block.content, "logprobs": []}
                done.append(self._event("response.output_text.done", text))
            case "refusal":
                done.append(self._event("response.refusal.done", place | {"refusal": block.content}))
            case "tool":
                arguments = place | {"name": block.tool_name, "arguments": block.content}
                done.append(self._event("response.function_call_arguments.done", arguments))
            case _:
                pass  # the signature has ended the reasoning
        if block.kind == "reasoning" and not self._has_raw_reasoning:
            part = place | {"part": {"type": "summary_text", "text": block.content}}
            done.append(self._event("response.reasoning_summary_part.done", part))
        elif block.kind != "tool":
            done.append(self._event("response.content_part.done", place | {"part": self._part(block, block.content)}))
        return [*done, self._item_done(index, block)]

    def _item_done(self, index: int, block: ContentBlock) -> bytes:
        item = {"output_index": self._items.index(index), "item": self._item(index, block, "completed")}
        return self._event("response.output_item.done", item)

    def closing(self, timing: Timing) -> list[bytes]:
        """Return nothing: the last event states how the response ended."""
        del timing
        return []

    def end_mark(self, timing: Timing) -> list[bytes]:
        """Return the event with the whole response."""
        response = self.whole(timing)
        name = "incomplete" if response["status"] == "incomplete" else "completed"
        return [self._event(f"response.{name}", {"response": response})]

    def whole(self, timing: Timing) -> dict[str, Any]:
        """Return the response."""
        del timing
        reason = _INCOMPLETE.get(self._answer.stop_reason)
        status: str | None = "incomplete" if reason else "completed"
        if self._answer.finish_reason is not msgspec.UNSET:
            reason = self._answer.finish_reason
            status = None if reason is None else "incomplete"
        output = [self._item(index, self._answer.blocks[index], "completed") for index in self._items]
        response = self._response(status, output) | {"usage": _usage(self._answer.usage)}
        return response | {"incomplete_details": {"reason": reason} if reason else None}

    def error(self, error: ScriptedError) -> bytes:
        """Return an event `error`; of the kind `error`, the event of a failed response."""
        payload = stream_payload(error)
        details = payload.get("error", {}) if isinstance(payload, dict) else {}
        code, message = details.get("code") or "server_error", details.get("message")
        if error.kind == "error":
            failed = self._response("failed", []) | {"error": {"code": code, "message": message}}
            return self._event("response.failed", {"response": failed})
        if error.body is not msgspec.UNSET and not details:
            return encode_event("error", payload)
        return self._event("error", {"code": code, "message": message, "param": details.get("param")})

    def malformed(self) -> bytes:
        """Return a delta whose JSON is cut."""
        return encode_event(_DELTA_EVENTS["text"], raw=b'{"type":"response.output_text.delta","del')

    def _event(self, name: str, fields: dict[str, Any]) -> bytes:
        number, self._number = self._number, self._number + 1
        return encode_event(name, {"type": name, "sequence_number": number} | fields)

    def _reasoning_name(self) -> str:
        return "response.reasoning_text" if self._has_raw_reasoning else "response.reasoning_summary_text"

    def _item_id(self, index: int, block: ContentBlock) -> str:
        return f"{_PREFIXES[block.kind]}_{self._seed}{index:02d}"

    def _place(self, index: int, block: ContentBlock) -> dict[str, Any]:
        if block.kind == "search_result":
            index, block = index - 1, self._answer.blocks[index - 1]
        return {"item_id": self._item_id(index, block), "output_index": self._items.index(index)}

    def _part_place(self, index: int, block: ContentBlock) -> dict[str, Any]:
        place = self._place(index, block)
        if block.kind == "tool":
            return place
        is_summary = block.kind == "reasoning" and not self._has_raw_reasoning
        return place | {"summary_index" if is_summary else "content_index": 0}

    def _part(self, block: ContentBlock, text: str) -> dict[str, Any]:
        match block.kind:
            case "refusal":
                return {"type": "refusal", "refusal": text}
            case "reasoning":
                return {"type": _RAW_REASONING, "text": text}
            case _:
                sources = [_annotation(block, source) for source in block.citations] if text else []
                return {"type": "output_text", "text": text, "annotations": sources, "logprobs": []}

    def _item(self, index: int, block: ContentBlock, status: str) -> dict[str, Any]:
        item: dict[str, Any] = {"id": self._item_id(index, block)}
        is_done = status == "completed"
        match block.kind:
            case "tool":
                arguments = block.content if is_done else ""
                call = {"call_id": block.tool_id, "name": block.tool_name, "arguments": arguments}
                return item | {"type": "function_call", "status": status} | call
            case "search":
                query = block.tool_input.get("query", "")
                action = {"type": "search", "query": query}
                return item | {"type": "web_search_call", "status": status, "action": action}
            case "reasoning":
                texts = [block.content] if is_done else []
                summary = [] if self._has_raw_reasoning else [{"type": "summary_text", "text": text} for text in texts]
                item |= {"type": "reasoning", "summary": summary}
                if self._has_raw_reasoning:
                    item["content"] = [self._part(block, text) for text in texts]
                if is_done and "reasoning.encrypted_content" in (self._request.inference.get("include") or ()):
                    item["encrypted_content"] = block.signature
                return item
            case "image":
                return item | {
                    "type": "image_generation_call",
                    "status": status,
                    "result": block.content if is_done else None,
                }
            case _:
                content = [self._part(block, block.content)] if is_done else []
                return item | {"type": "message", "status": status, "role": "assistant", "content": content}

    def _response(self, status: str | None, output: list[dict[str, Any]]) -> dict[str, Any]:
        given = self._request.inference
        return {
            "id": f"resp_{self._seed}",
            "object": "response",
            "created_at": self._created,
            "status": status,
            "background": False,
            "error": None,
            "incomplete_details": None,
            "instructions": self._request.system,
            "max_output_tokens": self._request.max_tokens,
            "model": self._request.model,
            "output": output,
            "parallel_tool_calls": given.get("parallel_tool_calls", True),
            "previous_response_id": given.get("previous_response_id"),
            "reasoning": given.get("reasoning") or {"effort": None, "summary": None},
            "store": given.get("store", True),
            "temperature": given.get("temperature", 1.0),
            "text": given.get("text") or {"format": {"type": "text"}},
            "tool_choice": given.get("tool_choice", "auto"),
            "tools": given.get("tools") or [],
            "top_p": given.get("top_p", 1.0),
            "truncation": given.get("truncation", "disabled"),
            "usage": None,
            "user": None,
            "metadata": given.get("metadata") or {},
        }


def _annotation(block: ContentBlock, source: CitedSource) -> dict[str, Any]:
    place = {"start_index": 0, "end_index": len(block.content)}
    return {"type": "url_citation", "url": source.url, "title": source.title} | place


def _usage(usage: TokenUsage) -> dict[str, Any]:
    read = usage.cache_read_tokens
    sent = usage.input_tokens + read + usage.cache_write_tokens
    return {
        "input_tokens": sent,
        "input_tokens_details": {"cached_tokens": read, "cache_write_tokens": usage.cache_write_tokens},
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": sent + usage.output_tokens,
    }
