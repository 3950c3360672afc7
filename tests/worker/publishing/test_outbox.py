"""What an outbox says after Redis lost something, or refused it; the way there is the writer's, and its tests'."""

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
from millrace.worker.interrupt import HoldLost, Interrupt
from millrace.worker.publishing.batching import Batcher
from millrace.worker.publishing.outbox import EVENT_BYTES, Outbox
from tests.worker.holding import COMPLETE

HELD = Claim("0" * 32, "old", 7)
AGAIN = Claim("0" * 32, "new", 9)
BUFFER_BYTES = 1 << 20
RUNNING = StatusEvent("running", attempt=1)
Make = Callable[..., Outbox]


@pytest.fixture
def outbox() -> Outbox:
    request = ModelRequest([PromptMessage("user", "?")], "model", 10)
    holding = ClaimedGeneration(
        HELD, Cursor(0, 1), 1, "owner", "conversation", "message", "question", request, fields=()
    )
    return Outbox(holding, Interrupt(), Batcher(1), lambda _: None, BUFFER_BYTES)


def queued(outbox: Outbox) -> list[tuple[int, AnyEvent]]:
    appends = outbox.head(1000, 1 << 30)
    assert {append.claim for append in appends} <= {outbox.claim}
    return [(append.seq, decode(append.data)) for append in appends]


def acknowledge(outbox: Outbox, count: int) -> None:
    for _ in range(count):
        outbox.acknowledge()


def test_events_are_numbered_from_the_claims_top_on(outbox: Outbox) -> None:
    outbox.write(RUNNING)
    outbox.gather(Chunk("a"))
    outbox.end(COMPLETE)
    assert queued(outbox) == [(2, RUNNING), (3, Chunk("a")), (4, COMPLETE), (5, Done("completed"))]


def test_nothing_is_taken_after_the_end(outbox: Outbox) -> None:
    outbox.end(COMPLETE)
    outbox.gather(Chunk("late"))
    outbox.write(COMPLETE)
    assert [seq for seq, _ in queued(outbox)] == [2, 3]


def test_what_was_acknowledged_and_lost_comes_back_as_a_snapshot_before_the_rest(outbox: Outbox) -> None:
    outbox.write(RUNNING)
    for text in "abc":
        outbox.gather(Chunk(text))
    acknowledge(outbox, 3)
    outbox.reclaimed(Reclaimed(AGAIN, Cursor(7, 3), has_outcome=False))
    assert queued(outbox) == [(4, Snapshot("ab", "", [], [], "lost")), (5, Chunk("c"))]
    outbox.gather(Chunk("d"))
    assert queued(outbox)[-1] == (6, Chunk("d"))


def test_an_outcome_that_was_acknowledged_and_lost_is_said_again(outbox: Outbox) -> None:
    outbox.gather(Chunk("a"))
    outbox.end(COMPLETE)
    acknowledge(outbox, 2)
    outbox.reclaimed(Reclaimed(AGAIN, Cursor(0, 1), has_outcome=False))
    assert queued(outbox) == [(2, Snapshot("a", "", [], [], "lost")), (3, COMPLETE), (4, Done("completed"))]


def test_an_outcome_that_is_in_the_log_is_not_said_twice(outbox: Outbox) -> None:
    outbox.gather(Chunk("a"))
    outbox.end(COMPLETE)
    acknowledge(outbox, 1)
    outbox.reclaimed(Reclaimed(AGAIN, Cursor(7, 3), has_outcome=True))
    assert queued(outbox) == [(4, Done("completed"))]


def test_an_end_that_redis_has_lost_after_all_of_it_was_told_is_told_again(outbox: Outbox) -> None:
    outbox.gather(Chunk("a"))
    outbox.end(COMPLETE)
    acknowledge(outbox, 2)
    assert not outbox.has_ended
    acknowledge(outbox, 1)
    assert outbox.has_ended
    again = [(2, Snapshot("a", "", [], [], "lost")), (3, COMPLETE), (4, Done("completed"))]
    for _ in range(2):  # and once more, where the same is lost while it is told
        outbox.reclaimed(Reclaimed(AGAIN, Cursor(0, 1), has_outcome=False))
        assert queued(outbox) == again
        assert outbox.is_alive
        assert not outbox.has_ended
    acknowledge(outbox, 2)
    outbox.reclaimed(Reclaimed(AGAIN, Cursor(7, 3), has_outcome=True))
    assert queued(outbox) == [(4, Done("completed"))]
    acknowledge(outbox, 1)
    assert outbox.has_ended
    outbox.stop("fenced")
    assert not outbox.has_ended


