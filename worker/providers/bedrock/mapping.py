"""From the events of Bedrock's ConverseStream to deltas: pure; every member of its model has its place here.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStreamOutput.html
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from millrace.worker.contract.events import Chunk, Citation, Reasoning, ToolResult, ToolUse, Usage
from millrace.worker.errors import ErrorCode, GenerationFailed
from millrace.worker.observability.logs import get_logger
from millrace.worker.providers.protocol import Delta, Stopped

Event = dict[str, Any]

_log = get_logger(__name__)


@dataclass
class _Tool:
    """A block that is told in pieces: a tool's use (its input's JSON) or a tool's result (its content)."""

    id: str
    name: str
    status: str | None = None
    input: list[str] = field(default_factory=list[str])
    content: list[Any] = field(default_factory=list[Any])
    is_result: bool = False

    def delta(self) -> Delta:
        if self.is_result:
            return ToolResult(self.id, self.content, self.status)
        text = "".join(self.input)
        try:
            given = json.loads(text) if text else {}
            json.dumps(given, allow_nan=False)  # Python's parser takes NaN and 1e999, which no reader could
            return ToolUse(self.id, self.name, given)
        except ValueError as error:
            raise GenerationFailed("provider_rejected", retryable=True) from error


class Mapper:
    """Maps the events of one stream, in order."""

    def __init__(self) -> None:
        self._tools: dict[int, _Tool] = {}
        self.events: dict[str, Callable[[Any], list[Delta]]] = {
            "messageStart": self._nothing,
            "contentBlockStart": self._block_start,
            "contentBlockDelta": self._block_delta,
            "contentBlockStop": self._block_stop,
            "messageStop": self._message_stop,
            "metadata": self._metadata,
        }
        self.starts: dict[str, Callable[[int, Any], None]] = {
            "toolUse": self._tool_use_start,
            "toolResult": self._tool_result_start,
            "image": self._no_start,
        }
        self.pieces: dict[str, Callable[[int, Any], list[Delta]]] = {
            "text": self._text,
            "reasoningContent": self._reasoning,
            "citation": self._citation,
            "toolUse": self._tool_input,
            "toolResult": self._tool_content,
            "image": self._no_delta,
        }

    def deltas(self, event: Event) -> list[Delta]:
        """Return what the event says, often nothing; raises `Failure` where a tool's input is not JSON."""
        found: list[Delta] = []
        for kind, payload in event.items():
            handler = self.events.get(kind)
            if handler is None:
                _log.warning("unknown_stream_event", kind=kind)
            else:
                found += handler(payload)
        return found

    def _nothing(self, _payload: Event) -> list[Delta]:
        return []

    def _block_start(self, payload: Event) -> list[Delta]:
        for kind, start in payload["start"].items():
            handler = self.starts.get(kind)
            if handler is not None:
                handler(payload["contentBlockIndex"], start)
        return []

    def _tool_use_start(self, index: int, start: Event) -> None:
        self._tools[index] = _Tool(start["toolUseId"], start["name"])

    def _tool_result_start(self, index: int, start: Event) -> None:
        self._tools[index] = _Tool(start["toolUseId"], "", start.get("status"), is_result=True)

    def _no_start(self, index: int, start: Event) -> None:
        pass

    def _block_delta(self, payload: Event) -> list[Delta]:
        found: list[Delta] = []
        for kind, value in payload["delta"].items():
            handler = self.pieces.get(kind)
            if handler is None:
                _log.warning("unknown_delta", kind=kind)
            else:
                found += handler(payload["contentBlockIndex"], value)
        return found

    def _text(self, _index: int, text: str) -> list[Delta]:
        return [Chunk(text)]

    def _reasoning(self, _index: int, value: Event) -> list[Delta]:
        # The signature and what is redacted only serve to send the block back to the model, which is not done here.
        return [Reasoning(value["text"])] if value.get("text") else []

    def _citation(self, _index: int, value: Event) -> list[Delta]:
        return [Citation(value.get("title"), value.get("source"), value.get("sourceContent"), value.get("location"))]

    def _tool_input(self, index: int, value: Event) -> list[Delta]:
        if index in self._tools:
            self._tools[index].input.append(value.get("input", ""))
        return []

    def _tool_content(self, index: int, pieces: list[Event]) -> list[Delta]:
        if index in self._tools:
            content = self._tools[index].content
            for piece in pieces:
                if "text" in piece and content and "text" in content[-1]:
                    content[-1] = {"text": content[-1]["text"] + piece["text"]}
                else:
                    content.append(dict(piece))
        return []

    def _no_delta(self, _index: int, _value: Event) -> list[Delta]:
        return []  # a picture: the log has no event for one

    def _block_stop(self, payload: Event) -> list[Delta]:
        tool = self._tools.pop(payload["contentBlockIndex"], None)
        return [tool.delta()] if tool else []

    def _message_stop(self, payload: Event) -> list[Delta]:
        open_blocks, self._tools = list(self._tools.values()), {}
        return [*(tool.delta() for tool in open_blocks), Stopped(payload["stopReason"])]

    def _metadata(self, payload: Event) -> list[Delta]:
        usage = payload.get("usage")
        return [] if usage is None else [usage_of(usage)]


def usage_of(told: Event) -> Usage:
    """Return the tokens that Bedrock has told; what it leaves out is none."""
    return Usage(
        told.get("inputTokens", 0),
        told.get("outputTokens", 0),
        told.get("cacheReadInputTokens", 0),
        told.get("cacheWriteInputTokens", 0),
    )


REASONING = ("text", "signature", "redactedContent")
"""What a piece of reasoning may hold; only the text is for readers."""

_WHOLE = None
STOP_REASONS: dict[str, tuple[ErrorCode, bool] | None] = {
    "end_turn": _WHOLE,
    "stop_sequence": _WHOLE,
    "max_tokens": _WHOLE,
    "tool_use": _WHOLE,
    "guardrail_intervened": ("content_filtered", False),
    "content_filtered": ("content_filtered", False),
    "model_context_window_exceeded": ("context_too_long", False),
    "malformed_model_output": ("provider_rejected", True),  # by chance: the same question may fare better
    "malformed_tool_use": ("provider_rejected", True),
}


def failure_of_stop(reason: str) -> GenerationFailed | None:
    """Return the failure that a stop reason stands for, None where the answer is whole; an unknown one is whole."""
    if reason not in STOP_REASONS:
        _log.warning("unknown_stop_reason", reason=reason)
    ends = STOP_REASONS.get(reason)
    return GenerationFailed(ends[0], retryable=ends[1]) if ends else None
