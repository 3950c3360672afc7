"""One WebSocket: what its client asks for, in the context of the handshake's request, and the streams that it follows.

Each message is handled as a request of its own would be: the same limits, validation, ownership and idempotency.
"""

import _socket
import json
import time
from typing import Any, assert_never, cast, get_args
from wsgiref.types import WSGIEnvironment

import msgspec
from flask import Flask
from wsproto.connection import Connection, ConnectionType

from millrace.webapp.facades.websocket import messages
from millrace.webapp.facades.websocket.messages import MessageType, SocketReply
from millrace.webapp.generation import creation
from millrace.webapp.generation.creation import check_idempotency_key, create_generation
from millrace.webapp.generation.responses import check_cursor
from millrace.webapp.generation.validation import convert, parse
from millrace.webapp.guard.auth import AUTHORIZATION, Authorization, assume_owner
from millrace.webapp.guard.client import CLIENT, Client, kept_variables
from millrace.webapp.guard.limits import admit
from millrace.webapp.guard.ownership import (
    generation_not_found,
    owned_generation,
    owned_generation_with_retry,
    resume_cursor_with_retry,
)
from millrace.webapp.problems import Problem, invalid, problem_of
from millrace.webapp.relay import refuse_when_full
from millrace.webapp.relay import websocket_frames as frames
from millrace.webapp.relay.multiplexer import FollowedGeneration, Multiplexer
from millrace.webapp.relay.websocket_reader import MessageLimits, WebSocketReader
from millrace.webapp.request_input import Json, parse_object
from millrace.webapp.request_log import start_request
from millrace.webapp.services import Services
from millrace.worker.contract.ids import START, Cursor
from millrace.worker.contract.keys import hash_of
from millrace.worker.contract.state import GenerationState
from millrace.worker.observability.logs import get_logger

_TYPES: tuple[MessageType, ...] = get_args(MessageType)

_log = get_logger(__name__)


