"""The seam between the endpoint and the wires: each vendor's protocol is one class, in a folder of its own."""

import json
from dataclasses import dataclass
from typing import Any, Protocol

from deploy.emulator.answer import CitedSource, ContentBlock, EmulatedAnswer
from deploy.emulator.call_history import CallRecord
from deploy.emulator.faults import ErrorFault, ScriptedError, ServiceError
from deploy.emulator.http_connection import Headers, HttpConnection, HttpRequest, Reply
from deploy.emulator.request import EmulatedRequest

_utf8 = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_ascii = json.JSONEncoder(ensure_ascii=True, separators=(",", ":")).encode


def json_bytes(value: Any) -> bytes:
    """Return compact JSON in UTF-8, or in escaped ASCII if it holds a lone surrogate, which UTF-8 cannot encode."""
    try:
        return _utf8(value).encode("utf-8")
    except UnicodeEncodeError:
        return _ascii(value).encode("ascii")


@dataclass(frozen=True)
class Timing:
    """Milliseconds from the request to the first delta, and to the end."""

    first_ms: int
    total_ms: int


class WireFormat(Protocol):
    """Encoding of one answer, as the messages of a stream or as one JSON value. Each message is one HTTP chunk."""

    def opening(self) -> list[bytes]:
        """Return the messages before the first block."""
        ...

    def block_start(self, index: int, block: ContentBlock) -> list[bytes]:
        """Return the messages before a block's deltas; some formats have none."""
        ...

    def delta(self, index: int, block: ContentBlock, text: str) -> bytes:
        """Return one delta."""
        ...

    def citation(self, index: int, block: ContentBlock, source: CitedSource) -> bytes:
        """Return the delta that cites a source of a text."""
        ...

    def signature(self, index: int, block: ContentBlock) -> bytes:
        """Return the delta that signs a reasoning block."""
        ...

    def block_stop(self, index: int, block: ContentBlock) -> list[bytes]:
        """Return the messages after a block's deltas; some formats have none."""
        ...

    def closing(self, timing: Timing) -> list[bytes]:
        """Return the messages after the last block: the stop reason and all that follows it, without the end mark."""
        ...

    def end_mark(self, timing: Timing) -> list[bytes]:
        """Return the last message, by which a client knows that the stream is whole; some formats have none."""
        ...

    def whole(self, timing: Timing) -> Any:
        """Return the JSON of the response that is not streamed."""
        ...

    def error(self, error: ScriptedError) -> bytes:
        """Return an error as a message within the stream."""
        ...

    def raw_event(self, name: str, payload: Any) -> bytes:
        """Return a scripted event with any JSON as its payload."""
        ...

    def corrupt(self, message: bytes) -> bytes:
        """Return the message with damaged bytes."""
        ...

    def malformed(self) -> bytes:
        """Return a message that is framed well, but whose payload is not JSON."""
        ...

    def comment(self) -> bytes:
        """Return a message that means nothing, as proxies send to keep a stream open."""
        ...


class EmulatedWire(Protocol):
    """One vendor's protocol. It names the directive's keys and faults that it cannot express in `unsupported`."""

    unsupported: frozenset[str]

    def serves(self, path: str) -> bool:
        """Return whether a path belongs to this wire."""
        ...

    def parse(self, http: HttpRequest, path: str) -> EmulatedRequest | Reply:
        """Return the request to the model, or the reply to a request that needs no model. Raises ServiceError."""
        ...

    def headers(self, call: CallRecord, *, is_streamed: bool) -> Headers:
        """Return the headers of a response that is no error: its content type, its id."""
        ...

    def format(self, request: EmulatedRequest, answer: EmulatedAnswer, call: CallRecord) -> WireFormat:
        """Return the encoding of an answer to this request."""
        ...

    def find_error(self, fault: ErrorFault) -> ScriptedError:
        """Return the error of a fault's name, in the vendor's words."""
        ...

    def encode_error(self, error: ServiceError) -> Reply:
        """Return the HTTP response of an error, with the error's own headers."""
        ...


def reject(connection: HttpConnection, wire: EmulatedWire, error: ServiceError, headers: Headers = ()) -> None:
    """Answer with an error in the wire's shape, with these headers as well."""
    reply = wire.encode_error(error)
    connection.reply(Reply(reply.status, [*headers, *reply.headers], reply.body))
