"""The mapping from chat completions, whole or in chunks, to deltas. Pure.

https://platform.openai.com/docs/api-reference/chat/streaming
"""

import json
from dataclasses import dataclass, field
from typing import Any

from millrace.worker.contract.events import Chunk, Citation, Reasoning, ToolUse, Usage
from millrace.worker.errors import ProviderError
from millrace.worker.observability.logs import get_logger
from millrace.worker.providers.members import (
    Members,
    checked,
    count_of,
    list_of,
    object_of,
    parse_object,
    text_of,
    unreadable,
)
from millrace.worker.providers.openai.errors import map_stream_error
from millrace.worker.providers.protocol import Delta, Details, Stopped
from millrace.worker.providers.stop_reason import CUT_OFF_REASONS, StopReason

DONE = b"[DONE]"

FINISH_REASONS: dict[str, StopReason] = {
    "stop": "end_turn",
    "eos": "end_turn",
    "end_turn": "end_turn",
    "length": "max_tokens",
    "max_tokens": "max_tokens",
    "model_length": "max_tokens",  # Mistral: the window is full
    "stop_sequence": "stop_sequence",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "content_filtered",
    "content_filtered": "content_filtered",
    "sensitive": "content_filtered",  # GLM
    "refusal": "refused",
}
"""Finish reasons of OpenAI and of servers with its API."""

# Reasons of answers that the server itself gave up.
_FAILED_REASONS = ("error", "abort", "insufficient_system_resource", "network_error")
_DETAILS = ("id", "model", "provider", "service_tier", "system_fingerprint")
_MAX_DETAIL_CHARS = 200

_log = get_logger(__name__)


@dataclass
class ToolCall:
    """A call of a tool that arrives in pieces, or at once; `arguments` is the JSON of its input, so far."""

    id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list[str])
    input: Members | None = None

    def to_delta(self, number: int) -> ToolUse:
        """Return the whole use; raises ProviderError if it cannot be read."""
        if not self.name:
            raise unreadable()
        return ToolUse(self.id or f"call_{number}", self.name, self.input or parse_arguments("".join(self.arguments)))


def parse_arguments(text: str) -> Members:
    """Return a tool's input; no text at all is an empty one."""
    return checked(parse_object(text)) if text.strip() else {}


class ChatMapper:
    """Maps the chunks of one stream, in order, or one whole completion."""

    def __init__(self) -> None:
        self.has_finished = False  # the stop reason is known; only usage may follow
        self.has_ended = False  # nothing follows
        self._calls: dict[int, ToolCall] = {}
        self._has_refused = False
        self._usage: Usage | None = None
        self._details: Members = {}

    def map(self, name: str, data: bytes) -> list[Delta]:
        """Return the deltas of an event; raises ProviderError for an error, or a member of a wrong type."""
        if not data:
            return []
        if data.strip() == DONE:
            self.has_ended = True
            return self.end()
        return self.map_chunk(parse_object(data), is_error=name == "error")

    def map_chunk(self, chunk: Members, *, is_error: bool = False) -> list[Delta]:
        """Return the deltas of a chunk or of a whole completion."""
        error = chunk.get("error")
        if error or is_error or chunk.get("object") == "error":  # vLLM's is not wrapped
            raise map_stream_error(error if isinstance(error, dict) else {"message": error, **chunk})
        if not self._details:
            self._details = _details_of(chunk)
        if chunk.get("usage"):
            self._usage = parse_usage(object_of(chunk["usage"]))
        deltas: list[Delta] = []
        for choice in map(object_of, list_of(chunk.get("choices"))):
            if not choice.get("index"):  # there is only one, and some servers do not number it
                self._map_choice(choice, deltas)
        return deltas

    def end(self) -> list[Delta]:
        """Return what is left at the end of the stream, whether an end mark has come or only the connection's end.

        An answer that has neither a finish reason nor an end mark is truncated: it gets no `Stopped`.
        """
        deltas: list[Delta] = []
        if self.has_ended and not self.has_finished:
            # Ollama and others end a whole answer with the mark alone.
            self._finish("tool_use" if self._calls else "end_turn", deltas)
        if self._details:
            deltas.append(Details(self._details))
            self._details = {}
        if self._usage is not None:
            deltas.append(self._usage)
            self._usage = None
        return deltas

    def _map_choice(self, choice: Members, deltas: list[Delta]) -> None:
        delta = choice.get("delta") or choice.get("message")
        if delta:
            self._map_delta(object_of(delta), deltas)
        reason = choice.get("finish_reason")
        if reason is None or self.has_finished:
            return
        text = text_of(reason)
        if text in _FAILED_REASONS:
            raise ProviderError("provider_unavailable", retryable=True, is_transient=True)
        if text:
            if text not in FINISH_REASONS:
                _log.warning("unknown_stop_reason_accepted", reason=text[:100])
            found = FINISH_REASONS.get(text, "other")
            # vLLM names the stop sequence that it found.
            is_cut = found == "end_turn" and isinstance(choice.get("stop_reason"), str)
            self._finish("stop_sequence" if is_cut else found, deltas)

    def _map_delta(self, delta: Members, deltas: list[Delta]) -> None:
        # Servers differ in the name; some send both.
        reasoning = delta.get("reasoning_content") or delta.get("reasoning")
        if reasoning:
            deltas.append(Reasoning(text_of(reasoning)))
        content = delta.get("content")
        if type(content) is str:
            if content:
                deltas.append(Chunk(content))
        elif content is not None:
            _map_parts(list_of(content), deltas)
        if refusal := text_of(delta.get("refusal")):
            self._has_refused = True
            deltas.append(Chunk(refusal))
        if calls := delta.get("tool_calls"):
            for call in list_of(calls):
                self._take_call(object_of(call))
        if function := delta.get("function_call"):
            self._take_call({"index": 0, "function": function})
        if annotations := delta.get("annotations"):
            deltas += [each for item in list_of(annotations) if (each := to_citation(object_of(item)))]

    def _take_call(self, piece: Members) -> None:
        index, identifier = piece.get("index"), text_of(piece.get("id"))
        latest = max(self._calls, default=-1)
        if type(index) is not int:  # a server that does not number them sends whole calls, or the latest one's rest
            index = latest + 1 if identifier or latest < 0 else latest
        known = self._calls.get(index)
        if known and known.id and identifier and identifier != known.id:
            index, known = latest + 1, None  # Ollama numbers all calls 0
        call = known or self._calls.setdefault(index, ToolCall())
        call.id = call.id or identifier
        function = object_of(piece.get("function"))
        call.name = call.name or text_of(function.get("name"))
        arguments = function.get("arguments")
        if isinstance(arguments, dict):
            call.input = object_of(checked(arguments))
        else:
            call.arguments.append(text_of(arguments))

    def _finish(self, reason: StopReason, deltas: list[Delta]) -> None:
        self.has_finished = True
        for number, call in enumerate(self._calls.values()):
            try:
                deltas.append(call.to_delta(number))
            except ProviderError:
                if reason not in CUT_OFF_REASONS:  # else the input is cut off, and the answer so far stands
                    raise
        is_call = reason == "end_turn" and bool(self._calls)
        deltas.append(Stopped("refused" if self._has_refused else "tool_use" if is_call else reason))


