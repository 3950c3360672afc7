"""A generation's state as other processes see it, and the key that says that it has readers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar, cast

from millrace.worker.contract.events import Status
from millrace.worker.contract.ids import Cursor, cursor_of, is_generation
from millrace.worker.contract.keys import keys_of
from millrace.worker.contract.lifetimes import CREATION_MS, WATCHED_MS
from millrace.worker.contract.redis.connection import run_each, translate_redis_errors
from millrace.worker.contract.redis.streams import Streams
from millrace.worker.contract.request import ModelRequest, OnDisconnect, RequestSummary, decode_request, decode_summary
from millrace.worker.errors import RedisKeyInvalid
from millrace.worker.observability.logs import get_logger

Row = list[bytes | None]
Value = TypeVar("Value")

_log = get_logger(__name__)


@dataclass(frozen=True)
class GenerationState:
    """A generation's owner, ids and progress; `created_ms` is a time of Redis's clock."""

    generation: str
    owner: str
    conversation: str
    message: str
    status: Status
    attempt: int
    top: Cursor
    is_done: bool
    on_disconnect: OnDisconnect
    created_ms: int
    question: str = ""
    """The id of the user's message; empty where the request belongs to no conversation and nothing is stored."""
    is_deleted: bool = False
    """Whether its conversation has been deleted; then no one may read it any more."""

    @property
    def is_running(self) -> bool:
        """Whether the outcome is still to come. After it, only a title, suggestions and `done` may follow."""
        return self.status in ("queued", "running")


_FIELDS = (
    *("owner", "conversation", "message", "status", "attempt", "top", "done", "on_disconnect", "created"),
    *("question", "deleted"),
)
"""The fields of the hash that `parse_state` takes, in its order; `create.lua` returns the same."""


def may_run(state: GenerationState | None, age_ms: int) -> bool:
    """Return whether a generation whose place was reserved `age_ms` ago runs, or is still being created."""
    return age_ms < CREATION_MS if state is None else state.is_running


def read_state(streams: Streams, generation: str) -> GenerationState | None:
    """Return the state, or None where Redis has no such generation; raises RedisUnavailable, RedisKeyInvalid."""
    with translate_redis_errors():
        return parse_state(generation, cast("Row", streams.of(generation).hmget(keys_of(generation).state, *_FIELDS)))


def read_states(streams: Streams, generations: list[str]) -> list[GenerationState | None]:
    """Return the states in one round trip to each node, in order; one that is unreadable counts as missing.

    Raises RedisUnavailable.
    """
    states: dict[str, GenerationState | None] = {}
    for node, some in streams.group(generations):
        pipeline = node.redis.pipeline(transaction=False)
        for generation in some:
            pipeline.hmget(keys_of(generation).state if is_generation(generation) else "", *_FIELDS)
        states |= {each: _state_or_none(each, row) for each, row in zip(some, run_each(pipeline), strict=True)}
    return [states[each] for each in generations]


def _state_or_none(generation: str, row: Row | Exception) -> GenerationState | None:
    try:
        with translate_redis_errors():
            if isinstance(row, Exception):
                raise row
            return parse_state(generation, row)
    except RedisKeyInvalid as error:
        _log.error("state_unreadable", generation=generation, error=error)
        return None


def parse_state(generation: str, row: Row) -> GenerationState | None:
    """Return the state from the values of its fields, or None where there is no such generation.

    Raises RedisKeyInvalid.
    """
    try:
        return _parse_state(generation, row)
    except ValueError as error:
        raise RedisKeyInvalid(f"the state of {generation} is unreadable: {error}") from error


def _parse_state(generation: str, row: Row) -> GenerationState | None:
    owner, conversation, message, status, attempt, top, done, on_disconnect, created, question, deleted = (
        each or b"" for each in row
    )
    if not status or not owner:
        return None
    return GenerationState(
        generation,
        owner.decode(),
        conversation.decode(),
        message.decode(),
        cast("Status", status.decode()),
        int(attempt),
        cursor_of(top),
        done == b"1",
        cast("OnDisconnect", on_disconnect.decode()),
        int(created),
        question.decode(),
        deleted == b"1",
    )


def read_request(streams: Streams, generation: str) -> ModelRequest | None:
    """Return the request; None where Redis has no such generation, or its answer is stored.

    Raises RedisUnavailable, RedisKeyInvalid.
    """
    return _read_field(streams, generation, "request", decode_request)


def read_summary(streams: Streams, generation: str) -> RequestSummary | None:
    """Return the summary of the request, None where Redis has no such generation.

    Raises RedisUnavailable, RedisKeyInvalid.
    """
    return _read_field(streams, generation, "summary", decode_summary)


def _read_field(streams: Streams, generation: str, name: str, parse: Callable[[bytes], Value]) -> Value | None:
    with translate_redis_errors():
        value = cast("bytes | None", streams.of(generation).hget(keys_of(generation).state, name))
    try:
        return None if value is None else parse(value)
    except ValueError as error:
        raise RedisKeyInvalid(f"the {name} of {generation} is unreadable: {error}") from error


def mark_watched(streams: Streams, generations: list[str]) -> None:
    """Record that these generations have readers, for 15 s, in one round trip to each node; raises RedisUnavailable."""
    with translate_redis_errors():
        for node, some in streams.group(generations):
            pipeline = node.redis.pipeline(transaction=False)
            for generation in some:
                pipeline.set(keys_of(generation).watched, b"1", px=WATCHED_MS)
            pipeline.execute()
