"""Sends requests at an even pace, whether or not the answers arrive in time: `python -m tests.bench.asker PLAN`.

The plan is a JSON file: `port`, `request`, all that is sent each time, and `follow`, what follows an
answer, with PATH in it. Then a line of JSON comes in, one goes out:

    {"do": "post", "count": n, "rate": r}      the answer is read whole, and its connection kept for the next
    {"do": "follow", "count": n, "rate": r}    the same, and then what it names as `events_url` is asked for
    {"do": "stream", "count": n, "rate": r}    the answer is an event stream by itself
        {"p50_ms", "p99_ms", "most_ms", "refused", "cpu_share", "times_ms", "exchanges"}

A time is that from when a request was due to when its answer was whole, or an event stream had its first mark.
`exchanges` lists [generation, due, seconds] for each event stream that names its generation; `due` is a time of the
monotonic clock.
"""

import json
import select
import socket
import sys
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tests.bench.wire import MARK, quantile

_STILL_SECONDS = 60.0  # an answer that says nothing for so long has failed
_HEADERS_END = b"\r\n\r\n"
_END = b"\r\n0\r\n\r\n"


Way = Literal["post", "follow", "stream"]


@dataclass
class Exchange:
    """A request on its way, and what has come of its answer."""

    sock: socket.socket
    due: float
    is_stream: bool
    seconds: float | None = None
    answer: bytes = b""

    @property
    def status(self) -> bytes:
        """The answer's status."""
        return self.answer[9:12]

    @property
    def generation(self) -> str:
        """The generation that the answer's header names, if it is an event stream of its own."""
        name = b"millrace-generation-id: "
        lines = self.answer.partition(_HEADERS_END)[0].split(b"\r\n")
        return next((line[len(name) :].decode() for line in lines if line.lower().startswith(name)), "")

    @property
    def is_whole(self) -> bool:
        """Whether all of an answer with a length has come."""
        head, found, body = self.answer.partition(_HEADERS_END)
        lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        return bool(found) and bool(lengths) and len(body) >= int(lengths[0].partition(b":")[2])


class RequestSender:
    """Sends the same request again and again."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self._address = ("127.0.0.1", int(plan["port"]))
        self._request = plan["request"].encode("latin-1")
        self._follow = plan["follow"].encode("latin-1")
        self._free: deque[socket.socket] = deque()

    def ask(self, way: Way, count: int, rate: float) -> list[Exchange]:
        """Send so many, so many a second, and wait for all answers."""
        epoll, open_, done = select.epoll(), dict[int, Exchange](), list[Exchange]()
        begin = newest = time.monotonic()
        sent = 0
        while sent < count or open_:
            now = time.monotonic()
            while sent < count and begin + sent / rate <= now:
                exchange = Exchange(self._connection(), begin + sent / rate, way == "stream")
                exchange.sock.sendall(self._request)
                open_[exchange.sock.fileno()] = exchange
                epoll.register(exchange.sock, select.EPOLLIN)
                sent += 1
            wait = begin + sent / rate - now if sent < count else 1.0
            for descriptor, _ in epoll.poll(max(0, int(1000 * wait)) / 1000):  # it rounds up, to whole milliseconds
                newest = time.monotonic()
                exchange = open_[descriptor]
                if self._take(exchange, newest, way):
                    epoll.unregister(descriptor)
                    done.append(open_.pop(descriptor))
                    self._let_go(exchange)
            assert time.monotonic() - max(newest, begin + sent / rate) < _STILL_SECONDS, f"{len(open_)} get no answer"
        return done

    def _connection(self) -> socket.socket:
        if self._free:
            return self._free.popleft()
        sock = socket.create_connection(self._address)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def _take(self, exchange: Exchange, now: float, way: Way) -> bool:
        """Take what has come; tells whether the exchange is over."""
        part = exchange.sock.recv(1 << 16)
        exchange.answer += part
        if exchange.is_stream:
            if exchange.seconds is None and MARK in exchange.answer:
                exchange.seconds = now - exchange.due
            is_over = not part or exchange.answer.endswith(_END)
        elif way == "follow" and exchange.is_whole and exchange.status == b"202":
            path = json.loads(exchange.answer.partition(_HEADERS_END)[2])["events_url"].encode("ascii")
            exchange.answer, exchange.is_stream = b"", True
            exchange.sock.sendall(self._follow.replace(b"PATH", path))
            return False
        else:
            is_over = not part or exchange.is_whole
            if is_over:
                exchange.seconds = now - exchange.due
        return is_over

    def _let_go(self, exchange: Exchange) -> None:
        if exchange.is_whole:
            self._free.append(exchange.sock)
        else:
            exchange.sock.close()


def figures(exchanges: list[Exchange], cpu_share: float) -> dict[str, Any]:
    """Return the latencies of the exchanges; an exchange without a complete answer counts as refused."""
    answered = [each for each in exchanges if each.seconds is not None and each.status[:1] == b"2"]
    times = sorted(1000 * (each.seconds or 0) for each in answered)
    return {
        "p50_ms": quantile(times, 0.5),
        "p99_ms": quantile(times, 0.99),
        "most_ms": times[-1],
        "refused": len(exchanges) - len(times),
        "cpu_share": cpu_share,
        "times_ms": times,
        "exchanges": [[each.generation, each.due, each.seconds] for each in answered if each.generation],
    }


def main() -> None:
    """Do what the lines say."""
    asker = RequestSender(json.loads(Path(sys.argv[1]).read_text("utf-8")))
    for line in sys.stdin:
        said = json.loads(line)
        wall, cpu = time.monotonic(), time.process_time()
        exchanges = asker.ask(said["do"], said["count"], said["rate"])
        wall, cpu = time.monotonic() - wall, time.process_time() - cpu
        print(json.dumps(figures(exchanges, cpu / wall)), flush=True)


if __name__ == "__main__":
    main()
