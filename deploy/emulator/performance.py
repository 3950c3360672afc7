"""Lay out a stream before it runs: which messages go with each delta, what follows the last, how it ends. Pure."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum

from deploy.emulator.answer import Answer
from deploy.emulator.directive import Fault
from deploy.emulator.faults import REFUSALS
from deploy.emulator.frames import corrupted, exception
from deploy.emulator.request import Request
from deploy.emulator.shape import Shape, Timing

Clock = Callable[[], Timing]


@dataclass(frozen=True)
class Strike:
    """A fault that strikes in this call, after `at` deltas, of which the answer has as many at least."""

    fault: Fault
    at: int


class Ending(Enum):
    """What becomes of the HTTP response after the last message."""

    WHOLE = "finished"
    SPOILT = "ended in good order, though the answer is not"
    SILENT = "held open"
    CUT = "socket reset"


@dataclass(frozen=True)
class Performance:
    """A stream's messages: `opening`, then `length` beats, each with one delta as its last message, then `closing`."""

    opening: list[bytes]
    beats: Iterator[list[bytes]]
    length: int
    closing: Callable[[], list[bytes]]
    ending: Ending


def perform(shape: Shape, request: Request, answer: Answer, strike: Strike | None, clock: Clock) -> Performance:
    """Lay out the stream of an answer; messages are encoded when they are due."""
    opening = shape.opening(request, answer)
    beats = _beats(shape, answer)

    def closing() -> list[bytes]:
        last = [shape.block_stop(len(answer.blocks) - 1)] if answer.blocks else []
        return last + shape.closing(answer, clock())

    if strike is None:
        return Performance(opening, beats, answer.length, closing, Ending.WHOLE)

    def spoilt() -> list[bytes]:
        if strike.fault == "corrupt":
            after = next(beats, None) or closing()[:1]
            return [*after[:-1], corrupted(after[-1])]
        if strike.fault in REFUSALS:
            refusal = REFUSALS[strike.fault]
            return [exception(refusal.event, refusal.as_payload())]
        return []

    ending = _ENDINGS.get(strike.fault, Ending.SPOILT)
    return Performance(opening, beats, strike.at, spoilt, ending)


def _beats(shape: Shape, answer: Answer) -> Iterator[list[bytes]]:
    before: list[bytes] = []
    for index, block in enumerate(answer.blocks):
        before += shape.block_start(index, block)
        for text in block.deltas:
            yield [*before, shape.delta(index, block, text)]
            before.clear()
        if block.signature:
            yield [*before, shape.signature(index, block.signature)]
            before.clear()
        before.append(shape.block_stop(index))


_ENDINGS: dict[Fault, Ending] = {"stall": Ending.SILENT, "disconnect": Ending.CUT}
