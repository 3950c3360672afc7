"""The mapping from Bedrock's responses to deltas and whole answers. Pure.

Every member of botocore's model of an answer has an entry here or a reason to be left out, which a test checks.
https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStreamOutput.html
https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html
"""

import json
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from millrace.worker.contract.events import Chunk, Citation, Reasoning, ToolResult, ToolUse, Usage
from millrace.worker.errors import ProviderError
from millrace.worker.observability.logs import get_logger
from millrace.worker.providers.members import (
    MAX_COUNT,
    bytes_of,
    checked,
    list_of,
    name_of,
    object_of,
    text_of,
    unreadable,
)
from millrace.worker.providers.protocol import Delta, Details, OutputImage, ReasoningBlock, Stopped, Tool, WholeAnswer
from millrace.worker.providers.stop_reason import CUT_OFF_REASONS, StopReason
from millrace.worker.providers.whole_answer import to_whole_answer

Event = dict[str, Any]

UNSTATED_REASON = "end_turn"
"""The stop reason of an answer that has ended in order without stating one."""
_CITED = ("title", "source")

_log = get_logger(__name__)


@dataclass
class _ToolBlock:
    """A block that arrives in pieces: a tool use (the JSON of its input) or a tool result (its content)."""

    id: str
    name: str
    status: str | None = None
    input: list[str] = field(default_factory=list[str])
    content: list[Any] = field(default_factory=list[Any])
    is_result: bool = False

    def to_delta(self) -> Delta:
        if self.is_result:
            return ToolResult(self.id, _join_texts(self.content), self.status)
        text = "".join(self.input)
        try:
            tool_input = json.loads(text) if text else {}
        except (ValueError, RecursionError) as error:
            raise unreadable() from error
        return ToolUse(self.id, self.name, checked(tool_input))


def _join_texts(pieces: list[Any]) -> list[Any]:
    """Return the pieces with neighbouring texts merged."""
    joined: list[Any] = []
    texts: list[str] = []
    for piece in [*pieces, None]:
        if piece is not None and "text" in piece:
            texts.append(text_of(piece["text"]))
            continue
        joined += [{"text": "".join(texts)}] if texts else []
        joined += [] if piece is None else [dict(piece)]
        texts = []
    return joined


@dataclass
class _ReasoningPieces:
    """The pieces of a block of reasoning. Only a signed or an encrypted one can be given back to the model."""

    texts: list[str] = field(default_factory=list[str])
    signature: str = ""
    redacted: bytes = b""

    def to_block(self) -> dict[str, Any] | None:
        if self.redacted:
            return {"redactedContent": b64encode(self.redacted).decode("ascii")}
        text = {"text": "".join(self.texts), "signature": self.signature}
        return {"reasoningText": text} if self.signature else None


