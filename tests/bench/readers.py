"""The readers, all of them in one process around one epoll: `python -m tests.bench.readers PLAN`.

The plan is a JSON file: `port`, `requests` (what a reader of each stream sends), `messages` (what it sends once it has
the headers), `count` (readers in all, spread over the streams), `slow` (how many of them take 1 KB a second), `is_mute`
(the server says nothing before the first event, not even headers), `in_flight` (requests being answered at once),
`is_stamped` (whether an event's mark is followed by the time when it was due; else arrivals are kept),
`is_compressed` (whether the answers are unpacked). Then a line of
JSON comes in, and one goes out:

    {"do": "open"}                   connect everybody, and wait for each one's headers
    {"do": "await", "events": n}     read until n events have come, or nothing comes any more
    {"do": "pass", "seconds": s}     read for so long
    {"do": "reset"}                  count from nothing
    {"do": "arrivals"}               tell when each reader's events came: `arrivals`, [[unix seconds, n], …]

The answer is, but for the last, what has come since the last reset.
"""

import json
import select
import socket
import sys
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.bench.wire import MARK, STAMP_DIGITS, quantile

_IN_FLIGHT = 64  # requests being answered at once, while readers come
_SLOW_BYTES = 1024
_MUTE_SECONDS = 0.002  # from one reader to the next, where no answer tells that it has been seen to
_STILL_SECONDS = 20.0  # nothing has come for so long: nothing will
_HEADERS_END = b"\r\n\r\n"


