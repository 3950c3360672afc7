"""A server that speaks Redis's protocol and replies what a test says, for replies that a real one gives by chance."""

from collections import deque
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Self, cast

import hiredis
from gevent.server import StreamServer

CUT = b""
"""In place of a reply: the connection is closed."""


class ScriptedRedis:
    """Replies to `CLUSTER SLOTS` with the map, to each other command with the next of `replies`, then with OK.

    A connection's own PING takes no reply of these.
    """

    def __init__(self, cluster_map: Callable[[], list[tuple[int, int, int]]]) -> None:
        self.replies: deque[bytes] = deque()
        self.received: list[list[bytes]] = []
        self._map = cluster_map
        self._server = StreamServer(("127.0.0.1", 0), self._serve)

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.stop()

    @property
    def port(self) -> int:
        """The port, on the loopback."""
        return cast("int", self._server.server_port)

    def take(self) -> list[bytes]:
        """Return the first word and the key of each command since the last call."""
        taken, self.received = [b" ".join(words[:2]) for words in self.received], []
        return taken

    def _serve(self, sock: Any, _: object) -> None:
        reader = hiredis.Reader()
        while data := sock.recv(65536):
            reader.feed(data)
            while (words := reader.gets()) is not False:
                reply = self._reply(words)
                if reply == CUT:
                    sock.close()
                    return
                sock.sendall(reply)

    def _reply(self, words: list[bytes]) -> bytes:
        if words[0] == b"CLUSTER":
            return _slots(self._map())
        if words[0] == b"PING":
            return b"+PONG\r\n"
        self.received.append(words)
        if words[0] == b"ASKING":
            return b"+OK\r\n"
        return self.replies.popleft() if self.replies else b"+OK\r\n"


def _slots(ranges: Iterable[tuple[int, int, int]]) -> bytes:
    rows = [b"*3\r\n:%d\r\n:%d\r\n*2\r\n$9\r\n127.0.0.1\r\n:%d\r\n" % each for each in ranges]
    return b"*%d\r\n" % len(rows) + b"".join(rows)
