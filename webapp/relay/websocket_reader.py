"""A WebSocket on a client's socket: a reader of the relay that also receives messages.

Sending costs what it costs every reader on a socket: frames are written by the code that produces them, without a
greenlet. wsproto parses the client's bytes in gevent's hub, and a greenlet that lives only while there are messages
handles them one after the other. While too many wait, nothing is read, so that the client has to wait.
"""

import _socket
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import gevent
from gevent.event import Event
from wsproto.connection import Connection, ConnectionState
from wsproto.events import BytesMessage, CloseConnection, Message, Ping, TextMessage
from wsproto.events import Event as SocketEvent

from millrace.webapp.relay import websocket_frames as frames
from millrace.webapp.relay.places import ReceivedBytes
from millrace.webapp.relay.reader import EndReason, write_nothing
from millrace.webapp.relay.socket_reader import SocketReader, has_no_room
from millrace.worker.contract.ids import START

_NAME = "websocket"  # stands for the generation's id in the log line of the connection
_RECEIVE_BYTES = 4 * 1024  # as many as six hundred empty frames, which are parsed in one go
_SMALL_BYTES = 64
_MAX_SMALL_FRAMES = 1000  # between two heartbeats; each costs as much as a large one, and no limit counts it
_MAX_WAITING = 16  # messages; while more wait, nothing is read
_MAX_DISCARDED_BYTES = 16 << 20  # a client may send this much before it notices that the socket is being closed


class MessageLimits(NamedTuple):
    """The limits on received messages.

    The most bytes of a message, the seconds in which it must be complete, the seconds for which a ping may be
    unanswered, and the bytes that wait in all sockets together.
    """

    max_bytes: int
    seconds: float
    silence_seconds: float
    received: ReceivedBytes


