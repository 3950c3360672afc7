"""One HTTP/1.1 connection: h11 for the requests, and for streams chunks written by hand.

asyncio turns Nagle's algorithm off by itself; a delta leaves when it is written.
"""

import asyncio
import fcntl
import struct
import termios
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from socket import SO_LINGER, SOL_SOCKET
from typing import Protocol, cast

import h11

from deploy.emulator.errors import ServiceError

MAX_BODY = 25_000_000  # bytes, as at Bedrock
_RESET_SECONDS = 1.0  # how long a reset waits for the peer to take what was sent
_RESET_POLL_SECONDS = 0.002

Headers = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class HttpRequest:
    """A whole request: its target as it was sent, its header names in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


class Occupant(Protocol):
    """What is answering on a connection just now."""

    def resumed(self) -> None:
        """Hear that the reader takes bytes again."""
        ...

    def gone(self) -> None:
        """Hear that the connection has been lost."""
        ...


class Connection(asyncio.Protocol):
    """Reads requests one after another and hands each to `serve`, which answers by the methods below."""

    def __init__(self, serve: "Callable[[Connection, HttpRequest], None]", living: "set[Connection]") -> None:
        """Take the function that answers, and the set in which this connection is kept while it is open."""
        self._serve = serve
        self._living = living
        self._http = h11.Connection(h11.SERVER)
        self._request: h11.Request | None = None
        self._body = bytearray()
        self._is_chunked = True
        self.occupant: Occupant | None = None
        self.is_paused = False

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast(asyncio.Transport, transport)
        self._living.add(self)

    def data_received(self, data: bytes) -> None:
        """Take bytes of a request."""
        self._http.receive_data(data)
        self._pump()

    def eof_received(self) -> None:
        """Take a half-closed connection for a lost one, at once, whatever is still unsent."""
        if self.occupant:
            self._transport.abort()

    def pause_writing(self) -> None:
        """Hold the occupant back: the reader is slow."""
        self.is_paused = True

    def resume_writing(self) -> None:
        """Let the occupant go on."""
        self.is_paused = False
        if self.occupant:
            self.occupant.resumed()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the occupant."""
        self._living.discard(self)
        occupant, self.occupant = self.occupant, None
        if occupant:
            occupant.gone()

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()

    # the answering side

    def reply(self, status: int, headers: Headers, body: bytes) -> None:
        """Give a whole response."""
        self._begin(status, [*headers, ("Content-Length", str(len(body)))])
        self._emit(h11.Data(data=body))
        self.finish()

    def refuse(self, error: ServiceError, headers: Headers = ()) -> None:
        """Give an error in AWS's shape."""
        kind = [("Content-Type", "application/json"), ("x-amzn-ErrorType", error.code)]
        self.reply(error.status, [*headers, *kind], error.body())

    def stream(self, headers: Headers) -> None:
        """Begin a response whose end is not known."""
        self._begin(200, headers)

    def send(self, messages: list[bytes]) -> None:
        """Write each message as an HTTP chunk of its own, past h11, which would cost as much as all the rest."""
        if self._is_chunked:
            messages = [b"%x\r\n%b\r\n" % (len(message), message) for message in messages]
        self._transport.write(b"".join(messages))

    def finish(self) -> None:
        """End the response in good order; the next request may come."""
        self.occupant = None
        self._emit(h11.EndOfMessage())
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
            asyncio.get_running_loop().call_soon(self._pump)
        else:
            self._transport.close()

    def reset(self) -> None:
        """Send RST, once the peer's side has what was written, for RST would overtake and void it."""
        self.occupant = None
        self._reset_by(asyncio.get_running_loop().time() + _RESET_SECONDS)

    def _reset_by(self, deadline: float) -> None:
        loop = asyncio.get_running_loop()
        if self._transport.is_closing():
            return
        sock = self._transport.get_extra_info("socket")
        if loop.time() < deadline and (self._transport.get_write_buffer_size() or _unacknowledged(sock.fileno())):
            loop.call_later(_RESET_POLL_SECONDS, self._reset_by, deadline)
            return
        sock.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))  # on, 0 s: close() sends RST
        self._transport.abort()

    # between the two

    def _begin(self, status: int, headers: Headers) -> None:
        self._is_chunked = self._http.their_http_version == b"1.1"
        date = ("Date", formatdate(usegmt=True))
        self._emit(h11.Response(status_code=status, headers=[date, *headers], reason=HTTPStatus(status).phrase))

    def _emit(self, event: h11.Event) -> None:
        data = self._http.send(event)
        if data:
            self._transport.write(data)

    def _pump(self) -> None:
        try:
            while not self._transport.is_closing() and self._take(self._http.next_event()):
                pass
        except h11.RemoteProtocolError as error:
            if self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                self.refuse(ServiceError(error.error_status_hint, "BadRequest", str(error)))
            self._transport.close()

    def _take(self, event: h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]) -> bool:
        """Take one event; tells whether there may be more."""
        if isinstance(event, h11.Request):
            self._request = event
            self._body.clear()
            announced = int(dict(event.headers).get(b"content-length", b"0"))  # h11 has seen that it is a number
            if announced > MAX_BODY:
                self._refuse_body()
                return False
            if self._http.they_are_waiting_for_100_continue:
                self._emit(h11.InformationalResponse(status_code=100, headers=[]))
            return True
        if isinstance(event, h11.Data):
            self._body += event.data
            if len(self._body) <= MAX_BODY:
                return True
            self._refuse_body()
        if isinstance(event, h11.EndOfMessage) and self._request:
            headers = {name.decode(): value.decode("latin-1") for name, value in self._request.headers}
            method, target = self._request.method.decode(), self._request.target.decode("latin-1")
            self._serve(self, HttpRequest(method, target, headers, bytes(self._body)))
        return False

    def _refuse_body(self) -> None:
        self.refuse(ServiceError(413, "RequestEntityTooLargeException", f"A body may have {MAX_BODY} bytes"))


def _unacknowledged(descriptor: int) -> int:
    """Return how many bytes the peer's side has not acknowledged; 0 where the system does not tell."""
    answer = bytearray(4)
    try:
        fcntl.ioctl(descriptor, termios.TIOCOUTQ, answer)  # Linux: the same number as SIOCOUTQ
    except OSError:
        return 0
    return struct.unpack("i", answer)[0]