class EventMapper:
    """Maps the events of one stream, in order.

    The input of the tool that is called `answer_tool` is the answer's text. `asks_for_reasoning` says whether the
    request does.
    """

    def __init__(self, answer_tool: str = "", *, asks_for_reasoning: bool = False) -> None:
        self._answer_tool = answer_tool
        self._asks_for_reasoning = asks_for_reasoning
        self._reasoning_blocks: dict[int, _ReasoningPieces] = {}
        self._tools: dict[int, _ToolBlock] = {}
        self._images: dict[int, list[bytes]] = {}  # the pieces of each image that has not ended
        self._unreadable: ProviderError | None = None  # of a tool's input: the stop reason tells whether it is cut off
        self._latest = 0  # the block that started last, for events that do not name theirs
        self.event_handlers: dict[str, Callable[[Event], list[Delta]]] = {
            "messageStart": self._ignore_event,
            "contentBlockStart": self._block_start,
            "contentBlockDelta": self._block_delta,
            "contentBlockStop": self._block_stop,
            "messageStop": self._message_stop,
            "metadata": self._metadata,
        }
        self.start_handlers: dict[str, Callable[[int, Event], None]] = {
            "toolUse": self._tool_use_start,
            "toolResult": self._tool_result_start,
            "image": self._image_start,
        }
        self.delta_handlers: dict[str, Callable[[int, Any], list[Delta]]] = {
            "text": self._text,
            "reasoningContent": self._reasoning,
            "citation": self._citation,
            "toolUse": self._tool_input,
            "toolResult": self._tool_content,
            "image": self._image,
        }

    def map(self, event: Event) -> list[Delta]:
        """Return the event's deltas, often none; raises ProviderError for a member of a wrong type.

        An absent or unknown member says nothing. One of several members of a union is mapped like the only one.
        """
        found: list[Delta] = []
        for kind, payload in event.items():
            handler = self.event_handlers.get(kind)
            if handler is None:
                _log.warning("unknown_stream_event_ignored", kind=kind)
            else:
                found += handler(object_of(payload))
        return found

    def _index(self, payload: Event) -> int:
        index = payload.get("contentBlockIndex")
        return index if isinstance(index, int) else self._latest

    def _ignore_event(self, _payload: Event) -> list[Delta]:
        return []

    def _block_start(self, payload: Event) -> list[Delta]:
        self._latest = self._index(payload)
        for kind, start in object_of(payload.get("start")).items():
            handler = self.start_handlers.get(kind)
            if handler is not None and start is not None:
                handler(self._latest, object_of(start))
        return []

    def _tool_use_start(self, index: int, start: Event) -> None:
        self._tools[index] = _ToolBlock(name_of(start.get("toolUseId")), name_of(start.get("name")))

    def _tool_result_start(self, index: int, start: Event) -> None:
        status = text_of(start.get("status")) or None
        self._tools[index] = _ToolBlock(name_of(start.get("toolUseId")), "", status, is_result=True)

    def _image_start(self, index: int, _start: Event) -> None:
        self._images[index] = []

    def _block_delta(self, payload: Event) -> list[Delta]:
        found: list[Delta] = []
        for kind, value in object_of(payload.get("delta")).items():
            handler = self.delta_handlers.get(kind)
            if handler is None:
                _log.warning("unknown_delta_ignored", kind=kind)
            elif value is not None:
                found += handler(self._index(payload), value)
        return found

    def _text(self, _index: int, value: Any) -> list[Delta]:
        return [Chunk(text_of(value))]

    def _reasoning(self, index: int, value: Any) -> list[Delta]:
        given, pieces = object_of(value), self._reasoning_blocks.setdefault(index, _ReasoningPieces())
        text = text_of(given.get("text"))
        pieces.texts.append(text)
        pieces.signature += text_of(given.get("signature"))
        pieces.redacted += bytes_of(given.get("redactedContent"))
        return [Reasoning(text)] if text else []

    def _finish_reasoning(self, index: int) -> list[Delta]:
        pieces = self._reasoning_blocks.pop(index, None)
        block = pieces.to_block() if pieces else None
        return [] if block is None else [ReasoningBlock(block, self._asks_for_reasoning)]

    def _citation(self, _index: int, value: Any) -> list[Delta]:
        given = object_of(value)
        title, source = (given.get(name) if given.get(name) is None else text_of(given[name]) for name in _CITED)
        content, location = given.get("sourceContent"), given.get("location")
        if content is not None:
            content = checked(list_of(content))
        return [Citation(title, source, content, None if location is None else checked(object_of(location)))]

    def _tool_input(self, index: int, value: Any) -> list[Delta]:
        text = text_of(object_of(value).get("input"))
        tool = self._tools.get(index)
        if tool is None:
            return []
        tool.input.append(text)
        return [Chunk(text)] if self._is_answer(tool) else []

    def _is_answer(self, tool: _ToolBlock) -> bool:
        return bool(tool.name) and tool.name == self._answer_tool

    def _tool_content(self, index: int, value: Any) -> list[Delta]:
        pieces = [object_of(piece) for piece in checked(list_of(value))]
        if index in self._tools:
            self._tools[index].content += pieces
        return []

    def _image(self, index: int, value: Any) -> list[Delta]:
        given = object_of(value)
        if given.get("error") is not None:
            _log.warning("image_failed")
        self._images.setdefault(index, []).append(bytes_of(object_of(given.get("source")).get("bytes")))
        return []

    def _block_stop(self, payload: Event) -> list[Delta]:
        index = self._index(payload)
        tool = self._tools.pop(index, None)
        return self._finish(tool) if tool else [*self._finish_reasoning(index), *self._finish_image(index)]

    def _finish_image(self, index: int) -> list[Delta]:
        data = b"".join(self._images.pop(index, ()))
        return [OutputImage(data)] if data else []

    def _finish(self, tool: _ToolBlock) -> list[Delta]:
        if self._is_answer(tool):
            return [] if any(tool.input) else [Chunk("{}")]
        try:
            return [tool.to_delta()]
        except ProviderError as error:
            self._unreadable = self._unreadable or error
            return []

    def _message_stop(self, payload: Event) -> list[Delta]:
        deltas = [delta for tool in self._tools.values() for delta in self._finish(tool)]
        deltas += [delta for index in [*self._reasoning_blocks] for delta in self._finish_reasoning(index)]
        deltas += [delta for index in [*self._images] for delta in self._finish_image(index)]
        self._tools = {}
        reason = map_stop_reason(text_of(payload.get("stopReason")) or UNSTATED_REASON)
        if self._unreadable is not None and reason not in CUT_OFF_REASONS:
            raise self._unreadable
        if self._answer_tool and reason == "tool_use":
            reason = "end_turn"
        fields = payload.get("additionalModelResponseFields")
        details: list[Delta] = (
            [] if fields is None else [Details({"additional_model_response_fields": checked(fields)})]
        )
        return [*deltas, *details, Stopped(reason)]

    def _metadata(self, payload: Event) -> list[Delta]:
        usage = payload.get("usage")
        details = parse_details(payload)
        found: list[Delta] = [] if usage is None else [parse_usage(object_of(usage))]
        return [*([Details(details)] if details else []), *found]


