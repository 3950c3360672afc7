"""Events from a stored answer: never a second outcome, never an empty list."""

from hypothesis import given
from hypothesis import strategies as st

from millrace.webapp.relay.recovery import lost_events_after, stored_events_after
from millrace.worker.contract.events import Cancelled, Done, Snapshot, Usage, decode, encode
from millrace.worker.contract.ids import Cursor
from millrace.worker.contract.log import LogEntry

EVENTS = (Snapshot("text", "", [], [], "expired"), Cancelled("user", Usage()), Done("cancelled"))
STORED = [LogEntry(Cursor(7, seq), encode(event)) for seq, event in enumerate(EVENTS, 4)]
CURSORS = st.builds(Cursor, st.integers(0, 9), st.integers(0, 9))


@given(CURSORS)
def test_stored_events_continue_from_the_cursor_or_begin_with_the_snapshot(cursor: Cursor) -> None:
    events = stored_events_after(cursor, STORED)
    assert isinstance(decode(events[-1].data), Done)
    if cursor.epoch == 7 and cursor.seq >= 4:
        assert [entry.cursor.seq for entry in events] == list(range(cursor.seq + 1, max(cursor.seq + 1, 6) + 1))
    else:
        assert events == STORED


@given(CURSORS)
def test_without_a_stored_answer_the_stream_is_lost(cursor: Cursor) -> None:
    assert stored_events_after(cursor, []) == lost_events_after(cursor)
