"""The handshake of a WebSocket: its headers, the response that switches protocols, and the hand-over of the socket."""

import errno
from base64 import b64decode
from binascii import Error as InvalidBase64
from collections.abc import Iterable, Iterator
from typing import cast
from wsgiref.types import WSGIEnvironment

from flask import Flask, Response, current_app, request
from wsproto.utilities import generate_accept_token

from millrace.webapp.facades.websocket.session import Session
from millrace.webapp.guard.auth import current_owner, ensure_owner
from millrace.webapp.guard.client import current_client
from millrace.webapp.problems import Problem
from millrace.webapp.relay import refuse_when_full
from millrace.webapp.relay.socket_handover import can_take_socket, take_socket
from millrace.webapp.services import services

SUBPROTOCOL = "millrace.v1"
_VERSION = "13"
_KEY_BYTES = 16


def accept_socket() -> Response:
    """Return the response to a handshake, after which the socket belongs to a session.

    Raises Problem 400 and 426 for a bad handshake, 401, 429 and 503, and 501 where the socket cannot be taken.
    """
    token = _accept_token()
    if not can_take_socket(request.environ):
        detail = "WebSockets need gunicorn's gevent worker and plain HTTP/1.1 from the proxy that ends TLS."
        raise Problem(501, "websocket_unavailable", detail)
    current_owner()  # which notes the client
    refuse_when_full(services().hub, current_client())
    ensure_owner()
    app = cast("Flask", current_app._get_current_object())  # type: ignore[attr-defined]  # noqa: SLF001
    session = Session(app, services(), request.environ)
    return SwitchingProtocols(_hand_over(request.environ, session), token, _chosen_subprotocol())


class SwitchingProtocols(Response):
    """The response whose body is no body, but hands the socket over once the headers are out."""

    def __init__(self, body: Iterator[bytes], token: str, subprotocol: str | None) -> None:
        super().__init__(body, 101, {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Accept": token})
        del self.headers["Content-Type"]
        if subprotocol is not None:
            self.headers["Sec-WebSocket-Protocol"] = subprotocol

    def get_app_iter(self, environ: WSGIEnvironment) -> Iterable[bytes]:
        """Return the body, which Werkzeug would leave out for this status."""
        return cast("Iterator[bytes]", self.response)


def _hand_over(environ: WSGIEnvironment, session: Session) -> Iterator[bytes]:
    yield b""  # gunicorn sends the headers now
    session.open(take_socket(environ))
    raise BrokenPipeError(errno.EPIPE, "the relay has taken the socket")


def _accept_token() -> str:
    """Return the value that proves the handshake; raises Problem 400 and 426.

    https://www.rfc-editor.org/rfc/rfc6455#section-4.2.1; Werkzeug has checked `Connection` and `Upgrade`.
    """
    if request.headers.get("Sec-WebSocket-Version") != _VERSION:
        detail = "The only version of the WebSocket protocol here is 13 (Sec-WebSocket-Version)."
        raise Problem(426, "upgrade_required", detail, headers={"Sec-WebSocket-Version": _VERSION})
    key = request.headers.get("Sec-WebSocket-Key", "")
    try:
        is_valid = len(b64decode(key, validate=True)) == _KEY_BYTES
    except (InvalidBase64, ValueError):
        is_valid = False
    if not is_valid:
        raise Problem(400, "malformed", "Sec-WebSocket-Key must be 16 bytes in base64.")
    return generate_accept_token(key.encode()).decode()


def _chosen_subprotocol() -> str | None:
    """Return the subprotocol if the client has offered it; a browser that has offered some needs one of them."""
    offered = request.headers.get("Sec-WebSocket-Protocol", "")
    return SUBPROTOCOL if SUBPROTOCOL in (each.strip() for each in offered.split(",")) else None
