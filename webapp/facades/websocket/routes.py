"""`/api/ws`: any number of generations on one WebSocket; see webapp/docs/websocket.md for its messages.

The package wsproto, which parses frames, comes with the extra `websocket`. Without it the route answers 501.
"""

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import cast

from flask import Blueprint, Response, request

from millrace.webapp.guard.limits import limited
from millrace.webapp.openapi.document import Description, described
from millrace.webapp.problems import Problem

_HANDSHAKE = "millrace.webapp.facades.websocket.handshake"

routes = Blueprint("websocket", __name__, url_prefix="/api/ws")

_accept_socket = cast(
    "Callable[[], Response] | None", import_module(_HANDSHAKE).accept_socket if find_spec("wsproto") else None
)


@routes.get("", websocket=True)
@routes.get("")
@limited("follow", serves_event_sources=False)
@described(Description(answers={101: None}))
def open_socket() -> Response:
    """Open a WebSocket, on which any number of generations are created, followed and cancelled."""
    if request.headers.get("Upgrade", "").lower() != "websocket":
        detail = (
            "This address is for WebSockets: the request needs the headers `Connection: Upgrade` and "
            "`Upgrade: websocket`. A proxy in front must pass them on."
        )
        raise Problem(426, "upgrade_required", detail, headers={"Upgrade": "websocket"})
    if _accept_socket is None:
        detail = "This server has no WebSockets: `pip install 'millrace[websocket]'` installs what they need."
        raise Problem(501, "websocket_unavailable", detail)
    return _accept_socket()
