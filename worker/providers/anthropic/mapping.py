"""The mapping from the events of Anthropic's stream, or from a whole message, to deltas. Pure.

https://docs.claude.com/en/docs/build-with-claude/streaming
https://docs.claude.com/en/api/messages
"""

import json
from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from millrace.worker.contract.events import Chunk, Reasoning
from millrace.worker.errors import ProviderError
from millrace.worker.observability.logs import get_logger
from millrace.worker.providers.anthropic.blocks import (
    COUNTS,
    Block,
    to_citation,
    to_detail,
    to_tool_result,
    to_usage,
)
from millrace.worker.providers.anthropic.errors import map_stream_error
from millrace.worker.providers.members import (
    Members,
    checked,
    list_of,
    object_of,
    parse_object,
    text_of,
)
from millrace.worker.providers.protocol import Delta, Details, ReasoningBlock, Stopped
from millrace.worker.providers.stop_reason import CUT_OFF_REASONS, StopReason
from millrace.worker.providers.transport.errors import error_fields

STOP_REASONS: dict[str, StopReason] = {
    "end_turn": "end_turn",
    "max_tokens": "max_tokens",
    "stop_sequence": "stop_sequence",
    "tool_use": "tool_use",
    "pause_turn": "other",  # a server tool has run for long: the same turn may be continued by another request
    "refusal": "refused",
    "model_context_window_exceeded": "context_exceeded",
}

_TOOL_USES = ("tool_use", "server_tool_use", "mcp_tool_use")
_TOOL_RESULT = "_tool_result"  # the end of the types of all results, such as `web_search_tool_result`
_USAGE_DETAILS = ("service_tier", "inference_geo", "speed")
_GUARDRAIL_ACTION, _GUARDRAIL_TRACE = "amazon-bedrock-guardrailAction", "amazon-bedrock-trace"  # in Bedrock's events
_BEDROCK_COUNTS = (*("inputTokenCount", "outputTokenCount", "cacheReadInputTokenCount", "cacheWriteInputTokenCount"),)
_MAX_WARNINGS = 20  # of one stream

_log = get_logger(__name__)


