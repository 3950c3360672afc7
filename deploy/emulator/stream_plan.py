"""Plan of an event stream: the messages of each delta, the messages after the last one, and the ending. Pure.

A wire format turns an answer into messages; the plan arranges them around the deltas and applies a scripted fault.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

from deploy.emulator.bedrock_answer import BedrockAnswer, ContentBlock
from deploy.emulator.bedrock_request import BedrockRequest
from deploy.emulator.errors import ScriptedError, TransportFault
from deploy.emulator.event_stream import corrupt, encode_error, encode_exception, encode_raw_event


@dataclass(frozen=True)
class Timing:
    """Milliseconds from the request to the first delta, and to the end."""

    first_ms: int
    total_ms: int


class WireFormat(Protocol):
    """Encoding of an answer for one family of operations, as event-stream messages or as one JSON object."""

    def opening(self, request: BedrockRequest, answer: BedrockAnswer) -> list[bytes]:
        """Return the messages before the first block."""
        ...

    def block_start(self, index: int, block: ContentBlock) -> list[bytes]:
        """Return the messages before a block's deltas; some formats have none."""
        ...

    def delta(self, index: int, block: ContentBlock, text: str) -> bytes:
        """Return one delta."""
        ...

    def signature(self, index: int, signature: str) -> bytes:
        """Return the delta that signs a reasoning block."""
        ...

    def block_stop(self, index: int) -> bytes:
        """Return the message after a block's deltas."""
        ...

    def closing(self, answer: BedrockAnswer, timing: Timing) -> list[bytes]:
        """Return the messages after the last block."""
        ...

    def json_response(self, request: BedrockRequest, answer: BedrockAnswer, timing: Timing) -> dict[str, Any]:
        """Return the response of the operation that does not stream."""
        ...


@dataclass(frozen=True)
class PlannedFault:
    """A fault of this call, after `after_deltas` deltas; never more than the answer has."""

    fault: TransportFault | ScriptedError
    after_deltas: int


class Ending(Enum):
    """State of the HTTP response after the last message."""

    FINISHED = "closed in order, the answer is complete"
    INCOMPLETE = "closed in order, the answer is not complete"
    HELD_OPEN = "held open in silence"
    RESET = "socket reset"


@dataclass(frozen=True)
class StreamPlan:
    """Messages of a stream: `opening`, then `delta_count` steps, each ending with one delta, then `closing`."""

    opening: list[bytes]
    steps: Iterator[list[bytes]]
    delta_count: int
    closing: Callable[[], list[bytes]]
    ending: Ending


def plan_stream(
    wire_format: WireFormat,
    request: BedrockRequest,
    answer: BedrockAnswer,
    fault: PlannedFault | None,
    clock: Callable[[], Timing],
) -> StreamPlan:
    """Return the plan of an answer's stream; each message is encoded only when it is due."""
    opening = wire_format.opening(request, answer) if answer.events is None else []
    steps = _steps(wire_format, answer) if answer.events is None else _event_steps(answer.events)

    def closing() -> list[bytes]:
        if answer.events is not None:
            return []
        last = [wire_format.block_stop(len(answer.blocks) - 1)] if answer.blocks else []
        return last + wire_format.closing(answer, clock())

    if fault is None:
        return StreamPlan(opening, steps, answer.delta_count, closing, Ending.FINISHED)

    def faulty_closing() -> list[bytes]:
        if fault.fault == "corrupt":
            messages = next(steps, None) or closing()[:1]
            return [*messages[:-1], corrupt(messages[-1])]
        if isinstance(fault.fault, ScriptedError):
            return [_encode_scripted(fault.fault)]
        return []

    ending = Ending.INCOMPLETE
    if not isinstance(fault.fault, ScriptedError):
        ending = _FAULT_ENDINGS.get(fault.fault, ending)
    return StreamPlan(opening, steps, fault.after_deltas, faulty_closing, ending)


def _encode_scripted(error: ScriptedError) -> bytes:
    if error.kind == "error":
        return encode_error(error.code, error.message)
    return encode_exception(error.stream_name, error.to_stream_payload())


def _event_steps(events: Iterable[tuple[str, Any]]) -> Iterator[list[bytes]]:
    return ([encode_raw_event(name, payload)] for name, payload in events)


def _steps(wire_format: WireFormat, answer: BedrockAnswer) -> Iterator[list[bytes]]:
    before: list[bytes] = []
    for index, block in enumerate(answer.blocks):
        before += wire_format.block_start(index, block)
        for text in block.deltas:
            yield [*before, wire_format.delta(index, block, text)]
            before.clear()
        if block.signature:
            yield [*before, wire_format.signature(index, block.signature)]
            before.clear()
        before.append(wire_format.block_stop(index))


_FAULT_ENDINGS: dict[TransportFault, Ending] = {"stall": Ending.HELD_OPEN, "disconnect": Ending.RESET}