def parse_details(payload: Event) -> dict[str, Any]:
    """Return the facts beside the answer: a guardrail's trace, the served tier, latency, details of the cache."""
    usage, metrics = object_of(payload.get("usage")), object_of(payload.get("metrics"))
    found = {
        "trace": payload.get("trace"),
        "service_tier": object_of(payload.get("serviceTier")).get("type"),
        "performance": object_of(payload.get("performanceConfig")).get("latency"),
        "latency_ms": metrics.get("latencyMs"),
        "cache_details": usage.get("cacheDetails"),
    }
    return {name: checked(value) for name, value in found.items() if value is not None}


def parse_usage(usage: Event) -> Usage:
    """Return the token counts of a response; a missing field, or one that is no count, is 0."""
    names = ("inputTokens", "outputTokens", "cacheReadInputTokens", "cacheWriteInputTokens")
    counts = (usage.get(name) for name in names)
    sent, written, read, cached = (
        count if isinstance(count, int) and 0 <= count <= MAX_COUNT else 0 for count in counts
    )
    return Usage(sent, written, read, cached)


def parse_answer(
    response: Event, tool: Tool | None, *, is_instructed: bool = False, answer_tool: str = ""
) -> WholeAnswer:
    """Return the answer in a response of Converse; raises ProviderError if it is cut off or the tool is not used.

    If the model was instructed to write the tool's input, and not forced to use the tool, the text holds it as JSON.
    The input of the tool that is called `answer_tool` is the answer's text.
    """
    content = object_of(object_of(response.get("output")).get("message")).get("content")
    reason, deltas = text_of(response.get("stopReason")), list[Delta]()
    for block in map(object_of, list_of(content)):
        cited = list_of(object_of(block.get("citationsContent")).get("content"))
        deltas += [Chunk(text_of(each.get("text"))) for each in (block, *map(object_of, cited))]
        use = object_of(block.get("toolUse"))
        if tool and use.get("name") == tool.name:
            deltas.append(ToolUse("", tool.name, use.get("input")))
        elif answer_tool and use.get("name") == answer_tool:
            deltas.append(Chunk(json.dumps(checked(use.get("input")), ensure_ascii=False)))
    if reason or content is not None:  # a body that is not JSON counts as an empty object
        stop = map_stop_reason(reason or UNSTATED_REASON)
        deltas.append(Stopped("end_turn" if answer_tool and stop == "tool_use" else stop))
    if response.get("usage") is not None:
        deltas.append(parse_usage(object_of(response["usage"])))
    return to_whole_answer(deltas, tool, is_instructed=is_instructed)


REASONING_FIELDS = ("text", "signature", "redactedContent")
"""The fields of a reasoning delta; only the text is for readers, the others go back to the model."""

STOP_REASONS: dict[str, StopReason] = {
    "end_turn": "end_turn",
    "stop_sequence": "stop_sequence",
    "max_tokens": "max_tokens",
    "tool_use": "tool_use",
    "guardrail_intervened": "content_filtered",
    "content_filtered": "content_filtered",
    "model_context_window_exceeded": "context_exceeded",
    "malformed_model_output": "malformed",
    "malformed_tool_use": "malformed",
}
"""Bedrock's stop reasons."""


def map_stop_reason(reason: str) -> StopReason:
    """Return the neutral stop reason."""
    if reason not in STOP_REASONS:
        _log.warning("unknown_stop_reason_accepted", reason=reason)
    return STOP_REASONS.get(reason, "other")
