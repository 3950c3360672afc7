"""Readers that reconnect: each follows one generation to its `done`, whatever happens to its connections.

They share one event loop in one thread, so that a thousand readers leave the processor to the servers.
"""

import asyncio
import socket
import threading
import time
from asyncio import StreamReader
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from urllib.parse import urlsplit

import httpx

from tests.client import Client, FrameParser, Json, Received, outcomes_of, wait_for

_SILENCE_SECONDS = 60.0  # a connection that carries nothing for so long is replaced
_BODY_BYTES = 4096


class Follower:
    """Follows one generation, moving on to the next web at every reconnect; keeps all that it received.

    It reconnects at once, or, with `is_patient`, after the time that the stream's `retry:` asks for, as browsers do.
    """

    def __init__(
        self,
        urls: Sequence[str],
        cookies: httpx.Cookies,
        generation: str,
        text: str | None = None,
        *,
        is_patient: bool = False,
    ) -> None:
        self.generation = generation
        self.received: list[Received] = []
        self.text = ""
        self.connections = 0
        self.refusals: list[int] = []
        self.last_refusal = ""  # the body
        self.violations: list[str] = []
        self.last_byte = time.monotonic()
        self.longest_silence = 0.0
        self._urls = urls
        self._cookie = "; ".join(f"{name}={value}" for name, value in cookies.items())
        self._expected = text
        self._stopped = False
        self._is_patient = is_patient
        self._retry_seconds = 0.0
        self._socket: socket.socket | None = None
        self._run = asyncio.run_coroutine_threadsafe(self._follow(), _loop())

    @property
    def is_done(self) -> bool:
        """True once `done` has come; raises the error where the reader has come upon bytes that are no stream."""
        if self._run.done():
            self._run.result()
        return self._has_done

    @property
    def _has_done(self) -> bool:
        return bool(self.received) and self.received[-1].event["type"] == "done"

    def drop(self) -> bool:
        """Cut the connection from this side, wherever in a frame it is; False where there is none."""
        sock = self._socket
        if sock is None:
            return False
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
        return True

    def stop(self) -> None:
        """Leave, and don't reconnect any more."""
        self._stopped = True
        self.drop()

    def of_type(self, kind: str) -> list[Json]:
        """Return the events of one type."""
        return [each.event for each in self.received if each.event["type"] == kind]

    async def _follow(self) -> None:
        while not self._stopped and not self._has_done:
            url = self._urls[self.connections % len(self._urls)]
            self.connections += 1
            try:
                await self._connect(url)
            except (OSError, EOFError):  # a timeout is an OSError
                await asyncio.sleep(0.05)
            if self._is_patient and not self._has_done:
                await asyncio.sleep(self._retry_seconds)

    async def _connect(self, url: str) -> None:
        async with asyncio.timeout(_SILENCE_SECONDS) as limit:
            parts = urlsplit(url)
            reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
            try:
                writer.write(self._request(parts.netloc))
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                status = int(head.split()[1])
                is_stream = status == 200 and b"\r\ntransfer-encoding: chunked\r\n" in head
                if is_stream:
                    self._socket = writer.get_extra_info("socket")
                    await self._read(reader, limit)
                body = await reader.read(_BODY_BYTES) if not is_stream and status != 204 else b""
            finally:
                self._socket = None
                writer.transport.abort()
        if status == 200 and not is_stream:  # an empty one, which asks for a later try
            await asyncio.sleep(int(body.partition(b"\nretry: ")[2]) / 1000)
        elif status != 200:
            self.refusals.append(status)
            self.last_refusal = body.decode("utf-8", "replace")
            await asyncio.sleep(0.2)

    def _request(self, host: str) -> bytes:
        lines = [f"GET /api/generations/{self.generation}/events HTTP/1.1", f"Host: {host}", f"Cookie: {self._cookie}"]
        lines.append("Accept: text/event-stream")
        if self.received:
            lines.append(f"Last-Event-ID: {self.received[-1].cursor}")
        return "\r\n".join([*lines, "\r\n"]).encode()

    async def _read(self, reader: StreamReader, limit: asyncio.Timeout) -> None:
        """Read to the end of the body; a frame that is cut is dropped."""
        parser, rest = FrameParser(), b""
        self.last_byte = time.monotonic()
        while size := int(await reader.readuntil(b"\r\n"), 16):
            part = await reader.readexactly(size + 2)
            now = time.monotonic()
            self.longest_silence = max(self.longest_silence, now - self.last_byte)
            self.last_byte = now
            limit.reschedule(asyncio.get_running_loop().time() + _SILENCE_SECONDS)
            *lines, rest = (rest + part[:-2]).split(b"\n")
            for line in lines:
                if line.startswith(b"retry: "):
                    self._retry_seconds = int(line[7:]) / 1000
                if event := parser.feed(line.decode()):
                    self._take(event)

    def _take(self, each: Received) -> None:
        kind = each.event["type"]
        if kind == "snapshot":
            self.text = ""
        elif self.received:
            (epoch, seq), (old_epoch, old_seq) = _pair(each.cursor), _pair(self.received[-1].cursor)
            if seq != old_seq + 1 or epoch < old_epoch:
                self.violations.append(f"{self.received[-1].cursor} was followed by {each.cursor} {kind}")
        if kind in ("snapshot", "chunk"):
            added = each.event["content"]
            if self._expected is not None and not self._expected.startswith(added, len(self.text)):
                self.violations.append(f"at {each.cursor} the text is not a prefix of the model's")
            self.text += added
        if self._has_done:
            self.violations.append(f"{kind} after done")
        self.received.append(each)


@cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="followers", daemon=True).start()
    return loop


def _pair(cursor: str) -> tuple[int, int]:
    epoch, seq = cursor.split("-")
    return int(epoch), int(seq)


def check(follower: Follower, client: Client, seconds: float = 90) -> Json:
    """Wait for the follower's `done`, assert the invariant, and return the outcome."""
    return check_all([follower], client, seconds)[0]


def check_all(followers: Sequence[Follower], client: Client, seconds: float = 60) -> list[Json]:
    """Check followers whose answers are one user's, and return their outcomes; each answer is polled once."""
    polled: dict[str, Json] = {}
    outcomes: list[Json] = []
    for follower in followers:
        wait_for(lambda follower=follower: follower.is_done, seconds, f"done of {follower.generation}")
        if follower.generation not in polled:
            polled[follower.generation] = client.snapshot(follower.generation)
        outcomes.append(_check(follower, polled[follower.generation]))
    return outcomes


def _check(follower: Follower, stored: Json) -> Json:
    assert not follower.violations, follower.violations[:3]
    outcomes = outcomes_of(follower.received)
    assert len({str(outcome) for outcome in outcomes}) == 1, outcomes
    (done,) = follower.of_type("done")
    # The receipt of the calls after the outcome, such as the title's, comes with `done`.
    receipt = {name: done[name] for name in ("usage_by", "usage_total") if name in done}
    assert follower.text == stored["content"]
    assert stored["outcome"] == outcomes[0] | receipt
    return outcomes[0]