def _map_parts(parts: list[Any], deltas: list[Delta]) -> None:
    """Map content in parts, as Mistral sends it: texts, and thoughts that are lists of texts."""
    for part in map(object_of, parts):
        if thinking := part.get("thinking"):
            texts = [thinking] if isinstance(thinking, str) else [object_of(e).get("text") for e in list_of(thinking)]
            deltas.append(Reasoning("".join(map(text_of, texts))))
        elif text := text_of(part.get("text")):
            deltas.append(Chunk(text))


def to_citation(annotation: Members) -> Citation | None:
    """Return the citation of an annotation, None for one that cites nothing."""
    nested: Any = annotation.get(text_of(annotation.get("type")))
    cited = object_of(nested) if isinstance(nested, dict) else annotation
    url, title = text_of(cited.get("url")) or None, text_of(cited.get("title")) or None
    source = url or text_of(cited.get("filename")) or text_of(cited.get("file_id")) or None
    if source is None:
        return None
    content = text_of(cited.get("content"))
    return Citation(title, source, [{"text": content}] if content else None, {"web": {"url": url}} if url else None)


def _details_of(chunk: Members) -> Members:
    found = {name: chunk.get(name) for name in _DETAILS}
    return {name: value[:_MAX_DETAIL_CHARS] for name, value in found.items() if isinstance(value, str) and value}


def parse_usage(usage: Members) -> Usage:
    """Return the token counts of either API; a missing count is 0.

    OpenAI counts cached tokens as input, too, and reasoning as output. A total that is larger by the reasoning than the
    sum shows a server that does not count it as output.
    """
    sent = count_of(usage.get("prompt_tokens")) or count_of(usage.get("input_tokens"))
    written = count_of(usage.get("completion_tokens")) or count_of(usage.get("output_tokens"))
    sent_details = object_of(usage.get("prompt_tokens_details") or usage.get("input_tokens_details"))
    written_details = object_of(usage.get("completion_tokens_details") or usage.get("output_tokens_details"))
    read = count_of(sent_details.get("cached_tokens")) or count_of(usage.get("prompt_cache_hit_tokens"))
    cached = count_of(sent_details.get("cache_write_tokens"))
    reasoning = count_of(written_details.get("reasoning_tokens"))
    if reasoning and count_of(usage.get("total_tokens")) == sent + written + reasoning:
        written += reasoning
    return Usage(max(0, sent - read - cached), written, read, cached, reasoning_tokens=min(reasoning, written))


def parse_completion(data: bytes) -> Members:
    """Return the object of a whole response; raises ProviderError (`truncated`) if it is no JSON object."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ProviderError("truncated", retryable=True) from error
    if not isinstance(value, dict):
        raise unreadable()
    return value
