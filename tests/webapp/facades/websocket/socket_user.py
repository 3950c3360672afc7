"""One user's WebSocket in a `WebHarness`: a session over a pair of sockets, without gunicorn and its handshake."""

from types import TracebackType
from typing import Any, Self

from werkzeug.test import EnvironBuilder

from millrace.webapp.facades.websocket.session import Session
from millrace.webapp.guard.auth import AUTHORIZATION, Authorization
from millrace.webapp.guard.client import CLIENT, Client
from tests.webapp.facades.websocket.handshake_headers import HANDSHAKE
from tests.webapp.harness import Json, WebHarness
from tests.webapp.relay.websocket_client import PairedClient


class SocketUser:
    """The client's side, from `with` on; `session` is the server's."""

    def __init__(self, site: WebHarness, owner: str | None = None, authorization: Authorization | None = None) -> None:
        environ = EnvironBuilder("/api/ws", headers=[*HANDSHAKE.items()]).get_environ()
        environ["REMOTE_ADDR"] = "127.0.0.1"
        environ[CLIENT] = Client(owner or site.owner(), "127.0.0.1")
        environ[AUTHORIZATION] = authorization
        self.wire = PairedClient()
        self._kept: list[Json] = []
        self.session = Session(site.app, site.services, environ)

    def __enter__(self) -> Self:
        self.session.open(self.wire.server_socket)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.session._reader.close("client_left")
        self.wire.socket.close()

    def ask(self, kind: str, **fields: Any) -> Json:
        """Send a message, and return the first reply that is no event."""
        self.wire.say({"type": kind, **fields})
        return self.reply()

    def reply(self) -> Json:
        """Return the next message that is neither the greeting nor an event, which is kept."""
        while (message := self.wire.receive())["type"] in ("event", "ready"):
            self._kept.append(message)
        return message

    def events(self, generation: str, until: str = "done") -> list[tuple[str, Json]]:
        """Return the events of a generation up to the first of a type: the id and the event."""
        found: list[tuple[str, Json]] = []
        while not found or found[-1][1]["type"] != until:
            message = self._kept.pop(0) if self._kept else self.wire.receive()
            if message["type"] == "event" and message["generation"] == generation:
                found.append((message["id"], message["event"]))
        return found
