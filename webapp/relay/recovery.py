"""Events for a reader whose log cannot continue from its cursor: a snapshot, a stored answer, or `stream_lost`."""

from itertools import pairwise

from millrace.worker.contract.events import Done, Error, SnapshotReason, encode
from millrace.worker.contract.ids import START, Cursor
from millrace.worker.contract.log import PAGE, LogEntry, decode_entry, read
from millrace.worker.contract.redis.streams import Streams
from millrace.worker.contract.transcript import Transcript

_LOST = Error(
    "stream_lost", "The answer's stream was lost because of a server error. Please try again.", retryable=True
)


def is_contiguous(after: Cursor, entries: list[LogEntry]) -> bool:
    """Tell whether `seq` rises by one from `after` through all entries: a log that lost entries has a hole."""
    return all(later.seq == former.seq + 1 for former, later in pairwise((after, *(entry.cursor for entry in entries))))


def fold_log(streams: Streams, generation: str, reason: SnapshotReason) -> list[LogEntry]:
    """Return a snapshot of the log up to its outcome, then the entries from the outcome on; nothing without a log.

    The snapshot's id is that of the last entry folded in. Outcome, title, suggestions and `done` stay separate events,
    because a snapshot does not contain them. Raises RedisUnavailable, RedisKeyInvalid.
    """
    transcript, folded, rest = Transcript(), START, list[LogEntry]()
    cursor = START
    while True:
        page = read(streams, generation, cursor).entries
        for entry in page:
            if not rest and (event := decode_entry(entry)) is not None:
                transcript.apply(event)
            if rest or transcript.outcome is not None:
                rest.append(entry)
            else:
                folded = entry.cursor
        if len(page) < PAGE:
            break
        cursor = page[-1].cursor
    if folded == START:
        return rest
    return [LogEntry(folded, encode(transcript.snapshot(reason))), *rest]


def stored_events_after(cursor: Cursor, stored: list[LogEntry]) -> list[LogEntry]:
    """Return the events of a stored answer that a reader at this cursor still needs; `error stream_lost` if none exist.

    A cursor that does not belong to this log gets all events. A cursor at or behind the last one gets only `done`, with
    the next id: that reader has seen the outcome and every event that stood between it and `done` in the log.
    """
    if not stored:
        return lost_events_after(cursor)
    last = stored[-1]
    if cursor.epoch == last.cursor.epoch and cursor >= last.cursor:
        return [LogEntry(Cursor(cursor.epoch, cursor.seq + 1), last.data)]
    return [entry for entry in stored if entry.cursor > cursor] or stored


def lost_events_after(cursor: Cursor) -> list[LogEntry]:
    """Return the outcome `error stream_lost` and `done`, with ids that continue from the cursor."""
    return [
        LogEntry(Cursor(cursor.epoch, cursor.seq + 1), encode(_LOST)),
        LogEntry(Cursor(cursor.epoch, cursor.seq + 2), encode(Done("failed"))),
    ]
