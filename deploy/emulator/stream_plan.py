"""Plan of a stream: the messages of each delta, the messages after the last one, and the ending. Pure.

A wire's format turns an answer into messages; the plan arranges them around the deltas and applies a scripted fault.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum

from deploy.emulator.answer import EmulatedAnswer
from deploy.emulator.faults import LOGIN_PAGE, ScriptedError, TransportFault
from deploy.emulator.wire import Timing, WireFormat


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
    OVERWRITTEN = "another response written into the chunks, then closed"


@dataclass(frozen=True)
class StreamPlan:
    """Messages of a stream: `opening`, then `delta_count` steps, each ending with one delta, then `closing`.

    The `preamble` follows the headers at once, before the time of the first delta.
    """

    preamble: list[bytes]
    opening: list[bytes]
    steps: Iterator[list[bytes]]
    delta_count: int
    closing: Callable[[], list[bytes]]
    ending: Ending


def plan_stream(
    wire_format: WireFormat,
    answer: EmulatedAnswer,
    fault: PlannedFault | None,
    clock: Callable[[], Timing],
    comments: int = 0,
) -> StreamPlan:
    """Return the plan of an answer's stream; each message is encoded only when it is due.

    `comments` are sent after the headers, and before each delta.
    """
    opening = wire_format.opening() if answer.events is None else []
    preamble = [wire_format.comment()] * comments
    steps = (preamble + step for step in _steps(wire_format, answer))

    def closing() -> list[bytes]:
        if answer.events is not None:
            return []
        return _ending(wire_format, answer, timing := clock()) + wire_format.end_mark(timing)

    if fault is None:
        return StreamPlan(preamble, opening, steps, answer.delta_count, closing, Ending.FINISHED)

    def faulty_closing() -> list[bytes]:
        match fault.fault:
            case "corrupt":
                messages = next(steps, None) or closing()[:1]
                return [*messages[:-1], wire_format.corrupt(messages[-1])] if messages else []
            case "no_end":
                return _ending(wire_format, answer, clock())
            case _:
                return _last_words(wire_format, fault.fault)

    ending = Ending.INCOMPLETE
    if not isinstance(fault.fault, ScriptedError):
        ending = _FAULT_ENDINGS.get(fault.fault, ending)
    return StreamPlan(preamble, opening, steps, fault.after_deltas, faulty_closing, ending)


def _last_words(wire_format: WireFormat, fault: TransportFault | ScriptedError) -> list[bytes]:
    """Return the message that a fault writes in place of the rest of a stream, if it writes any."""
    match fault:
        case "malformed_json":
            return [wire_format.malformed()]
        case "html":
            return [LOGIN_PAGE]
        case ScriptedError():
            return [wire_format.error(fault)]
        case _:
            return []


def _ending(wire_format: WireFormat, answer: EmulatedAnswer, timing: Timing) -> list[bytes]:
    """Return the messages after the last delta, without the end mark."""
    if answer.events is not None:
        return []
    last = len(answer.blocks) - 1
    stop = wire_format.block_stop(last, answer.blocks[last]) if answer.blocks else []
    return stop + wire_format.closing(timing)


def _steps(wire_format: WireFormat, answer: EmulatedAnswer) -> Iterator[list[bytes]]:
    if answer.events is not None:
        yield from ([wire_format.raw_event(name, payload)] for name, payload in answer.events)
        return
    before: list[bytes] = []
    for index, block in enumerate(answer.blocks):
        before += wire_format.block_start(index, block)
        for text in block.deltas:
            yield [*before, wire_format.delta(index, block, text)]
            before.clear()
        for source in block.citations:
            yield [*before, wire_format.citation(index, block, source)]
            before.clear()
        if block.signature:
            yield [*before, wire_format.signature(index, block)]
            before.clear()
        if index < len(answer.blocks) - 1:
            before += wire_format.block_stop(index, block)


_FAULT_ENDINGS: dict[TransportFault, Ending] = {
    "stall": Ending.HELD_OPEN,
    "disconnect": Ending.RESET,
    "proxy_error": Ending.OVERWRITTEN,
}
