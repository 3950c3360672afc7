"""What is served: Bedrock's four operations, and the register of the calls."""

import asyncio
import json
import re
import time
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from deploy.emulator.answer import PLAIN_RATE, Answer, answer_to
from deploy.emulator.calls import Call, Calls, Operation
from deploy.emulator.connection import Connection, HttpRequest
from deploy.emulator.converse import ConverseShape
from deploy.emulator.directive import Directive, is_directive, parse_directive
from deploy.emulator.errors import ServiceError, invalid, unauthenticated, unknown_operation
from deploy.emulator.faults import REFUSALS
from deploy.emulator.forced import script_for
from deploy.emulator.frames import json_bytes
from deploy.emulator.invoke import InvokeShape
from deploy.emulator.performance import Strike, perform
from deploy.emulator.player import Pace, Player
from deploy.emulator.request import Family, Request, parse_request
from deploy.emulator.shape import Shape, Timing
from deploy.emulator.wheel import Wheel
from deploy.emulator.whole import Whole

_JSON = ("Content-Type", "application/json")
_PATH = re.compile(r"/model/(?P<model>.+)/(?P<verb>converse-stream|converse|invoke-with-response-stream|invoke)")
_MODEL = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.:/-]{0,2047}")
_SHAPES: dict[Family, Shape] = {"converse": ConverseShape(), "invoke": InvokeShape()}
_VERBS: dict[str, tuple[Operation, Family, bool]] = {
    "converse-stream": ("ConverseStream", "converse", True),
    "converse": ("Converse", "converse", False),
    "invoke-with-response-stream": ("InvokeModelWithResponseStream", "invoke", True),
    "invoke": ("InvokeModel", "invoke", False),
}


@dataclass(frozen=True)
class Task:
    """A call that has been understood: what to answer, in which shape, and when."""

    request: Request
    answer: Answer
    call: Call
    shape: Shape
    strike: Strike | None
    pace: Pace

    def timing(self) -> Timing:
        """Return how long it has taken until now."""
        now = time.time()
        first = self.call.sent_at[0] if self.call.sent_at else now
        return Timing(round((first - self.call.started) * 1000), round((now - self.call.started) * 1000))


class Service:
    """Answers requests; runs on one event loop."""

    def __init__(self) -> None:
        """Begin with no calls."""
        self._loop = asyncio.get_running_loop()
        self._wheel = Wheel(self._loop)
        self._calls = Calls()

    def serve(self, connection: Connection, http: HttpRequest) -> None:
        """Answer a request, now or later, on its connection."""
        path = urlsplit(http.target).path
        try:
            if path == "/_calls":
                self._serve_calls(connection, http)
                return
            match = _PATH.fullmatch(path)
            if not match or http.method != "POST":
                raise unknown_operation(http.method, path)
            if "authorization" not in http.headers:
                raise unauthenticated()
            model = unquote(match["model"])
            if not _MODEL.fullmatch(model):
                raise invalid("The provided model identifier is invalid.")
            self._serve_operation(connection, match["verb"], model, http.body)
        except ServiceError as error:
            connection.refuse(error)

    def _serve_calls(self, connection: Connection, http: HttpRequest) -> None:
        match http.method:
            case "GET":
                connection.reply(200, [_JSON], json.dumps(self._calls.listed()).encode("ascii"))
            case "DELETE":
                self._calls.forget()
                connection.reply(204, [], b"")
            case _:
                raise unknown_operation(http.method, "/_calls")

    def _serve_operation(self, connection: Connection, verb: str, model: str, body: bytes) -> None:
        operation, family, is_streamed = _VERBS[verb]
        request = parse_request(family, model, body)
        directive = _directive(request)
        answer = answer_to(request, directive)
        plain = Pace(self._loop.time(), PLAIN_RATE if is_streamed else 0.0)  # nobody watches a whole answer grow
        task = Task(
            request,
            answer,
            self._calls.begin(operation, request),
            _SHAPES[family],
            self._strike(request, directive, answer),
            Pace(self._loop.time() + directive.first_delay, directive.rate) if directive else plain,
        )
        if is_streamed and not _is_refused(task.strike):
            self._stream(connection, task)
        else:
            self._answer_whole(connection, task)

    def _strike(self, request: Request, directive: Directive | None, answer: Answer) -> Strike | None:
        if directive is None or directive.fault is None:
            return None
        text = f"{request.forced.name} {directive}" if request.forced else request.question
        if not self._calls.strikes(text, directive):
            return None
        return Strike(directive.fault, min(directive.at, answer.length))

    def _stream(self, connection: Connection, task: Task) -> None:
        kind = ("Content-Type", "application/vnd.amazon.eventstream")
        connection.stream([kind, ("x-amzn-RequestId", task.call.id), ("x-amzn-bedrock-content-type", _JSON[1])])
        performance = perform(task.shape, task.request, task.answer, task.strike, task.timing)
        player = Player(connection, performance, task.call, task.pace, self._wheel)
        connection.occupant = player
        player.begin()

    def _answer_whole(self, connection: Connection, task: Task) -> None:
        def body() -> bytes:
            return json_bytes(task.shape.whole(task.request, task.answer, task.timing()))

        length = task.strike.at if task.strike else task.answer.length
        due = task.pace.start + (max(0, length - 1) / task.pace.rate if task.pace.rate else 0.0)
        desk = _Desk(connection, [_JSON, ("x-amzn-RequestId", task.call.id)])
        whole = Whole(desk, task.call, body, task.answer.length, task.strike)
        connection.occupant = whole
        self._wheel.at(due, whole.answer)


@dataclass(frozen=True)
class _Desk:
    connection: Connection
    headers: list[tuple[str, str]]

    def reply(self, body: bytes) -> None:
        self.connection.reply(200, self.headers, body)

    def refuse(self, error: ServiceError) -> None:
        self.connection.refuse(error, self.headers[1:])

    def reset(self) -> None:
        self.connection.reset()


def _directive(request: Request) -> Directive | None:
    """Return what scripts the answer; what scripts an answer in words leaves a forced tool alone."""
    if request.forced:
        return script_for(request.forced, request.messages)
    return parse_directive(request.question) if is_directive(request.question) else None


def _is_refused(strike: Strike | None) -> bool:
    """Tell whether a fault takes the place of the whole stream."""
    if strike is None or strike.at or strike.fault not in REFUSALS:
        return False
    return not REFUSALS[strike.fault].in_stream_only
