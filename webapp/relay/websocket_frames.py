"""The bytes on a WebSocket: events and other messages as text frames, and the codes with which the server closes.

An event is wrapped, not extended: its own JSON may have any field, among them `id` and `generation`.

{"type":"event","generation":"9bFq…","id":"1-7","event":{"type":"chunk","content":"so"}}
"""

import random
from struct import pack

from millrace.webapp.relay.frames import Frame
from millrace.webapp.relay.multiplexer import NamedFrames
from millrace.webapp.relay.reader import EndReason

# https://www.rfc-editor.org/rfc/rfc6455#section-7.4.1 and https://www.iana.org/assignments/websocket/websocket.xhtml
DONE = 1000
BAD_FRAME = 1002
NOT_TEXT = 1003
POLICY = 1008
TOO_LARGE = 1009
FAILED = 1011
RESTARTING = 1012
CROWDED = 1013
UNAUTHORIZED = 4401

_SHORT, _MEDIUM = 126, 1 << 16
_FINAL_TEXT, _FINAL_PING = 0x81, 0x89


def text_frame(payload: bytes) -> bytes:
    """Return a whole text message of a server, which is not masked: https://www.rfc-editor.org/rfc/rfc6455#section-5.2

    Written here, because this is done once for every event.
    """
    size = len(payload)
    if size < _SHORT:
        return b"%c%c%b" % (_FINAL_TEXT, size, payload)
    if size < _MEDIUM:
        return pack("!BBH", _FINAL_TEXT, 126, size) + payload
    return pack("!BBQ", _FINAL_TEXT, 127, size) + payload


HEARTBEAT = text_frame(b'{"type":"ping"}') + bytes((_FINAL_PING, 0))
"""A message for the client, which cannot see a ping frame, and a ping, which a living client answers by itself."""


def closing(why: EndReason) -> tuple[int, str]:
    """Return the code and the reason of the close frame for a socket that the server ends."""
    match why:
        case "done" | "client_left":
            return DONE, ""
        case "drained":
            return RESTARTING, f'{{"retry_ms":{random.randint(500, 3000)}}}'
        case "revoked":
            return UNAUTHORIZED, "Authorization has ended. Sign in again."
        case "stalled" | "error":
            return FAILED, ""


def _render_event(generation: bytes, frame: Frame) -> bytes:
    return text_frame(
        b'{"type":"event","generation":"%b","id":"%d-%d","event":%b}' % (generation, frame.epoch, frame.seq, frame.data)
    )


EVENTS = NamedFrames(_render_event)
"""The events of all generations as messages; sockets that get the same events share them."""