class MessageMapper:
    """Maps the events of one stream, in order, or one whole message.

    With an `answer_tool` the input of that tool is the answer's text. Thinking blocks are also given as the API wants
    them back, with their signatures; readers see only their texts.
    """

    def __init__(self, answer_tool: str = "", *, asks_for_reasoning: bool = False) -> None:
        self._asks_for_reasoning = asks_for_reasoning
        self.has_finished = False  # the stop reason has arrived; only details may follow
        self.has_ended = False  # nothing follows
        self._answer_tool = answer_tool
        self._blocks: dict[int, Block] = {}
        self._unreadable: ProviderError | None = None  # of a tool's input: the stop reason tells whether it is cut off
        self._latest = 0  # the block that started last, for events that do not name theirs
        self._usage: Members = {}
        self._details: Members = {}
        self._unknown: set[str] = set()
        self._is_filtered = False  # by a guardrail of Bedrock's, whose text stands in place of the model's
        self.event_handlers: dict[str, Callable[[Members], list[Delta]]] = {
            "message_start": self._message_start,
            "content_block_start": self._block_start,
            "content_block_delta": self._block_delta,
            "content_block_stop": self._block_stop,
            "message_delta": self._message_delta,
            "message_stop": self._message_stop,
            "ping": lambda _event: [],
            "error": self._error,
        }
        self.delta_handlers: dict[str, Callable[[int, Members], list[Delta]]] = {
            "thinking_delta": self._thinking,
            "signature_delta": self._signature,
            "input_json_delta": self._input,
            "citations_delta": lambda _index, delta: [to_citation(object_of(delta.get("citation")))],
        }

    def map(self, name: str, data: bytes) -> list[Delta]:
        """Return the deltas of an event; raises ProviderError for an error, or for a member of a wrong type.

        `name` is the event's name on the wire. An absent or unknown member says nothing.
        """
        if not data:
            return []
        event = parse_object(data)
        if _GUARDRAIL_ACTION in event:
            self._take_guardrail(event)
        kind = event.get("type")
        if kind == "content_block_delta":  # nearly all events
            return self._block_delta(event)
        if name == "error":
            kind = name
        handler = self.event_handlers.get(text_of(kind) or name)
        if handler is not None:
            return handler(event)
        if event.get("error"):
            return self._error(event)
        self._warn("event", kind or name)
        return []

    def map_message(self, message: Members) -> list[Delta]:
        """Return the deltas of a whole message; one without content and stop reason is truncated."""
        if message.get("type") == "error":
            return self._error(message)
        self._take_guardrail(message)
        deltas = self._message_start({"message": message})
        for index, block in enumerate(list_of(message.get("content"))):
            deltas += self._block_start({"index": index, "content_block": block}, is_whole=True)
            deltas += self._block_stop({"index": index})
        if message.get("content") is None and not message.get("stop_reason") and not self._is_filtered:
            return deltas
        return deltas + self._message_delta({"delta": message}) + self._message_stop(message)

    def end(self) -> list[Delta]:
        """Return what is left at the end of the stream: details and usage of an answer that has finished."""
        stopped = self._finish("content_filtered") if self._is_filtered else []
        if not self.has_finished:
            return []  # the usage at the beginning of a stream is not that of the answer
        usage, details, self._usage, self._details = self._usage, self._details, {}, {}
        return [
            *stopped,
            *([Details(details)] if details else []),
            *([to_usage(usage)] if any(name in usage for name in COUNTS) else []),
        ]

    def _message_start(self, event: Members) -> list[Delta]:
        message = object_of(event.get("message"))
        self._take_usage(message)
        self.take_details({name: message.get(name) for name in ("id", "model")})
        return []

    def _block_start(self, event: Members, *, is_whole: bool = False) -> list[Delta]:
        self._latest = index = self._index(event)
        block = object_of(event.get("content_block"))
        kind = text_of(block.get("type"))
        if kind == "text":
            return _text(block.get("text")) + [to_citation(object_of(each)) for each in list_of(block.get("citations"))]
        if kind == "thinking":
            self._blocks[index] = Block(block, signature=text_of(block.get("signature")))
            return self._thinking(index, block)
        if kind == "redacted_thinking":
            data = text_of(block.get("data"))
            return [ReasoningBlock({"type": kind, "data": data}, self._asks_for_reasoning)] if data else []
        if kind in _TOOL_USES:
            self._blocks[index] = Block(block)
            if is_whole and self._is_answer(self._blocks[index]):
                return self._input(index, {"partial_json": json.dumps(object_of(block.get("input")))})
        elif kind.endswith(_TOOL_RESULT):
            return [to_tool_result(block)]
        else:
            self._warn("content_block", kind)
        return []

    def _block_delta(self, event: Members) -> list[Delta]:
        delta = object_of(event.get("delta"))
        kind = delta.get("type")
        if kind == "text_delta":
            return _text(delta.get("text"))
        handler = self.delta_handlers.get(text_of(kind))
        if handler is None:
            self._warn("delta", kind)
            return []
        return handler(self._index(event), delta)

    def _thinking(self, index: int, delta: Members) -> list[Delta]:
        text = text_of(delta.get("thinking"))
        if index in self._blocks:
            self._blocks[index].pieces.append(text)
        return [Reasoning(text)] if text else []

    def _signature(self, index: int, delta: Members) -> list[Delta]:
        if index in self._blocks:
            self._blocks[index].signature += text_of(delta.get("signature"))
        return []

    def _input(self, index: int, delta: Members) -> list[Delta]:
        text = text_of(delta.get("partial_json"))
        block = self._blocks.get(index)
        if block is None:
            return []
        block.pieces.append(text)
        return _text(text) if self._is_answer(block) else []

    def _is_answer(self, block: Block) -> bool:
        return bool(self._answer_tool) and block.start.get("name") == self._answer_tool

    def _block_stop(self, event: Members) -> list[Delta]:
        block = self._blocks.pop(self._index(event), None)
        return self._finish_block(block) if block else []

    def _finish_block(self, block: Block) -> list[Delta]:
        if block.start["type"] == "thinking":
            whole = {"type": "thinking", "thinking": "".join(block.pieces), "signature": block.signature}
            return [ReasoningBlock(whole, self._asks_for_reasoning)] if block.signature else []
        if self._is_answer(block):
            return [] if any(block.pieces) else [Chunk("{}")]
        try:
            return [block.to_tool_use()]
        except ProviderError as error:
            self._unreadable = self._unreadable or error
            return []

    def _message_delta(self, event: Members) -> list[Delta]:
        self._take_usage(event)
        delta = object_of(event.get("delta"))
        self.take_details({name: delta.get(name) for name in ("stop_sequence", "container", "stop_details")})
        reason = text_of(delta.get("stop_reason"))
        return self._finish(reason) if reason else []

    def _message_stop(self, event: Members) -> list[Delta]:
        self.has_ended = True
        metrics = object_of(event.get("amazon-bedrock-invocationMetrics"))
        self.take_details({"invocation_metrics": metrics})
        counts = zip(COUNTS, _BEDROCK_COUNTS, strict=True)
        self._usage = {name: metrics[known] for name, known in counts if known in metrics} | self._usage
        if self._is_filtered and self.has_finished:  # the guardrail has stopped an answer whose end was stated
            return [Stopped("content_filtered"), *self.end()]
        return self._finish("end_turn") + self.end()

    def _finish(self, given: str) -> list[Delta]:
        """Return the rest of the blocks and the stop reason, once."""
        if self.has_finished:
            return []
        if given not in STOP_REASONS and not self._is_filtered:
            _log.warning("unknown_stop_reason_accepted", reason=given[:100])
        reason = "content_filtered" if self._is_filtered else STOP_REASONS.get(given, "other")
        deltas = [delta for block in self._blocks.values() for delta in self._finish_block(block)]
        self._blocks.clear()
        if self._unreadable is not None and reason not in CUT_OFF_REASONS:
            raise self._unreadable
        if self._answer_tool and reason == "tool_use":
            reason = "end_turn"
        self.has_finished = True
        return [*deltas, Stopped(reason)]

    def _error(self, event: Members) -> list[Delta]:
        failure = map_stream_error(error_fields(event))
        kind = error_fields(event).get("type")
        _log.warning("error_within_stream", type=str(kind)[:100], code=failure.code)
        if any(name in self._usage for name in COUNTS):  # as it was at the beginning of the stream
            failure.usage = replace(to_usage(self._usage), exact=False)
        raise failure

    def _take_guardrail(self, event: Members) -> None:
        self._is_filtered = self._is_filtered or event.get(_GUARDRAIL_ACTION) == "INTERVENED"
        if isinstance(event.get(_GUARDRAIL_TRACE), dict):
            self._details["trace"] = checked(event[_GUARDRAIL_TRACE])

    def _take_usage(self, event: Members) -> None:
        """Keep the counts, which are cumulative; one that is not repeated stands."""
        usage = object_of(event.get("usage"))
        self._usage |= {name: value for name, value in usage.items() if value is not None}
        self.take_details({name: usage.get(name) for name in (*_USAGE_DETAILS, "server_tool_use")})

    def take_details(self, found: Members) -> None:
        """Keep facts beside the answer; those that are no short text and no number are left out."""
        self._details |= {name: shown for name, value in found.items() if (shown := to_detail(value)) is not None}

    def _index(self, event: Members) -> int:
        index = event.get("index")
        return index if type(index) is int else self._latest

    def _warn(self, what: str, kind: Any) -> None:
        name = f"{what} {kind}"[:100]
        if name not in self._unknown and len(self._unknown) < _MAX_WARNINGS:
            self._unknown.add(name)
            _log.warning("unknown_part_of_stream_ignored", part=name)


def _text(value: Any) -> list[Delta]:
    text = text_of(value)
    return [Chunk(text)] if text else []
