"""Answer the operations that do not stream, in the time that the deltas would have taken."""

from collections.abc import Callable
from typing import Protocol

from deploy.emulator.calls import Call
from deploy.emulator.directive import Fault
from deploy.emulator.errors import ServiceError
from deploy.emulator.faults import REFUSALS
from deploy.emulator.performance import Strike


class Desk(Protocol):
    """The connection on which a whole answer is given."""

    def reply(self, body: bytes) -> None:
        """Give a JSON answer."""
        ...

    def refuse(self, error: ServiceError) -> None:
        """Give an error."""
        ...

    def reset(self) -> None:
        """Cut the connection once the peer has what was written."""
        ...


class Whole:
    """One answer in one piece; `length` deltas count as sent when it is given."""

    def __init__(self, desk: Desk, call: Call, body: Callable[[], bytes], length: int, strike: Strike | None) -> None:
        """Take the answer; its body is made when it is due."""
        self._desk = desk
        self._call = call
        self._body = body
        self._length = length
        self._strike = strike
        self._is_over = False

    def answer(self) -> None:
        """Give the answer, or let the fault strike in its place."""
        if self._is_over:
            return
        if self._strike:
            self._spoil(self._strike.fault)
            return
        self._is_over = True
        self._call.sent(self._length)
        self._call.end("finished")
        self._desk.reply(self._body())

    def resumed(self) -> None:
        """Nothing waits for the reader here."""

    def gone(self) -> None:
        """Stop: the connection has been lost."""
        self._is_over = True
        self._call.end("closed_by_client")

    def _spoil(self, fault: Fault) -> None:
        if fault == "stall":
            return
        self._is_over = True
        self._call.end("fault")
        if fault in REFUSALS:
            self._desk.refuse(REFUSALS[fault].as_error())
        elif fault == "disconnect":
            self._desk.reset()
        else:  # no_stop, corrupt: there is no stream to spoil, so the JSON breaks off in its middle
            body = self._body()
            self._desk.reply(body[: len(body) // 2])
