"""The endpoint's routes: those of the wires, and `/_calls` with the history of calls of all wires."""

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import msgspec

from deploy.emulator.answer import EmulatedAnswer, make_answer
from deploy.emulator.call_history import CallHistory, CallRecord
from deploy.emulator.directive import Directive, find_unsupported, invalid_directive, is_directive, parse_directive
from deploy.emulator.faults import ScriptedError, ServiceError, TransportFault
from deploy.emulator.http_connection import HttpConnection, HttpRequest, Reply
from deploy.emulator.request import EmulatedRequest
from deploy.emulator.responders import JsonResponder, Pace, StreamResponder
from deploy.emulator.stream_plan import PlannedFault, plan_stream
from deploy.emulator.timer_wheel import TimerWheel
from deploy.emulator.tool_input import find_tool_directive
from deploy.emulator.wire import EmulatedWire, Timing, json_bytes, reject

DEFAULT_RATE = 40.0  # deltas a second without a directive: visibly a stream, and over within seconds


@dataclass(frozen=True)
class AcceptedCall:
    """A valid call with everything that is needed to answer it."""

    wire: EmulatedWire
    request: EmulatedRequest
    directive: Directive
    answer: EmulatedAnswer
    record: CallRecord
    fault: PlannedFault | None
    pace: Pace
    header_time: float

    def timing(self) -> Timing:
        """Return the time that the call has taken until now."""
        now = time.time()
        first = self.record.sent_at[0] if self.record.sent_at else now
        return Timing(round((first - self.record.started) * 1000), round((now - self.record.started) * 1000))


class EmulatorEndpoint:
    """Handles HTTP requests; runs on one event loop."""

    def __init__(self, wires: Sequence[EmulatedWire]) -> None:
        """Start with an empty history. The first wire that serves a path gets its request; the last serves all."""
        self._wires = wires
        self._loop = asyncio.get_running_loop()
        self._timers = TimerWheel(self._loop)
        self._history = CallHistory()

    def handle(self, connection: HttpConnection, http: HttpRequest) -> None:
        """Answer a request on its connection, at once or over time."""
        path = urlsplit(http.target).path
        wire = self._wire_of(path)
        try:
            if path == "/_calls" and http.method in ("GET", "DELETE"):
                self._handle_history(connection, http)
                return
            request = wire.parse(http, path)
            if isinstance(request, Reply):
                connection.reply(request)
            else:
                self._handle_request(connection, wire, request)
        except ServiceError as error:
            reject(connection, wire, error)

    def reject(self, connection: HttpConnection, target: str, error: ServiceError) -> None:
        """Answer a request that could not be read."""
        reject(connection, self._wire_of(urlsplit(target).path), error)

    def _wire_of(self, path: str) -> EmulatedWire:
        return next(wire for wire in self._wires if wire.serves(path))

    def _handle_history(self, connection: HttpConnection, http: HttpRequest) -> None:
        if http.method == "GET":
            body = json.dumps(self._history.to_json()).encode("ascii")
            connection.reply(Reply(200, [("Content-Type", "application/json")], body))
        else:
            self._history.clear()
            connection.reply(Reply(204, [], b""))

    def _handle_request(self, connection: HttpConnection, wire: EmulatedWire, request: EmulatedRequest) -> None:
        directive = _find_directive(request)
        if directive and not request.forced_tool:
            directive = self._history.count_script(request.question, directive)
        if directive and (key := find_unsupported(directive, wire.unsupported)):
            raise invalid_directive(f"this wire does not have `{key}`")
        answer = make_answer(request, directive)
        script = directive or Directive()
        header_time = self._loop.time() + script.header_delay
        if directive:
            pace = Pace(header_time + directive.first_delay, directive.rate)
        else:  # an answer in one piece comes at once: a reader would see nothing of its deltas
            pace = Pace(header_time, DEFAULT_RATE if request.is_streamed else 0.0)
        record = self._history.start(request)
        fault = self._plan_fault(wire, request, script, answer)
        call = AcceptedCall(wire, request, script, answer, record, fault, pace, header_time)
        if request.is_streamed and not _replaces_stream(fault):
            self._respond_with_stream(connection, call)
        else:
            self._respond_with_json(connection, call)

    def _plan_fault(
        self, wire: EmulatedWire, request: EmulatedRequest, directive: Directive, answer: EmulatedAnswer
    ) -> PlannedFault | None:
        if directive.fault is None or (directive.fault == "no_streaming" and not request.is_streamed):
            return None
        text = f"{request.forced_tool.name} {directive}" if request.forced_tool else request.question
        if not self._history.count_fault(text, directive):
            return None
        fault = _find_fault(wire, directive)
        at = answer.delta_count if fault == "no_end" else min(directive.at, answer.delta_count)
        return PlannedFault(fault, at)

    def _respond_with_stream(self, connection: HttpConnection, call: AcceptedCall) -> None:
        wire_format = call.wire.format(call.request, call.answer, call.record)
        plan = plan_stream(wire_format, call.answer, call.fault, call.timing, call.directive.comments)
        responder = StreamResponder(connection, plan, call.record, call.pace, self._timers)
        responder.chunk_bytes = call.directive.chunk_bytes
        connection.responder = responder
        responder.start(call.wire.headers(call.record, is_streamed=True), call.header_time)

    def _respond_with_json(self, connection: HttpConnection, call: AcceptedCall) -> None:
        def body() -> bytes:
            if call.answer.response is not msgspec.UNSET:
                return json_bytes(call.answer.response)
            return json_bytes(call.wire.format(call.request, call.answer, call.record).whole(call.timing()))

        delta_count = call.fault.after_deltas if call.fault else call.answer.delta_count
        responder = JsonResponder(
            *(connection, call.wire, call.record, body), delta_count=call.answer.delta_count, fault=call.fault
        )
        connection.responder = responder
        self._timers.call_at(call.pace.due_at(max(0, delta_count - 1)), responder.respond)


def _find_directive(request: EmulatedRequest) -> Directive | None:
    """Return the directive that scripts the answer; a forced tool has its own, within `forced`."""
    if request.forced_tool:
        return find_tool_directive(request.forced_tool, request.turns)
    return parse_directive(request.question) if is_directive(request.question) else None


def _find_fault(wire: EmulatedWire, directive: Directive) -> TransportFault | ScriptedError:
    """Return the directive's fault; one with a name of its own is worded by the wire."""
    match directive.fault:
        case (
            "stall"
            | "stall_headers"
            | "disconnect"
            | "no_stop"
            | "no_end"
            | "corrupt"
            | "malformed_json"
            | "html"
            | "proxy_error"
        ):
            return directive.fault
        case ScriptedError():
            error = directive.fault
        case None:
            raise AssertionError("the directive has no fault")
        case _:
            error = wire.find_error(directive.fault)
    if directive.retry_after is None:
        return error
    after = directive.retry_after if isinstance(directive.retry_after, str) else f"{directive.retry_after:g}"
    return msgspec.structs.replace(error, headers=error.headers | {"Retry-After": after})


def _replaces_stream(fault: PlannedFault | None) -> bool:
    """Return whether the fault replaces the whole stream by another response, or by none."""
    if fault is None:
        return False
    match fault.fault:
        case "stall_headers":
            return True
        case "html" | "proxy_error":
            return not fault.after_deltas
        case ScriptedError():
            return not fault.after_deltas and not fault.fault.in_stream
        case _:
            return False
