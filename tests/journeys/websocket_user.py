"""A client of `/api/ws` over a real connection, as a careful program would write it."""

import json
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.client import Client, Json, Received


class WebSocketUser:
    """One connection of a user; `opening` are further arguments of `connect`."""

    def __init__(self, url: str, user: Client | None = None, **opening: Any) -> None:
        cookies = [] if user is None else user.http.cookies.items()
        headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in cookies)} if cookies else {}
        headers |= {name: value for name, value in user.http.headers.items() if name == "authorization"} if user else {}
        address = f"ws{url.removeprefix('http')}/api/ws"
        self._connection = connect(address, additional_headers=headers, proxy=None, **opening)
        self.kept: list[Json] = []

    def __enter__(self) -> Self:
        self.socket: ClientConnection = self._connection.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.__exit__(kind, error, trace)

    def say(self, kind: str, **fields: Any) -> None:
        """Send a message."""
        self.socket.send(json.dumps({"type": kind, **fields}))

    def ask(self, kind: str, **fields: Any) -> Json:
        """Send a message, and return its reply; events that come before it are kept."""
        self.say(kind, **fields)
        while (message := self.receive())["type"] in ("event", "ready", "ping"):
            self.kept.append(message)
        return message

    def receive(self, seconds: float = 40) -> Json:
        """Return the next message."""
        return json.loads(self.socket.recv(timeout=seconds))

    def wait_for_close(self, step: Callable[[], object]) -> tuple[int, str]:
        """Repeat the step until the server has closed; return the code and the reason, 1006 without a close frame."""
        try:
            while True:
                step()
        except ConnectionClosed as closed:
            return (1006, "") if closed.rcvd is None else (closed.rcvd.code, closed.rcvd.reason)

    def events(self, generation: str, count: int = 0) -> list[Received]:
        """Return a generation's events up to `done`, or so many; those of other generations are kept."""
        found: list[Received] = []
        others: list[Json] = []
        while not (found and (found[-1].event["type"] == "done" or len(found) == count)):
            message = self.kept.pop(0) if self.kept else self.receive()
            if message["type"] == "event" and message["generation"] == generation:
                found.append(Received(message["id"], message["event"], time.monotonic()))
            else:
                others.append(message)
        self.kept = others + self.kept
        return found


def same_owner(_: object) -> str:
    """Return the owner of every request, for MILLRACE_AUTH."""
    return "somebody"
