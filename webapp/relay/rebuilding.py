"""What a reader is given where the log can't continue from its cursor: a snapshot, or word that all is lost."""

from itertools import pairwise

from millrace.worker.contract.connection import Redis
from millrace.worker.contract.events import Done, Error, SnapshotReason, decode, encode
from millrace.worker.contract.ids import START, Cursor
from millrace.worker.contract.log import PAGE, LogEntry, read
from millrace.worker.contract.transcript import Transcript

_LOST = Error("stream_lost", "The answer's stream was lost on our side. Please ask again.", retryable=True)


def is_seamless(after: Cursor, entries: list[LogEntry]) -> bool:
    """Tell whether the entries' numbers go on by one from `after`: a log that lost entries has a hole."""
    return all(later.seq == former.seq + 1 for former, later in pairwise((after, *(entry.cursor for entry in entries))))


def fold_log(redis: Redis, generation: str, reason: SnapshotReason) -> list[LogEntry]:
    """Return a snapshot of the log up to its outcome, and whatever follows; nothing where there is no log.

    The snapshot's id is that of the last entry folded in. Outcome, title, suggestions and `done` stay events of their
    own, because a snapshot does not say them. Raises RedisUnavailable.
    """
    transcript, folded, rest = Transcript(), START, list[LogEntry]()
    cursor = START
    while True:
        page = read(redis, generation, cursor).entries
        for entry in page:
            if not rest:
                event = decode(entry.data)
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


def kept_after(cursor: Cursor, kept: list[LogEntry]) -> list[LogEntry]:
    """Return what of a stored answer's events a reader at this cursor still gets; `error stream_lost` without any.

    A cursor that is none of this log's gets all of them, and one behind their end only `done` once more: it has seen
    the outcome, and what came between that and `done` in the log.
    """
    if not kept:
        return lost_after(cursor)
    last = kept[-1]
    if cursor.epoch == last.cursor.epoch and cursor >= last.cursor:
        return [LogEntry(Cursor(cursor.epoch, cursor.seq + 1), last.data)]
    return [entry for entry in kept if entry.cursor > cursor] or kept


def lost_after(cursor: Cursor) -> list[LogEntry]:
    """Return the outcome `error stream_lost` and `done`, with ids that go on from the cursor."""
    return [
        LogEntry(Cursor(cursor.epoch, cursor.seq + 1), encode(_LOST)),
        LogEntry(Cursor(cursor.epoch, cursor.seq + 2), encode(Done("failed"))),
    ]