class Session:
    """The server's side of one WebSocket; `environ` is that of the handshake, which has an owner."""

    def __init__(self, app: Flask, services: Services, environ: WSGIEnvironment) -> None:
        self._app = app
        self._services = services
        self._environ = kept_variables(environ)
        self._authorization: Authorization | None = environ.get(AUTHORIZATION)
        self._client: Client = environ[CLIENT]

    def open(self, sock: _socket.socket) -> None:
        """Serve the socket from now on; returns at once."""
        settings, hub = self._services.settings, self._services.hub
        limits = MessageLimits(
            settings.limits.max_body_bytes,
            settings.limits.body_seconds,
            settings.relay.reader_stall_seconds,
            hub.received,
        )
        self._reader = WebSocketReader(sock, Connection(ConnectionType.SERVER), limits, self.handle)
        is_crowded = hub.places.rejection(self._client) is not None  # others came while the handshake was answered
        self._streams = Multiplexer(hub, self._reader, named=frames.EVENTS, is_lasting=True)
        self._streams.start(self._authorization, self._client)
        if is_crowded:
            self._reader.refuse(frames.CROWDED, "Too many streams are open. Please retry.")
        elif not self._reader.is_ending:
            ready = messages.SocketReady(
                settings.relay.heartbeat_seconds, settings.relay.max_follows, settings.limits.max_body_bytes
            )
            self._reader.send(frames.text_frame(msgspec.json.encode(ready)))

    def handle(self, raw: bytes) -> None:
        """Do what a message asks for, and reply."""
        began = time.monotonic()
        with self._app.request_context(dict(self._environ)):
            start_request()
            assume_owner(self._client.owner)
            kind, problem = self._answer(raw)
        self._services.metrics.messages.labels(kind, "ok" if problem is None else str(problem.status)).inc()
        _log.info(
            "message",
            type=kind,
            ms=round((time.monotonic() - began) * 1000, 1),
            code=None if problem is None else problem.code,
            owner=hash_of(self._client.owner),
        )

    def _answer(self, raw: bytes) -> tuple[str, Problem | None]:
        """Return the message's type, "other" if it is unknown, and the problem with which it was rejected."""
        kind: MessageType | None = None
        request: str | None = None
        try:
            try:
                body = parse_object(raw, "message")
                request = messages.take_request(body)
                kind = _take_type(body)
            except Problem:
                with admit("write"):  # whatever it was meant to be
                    raise
            self._do(kind, body, request)
        except Exception as error:  # noqa: BLE001 - the edge of a message, as of a request
            problem = problem_of(error)
            self._reply(messages.rejected(problem, request))
            return kind or "other", problem
        return kind, None

    def _do(self, kind: MessageType, body: Json, request: str | None) -> None:
        if kind != "ping" and self._is_revoked():
            return
        match kind:
            case "send":
                with admit("create"):
                    self._send(body, request)
            case "follow":
                with admit("follow"):
                    self._follow(convert(body, messages.FollowFields), request)
            case "unfollow":
                generation = convert(body, messages.GenerationField).generation
                with admit("read"):
                    self._streams.unfollow(generation)
                    self._reply(messages.Ended(generation=generation, why="unfollowed", request=request))
            case "cancel":
                with admit("write"):
                    self._cancel(convert(body, messages.GenerationField).generation, request)
            case "ping":
                convert(body, messages.NoFields)
                with admit("read"):
                    self._reply(messages.Pong(request=request))
            case _:
                assert_never(kind)

    def _is_revoked(self) -> bool:
        """Check the authorization before an action, and close the socket if it has ended."""
        if self._authorization is None or self._authorization.is_valid():
            return False
        self._reader.finish("revoked")
        return True

    def _send(self, body: Json, request: str | None) -> None:
        key = check_idempotency_key(_take_key(body))
        if "stream" in body:
            raise invalid("stream", "A WebSocket always streams; leave out stream.")
        parsed = parse(body, self._services.settings)
        self._check_room()
        state = create_generation(self._services, self._client.owner, parsed, key, is_streamed=False)
        self._reply(messages.accepted(state, request))
        if state.generation not in self._streams.followed:  # a repeated message changes nothing
            self._start(state, START)

    def _follow(self, fields: messages.FollowFields, request: str | None) -> None:
        after = check_cursor(fields.after if isinstance(fields.after, str) else "")
        state = owned_generation_with_retry(fields.generation)
        after = resume_cursor_with_retry(state, after)
        if state.is_done and after == state.top:
            self._streams.unfollow(state.generation)
            ended = messages.Ended(generation=state.generation, why="done", status=state.status, request=request)
            self._reply(ended)
            return
        if state.generation not in self._streams.followed:
            self._check_room()
        self._streams.unfollow(state.generation)  # the reply stands before the events after the new cursor
        self._reply(messages.Following(generation=state.generation, request=request))
        self._start(state, after)

    def _cancel(self, generation: str, request: str | None) -> None:
        cancelled = creation.cancel_generation(self._services, owned_generation(generation))
        if cancelled is None:
            raise generation_not_found()
        self._reply(messages.CancelAccepted(generation=generation, status=cancelled[0], request=request))

    def _check_room(self) -> None:
        """Raise Problem where the socket, its user, their address or the server follows too many generations."""
        most = self._services.settings.relay.max_follows
        if len(self._streams.followed) >= most:
            detail = f"One socket can follow at most {most} generations (MILLRACE_MAX_FOLLOWS). Unfollow one first."
            raise Problem(400, "bad_follow", detail)
        refuse_when_full(self._services.hub, self._client)

    def _start(self, state: GenerationState, after: Cursor) -> None:
        if not self._reader.is_ending:
            self._streams.follow(FollowedGeneration(state.generation, after, state.on_disconnect == "cancel"))

    def _reply(self, reply: SocketReply) -> None:
        # ASCII: a rejection may quote a lone surrogate of the message.
        self._reader.send_message(json.dumps(msgspec.to_builtins(reply)).encode())


def _take_type(body: Json) -> MessageType:
    given: Any = body.pop("type", None)
    if given not in _TYPES:
        raise Problem(422, "unknown_type", f"The type must be one of: {', '.join(_TYPES)}.", field="type")
    return cast("MessageType", given)


def _take_key(body: Json) -> str | None:
    name = "idempotency_key"
    fields = convert({name: body.pop(name, None)}, messages.KeyField)
    return fields.idempotency_key if isinstance(fields.idempotency_key, str) else None
