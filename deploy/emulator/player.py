"""Send a stream's messages at their times, as fast as the reader takes them."""

import asyncio
from dataclasses import dataclass
from typing import Protocol

from deploy.emulator.calls import Call
from deploy.emulator.performance import Ending, Performance
from deploy.emulator.wheel import Wheel

BURST = 64 * 1024  # bytes written in one go before other streams have their turn


class Sink(Protocol):
    """The response that a player fills."""

    is_paused: bool

    def send(self, messages: list[bytes]) -> None:
        """Write each message as an HTTP chunk of its own."""
        ...

    def finish(self) -> None:
        """End the response in good order."""
        ...

    def reset(self) -> None:
        """Cut the connection once the peer has what was written."""
        ...


@dataclass(frozen=True)
class Pace:
    """When deltas are due: number k at `start + k / rate`, a time of the loop's clock; at once where the rate is 0."""

    start: float
    rate: float


class Player:
    """Plays one performance at its pace."""

    def __init__(self, sink: Sink, performance: Performance, call: Call, pace: Pace, wheel: Wheel) -> None:
        """Take what to play, and the call that it is for."""
        self._sink = sink
        self._performance = performance
        self._call = call
        self._start = pace.start
        self._rate = pace.rate
        self._wheel = wheel
        self._loop = asyncio.get_running_loop()
        self._next = 0
        self._is_over = False
        self._is_waiting = False

    def begin(self) -> None:
        """Wait for the first delta's time."""
        self._wait_until(self._start)

    def resumed(self) -> None:
        """Go on: the reader takes bytes again."""
        if not self._is_waiting:
            self._advance()

    def gone(self) -> None:
        """Stop: the connection has been lost."""
        self._is_over = True
        self._call.end("closed_by_client")

    def _wait_until(self, when: float) -> None:
        self._is_waiting = True
        self._wheel.at(when, self._time_has_come)

    def _time_has_come(self) -> None:
        self._is_waiting = False
        self._advance()

    def _advance(self) -> None:
        if self._is_over or self._sink.is_paused:
            return
        performance = self._performance
        due = self._due()
        messages = [] if self._next else list(performance.opening)
        first, size = self._next, 0
        while self._next < due and size < BURST:
            beat = next(performance.beats)
            messages += beat
            size += len(beat[-1])
            self._next += 1
        is_last = self._next == performance.length
        if is_last:
            messages += performance.closing()
        if messages:
            self._call.sent(self._next - first)
            self._sink.send(messages)
        if is_last:
            self._end()
        elif self._next < due:
            self._wait_until(self._loop.time())
        else:
            self._wait_until(self._start + self._next / self._rate)

    def _due(self) -> int:
        if not self._rate:
            return self._performance.length
        elapsed = self._loop.time() - self._start
        return min(int(elapsed * self._rate + 1e-6) + 1, self._performance.length)

    def _end(self) -> None:
        self._is_over = True
        ending = self._performance.ending
        if ending is Ending.SILENT:  # the call itself goes on until its reader has had enough
            return
        self._call.end("finished" if ending is Ending.WHOLE else "fault")
        if ending is Ending.CUT:
            self._sink.reset()
        else:
            self._sink.finish()
