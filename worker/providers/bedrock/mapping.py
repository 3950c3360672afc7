"""The mapping from Bedrock's responses to deltas and whole answers. Pure.

Every member of botocore's model of ConverseStream has an entry here, which a test checks.
https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStreamOutput.html
https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from millrace.worker.contract.events import Chunk, Citation, Reasoning, ToolResult, ToolUse, Usage
from millrace.worker.errors import ErrorCode, GenerationFailed
from millrace.worker.observability.logs import get_logger
from millrace.worker.providers.protocol import Delta, Stopped, Tool, WholeAnswer

Event = dict[str, Any]

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
            return ToolResult(self.id, self.content, self.status)
        text = "".join(self.input)
        try:
            tool_input = json.loads(text) if text else {}
            json.dumps(tool_input, allow_nan=False)  # Python's parser accepts NaN and 1e999, a browser's does not
            return ToolUse(self.id, self.name, tool_input)
        except ValueError as error:
            raise GenerationFailed("provider_rejected", retryable=True) from error


class EventMapper:
    """Maps the events of one stream, in order."""

    def __init__(self) -> None:
        self._tools: dict[int, _ToolBlock] = {}
        self.event_handlers: dict[str, Callable[[Any], list[Delta]]] = {
            "messageStart": self._ignore_event,
            "contentBlockStart": self._block_start,
            "contentBlockDelta": self._block_delta,
            "contentBlockStop": self._block_stop,
            "messageStop": self._message_stop,
            "metadata": self._metadata,
        }
        self.start_handlers: dict[str, Callable[[int, Any], None]] = {
            "toolUse": self._tool_use_start,
            "toolResult": self._tool_result_start,
            "image": self._ignore_start,
        }
        self.delta_handlers: dict[str, Callable[[int, Any], list[Delta]]] = {
            "text": self._text,
            "reasoningContent": self._reasoning,
            "citation": self._citation,
            "toolUse": self._tool_input,
            "toolResult": self._tool_content,
            "image": self._ignore_delta,
        }

    def map(self, event: Event) -> list[Delta]:
        """Return the event's deltas, often none; raises GenerationFailed if a tool's input is not JSON."""
        found: list[Delta] = []
        for kind, payload in event.items():
            handler = self.event_handlers.get(kind)
            if handler is None:
                _log.warning("unknown_stream_event_ignored", kind=kind)
            else:
                found += handler(payload)
        return found

    def _ignore_event(self, _payload: Event) -> list[Delta]:
        return []

    def _block_start(self, payload: Event) -> list[Delta]:
        for kind, start in payload["start"].items():
            handler = self.start_handlers.get(kind)
            if handler is not None:
                handler(payload["contentBlockIndex"], start)
        return []

    def _tool_use_start(self, index: int, start: Event) -> None:
        self._tools[index] = _ToolBlock(start["toolUseId"], start["name"])

    def _tool_result_start(self, index: int, start: Event) -> None:
        self._tools[index] = _ToolBlock(start["toolUseId"], "", start.get("status"), is_result=True)

    def _ignore_start(self, index: int, start: Event) -> None:
        pass

    def _block_delta(self, payload: Event) -> list[Delta]:
        found: list[Delta] = []
        for kind, value in payload["delta"].items():
            handler = self.delta_handlers.get(kind)
            if handler is None:
                _log.warning("unknown_delta_ignored", kind=kind)
            else:
                found += handler(payload["contentBlockIndex"], value)
        return found

    def _text(self, _index: int, text: str) -> list[Delta]:
        return [Chunk(text)]

    def _reasoning(self, _index: int, value: Event) -> list[Delta]:
        # Signature and redacted content only serve to send the block back to the model, which Millrace does not do.
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

    def _ignore_delta(self, _index: int, _value: Event) -> list[Delta]:
        return []  # the log has no event for an image

    def _block_stop(self, payload: Event) -> list[Delta]:
        tool = self._tools.pop(payload["contentBlockIndex"], None)
        return [tool.to_delta()] if tool else []

    def _message_stop(self, payload: Event) -> list[Delta]:
        open_blocks, self._tools = list(self._tools.values()), {}
        return [*(tool.to_delta() for tool in open_blocks), Stopped(payload["stopReason"])]

    def _metadata(self, payload: Event) -> list[Delta]:
        usage = payload.get("usage")
        return [] if usage is None else [parse_usage(usage)]


def parse_usage(usage: Event) -> Usage:
    """Return the token counts of a response; a missing field is 0."""
    return Usage(
        usage.get("inputTokens", 0),
        usage.get("outputTokens", 0),
        usage.get("cacheReadInputTokens", 0),
        usage.get("cacheWriteInputTokens", 0),
    )


def parse_answer(response: dict[str, Any], tool: Tool | None) -> WholeAnswer:
    """Return the answer in a response of Converse; raises GenerationFailed if it is cut off or the tool is not used."""
    reason = response.get("stopReason")
    if reason is None:  # botocore parses a body that is not JSON as a response without members
        raise GenerationFailed("truncated", retryable=True)
    failure = map_stop_reason(reason)
    if failure is not None:
        raise failure
    blocks = response["output"]["message"]["content"]
    uses = [block["toolUse"] for block in blocks if "toolUse" in block]
    tool_input = next((use["input"] for use in uses if tool and use["name"] == tool.name), None)
    if tool and reason == "max_tokens":  # an input that was cut off arrives as an empty one
        raise GenerationFailed("truncated", retryable=True)
    if tool and not isinstance(tool_input, dict):
        raise GenerationFailed("provider_rejected", retryable=True)
    text = "".join(block.get("text", "") for block in blocks)
    return WholeAnswer(text, tool_input, parse_usage(response.get("usage") or {}))


REASONING_FIELDS = ("text", "signature", "redactedContent")
"""The fields of a reasoning delta; only the text is for readers."""

_COMPLETE = None
STOP_REASONS: dict[str, tuple[ErrorCode, bool] | None] = {
    "end_turn": _COMPLETE,
    "stop_sequence": _COMPLETE,
    "max_tokens": _COMPLETE,
    "tool_use": _COMPLETE,
    "guardrail_intervened": ("content_filtered", False),
    "content_filtered": ("content_filtered", False),
    "model_context_window_exceeded": ("context_too_long", False),
    "malformed_model_output": ("provider_rejected", True),  # sampling is random: the same question may succeed
    "malformed_tool_use": ("provider_rejected", True),
}
"""Each stop reason with its error code and whether the user may retry; None if the answer is complete."""


def map_stop_reason(reason: str) -> GenerationFailed | None:
    """Return the failure of a stop reason, None if the answer is complete. An unknown reason counts as complete."""
    if reason not in STOP_REASONS:
        _log.warning("unknown_stop_reason_accepted", reason=reason)
    failure = STOP_REASONS.get(reason)
    return GenerationFailed(failure[0], retryable=failure[1]) if failure else None