def test_what_came_after_the_outcome_is_told_again_with_it(outbox: Outbox) -> None:
    after: list[AnyEvent] = [Title("a title"), Suggestions(["and then?"])]
    for event in [COMPLETE, *after]:
        outbox.write(event)
    acknowledge(outbox, 3)
    outbox.reclaimed(Reclaimed(AGAIN, Cursor(0, 1), has_outcome=False))
    assert [event for _, event in queued(outbox)] == [Snapshot("", "", [], [], "lost"), COMPLETE, *after]


def test_what_redis_never_takes_gives_way_to_an_error_and_the_generation_is_told(outbox: Outbox) -> None:
    for text in "abc":
        outbox.gather(Chunk(text))
    acknowledge(outbox, 1)
    outbox.refused()
    (seq, error), (after, done) = queued(outbox)
    assert (seq, after, done) == (3, 4, Done("failed"))
    assert isinstance(error, Error)
    assert error.code == "internal"
    assert isinstance(outbox.interrupt.noted, HoldLost)
    assert not outbox.wait(0)
    outbox.refused()
    assert not outbox.is_alive
    assert outbox.wait(0)


def test_there_is_no_room_while_the_queue_is_long_and_there_is_when_it_is_not(outbox: Outbox) -> None:
    size = len(encode(Chunk("a"))) + EVENT_BYTES
    for _ in range(ceil(BUFFER_BYTES / size)):
        assert outbox.has_room
        outbox.gather(Chunk("a"))
    assert not outbox.has_room
    outbox.acknowledge()
    assert outbox.has_room


def test_one_event_of_any_size_is_let_in_alone(outbox: Outbox) -> None:
    outbox.gather(Chunk("a" * (2 << 20)))
    assert outbox.has_room
    outbox.gather(Chunk("b"))
    assert not outbox.has_room
    assert len(outbox.head(100, 1)) == 1


def test_stopping_frees_whoever_waits(outbox: Outbox) -> None:
    for _ in range(2):
        outbox.gather(Chunk("a" * BUFFER_BYTES))
    assert not outbox.has_room
    outbox.stop("fenced")
    outbox.wait_for_room()
    assert outbox.wait(0)
    assert queued(outbox) == []


def test_the_whole_is_what_a_reader_will_have_once_all_is_in_the_log(outbox: Outbox) -> None:
    for text in ("a", "b"):
        outbox.gather(Chunk(text))
    acknowledge(outbox, 1)
    outbox.gather(Chunk("\ud83d"))  # half a character, which waits for the other
    whole = outbox.whole()
    assert whole.content == "ab\ud83d"
    assert outbox.transcript.content == "a"
    whole.apply(Chunk("not told"))
    assert outbox.whole().content == "ab\ud83d"


def test_the_id_of_done_is_known_before_it_is_written(outbox: Outbox) -> None:
    outbox.gather(Chunk("a"))
    foreseen = outbox.done_cursor
    outbox.conclude(COMPLETE)
    assert outbox.done_cursor == foreseen
    outbox.end(COMPLETE)
    seq, event = queued(outbox)[-1]
    assert (event, Cursor(outbox.claim.epoch, seq)) == (Done("completed"), foreseen)


@pytest.mark.parametrize(("settled_by", "is_settled"), [(HELD, True), (None, False), (AGAIN, False)])
def test_done_says_whether_the_database_has_the_answer_under_this_very_claim(
    outbox: Outbox, settled_by: Claim | None, is_settled: bool
) -> None:
    outbox.settled_by = settled_by
    outbox.end(COMPLETE)
    assert [append.is_settled for append in outbox.head(9, 1 << 30)] == [False, is_settled]


def test_an_end_that_is_told_again_under_a_new_claim_is_to_be_stored_again(outbox: Outbox) -> None:
    outbox.settled_by = HELD
    outbox.end(COMPLETE)
    outbox.reclaimed(Reclaimed(AGAIN, Cursor(7, 3), has_outcome=False))
    assert not any(append.is_settled for append in outbox.head(9, 1 << 30))


def test_an_error_in_the_place_of_what_redis_refused_is_not_what_was_stored(outbox: Outbox) -> None:
    outbox.write(RUNNING)
    outbox.settled_by = HELD
    outbox.refused()
    assert not any(append.is_settled for append in outbox.head(9, 1 << 30))
