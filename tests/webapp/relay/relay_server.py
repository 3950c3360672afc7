"""A gunicorn process that serves the relay's test application, and a raw HTTP client that sees every byte."""

import json
import os
import signal
import socket
import zlib
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.client import wait_for
from tests.forks import fork
from tests.valkey import free_port

ROOT = Path(__file__).parent.parent.parent.parent

_CONF = """
from gevent import monkey
monkey.patch_all()
import logging
logging.basicConfig(level=logging.INFO)
from tests.webapp.relay import relay_application
worker_class = "gevent"
control_socket_disable = True
keepalive = 75
worker_connections = 2000
graceful_timeout = 5
post_worker_init = relay_application.post_worker_init
worker_exit = relay_application.worker_exit
"""


class RelayServer:
    """A gunicorn with one gevent worker, forked as `forks.py` says.

    Settings are given without their prefix, in lower case. With `is_swept`
    false its sweep does not compare silent generations with their logs.
    """

    def __init__(self, directory: Path, redis_url: str, *, is_swept: bool = True, **settings: object) -> None:
        self.port = free_port()
        self.log = directory / f"web{self.port}.log"
        self._conf = directory / f"conf{self.port}.py"
        self._conf.write_text(_CONF)
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("MILLRACE_", "AWS_"))},
            "MILLRACE_REDIS_URL": redis_url,
            "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
            **({} if is_swept else {"UNSWEPT": "1"}),
            **{f"MILLRACE_{name.upper()}": str(value) for name, value in settings.items()},
        }

    def __enter__(self) -> Self:
        command = ["gunicorn", "-c", str(self._conf), "--bind", f"127.0.0.1:{self.port}"]
        command.append("tests.webapp.relay.relay_application:application")
        self.process = fork(command, self._environment, self.log)
        wait_for(self._answers, 60, "the server")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(30)
        if error is not None:
            print(self.log.read_text()[-6000:])

    def statistics(self) -> dict[str, Any]:
        """Return the process's own counts: readers, memory, CPU, descriptors."""
        with StreamClient(self.port, "/statistics") as answer:
            return dict(answer.json())

    def wait_for_readers(self, count: int, seconds: float = 30) -> None:
        """Wait until this many readers follow."""
        wait_for(lambda: self.statistics()["readers"] == count, seconds, f"{count} readers")

    def follow(self, generation: str, after: str = "", *, query: str = "", **options: Any) -> "StreamClient":
        """Follow a generation."""
        return StreamClient(self.port, f"/{generation}/events{query}", after, **options)

    def _answers(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            return bool(self.statistics())
        except ConnectionRefusedError:
            return False


class StreamClient:
    """One connection, read byte by byte: headers, raw body, frames."""

    def __init__(
        self,
        port: int,
        path: str,
        after: str = "",
        *,
        method: str = "GET",
        version: str = "HTTP/1.1",
        behind: bytes = b"",
        receive_buffer: int = 0,
        accept_encoding: str = "",
    ) -> None:
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(30)
        try:
            self.socket.connect(("127.0.0.1", port))
        except OSError:
            self.socket.close()
            raise
        cursor = f"Last-Event-ID: {after}\r\n" if after else ""
        accepted = f"Accept-Encoding: {accept_encoding}\r\n" if accept_encoding else ""
        self.socket.sendall(f"{method} {path} {version}\r\nHost: h\r\n{cursor}{accepted}\r\n".encode() + behind)
        self._raw = bytearray()
        self._needed = 0  # bytes of the next chunk with its frame, once its size has arrived
        while b"\r\n\r\n" not in self._raw:
            self._raw += self._receive()
        head, _, self._raw = self._raw.partition(b"\r\n\r\n")
        self.status = int(head.split()[1])
        self.headers = dict(line.lower().split(": ", 1) for line in head.decode().split("\r\n")[1:])
        self.is_chunked = self.headers.get("transfer-encoding") == "chunked"
        self.body = bytearray()
        self.body_bytes = 0  # as they came
        self.gunzip = zlib.decompressobj(31) if self.headers.get("content-encoding") == "gzip" else None
        self._frames: list[tuple[str, dict[str, Any]]] = []
        self._framed = 0
        self.is_ended = False  # the terminator has arrived
        self.is_closed = False
        self._parse()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    def events(self, count: int) -> list[tuple[str, dict[str, Any]]]:
        """Read until there are this many events in all, and return them."""
        while len(found := self.frames()) < count:
            assert not self.is_closed, f"closed after {len(found)} events of {count}"
            self._more()
        return found[:count]

    def rest(self) -> list[tuple[str, dict[str, Any]]]:
        """Read until the server closes, and return all events."""
        while not self.is_closed:
            self._more()
        return self.frames()

    def read_until(self, text: bytes) -> None:
        """Read until the body has this text."""
        while text not in self.body:
            assert not self.is_closed, "closed"
            self._more()

    def frames(self) -> list[tuple[str, dict[str, Any]]]:
        """Return the whole events so far: id and JSON."""
        while (end := self.body.find(b"\n\n", self._framed)) >= 0:
            lines = self.body[self._framed : end].split(b"\n")
            self._framed = end + 2
            fields = dict(line.decode().split(": ", 1) for line in lines if not line.startswith(b":"))
            if "data" in fields and "event" not in fields:
                self._frames.append((fields["id"], json.loads(fields["data"])))
        return self._frames

    def json(self) -> Any:
        """Read an answer that is not a stream."""
        while len(self.body) < int(self.headers["content-length"]):
            self._more()
        return json.loads(self.body)

    def _take(self, part: bytes) -> None:
        self.body_bytes += len(part)
        self.body += part if self.gunzip is None else self.gunzip.decompress(part)

    def _receive(self) -> bytes:
        try:
            return self.socket.recv(65536)
        except ConnectionResetError:
            return b""

    def _more(self) -> None:
        part = self._receive()
        self.is_closed = not part
        self._raw += part
        self._parse()

    def _parse(self) -> None:
        if not self.is_chunked:
            self._take(bytes(self._raw))
            self._raw.clear()
            return
        # A large chunk that arrives in many parts is not parsed again for each of them.
        while len(self._raw) >= self._needed and (begin := self._raw.find(b"\r\n") + 2) > 1:
            length = int(self._raw[: begin - 2], 16)
            self._needed = begin + length + 2
            if len(self._raw) < self._needed:
                return
            assert not self.is_ended, "bytes after the end"
            self.is_ended = length == 0
            self._take(bytes(self._raw[begin : begin + length]))
            assert self._raw[begin + length : self._needed] == b"\r\n"
            del self._raw[: self._needed]
            self._needed = 0


def wait_until_gone(port: int, seconds: float = 30) -> None:
    """Wait until the port is closed."""

    def is_gone() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) != 0

    wait_for(is_gone, seconds, "the port to be free")
