"""The outbox numbers events, and continues correctly after Redis has lost or rejected some.

That Redis loses or rejects them is simulated here by calls; `test_writer.py` does it with a real Valkey.
"""

from collections.abc import Callable
from math import ceil

import pytest

from millrace.worker.contract.events import (
    AnyEvent,
    Chunk,
    Done,
    Error,
    Snapshot,
    StatusEvent,
    Suggestions,
    Title,
    decode,
    encode,
)
from millrace.worker.contract.ids import Cursor
from millrace.worker.contract.lease import ClaimedGeneration, Reclaimed
from millrace.worker.contract.log import Claim
from millrace.worker.contract.request import ModelRequest, PromptMessage
from millrace.worker.interrupt import Interrupt, LeaseLost
from millrace.worker.publishing.batching import Batcher
from millrace.worker.publishing.outbox import EVENT_BYTES, Outbox
from tests.worker.harness import COMPLETE

OLD_CLAIM = Claim("0" * 32, "old", 7)
NEW_CLAIM = Claim("0" * 32, "new", 9)
BUFFER_BYTES = 1 << 20
RUNNING = StatusEvent("running", attempt=1)


@pytest.fixture
def outbox() -> Outbox:
    return make_outbox(lambda _: None)


def make_outbox(schedule: Callable[[Outbox], None]) -> Outbox:
    request = ModelRequest([PromptMessage("user", "?")], "model", 10)
    claimed = ClaimedGeneration(
        OLD_CLAIM, Cursor(0, 1), 1, "owner", "conversation", "message", "question", request, fields=()
    )
    return Outbox(claimed, Interrupt(), Batcher(1), schedule, BUFFER_BYTES)


def queued(outbox: Outbox) -> list[tuple[int, AnyEvent]]:
    appends = outbox.oldest(1000, 1 << 30)
    assert {append.claim for append in appends} <= {outbox.claim}
    return [(append.seq, decode(append.data)) for append in appends]


def acknowledge(outbox: Outbox, count: int) -> None:
    for _ in range(count):
        outbox.acknowledge()


def test_events_are_numbered_from_the_logs_last_entry_on(outbox: Outbox) -> None:
    outbox.emit(RUNNING)
    outbox.add(Chunk("a"))
    outbox.finish(COMPLETE)
    assert queued(outbox) == [(2, RUNNING), (3, Chunk("a")), (4, COMPLETE), (5, Done("completed"))]


def test_events_after_done_are_ignored(outbox: Outbox) -> None:
    outbox.finish(COMPLETE)
    outbox.add(Chunk("late"))
    outbox.emit(COMPLETE)
    assert [seq for seq, _ in queued(outbox)] == [2, 3]


def test_lost_acknowledged_events_are_replaced_by_a_snapshot_before_the_rest(outbox: Outbox) -> None:
    outbox.emit(RUNNING)
    for text in "abc":
        outbox.add(Chunk(text))
    acknowledge(outbox, 3)
    outbox.resume(Reclaimed(NEW_CLAIM, Cursor(7, 3), has_outcome=False))
    assert queued(outbox) == [(4, Snapshot("ab", "", [], [], "lost")), (5, Chunk("c"))]
    outbox.add(Chunk("d"))
    assert queued(outbox)[-1] == (6, Chunk("d"))


def test_a_lost_acknowledged_outcome_is_published_again(outbox: Outbox) -> None:
    outbox.add(Chunk("a"))
    outbox.finish(COMPLETE)
    acknowledge(outbox, 2)
    outbox.resume(Reclaimed(NEW_CLAIM, Cursor(0, 1), has_outcome=False))
    assert queued(outbox) == [(2, Snapshot("a", "", [], [], "lost")), (3, COMPLETE), (4, Done("completed"))]


def test_an_outcome_that_is_in_the_log_is_not_published_again(outbox: Outbox) -> None:
    outbox.add(Chunk("a"))
    outbox.finish(COMPLETE)
    acknowledge(outbox, 1)
    outbox.resume(Reclaimed(NEW_CLAIM, Cursor(7, 3), has_outcome=True))
    assert queued(outbox) == [(4, Done("completed"))]


def test_an_end_that_redis_loses_after_done_is_published_again(outbox: Outbox) -> None:
    outbox.add(Chunk("a"))
    outbox.finish(COMPLETE)
    acknowledge(outbox, 2)
    assert not outbox.is_finished
    acknowledge(outbox, 1)
    assert outbox.is_finished
    again = [(2, Snapshot("a", "", [], [], "lost")), (3, COMPLETE), (4, Done("completed"))]
    for _ in range(2):  # and once more, if it is lost again while it is published
        outbox.resume(Reclaimed(NEW_CLAIM, Cursor(0, 1), has_outcome=False))
        assert queued(outbox) == again
        assert outbox.is_active
        assert not outbox.is_finished
    acknowledge(outbox, 2)
    outbox.resume(Reclaimed(NEW_CLAIM, Cursor(7, 3), has_outcome=True))
    assert queued(outbox) == [(4, Done("completed"))]
    acknowledge(outbox, 1)
    assert outbox.is_finished
    outbox.abandon("fenced")
    assert not outbox.is_finished