class WebSocketReader(SocketReader):
    """A reader that writes frames of messages; `on_message` gets the client's messages, in a greenlet.

    `protocol` is the connection after its handshake, without extensions: compressed messages could not be shared.
    """

    __slots__ = (
        "_discarded",
        "_inbox",
        "_is_broken",
        "_is_paused",
        "_is_working",
        "_limits",
        "_message",
        "_message_since",
        "_on_message",
        "_owed",
        "_owed_is_out",
        "_pinged_at",
        "_pong",
        "_protocol",
        "_small_frames",
    )

    def __init__(
        self, sock: _socket.socket, protocol: Connection, limits: MessageLimits, on_message: Callable[[bytes], None]
    ) -> None:
        super().__init__(_NAME, START, sock)
        self._protocol = protocol
        self._limits = limits
        self._on_message = on_message
        self._inbox: deque[bytes] = deque()
        self._message = bytearray()
        self._message_since: float | None = None
        self._discarded = 0
        self._pinged_at: float | None = None  # when the first ping was sent that nothing has followed
        self._small_frames = 0  # control frames and short parts of messages, since the last heartbeat
        self._is_broken = False  # the client's bytes are parsed no further
        self._is_paused = self._is_working = False
        self._owed = self._pong = b""
        self._owed_is_out = Event()

    @property
    def is_ending(self) -> bool:
        """Whether nothing more is sent to the client."""
        return self.end_reason is not None or self._ending is not None

    def send_message(self, payload: bytes) -> bool:
        """Send a message before further events, as soon as there is room; return False if the socket has ended.

        Called by one greenlet at a time, which waits.
        """
        if self.is_ending:
            return False
        if not self.is_full:
            self.send(frames.text_frame(payload))
            return not self.end_reason
        self._owed_is_out.clear()
        self._owed = frames.text_frame(payload)
        self._owed_is_out.wait()
        return not self.is_ending

    def refuse(self, code: int, reason: str) -> None:
        """Close the socket with this code, because of the client's messages or for lack of room."""
        if not self.is_ending:
            self._close_with("error", code, reason)

    def finish(self, why: EndReason, last_bytes: bytes = b"") -> None:
        """Close with the code that stands for the reason, and wait until the client has closed as well."""
        if not self.is_ending:
            self._close_with(why, *frames.closing(why))

    def cut(self) -> None:
        """End a reader that has stalled, or that has not answered the server's close frame."""
        self.close("stalled" if self._ending is None else self._ending[0])

    def close(self, why: EndReason) -> None:
        """End at once."""
        self._drop_messages()
        super().close(why)
        self._owed_is_out.set()

    def send_heartbeat(self) -> None:
        """Send a heartbeat, and end a socket whose client answers no ping or is too slow with its message."""
        if self.is_ending:
            return
        now, self._small_frames = time.monotonic(), 0
        if self._message_since is not None and now - self._message_since > self._limits.seconds:
            self.refuse(frames.POLICY, "The message was not complete in time (MILLRACE_BODY_SECONDS).")
        elif self._pinged_at is not None and now - self._pinged_at > self._limits.silence_seconds:
            self.close("stalled")
        elif not self.is_full:
            if self._pinged_at is None and not self._is_paused:
                self._pinged_at = now
            self.send(frames.HEARTBEAT)

    def _drop_messages(self) -> None:
        self._limits.received.add(-len(self._message) - sum(map(len, self._inbox)))
        self._message.clear()
        self._inbox.clear()

    def _close_with(self, why: EndReason, code: int, reason: str) -> None:
        self._drop_messages()
        self._end_with(why, bytes(self._protocol.send(CloseConnection(code, reason or None))))
        self._owed_is_out.set()
        self._read_on()

    def _on_ending_written(self, why: EndReason) -> None:
        if self._protocol.state is ConnectionState.CLOSED:
            self.close(why)
            return
        # A client that is still sending would lose the close frame if the socket was closed at once. It counts as a
        # reader without room from now on, which is cut after a while.
        self._stop_waiting_for_room()
        self.is_full, self.full_since = True, time.monotonic()
        self.write = write_nothing

    def _accept_frames(self) -> None:
        super()._accept_frames()
        if self._pong:
            pong, self._pong = self._pong, b""
            self.send(pong)
        if self._owed and not self.is_full:
            owed, self._owed = self._owed, b""
            self.send(owed)
            self._owed_is_out.set()

    def _on_readable(self) -> None:
        try:
            received = self._sock.recv(_RECEIVE_BYTES)
        except OSError as error:
            if not has_no_room(error):
                self._fail(error)
            return
        if not received:
            self.close("client_left" if self._ending is None else self._ending[0])
            return
        self._pinged_at = None
        if self._ending is not None:
            self._discarded += len(received)
            if self._discarded > _MAX_DISCARDED_BYTES:
                self.cut()
                return
        if not self._is_broken:
            self._parse(received)
        if len(self._inbox) > _MAX_WAITING and not self.is_ending:
            self._is_paused, self._pinged_at = True, None
            self._readable.stop()

    def _parse(self, received: bytes) -> None:
        self._protocol.receive_data(received)
        for event in self._protocol.events():
            self._take_event(event)
            if self.end_reason or self._is_broken:
                return

    def _take_event(self, event: SocketEvent) -> None:
        if isinstance(event, CloseConnection):
            self._on_close(event)
        elif self._is_one_too_many(event):
            self._is_broken = True
            self.refuse(frames.POLICY, "Too many small frames. Send each message in one.")
        elif self._ending is not None:
            return
        elif isinstance(event, TextMessage):
            self._take_text(event)
        elif isinstance(event, BytesMessage):
            self.refuse(frames.NOT_TEXT, "Messages are JSON in text frames.")
        elif isinstance(event, Ping):
            pong = bytes(self._protocol.send(event.response()))
            if self.is_full:
                self._pong = pong
            else:
                self.send(pong)

    def _is_one_too_many(self, event: SocketEvent) -> bool:
        """Count a short frame unless it completes a message that is handled; return whether there were too many."""
        if isinstance(event, Message):
            is_handled = event.message_finished and self._ending is None
            self._small_frames += event.frame_finished and len(event.data) < _SMALL_BYTES and not is_handled
        else:
            self._small_frames += 1
        return self._small_frames > _MAX_SMALL_FRAMES

    def _take_text(self, event: TextMessage) -> None:
        if self._message_since is None:
            self._message_since = time.monotonic()
        part = event.data.encode()
        self._message += part
        self._limits.received.add(len(part))
        if len(self._message) > self._limits.max_bytes:
            detail = f"A message has at most {self._limits.max_bytes} bytes (MILLRACE_MAX_BODY_BYTES)."
            self.refuse(frames.TOO_LARGE, detail)
        elif self._limits.received.is_full:
            self.refuse(frames.CROWDED, "This server holds too many messages. Please retry.")
        elif event.message_finished:
            self._inbox.append(bytes(self._message))
            self._message.clear()
            self._message_since = None
            if not self._is_working:
                self._is_working = True
                gevent.spawn(self._work)

    def _on_close(self, event: CloseConnection) -> None:
        """Handle the client's close frame, and the one that stands for bytes that are not valid frames."""
        self._is_broken = self._protocol.state in (ConnectionState.OPEN, ConnectionState.LOCAL_CLOSING)
        if self._is_broken:
            self.refuse(event.code, "The frame is not valid.")
        elif self._ending is not None:
            self.close(self._ending[0])
        else:
            self._end_with("client_left", bytes(self._protocol.send(event.response())))
            self._owed_is_out.set()

    def _work(self) -> None:
        try:
            while self._inbox and not self.is_ending:
                message = self._inbox.popleft()
                self._limits.received.add(-len(message))
                self._on_message(message)
                gevent.sleep(0)  # the next one may need no I/O either, and others have their turn in between
                if len(self._inbox) <= _MAX_WAITING // 2:
                    self._read_on()
        finally:
            self._is_working = False

    def _read_on(self) -> None:
        if self._is_paused and not self.end_reason:
            self._is_paused = False
            self._readable.start(self._on_readable)
