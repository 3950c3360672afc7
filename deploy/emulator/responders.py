"""Responders: each sends one answer on an HTTP connection, at the answer's pace, and records its progress.

StreamResponder    sends the messages of a stream as they become due, no faster than the reader takes them
JsonResponder      sends an answer in one piece, after the time that its deltas would have taken
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from deploy.emulator.call_history import CallRecord
from deploy.emulator.faults import GATEWAY_PAGE, LOGIN_PAGE, ScriptedError, TransportFault
from deploy.emulator.http_connection import Headers, HttpConnection, Reply
from deploy.emulator.stream_plan import Ending, PlannedFault, StreamPlan
from deploy.emulator.timer_wheel import TimerWheel
from deploy.emulator.wire import EmulatedWire, reject

BURST_BYTES = 64 * 1024  # written in one go before other streams get their turn

_LOGIN = Reply(200, [("Content-Type", "text/html; charset=utf-8")], LOGIN_PAGE)
_GATEWAY_ERROR = Reply(502, [("Content-Type", "text/html")], GATEWAY_PAGE)


@dataclass(frozen=True)
class Pace:
    """Schedule of deltas: delta k is due at `start + k / rate` of the loop's clock; all at `start` if the rate is 0."""

    start: float
    rate: float

    def due_at(self, index: int) -> float:
        """Return the time at which the delta of this index is due."""
        return self.start + (index / self.rate if self.rate else 0.0)


class StreamResponder:
    """Sends one stream according to its plan and pace."""

    def __init__(
        self, connection: HttpConnection, plan: StreamPlan, call: CallRecord, pace: Pace, timers: TimerWheel
    ) -> None:
        """Keep the plan, and the call whose progress is recorded."""
        self._connection = connection
        self._plan = plan
        self._call = call
        self._pace = pace
        self._timers = timers
        self._loop = asyncio.get_running_loop()
        self._next = 0
        self._is_over = False
        self._is_waiting = False
        self.chunk_bytes: int | None = None  # the size of each HTTP chunk; None: a message is a chunk

    def start(self, headers: Headers, when: float) -> None:
        """Schedule the headers for this time, and then the first delta."""

        def open_stream() -> None:
            if not self._is_over:
                self._connection.start_stream(headers)
                if self._plan.preamble:
                    self._send(self._plan.preamble)
                self._wait_until(self._pace.start)

        if when <= self._loop.time():
            open_stream()
        else:
            self._is_waiting = True
            self._timers.call_at(when, open_stream)

    def on_writable(self) -> None:
        """Continue: the reader takes bytes again."""
        if not self._is_waiting:
            self._advance()

    def on_disconnect(self) -> None:
        """Stop: the connection is lost."""
        self._is_over = True
        self._call.end("closed_by_client")

    def _wait_until(self, when: float) -> None:
        self._is_waiting = True
        self._timers.call_at(when, self._on_timer)

    def _on_timer(self) -> None:
        self._is_waiting = False
        self._advance()

    def _advance(self) -> None:
        if self._is_over or self._connection.is_paused:
            return
        plan = self._plan
        due = self._due_count()
        messages = [] if self._next else list(plan.opening)
        first, size = self._next, 0
        while self._next < due and size < BURST_BYTES:
            step = next(plan.steps)
            messages += step
            size += len(step[-1])
            self._next += 1
        is_last = self._next == plan.delta_count
        if is_last:
            messages += plan.closing()
        if messages:
            self._call.add_deltas(self._next - first)
            self._send(messages)
        if is_last:
            self._end()
        elif self._next < due:
            self._wait_until(self._loop.time())
        else:
            self._wait_until(self._pace.due_at(self._next))

    def _send(self, messages: list[bytes]) -> None:
        if self.chunk_bytes:
            data = b"".join(messages)
            messages = [data[at : at + self.chunk_bytes] for at in range(0, len(data), self.chunk_bytes)]
        self._connection.send(messages)

    def _due_count(self) -> int:
        if not self._pace.rate:
            return self._plan.delta_count
        elapsed = self._loop.time() - self._pace.start
        return min(int(elapsed * self._pace.rate + 1e-6) + 1, self._plan.delta_count)

    def _end(self) -> None:
        self._is_over = True
        ending = self._plan.ending
        if ending is Ending.HELD_OPEN:  # the call runs until its reader gives up
            return
        self._call.end("finished" if ending is Ending.FINISHED else "fault")
        match ending:
            case Ending.RESET:
                self._connection.reset()
            case Ending.OVERWRITTEN:
                self._connection.overwrite(_GATEWAY_ERROR)
            case _:
                self._connection.finish()


class JsonResponder:
    """Sends one answer as a JSON body; its `delta_count` deltas count as sent at that moment."""

    def __init__(
        self,
        connection: HttpConnection,
        wire: EmulatedWire,
        call: CallRecord,
        body: Callable[[], bytes],
        *,
        delta_count: int,
        fault: PlannedFault | None,
    ) -> None:
        """Keep the parts of the answer; `body` is called when the answer is due."""
        self._connection = connection
        self._wire = wire
        self._headers = wire.headers(call, is_streamed=False)
        self._call = call
        self._body = body
        self._delta_count = delta_count
        self._fault = fault
        self._is_over = False

    def respond(self) -> None:
        """Send the answer, or apply the fault instead."""
        if self._is_over:
            return
        if self._fault:
            self._fail(self._fault.fault)
            return
        self._is_over = True
        self._call.add_deltas(self._delta_count)
        self._call.end("finished")
        self._send(self._body())

    def on_writable(self) -> None:
        """Do nothing: the body is written in one piece."""

    def on_disconnect(self) -> None:
        """Stop: the connection is lost."""
        self._is_over = True
        self._call.end("closed_by_client")

    def _fail(self, fault: TransportFault | ScriptedError) -> None:
        if fault in ("stall", "stall_headers"):
            return
        self._is_over = True
        self._call.end("fault")
        match fault:
            case ScriptedError():
                ids = [header for header in self._headers if header[0] != "Content-Type"]
                reject(self._connection, self._wire, fault.to_service_error(), ids)
            case "disconnect":
                self._connection.reset()
            case "html":
                self._connection.reply(_LOGIN)
            case "proxy_error":
                self._connection.reply(_GATEWAY_ERROR)
            case _:  # there is no stream to damage, so the JSON is cut in its middle
                body = self._body()
                self._send(body[: len(body) // 2])

    def _send(self, body: bytes) -> None:
        self._connection.reply(Reply(200, self._headers, body))
