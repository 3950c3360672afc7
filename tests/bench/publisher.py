"""Publishes events at an even pace, as workers do: `python -m tests.bench.publisher PLAN`.

The plan is a JSON file: `kind` and what that kind needs (see each class). Then a line of JSON comes in, one goes out:

    {"events": n, "seconds": s}     publish n events, the streams in turn     {"events", "seconds", "cpu_share"}
"""

import json
import select
import socket
import sys
import time
from pathlib import Path
from typing import Any, Protocol

import hiredis

from tests.bench.wire import FRAME, TICK_SECONDS, event

_CONNECTIONS = 32
FIRST = 2  # the first event of every log is its `status queued`


class Publisher(Protocol):
    """Publishes events of some streams, all with the same JSON."""

    streams: int

    def publish(self, first: int, last: int, stamp: int) -> None:
        """Publish the events with these numbers; number n is for stream n % streams."""
        ...

    def settle(self) -> None:
        """Wait until everything is taken; raises where anything was refused."""
        ...


class ToRedis:
    """Sends commands to the Redis at `port` and reads its answers."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self._socket = socket.create_connection(("127.0.0.1", plan["port"]))
        self._parser = hiredis.Reader()
        self._unanswered = 0

    def send(self, commands: list[bytes]) -> None:
        """Send commands, each of which has one answer."""
        self._socket.sendall(b"".join(commands))
        self._unanswered += len(commands)
        self._read(socket.MSG_DONTWAIT)

    def settle(self) -> None:
        """Wait for all answers; raises where one is a refusal."""
        while self._unanswered:
            self._read(0)

    def _read(self, flags: int) -> None:
        try:
            self._parser.feed(self._socket.recv(1 << 18, flags))
        except BlockingIOError:
            return
        while (reply := self._parser.gets()) is not False:
            self._unanswered -= 1
            if isinstance(reply, hiredis.ReplyError) or (isinstance(reply, list) and reply[0] != b"appended"):
                raise AssertionError(f"not published: {reply}")


class ToLogs(ToRedis):
    """Appends with the worker's own script; each stream's `pieces` are the RESP around sequence number and JSON."""

    def __init__(self, plan: dict[str, Any]) -> None:
        super().__init__(plan)
        self._pieces = [tuple(piece.encode("latin-1") for piece in pieces) for pieces in plan["pieces"]]
        self.streams = len(self._pieces)

    def publish(self, first: int, last: int, stamp: int) -> None:
        """Append the events."""
        data, streams, commands = event(stamp), self.streams, list[bytes]()
        for number in range(first, last):
            before, between, after = self._pieces[number % streams]
            seq = b"%d" % (number // streams + FIRST)
            commands.append(
                b"%b$%d\r\n%b\r\n%b$%d\r\n%b\r\n%b" % (before, len(seq), seq, between, len(data), data, after)
            )
        self.send(commands)


class ToChannels(ToRedis):
    """Publishes on `channels` what a peer takes: a `message` with `SEQ` and `JSON` in it."""

    def __init__(self, plan: dict[str, Any]) -> None:
        super().__init__(plan)
        self._heads = [
            b"*3\r\n$7\r\nPUBLISH\r\n$%d\r\n%b\r\n" % (len(each), each.encode()) for each in plan["channels"]
        ]
        self._message = plan["message"].encode()
        self.streams = len(self._heads)

    def publish(self, first: int, last: int, stamp: int) -> None:
        """Publish the events."""
        streams, commands = self.streams, list[bytes]()
        before, after = self._message.replace(b"JSON", event(stamp)).split(b"SEQ")
        for number in range(first, last):
            message = b"%b%d%b" % (before, number // streams + FIRST, after)
            commands.append(b"%b$%d\r\n%b\r\n" % (self._heads[number % streams], len(message), message))
        self.send(commands)


class ToNchan:
    """Posts to Nchan as HTTP clients do: each of some kept connections has one request on its way at a time."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self.streams = len(plan["paths"])
        self._heads = [f"POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: ".encode() for path in plan["paths"]]
        self._free = [socket.create_connection(("127.0.0.1", plan["port"])) for _ in range(_CONNECTIONS)]
        self._epoll = select.epoll()
        self._all = {each.fileno(): each for each in self._free}
        for descriptor in self._all:
            self._epoll.register(descriptor, select.EPOLLIN)

    def publish(self, first: int, last: int, stamp: int) -> None:
        """Post the events."""
        data, heads, streams = event(stamp), self._heads, self.streams
        rest = b"%d\r\n\r\n%b" % (len(data), data)
        for number in range(first, last):
            while not self._free:
                self._read(1.0)
            self._free.pop().send(heads[number % streams] + rest)
        self._read(0)

    def settle(self) -> None:
        """Wait for all answers."""
        while len(self._free) < _CONNECTIONS:
            self._read(1.0)

    def _read(self, seconds: float) -> None:
        for descriptor, _ in self._epoll.poll(seconds):
            answer = self._all[descriptor].recv(65_536)
            assert answer.startswith(b"HTTP/1.1 20"), answer
            self._free.append(self._all[descriptor])


def pace(publisher: Publisher, begin: int, events: int, seconds: float) -> None:
    """Publish so many events within the time, each in the tick after it falls due, stamped with that tick."""
    begun, done = time.monotonic(), 0
    tick = begun
    while done < events:
        now = time.monotonic()
        due = min(events, int((now - begun) * events / seconds) + 1)
        if due > done:
            publisher.publish(begin + done, begin + due, int(tick * 1e6))
            done = due
        tick = begun + (int((now - begun) / TICK_SECONDS) + 1) * TICK_SECONDS
        time.sleep(max(tick - time.monotonic(), 0))
    publisher.settle()


def command_floor(plan: dict[str, Any], events: int, seconds: float) -> None:
    """Have the floor send so many events, and wait until it has: it publishes to itself."""
    with socket.create_connection(("127.0.0.1", plan["port"])) as command:
        asked = {"streams": plan["streams"], "events": events, "seconds": seconds, "frame": FRAME}
        command.sendall(b"RUN " + json.dumps(asked).encode())
        assert command.recv(64) == b"over\n"


def main() -> None:
    """Do what the lines say."""
    plan = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    kinds = {"logs": ToLogs, "channels": ToChannels, "nchan": ToNchan}
    publisher = kinds[plan["kind"]](plan) if plan["kind"] in kinds else None
    begin = 0
    for line in sys.stdin:
        said = json.loads(line)
        wall, cpu = time.monotonic(), time.process_time()
        if publisher is None:
            command_floor(plan, said["events"], said["seconds"])
        else:
            pace(publisher, begin, said["events"], said["seconds"])
        begin += said["events"]
        wall, cpu = time.monotonic() - wall, time.process_time() - cpu
        print(json.dumps({"events": said["events"], "seconds": wall, "cpu_share": cpu / wall}), flush=True)


if __name__ == "__main__":
    main()
