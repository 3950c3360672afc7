"""The endpoint's routes: Bedrock's four operations, and `/_calls` with the history of calls."""

import asyncio
import json
import re
import time
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

import msgspec

from deploy.emulator.bedrock_answer import BedrockAnswer, make_answer
from deploy.emulator.bedrock_request import BedrockRequest, Family, parse_request
from deploy.emulator.call_history import CallHistory, CallRecord, Operation
from deploy.emulator.converse_format import ConverseFormat
from deploy.emulator.directive import Directive, is_directive, parse_directive
from deploy.emulator.errors import (
    ScriptedError,
    ServiceError,
    find_scripted_error,
    missing_authentication,
    unknown_operation,
    validation_error,
)
from deploy.emulator.event_stream import json_bytes
from deploy.emulator.http_connection import HttpConnection, HttpRequest
from deploy.emulator.invoke_format import InvokeFormat
from deploy.emulator.responders import JsonResponder, Pace, StreamResponder
from deploy.emulator.stream_plan import PlannedFault, Timing, WireFormat, plan_stream
from deploy.emulator.timer_wheel import TimerWheel
from deploy.emulator.tool_input import find_tool_directive

DEFAULT_RATE = 40.0  # deltas a second without a directive: visibly a stream, and over within seconds

_JSON = "application/json"
_PATH = re.compile(r"/model/(?P<model>.+)/(?P<verb>converse-stream|converse|invoke-with-response-stream|invoke)")
_MODEL = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.:/-]{0,2047}")
_WIRE_FORMATS: dict[Family, WireFormat] = {"converse": ConverseFormat(), "invoke": InvokeFormat()}
_OPERATIONS: dict[str, tuple[Operation, Family, bool]] = {  # the flag: whether the operation streams
    "converse-stream": ("ConverseStream", "converse", True),
    "converse": ("Converse", "converse", False),
    "invoke-with-response-stream": ("InvokeModelWithResponseStream", "invoke", True),
    "invoke": ("InvokeModel", "invoke", False),
}


@dataclass(frozen=True)
class AcceptedCall:
    """A valid call with everything that is needed to answer it."""

    request: BedrockRequest
    answer: BedrockAnswer
    record: CallRecord
    wire_format: WireFormat
    fault: PlannedFault | None
    pace: Pace

    def timing(self) -> Timing:
        """Return the time that the call has taken until now."""
        now = time.time()
        first = self.record.sent_at[0] if self.record.sent_at else now
        return Timing(round((first - self.record.started) * 1000), round((now - self.record.started) * 1000))


class BedrockEndpoint:
    """Handles HTTP requests; runs on one event loop."""

    def __init__(self) -> None:
        """Start with an empty history."""
        self._loop = asyncio.get_running_loop()
        self._timers = TimerWheel(self._loop)
        self._history = CallHistory()

    def handle(self, connection: HttpConnection, http: HttpRequest) -> None:
        """Answer a request on its connection, at once or over time."""
        path = urlsplit(http.target).path
        try:
            if path == "/_calls":
                self._handle_history(connection, http)
                return
            match = _PATH.fullmatch(path)
            if not match or http.method != "POST":
                raise unknown_operation(http.method, path)
            if "authorization" not in http.headers:
                raise missing_authentication()
            model = unquote(match["model"])
            if not _MODEL.fullmatch(model):
                raise validation_error("The provided model identifier is invalid.")
            self._handle_operation(connection, match["verb"], model, http.body)
        except ServiceError as error:
            connection.reject(error)

    def _handle_history(self, connection: HttpConnection, http: HttpRequest) -> None:
        match http.method:
            case "GET":
                body = json.dumps(self._history.to_json()).encode("ascii")
                connection.reply(200, [("Content-Type", _JSON)], body)
            case "DELETE":
                self._history.clear()
                connection.reply(204, [], b"")
            case _:
                raise unknown_operation(http.method, "/_calls")

    def _handle_operation(self, connection: HttpConnection, verb: str, model: str, body: bytes) -> None:
        operation, family, is_streamed = _OPERATIONS[verb]
        request = parse_request(family, model, body)
        directive = _find_directive(request)
        answer = make_answer(request, directive)
        if directive:
            pace = Pace(self._loop.time() + directive.first_delay, directive.rate)
        else:  # an answer in one piece comes at once: a reader would see nothing of its deltas
            pace = Pace(self._loop.time(), DEFAULT_RATE if is_streamed else 0.0)
        record = self._history.start(operation, request)
        fault = self._plan_fault(request, directive, answer)
        call = AcceptedCall(request, answer, record, _WIRE_FORMATS[family], fault, pace)
        if is_streamed and not _replaces_stream(fault):
            self._respond_with_stream(connection, call)
        else:
            self._respond_with_json(connection, call)

    def _plan_fault(
        self, request: BedrockRequest, directive: Directive | None, answer: BedrockAnswer
    ) -> PlannedFault | None:
        if directive is None or directive.fault is None:
            return None
        text = f"{request.forced_tool.name} {directive}" if request.forced_tool else request.question
        if not self._history.count_fault(text, directive):
            return None
        return PlannedFault(find_scripted_error(directive.fault), min(directive.at, answer.delta_count))

    def _respond_with_stream(self, connection: HttpConnection, call: AcceptedCall) -> None:
        content_type = ("Content-Type", "application/vnd.amazon.eventstream")
        request_id = ("x-amzn-RequestId", call.record.id)
        connection.start_stream([content_type, request_id, ("x-amzn-bedrock-content-type", _JSON)])
        plan = plan_stream(call.wire_format, call.request, call.answer, call.fault, call.timing)
        responder = StreamResponder(connection, plan, call.record, call.pace, self._timers)
        connection.responder = responder
        responder.start()

    def _respond_with_json(self, connection: HttpConnection, call: AcceptedCall) -> None:
        def body() -> bytes:
            if call.answer.response is not msgspec.UNSET:
                return json_bytes(call.answer.response)
            return json_bytes(call.wire_format.json_response(call.request, call.answer, call.timing()))

        delta_count = call.fault.after_deltas if call.fault else call.answer.delta_count
        responder = JsonResponder(connection, call.record, body, call.answer.delta_count, call.fault)
        connection.responder = responder
        self._timers.call_at(call.pace.due_at(max(0, delta_count - 1)), responder.respond)


def _find_directive(request: BedrockRequest) -> Directive | None:
    """Return the directive that scripts the answer; a forced tool has its own, within `forced`."""
    if request.forced_tool:
        return find_tool_directive(request.forced_tool, request.messages)
    return parse_directive(request.question) if is_directive(request.question) else None


def _replaces_stream(fault: PlannedFault | None) -> bool:
    """Return whether the fault is an HTTP error in place of the whole stream."""
    if fault is None or fault.after_deltas or not isinstance(fault.fault, ScriptedError):
        return False
    return not fault.fault.in_stream
