"""The log of a generation: append under a claim, read from a cursor."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import cast

from millrace.worker.contract.events import EVENT_PREFIX, AnyEvent, CancelledBy, decode, is_of_unknown_type
from millrace.worker.contract.ids import START, Cursor, cursor_of
from millrace.worker.contract.keys import keys_of
from millrace.worker.contract.redis.connection import Redis, translate_redis_errors
from millrace.worker.contract.redis.streams import Streams
from millrace.worker.contract.scripts import APPEND, Reply, pack, run_packed
from millrace.worker.contract.transcript import Transcript
from millrace.worker.errors import RedisKeyInvalid
from millrace.worker.observability.logs import get_logger

PAGE = 500

_log = get_logger(__name__)


class Verdict(StrEnum):
    """The result of an append."""

    APPENDED = "appended"
    DUP = "dup"  # it was in the log already: a success
    FENCED = "fenced"  # another worker has claimed the generation
    GAP = "gap"  # an entry before this one is missing; nothing was written
    OVER = "over"  # the outcome, or `done`, is in the log already
    LOST = "lost"  # Redis has lost the claim, or all its data


@dataclass(frozen=True)
class Claim:
    """The right to write one generation's log: the token names the holder, the epoch is its fence."""

    generation: str
    token: str
    epoch: int


@dataclass(frozen=True)
class Append:
    """One event to be appended to a log."""

    claim: Claim
    seq: int
    kind: str
    data: bytes
    is_settled: bool = False
    """For `done` only: whether the answer is stored or never will be, so that it is not recorded as pending."""


@dataclass(frozen=True)
class AppendResult:
    """The reply to an append: the verdict, who requested a cancel, if anyone, and the log's last id."""

    verdict: Verdict
    cancelled_by: CancelledBy | None
    top: Cursor


@dataclass(frozen=True)
class LogEntry:
    """One event in a log, still encoded."""

    cursor: Cursor
    data: bytes


@dataclass(frozen=True)
class LogSlice:
    """The entries after a cursor; `is_joined` is false if the log does not hold the cursor's own entry."""

    entries: list[LogEntry]
    is_joined: bool


def append_all(redis: Redis, appends: list[Append], log_ttl_ms: int) -> list[AppendResult | Exception]:
    """Append the events in one round trip, each by its own script call, and return the results in order.

    For an append that Redis rejected, the list holds the exception. Raises RedisUnavailable if no reply arrives.
    """
    return [_result(reply) for reply in run_packed(redis, [_packed(each, log_ttl_ms) for each in appends], [APPEND])]


@lru_cache(maxsize=4096)
def packed_parts(claim: Claim, kind: str, log_ttl_ms: int, *, is_settled: bool = False) -> tuple[bytes, bytes, bytes]:
    """Return the encoded parts of an append before its seq, between seq and data, and after the data.

    They are cached because they rarely change.
    """
    before = APPEND.packed(keys_of(claim.generation), claim.generation, claim.token, claim.epoch, more=5)
    return before, pack(kind), pack(log_ttl_ms) + pack(int(is_settled))


def _packed(append: Append, log_ttl_ms: int) -> bytes:
    before, between, after = packed_parts(append.claim, append.kind, log_ttl_ms, is_settled=append.is_settled)
    return b"".join((before, pack(append.seq), between, pack(append.data), after))


def _result(reply: Reply) -> AppendResult | Exception:
    if isinstance(reply, Exception):
        return reply
    verdict, cancelled_by, top = cast("list[bytes]", reply)
    by = cast("CancelledBy", cancelled_by.decode()) if cancelled_by else None
    return AppendResult(Verdict(verdict.decode()), by, cursor_of(top))


def read(streams: Streams, generation: str, after: Cursor = START, count: int = PAGE) -> LogSlice:
    """Return at most `count` entries after the cursor; raises RedisUnavailable, RedisKeyInvalid.

    The cursor's own entry is read as well: without it, entries may be missing and the stream cannot continue.
    """
    if after == START:
        return LogSlice(_entries(streams, generation, "-", count), is_joined=True)
    entries = _entries(streams, generation, str(after), count + 1)
    if entries and entries[0].cursor == after:
        return LogSlice(entries[1:], is_joined=True)
    return LogSlice(entries[:count], is_joined=False)


def _entries(streams: Streams, generation: str, start: str, count: int) -> list[LogEntry]:
    with translate_redis_errors():
        rows = cast(
            "list[tuple[bytes, dict[bytes, bytes]]]",
            streams.of(generation).xrange(keys_of(generation).log, start, "+", count),
        )
    entries = [LogEntry(cursor_of(key), fields.get(b"d", b"")) for key, fields in rows]
    if not all(is_event(entry.data) for entry in entries):
        raise RedisKeyInvalid(f"the log of {generation} has an entry that is no event")
    return entries


def is_event(data: bytes) -> bool:
    """Return whether data begins and ends as events do and has no line break, which would split its frame in two."""
    return data.startswith(EVENT_PREFIX) and data.endswith(b"}") and b"\n" not in data and b"\r" not in data


def decode_entry(entry: LogEntry) -> AnyEvent | None:
    """Return the event of a log's entry; None for one of a type that only newer versions know, which is no text.

    Raises RedisKeyInvalid.
    """
    try:
        return decode(entry.data)
    except ValueError as error:
        if is_of_unknown_type(entry.data):
            _log.warning("unknown_event_skipped", cursor=str(entry.cursor))
            return None
        raise RedisKeyInvalid(f"the event {entry.cursor} is unreadable: {error}") from error


def decode_entries(entries: Iterable[LogEntry]) -> Iterator[AnyEvent]:
    """Yield the events of entries without those that `decode_entry` does not know; raises RedisKeyInvalid."""
    return (event for entry in entries if (event := decode_entry(entry)) is not None)


def read_transcript(streams: Streams, generation: str, upto: Cursor | None = None) -> tuple[Transcript, Cursor]:
    """Fold the log into a transcript, up to and including the entry at `upto`, by default all of it.

    Raises RedisUnavailable, RedisKeyInvalid. Returns the transcript and the id of the last entry folded in, `START` if
    there is none.
    """
    transcript, cursor = Transcript(), START
    while entries := _entries(streams, generation, f"({cursor}" if cursor != START else "-", PAGE):
        for entry in entries:
            if upto is not None and entry.cursor > upto:
                return transcript, cursor
            if (event := decode_entry(entry)) is not None:
                transcript.apply(event)
            cursor = entry.cursor
    return transcript, cursor
