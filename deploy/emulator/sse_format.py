"""Server-sent events: the frames that the wires with `text/event-stream` share."""

from typing import Any

from deploy.emulator.wire import json_bytes


def encode_event(name: str, value: Any = None, *, raw: bytes | None = None) -> bytes:
    """Return an event with JSON as its data, or with raw bytes; an empty name stands for none."""
    head = b"event: %b\n" % name.encode("ascii") if name else b""
    return b"%bdata: %b\n\n" % (head, json_bytes(value) if raw is None else raw)


class SseFormat:
    """The messages that formats of server-sent events share."""

    def raw_event(self, name: str, payload: Any) -> bytes:
        """Return an event of this name with any JSON as its data.

        `data` is an event without a name, and the text of `raw` is sent as it is, such as an end mark.
        """
        if name == "raw":
            return str(payload).encode("utf-8", "surrogatepass")
        return encode_event("" if name == "data" else name, payload)

    def corrupt(self, message: bytes) -> bytes:
        """Return the message with bytes in its middle that are not UTF-8."""
        middle = len(message) // 2
        return message[:middle] + b"\xff\xfe" + message[middle:]

    def comment(self) -> bytes:
        """Return a comment."""
        return b": keep-alive\n\n"