def test_lost_title_and_suggestions_are_published_again_with_the_outcome(outbox: Outbox) -> None:
    after: list[AnyEvent] = [Title("a title"), Suggestions(["and then?"])]
    for event in [COMPLETE, *after]:
        outbox.emit(event)
    acknowledge(outbox, 3)
    outbox.resume(Reclaimed(NEW_CLAIM, Cursor(0, 1), has_outcome=False))
    assert [event for _, event in queued(outbox)] == [Snapshot("", "", [], [], "lost"), COMPLETE, *after]


def test_a_rejected_event_is_replaced_by_an_error_and_a_second_rejection_abandons_the_generation(
    outbox: Outbox,
) -> None:
    for text in "abc":
        outbox.add(Chunk(text))
    acknowledge(outbox, 1)
    outbox.reject_oldest()
    (seq, error), (after, done) = queued(outbox)
    assert (seq, after, done) == (3, 4, Done("failed"))
    assert isinstance(error, Error)
    assert error.code == "internal"
    assert isinstance(outbox.interrupt.reason, LeaseLost)
    assert not outbox.wait_until_empty(0)
    outbox.reject_oldest()
    assert not outbox.is_active
    assert outbox.wait_until_empty(0)


def test_capacity_ends_at_the_buffer_bound_and_returns_with_an_acknowledgement(outbox: Outbox) -> None:
    size = len(encode(Chunk("a"))) + EVENT_BYTES
    for _ in range(ceil(BUFFER_BYTES / size)):
        assert outbox.has_capacity
        outbox.add(Chunk("a"))
    assert not outbox.has_capacity
    outbox.acknowledge()
    assert outbox.has_capacity


def test_a_single_event_of_any_size_is_accepted(outbox: Outbox) -> None:
    outbox.add(Chunk("a" * (2 << 20)))
    assert outbox.has_capacity
    outbox.add(Chunk("b"))
    assert not outbox.has_capacity
    assert len(outbox.oldest(100, 1)) == 1


def test_abandoning_wakes_all_waiters_and_empties_the_queue(outbox: Outbox) -> None:
    for _ in range(2):
        outbox.add(Chunk("a" * BUFFER_BYTES))
    assert not outbox.has_capacity
    outbox.abandon("fenced")
    outbox.wait_for_capacity()
    assert outbox.wait_until_empty(0)
    assert queued(outbox) == []


def test_the_full_transcript_includes_queued_and_buffered_deltas(outbox: Outbox) -> None:
    for text in ("a", "b"):
        outbox.add(Chunk(text))
    acknowledge(outbox, 1)
    outbox.add(Chunk("\ud83d"))  # half a surrogate pair, which stays buffered
    whole = outbox.full_transcript()
    assert whole.content == "ab\ud83d"
    assert outbox.transcript.content == "a"
    whole.apply(Chunk("not published"))
    assert outbox.full_transcript().content == "ab\ud83d"


def test_the_id_of_done_is_known_before_it_is_emitted(outbox: Outbox) -> None:
    outbox.add(Chunk("a"))
    expected = outbox.done_cursor
    outbox.emit_outcome(COMPLETE)
    assert outbox.done_cursor == expected
    outbox.finish(COMPLETE)
    seq, event = queued(outbox)[-1]
    assert (event, Cursor(outbox.claim.epoch, seq)) == (Done("completed"), expected)


@pytest.mark.parametrize(("stored_under", "is_settled"), [(OLD_CLAIM, True), (None, False), (NEW_CLAIM, False)])
def test_done_says_whether_the_answer_is_stored_under_the_current_claim(
    outbox: Outbox, stored_under: Claim | None, is_settled: bool
) -> None:
    outbox.stored_under = stored_under
    outbox.finish(COMPLETE)
    assert [append.is_settled for append in outbox.oldest(9, 1 << 30)] == [False, is_settled]


def test_an_end_that_is_published_again_under_a_new_claim_must_be_stored_again(outbox: Outbox) -> None:
    outbox.stored_under = OLD_CLAIM
    outbox.finish(COMPLETE)
    outbox.resume(Reclaimed(NEW_CLAIM, Cursor(7, 3), has_outcome=False))
    assert not any(append.is_settled for append in outbox.oldest(9, 1 << 30))


def test_an_error_that_replaces_a_rejected_event_must_be_stored_again(outbox: Outbox) -> None:
    outbox.emit(RUNNING)
    outbox.stored_under = OLD_CLAIM
    outbox.reject_oldest()
    assert not any(append.is_settled for append in outbox.oldest(9, 1 << 30))


def test_event_that_is_not_urgent_waits_for_the_next_one_or_for_a_flush() -> None:
    scheduled: list[bool] = []
    first, second = (make_outbox(lambda outbox: scheduled.append(outbox.can_wait)) for _ in range(2))
    for outbox in (first, second):
        outbox.emit(RUNNING, is_urgent=False)
        assert scheduled.pop()
        assert outbox.has_unflushed
    first.add(Chunk("a"))
    second.flush()
    assert not any(scheduled)
    assert len(scheduled) == 2
    assert queued(first) == [(2, RUNNING), (3, Chunk("a"))]
    assert queued(second) == [(2, RUNNING)]
    assert not second.has_unflushed


def test_event_that_is_not_urgent_does_not_delay_those_before_it(outbox: Outbox) -> None:
    outbox.emit(Title("t"))
    outbox.emit(RUNNING, is_urgent=False)
    assert not outbox.can_wait
