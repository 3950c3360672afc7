"""One HTTP/1.1 connection: h11 parses the requests; the chunks of a stream are written directly.

asyncio disables Nagle's algorithm by default, so each delta leaves as soon as it is written.
"""

import asyncio
import fcntl
import struct
import termios
from collections.abc import Sequence
from dataclasses import dataclass
from email.utils import formatdate
from http.client import responses
from socket import SO_LINGER, SOL_SOCKET
from typing import Protocol, cast

import h11

from deploy.emulator.faults import ServiceError

MAX_BODY = 25_000_000  # bytes, the same limit as Bedrock's
_RESET_SECONDS = 1.0  # a reset waits at most so long for the peer to acknowledge the bytes already sent
_RESET_POLL_SECONDS = 0.002

Headers = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class HttpRequest:
    """A complete request; the target is as received, header names are in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Reply:
    """A complete response."""

    status: int
    headers: Headers
    body: bytes


class RequestHandler(Protocol):
    """The object that answers requests, through the methods of their connection."""

    def handle(self, connection: "HttpConnection", http: HttpRequest) -> None:
        """Answer a request, at once or over time."""
        ...

    def reject(self, connection: "HttpConnection", target: str, error: ServiceError) -> None:
        """Answer a request that could not be read; its target is empty if it is not known."""
        ...


class Responder(Protocol):
    """The object that currently answers on a connection."""

    def on_writable(self) -> None:
        """Continue: the reader takes bytes again."""
        ...

    def on_disconnect(self) -> None:
        """Stop: the connection is lost."""
        ...


class HttpConnection(asyncio.Protocol):
    """Reads one request after another and passes each to `handle`, which answers through the methods below."""

    def __init__(
        self,
        handler: RequestHandler,
        open_connections: "set[HttpConnection]",
    ) -> None:
        """Keep the request handler, and the set that holds this connection while it is open."""
        self._handler = handler
        self._open_connections = open_connections
        self._http = h11.Connection(h11.SERVER)
        self._request: h11.Request | None = None
        self._body = bytearray()
        self._is_chunked = True
        self.responder: Responder | None = None
        self.is_paused = False

    # Callbacks of asyncio.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast(asyncio.Transport, transport)
        self._open_connections.add(self)

    def data_received(self, data: bytes) -> None:
        """Parse the bytes of a request."""
        self._http.receive_data(data)
        self._handle_events()

    def eof_received(self) -> None:
        """Treat a half-closed connection as lost, even if bytes are still unsent."""
        if self.responder:
            self._transport.abort()

    def pause_writing(self) -> None:
        """Pause the responder: the reader is slow."""
        self.is_paused = True

    def resume_writing(self) -> None:
        """Resume the responder."""
        self.is_paused = False
        if self.responder:
            self.responder.on_writable()

    def connection_lost(self, exc: Exception | None) -> None:
        """Notify the responder."""
        self._open_connections.discard(self)
        responder, self.responder = self.responder, None
        if responder:
            responder.on_disconnect()

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()

    # Methods for the request handler and its responders.

    def reply(self, reply: Reply) -> None:
        """Send a complete response."""
        self._start_response(reply.status, [*reply.headers, ("Content-Length", str(len(reply.body)))])
        self._send_event(h11.Data(data=reply.body))
        self.finish()

    def start_stream(self, headers: Headers) -> None:
        """Start a response whose length is not known."""
        self._start_response(200, headers)

    def send(self, messages: list[bytes]) -> None:
        """Write each message as its own HTTP chunk, bypassing h11, which would cost as much CPU as all other work."""
        if self._is_chunked:
            messages = [b"%x\r\n%b\r\n" % (len(message), message) for message in messages]
        self._transport.write(b"".join(messages))

    def finish(self) -> None:
        """End the response in order; the next request may follow."""
        self.responder = None
        self._send_event(h11.EndOfMessage())
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
            asyncio.get_running_loop().call_soon(self._handle_events)
        else:
            self._transport.close()

    def overwrite(self, reply: Reply) -> None:
        """Write a response into the stream that has begun, in breach of its chunks, and close the connection."""
        self.responder = None
        head = [
            f"HTTP/1.1 {reply.status} {responses[reply.status]}",
            *(f"{name}: {text}" for name, text in reply.headers),
        ]
        self._transport.write("\r\n".join([*head, "", ""]).encode("ascii") + reply.body)
        self._transport.close()

    def reset(self) -> None:
        """Send RST once the peer has acknowledged all bytes sent, because RST discards bytes still in flight."""
        self.responder = None
        self._reset_or_wait(asyncio.get_running_loop().time() + _RESET_SECONDS)

    def _reset_or_wait(self, deadline: float) -> None:
        loop = asyncio.get_running_loop()
        if self._transport.is_closing():
            return
        sock = self._transport.get_extra_info("socket")
        if loop.time() < deadline and (self._transport.get_write_buffer_size() or _unacknowledged(sock.fileno())):
            loop.call_later(_RESET_POLL_SECONDS, self._reset_or_wait, deadline)
            return
        sock.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))  # on, 0 seconds: close() sends RST
        self._transport.abort()

    # Request parsing and response encoding, through h11.

    def _start_response(self, status: int, headers: Headers) -> None:
        self._is_chunked = self._http.their_http_version == b"1.1"
        date = ("Date", formatdate(usegmt=True))
        self._send_event(h11.Response(status_code=status, headers=[date, *headers], reason=responses.get(status, "")))

    def _send_event(self, event: h11.Event) -> None:
        data = self._http.send(event)
        if data:
            self._transport.write(data)

    def _handle_events(self) -> None:
        try:
            while not self._transport.is_closing() and self._handle_event(self._http.next_event()):
                pass
        except h11.RemoteProtocolError as error:
            if self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                self._reject(ServiceError(error.error_status_hint, "BadRequest", str(error)))
            self._transport.close()

    def _handle_event(self, event: h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]) -> bool:
        """Handle one event and return whether more may follow."""
        if isinstance(event, h11.Request):
            self._request = event
            self._body.clear()
            content_length = int(dict(event.headers).get(b"content-length", b"0"))  # h11 has validated the number
            if content_length > MAX_BODY:
                self._reject_body()
                return False
            if self._http.they_are_waiting_for_100_continue:
                self._send_event(h11.InformationalResponse(status_code=100, headers=[]))
            return True
        if isinstance(event, h11.Data):
            self._body += event.data
            if len(self._body) <= MAX_BODY:
                return True
            self._reject_body()
        if isinstance(event, h11.EndOfMessage) and self._request:
            headers = {name.decode(): value.decode("latin-1") for name, value in self._request.headers}
            method, target = self._request.method.decode(), self._request.target.decode("latin-1")
            self._handler.handle(self, HttpRequest(method, target, headers, bytes(self._body)))
        return False

    def _reject_body(self) -> None:
        self._reject(ServiceError(413, None, f"The request body exceeds {MAX_BODY} bytes."))

    def _reject(self, error: ServiceError) -> None:
        target = self._request.target.decode("latin-1") if self._request else ""
        self._handler.reject(self, target, error)


def _unacknowledged(descriptor: int) -> int:
    """Return the number of bytes that the peer has not acknowledged, or 0 if the system does not report it."""
    answer = bytearray(4)
    try:
        fcntl.ioctl(descriptor, termios.TIOCOUTQ, answer)  # on Linux the same request as SIOCOUTQ
    except OSError:
        return 0
    return struct.unpack("i", answer)[0]
