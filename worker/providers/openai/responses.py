"""The mapping from the events of Responses, or one whole response, to deltas. Pure.

https://platform.openai.com/docs/api-reference/responses-streaming
"""

from collections.abc import Callable
from typing import Any

from millrace.worker.contract.events import Chunk, Reasoning, ToolUse
from millrace.worker.errors import ProviderError
from millrace.worker.providers.members import Members, bytes_of, list_of, name_of, object_of, parse_object, text_of
from millrace.worker.providers.openai.chat import DONE, parse_arguments, parse_usage, to_citation
from millrace.worker.providers.openai.errors import map_stream_error
from millrace.worker.providers.protocol import Delta, Details, OutputImage, Stopped
from millrace.worker.providers.stop_reason import StopReason

_INCOMPLETE_REASONS: dict[str, StopReason] = {
    "max_output_tokens": "max_tokens",
    "max_tokens": "max_tokens",
    "content_filter": "content_filtered",
}
_DETAILS = ("id", "model", "service_tier")
_SEPARATOR = "\n\n"  # between the parts of a summary


class ResponsesMapper:
    """Maps the events of one stream, in order, or one whole response."""

    def __init__(self) -> None:
        self.has_finished = False  # the stop reason is known
        self.has_ended = False  # nothing follows
        self._has_text = False
        self._has_reasoned = False
        self._has_refused = False
        self._tool_ids: set[str] = set()
        self._image_ids: set[str] = set()
        self.handlers: dict[str, Callable[[Members], list[Delta]]] = {
            "response.output_text.delta": self._text,
            "response.refusal.delta": self._refusal,
            "response.reasoning_summary_part.added": self._reasoning_part,
            "response.reasoning_summary_text.delta": self._reasoning,
            "response.reasoning_text.delta": self._reasoning,
            "response.output_text.annotation.added": self._annotation,
            "response.output_item.done": self._item_done,
            "response.completed": self._ended,
            "response.incomplete": self._ended,
            "response.failed": self._ended,
            "response.cancelled": self._ended,
            "error": self._error,
        }

    def map(self, name: str, data: bytes) -> list[Delta]:
        """Return the deltas of an event; raises ProviderError for an error, or a member of a wrong type.

        All other events repeat the deltas.
        """
        if not data:
            return []
        if data.strip() == DONE:  # not OpenAI's, but gateways send it
            self.has_ended = True
            return []
        event = parse_object(data)
        kind = event.get("type") or name
        handler = self.handlers.get(kind) if isinstance(kind, str) else None
        if handler is None:
            is_error = event.get("object") == "error" or (event.get("error") and "response" not in event)
            return self._error(event) if is_error else []
        return handler(event)

    def map_response(self, response: Members) -> list[Delta]:
        """Return the deltas of a whole response, or of the end of one whose deltas have been mapped."""
        self.has_finished = self.has_ended = True
        status = text_of(response.get("status")) or ("completed" if "output" in response else "")
        if response.get("error") or status == "failed":
            raise map_stream_error(object_of(response.get("error")))
        if status not in ("completed", "incomplete"):
            return []  # cancelled by somebody else: the answer is truncated
        deltas: list[Delta] = []
        for item in list_of(response.get("output")):
            deltas += self._map_item(object_of(item), is_text_new=not self._has_text)
        deltas.append(Stopped(self._stop_reason(status, object_of(response.get("incomplete_details")))))
        details = {name: value for name in _DETAILS if isinstance(value := response.get(name), str)}
        if details:
            deltas.append(Details(details))
        return [*deltas, parse_usage(object_of(response["usage"]))] if response.get("usage") else deltas

    def end(self) -> list[Delta]:
        """Return what is left at the end of the stream: nothing, as its last event has it all."""
        return []

    def _stop_reason(self, status: str, details: Members) -> StopReason:
        if status == "incomplete":
            return _INCOMPLETE_REASONS.get(text_of(details.get("reason")), "other")
        if self._has_refused:
            return "refused"
        return "tool_use" if self._tool_ids else "end_turn"

    def _text(self, event: Members) -> list[Delta]:
        text = text_of(event.get("delta"))
        self._has_text = True
        return [Chunk(text)] if text else []

    def _refusal(self, event: Members) -> list[Delta]:
        self._has_refused = True
        return self._text(event)

    def _reasoning_part(self, _event: Members) -> list[Delta]:
        return [Reasoning(_SEPARATOR)] if self._has_reasoned else []

    def _reasoning(self, event: Members) -> list[Delta]:
        text = text_of(event.get("delta"))
        self._has_reasoned = self._has_reasoned or bool(text)
        return [Reasoning(text)] if text else []

    def _annotation(self, event: Members) -> list[Delta]:
        citation = to_citation(object_of(event.get("annotation")))
        return [citation] if citation else []

    def _item_done(self, event: Members) -> list[Delta]:
        return self._map_item(object_of(event.get("item")), is_text_new=False)

    def _map_item(self, item: Members, *, is_text_new: bool) -> list[Delta]:
        """Map a whole item: a call of a tool once, a text only if its deltas have not been sent."""
        kind = text_of(item.get("type"))
        if kind == "function_call":
            return self._map_call(item)
        if kind == "image_generation_call":
            return self._map_image(item)
        if not is_text_new:
            return []
        deltas: list[Delta] = []
        if kind == "reasoning":
            parts = [text_of(object_of(part).get("text")) for part in list_of(item.get("summary"))]
            deltas += [Reasoning(_SEPARATOR.join(parts))] if any(parts) and not self._has_reasoned else []
        for part in map(object_of, list_of(item.get("content")) if kind == "message" else []):
            refusal = text_of(part.get("refusal"))
            self._has_refused = self._has_refused or bool(refusal)
            if text := text_of(part.get("text")) or refusal:
                deltas.append(Chunk(text))
            deltas += [each for one in list_of(part.get("annotations")) if (each := to_citation(object_of(one)))]
        return deltas

    def _map_image(self, item: Members) -> list[Delta]:
        """Map an image once: the item that ends it, and the whole response, have all of it."""
        identifier, data = text_of(item.get("id")), bytes_of(item.get("result"))
        if not data or identifier in self._image_ids:
            return []
        self._image_ids.add(identifier)
        return [OutputImage(data)]

    def _map_call(self, item: Members) -> list[Delta]:
        identifier = text_of(item.get("call_id")) or text_of(item.get("id")) or f"call_{len(self._tool_ids)}"
        if identifier in self._tool_ids or text_of(item.get("status")) == "incomplete":
            return []  # a call that is cut off at the limit of tokens is no call
        self._tool_ids.add(identifier)
        return [ToolUse(identifier, name_of(item.get("name")), parse_arguments(text_of(item.get("arguments"))))]

    def _ended(self, event: Members) -> list[Delta]:
        response: Any = event.get("response")
        if response is None:
            raise ProviderError("provider_unavailable", retryable=True, is_transient=True)
        return self.map_response(object_of(response))

    def _error(self, event: Members) -> list[Delta]:
        error = event.get("error")
        raise map_stream_error(error if isinstance(error, dict) else event)
