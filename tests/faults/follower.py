"""Readers that reconnect: each follows one generation to its `done`, whatever happens to its connections."""

import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress

import httpx

from tests.client import Client, Json, Received, lines_of, outcomes_of, parse_frames, wait_for


class Follower(threading.Thread):
    """Follows one generation, moving on to the next web at every reconnect; keeps all that it received."""

    def __init__(self, urls: Sequence[str], cookies: httpx.Cookies, generation: str, text: str | None = None) -> None:
        super().__init__(daemon=True)
        self.generation = generation
        self.received: list[Received] = []
        self.connections = 0
        self.refusals: list[int] = []
        self.violations: list[str] = []
        self.last_byte = time.monotonic()
        self.longest_silence = 0.0
        self._urls = urls
        self._cookies = cookies
        self._expected = text
        self._text = ""
        self._stopped = False
        self._response: httpx.Response | None = None
        self.start()

    def run(self) -> None:
        """Follow until `done`, or until `stop`."""
        while not self._stopped and not self.is_done:
            url = self._urls[self.connections % len(self._urls)]
            self.connections += 1
            try:
                self._connect(url)
            except httpx.HTTPError:
                time.sleep(0.05)

    @property
    def is_done(self) -> bool:
        return bool(self.received) and self.received[-1].event["type"] == "done"

    @property
    def text(self) -> str:
        return self._text

    def drop(self) -> bool:
        """Cut the connection from this side, wherever in a frame it is; False where there is none."""
        response = self._response
        if response is None:
            return False
        stream = response.extensions.get("network_stream")
        sock = stream.get_extra_info("socket") if stream else None
        if sock is None:
            return False
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
        return True

    def stop(self) -> None:
        """Don't reconnect any more."""
        self._stopped = True

    def _connect(self, url: str) -> None:
        # Reading the certificates of the world, which plain HTTP has no need of, would be most of a connection's cost.
        headers = {"Last-Event-ID": self.received[-1].cursor} if self.received else {}
        with (
            httpx.Client(base_url=url, cookies=self._cookies, timeout=60, trust_env=False, verify=False) as http,
            http.stream("GET", f"/api/generations/{self.generation}/events", headers=headers) as response,
        ):
            if response.status_code != 200:
                self.refusals.append(response.status_code)
                time.sleep(0.2)
                return
            self._response = response
            for each in parse_frames(self._noted(response)):
                self._take(each)

    def _noted(self, response: httpx.Response) -> Iterator[str]:
        self.last_byte = time.monotonic()
        for line in lines_of(response):
            now = time.monotonic()
            self.longest_silence = max(self.longest_silence, now - self.last_byte)
            self.last_byte = now
            yield line

    def _take(self, each: Received) -> None:
        kind = each.event["type"]
        if kind == "snapshot":
            self._text = each.event["content"]
        elif self.received:
            (epoch, seq), (old_epoch, old_seq) = _pair(each.cursor), _pair(self.received[-1].cursor)
            if seq != old_seq + 1 or epoch < old_epoch:
                self.violations.append(f"{self.received[-1].cursor} was followed by {each.cursor} {kind}")
        if kind == "chunk":
            self._text += each.event["content"]
        if self._expected is not None and not self._expected.startswith(self._text):
            self.violations.append(f"at {each.cursor} the text is not a prefix of the model's")
        if self.is_done:
            self.violations.append(f"{kind} after done")
        self.received.append(each)

    def of_type(self, kind: str) -> list[Json]:
        """Return the events of one type."""
        return [each.event for each in self.received if each.event["type"] == kind]


def _pair(cursor: str) -> tuple[int, int]:
    epoch, seq = cursor.split("-")
    return int(epoch), int(seq)


def check(follower: Follower, client: Client, seconds: float = 60) -> Json:
    """Wait for the follower's `done`, assert the invariant, and return the outcome."""
    wait_for(lambda: follower.is_done, seconds, f"done of {follower.generation}")
    assert not follower.violations
    outcomes = outcomes_of(follower.received)
    assert len({str(outcome) for outcome in outcomes}) == 1, outcomes
    assert len(follower.of_type("done")) == 1
    stored = client.snapshot(follower.generation)
    assert follower.text == stored["content"]
    assert stored["outcome"] == outcomes[0]
    return outcomes[0]