class Readers:
    """All connections, and what has come over them since the last reset."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self._port = int(plan["port"])
        requests = [request.encode("latin-1") for request in plan["requests"]]
        self._requests = [requests[number % len(requests)] for number in range(plan["count"])]
        messages = [message.encode("latin-1") for message in plan.get("messages", ())]
        self._messages = [messages[number % len(messages)] for number in range(plan["count"])] if messages else []
        self._is_slow = [number < plan.get("slow", 0) for number in range(plan["count"])]
        self._is_mute = bool(plan["is_mute"])
        self._is_stamped = bool(plan.get("is_stamped", True))
        self._is_compressed = bool(plan.get("is_compressed"))
        self._unpackers: dict[int, Unpacker] = {}
        self._in_flight = int(plan.get("in_flight", _IN_FLIGHT))
        self._epoll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._receive: dict[int, Callable[[bytearray], int]] = {}
        self._slow: list[socket.socket] = []
        self._buffer = bytearray(1 << 20)
        self._opening: dict[int, bytes] = {}
        self._unsent: dict[int, bytes] = {}
        self.begun_at: dict[int, float] = {}
        self.reset()

    def reset(self) -> None:
        """Count from nothing."""
        self.events = self.bytes = 0
        self.closed = self.refused = 0
        self.delays: list[int] = []  # microseconds, one for each event
        self.counts: dict[int, int] = dict.fromkeys(self._sockets, 0)  # of those that are not slow
        for sock in self._slow:
            self.counts.pop(sock.fileno())
        self.first: dict[int, float] = {}
        self.arrivals: dict[int, list[tuple[float, int]]] = {descriptor: [] for descriptor in self._sockets}
        self.newest = time.monotonic()
        self._wall, self._cpu = time.monotonic(), time.process_time()

    def open(self) -> None:
        """Connect everybody and wait for each one's headers; some at a time, as a server's backlog is bounded."""
        messages = self._messages or [b""] * len(self._requests)
        waiting = list(zip(self._requests, self._is_slow, messages, strict=True))
        waiting.reverse()
        while waiting or (self._opening and not self._is_mute):
            if self._is_mute:
                self._connect(*waiting.pop())
                self.read(_MUTE_SECONDS)
                continue
            while waiting and len(self._opening) < self._in_flight:
                self._connect(*waiting.pop())
            self.read(1.0)
            assert time.monotonic() - self.newest < 60, f"{len(self._opening)} readers get no answer"

    def read(self, seconds: float) -> None:
        """Wait for bytes at most so long, and take what has come."""
        ready = self._epoll.poll(seconds)
        now = time.monotonic()
        for descriptor, _ in ready:
            self._take(descriptor, now)

    def take_slowly(self) -> None:
        """Let each slow reader take what it takes in a second."""
        for sock in self._slow:
            with suppress(BlockingIOError):
                sock.recv(_SLOW_BYTES)

    def figures(self) -> dict[str, Any]:
        """Return what has come since the reset."""
        delays = sorted(self.delays)
        wall, cpu = time.monotonic() - self._wall, time.process_time() - self._cpu
        fewest = min(self.counts.values(), default=0)
        firsts = sorted(at - self.begun_at[descriptor] for descriptor, at in self.first.items())
        return {
            "events": self.events,
            "bytes": self.bytes,
            "fewest": fewest,
            "without": sum(not count for count in self.counts.values()),
            "closed": self.closed,
            "refused": self.refused,
            "p50_ms": quantile(delays, 0.5) / 1000,
            "p99_ms": quantile(delays, 0.99) / 1000,
            "first_p50_ms": quantile(firsts, 0.5) * 1000,
            "first_p99_ms": quantile(firsts, 0.99) * 1000,
            "cpu_share": cpu / wall,
            "newest_after": self.newest - self._wall,
        }

    def _connect(self, request: bytes, is_slow: bool, message: bytes) -> None:
        sock = socket.socket()
        if is_slow:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        begun = time.monotonic()
        sock.connect(("127.0.0.1", self._port))
        sock.sendall(request)
        sock.setblocking(False)
        descriptor = sock.fileno()
        self.begun_at[descriptor] = begun
        self._sockets[descriptor] = sock
        self._receive[descriptor] = sock.recv_into
        self._opening[descriptor] = b""
        self._unsent[descriptor] = message
        self.counts[descriptor] = 0
        self.arrivals[descriptor] = []
        if self._is_compressed:
            self._unpackers[descriptor] = Unpacker()
        if is_slow:
            self._slow.append(sock)
        self._epoll.register(descriptor, select.EPOLLIN)

    def _take(self, descriptor: int, now: float) -> None:
        buffer = self._buffer
        count = self._receive[descriptor](buffer)
        if not count:
            self._epoll.unregister(descriptor)
            self.closed += 1
            assert descriptor not in self._opening, f"closed at once: {self._opening[descriptor]!r}"
            return
        if self._opening and descriptor in self._opening:
            self._opened(descriptor, bytes(buffer[:count]))
        self.bytes += count
        if self._is_compressed:
            buffer = self._unpackers[descriptor].feed(bytes(buffer[:count]))
            count = len(buffer)
        marks = buffer.count(MARK, 0, count)
        if not marks:
            return
        if not self.counts[descriptor]:
            self.first[descriptor] = now
        self.counts[descriptor] += marks
        self.events += marks
        self.newest = now
        if self._is_stamped:
            self._measure(buffer, int(now * 1e6), marks, count)
        else:
            self.arrivals[descriptor].append((time.time(), marks))

    def _measure(self, buffer: bytearray, micros: int, marks: int, count: int) -> None:
        at = -1
        for _ in range(marks):
            at = buffer.find(MARK, at + 1, count)
            end = at + 1 + STAMP_DIGITS
            if end <= count:
                self.delays.append(micros - int(buffer[at + 1 : end]))

    def _opened(self, descriptor: int, part: bytes) -> None:
        head = self._opening[descriptor] + part
        self._opening[descriptor] = head
        if _HEADERS_END in head:
            del self._opening[descriptor]
            self.newest = time.monotonic()
            if head.split(b" ", 2)[1] not in (b"200", b"101"):
                self.refused += 1
            self._sockets[descriptor].send(self._unsent.pop(descriptor))
            if self._slow and descriptor == self._slow[-1].fileno():
                self._epoll.unregister(descriptor)
                del self.counts[descriptor]


class Unpacker:
    """One compressed response: its head, its chunks, and what they hold."""

    def __init__(self) -> None:
        self._raw = b""
        self._has_head = False
        self._inflate = zlib.decompressobj(31)

    def feed(self, part: bytes) -> bytearray:
        """Take the next bytes, and return what can be unpacked."""
        raw, unpacked = self._raw + part, bytearray()
        if not self._has_head:
            head, found, rest = raw.partition(_HEADERS_END)
            if not found:
                self._raw = raw
                return unpacked
            assert b"content-encoding: gzip" in head.lower(), head
            raw, self._has_head = rest, True
        begin = 0
        while (line := raw.find(b"\r\n", begin)) > 0 and (end := line + 2 + int(raw[begin:line], 16)) + 2 <= len(raw):
            unpacked += self._inflate.decompress(raw[line + 2 : end])
            begin = end + 2
        self._raw = raw[begin:]
        return unpacked


def _await(readers: Readers, events: int) -> None:
    """Read until so many events have come, or nothing comes any more."""
    slowly = time.monotonic()
    readers.newest = max(readers.newest, slowly)
    while readers.events < events and time.monotonic() - readers.newest < _STILL_SECONDS:
        readers.read(0.5)
        if time.monotonic() - slowly > 1.0:
            slowly += 1.0
            readers.take_slowly()


def _pass(readers: Readers, seconds: float) -> None:
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        readers.read(left)


def main() -> None:
    """Do what the lines say."""
    readers = Readers(json.loads(Path(sys.argv[1]).read_text("utf-8")))
    for line in sys.stdin:
        said = json.loads(line)
        match said["do"]:
            case "open":
                readers.reset()
                readers.open()
            case "await":
                _await(readers, said["events"])
            case "pass":
                _pass(readers, said["seconds"])
            case "arrivals":
                print(json.dumps({"arrivals": list(readers.arrivals.values())}), flush=True)
                continue
            case _:
                readers.reset()
        print(json.dumps(readers.figures()), flush=True)


if __name__ == "__main__":
    main()
