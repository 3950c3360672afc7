"""What a reader gets of a stored answer: never a second outcome, never nothing."""

from hypothesis import given
from hypothesis import strategies as st

from millrace.webapp.relay.rebuilding import kept_after, lost_after
from millrace.worker.contract.events import Cancelled, Done, Snapshot, Usage, decode, encode
from millrace.worker.contract.ids import Cursor
from millrace.worker.contract.log import LogEntry

EVENTS = (Snapshot("text", "", [], [], "expired"), Cancelled("user", Usage()), Done("cancelled"))
KEPT = [LogEntry(Cursor(7, seq), encode(event)) for seq, event in enumerate(EVENTS, 4)]
CURSORS = st.builds(Cursor, st.integers(0, 9), st.integers(0, 9))


@given(CURSORS)
def test_what_is_told_goes_on_from_the_cursor_or_begins_with_the_snapshot(cursor: Cursor) -> None:
    told = kept_after(cursor, KEPT)
    assert isinstance(decode(told[-1].data), Done)
    if cursor.epoch == 7 and cursor.seq >= 4:
        assert [entry.cursor.seq for entry in told] == list(range(cursor.seq + 1, max(cursor.seq + 1, 6) + 1))
    else:
        assert told == KEPT


@given(CURSORS)
def test_what_is_not_stored_is_said_to_be_lost(cursor: Cursor) -> None:
    assert kept_after(cursor, []) == lost_after(cursor)
