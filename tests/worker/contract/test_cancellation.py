"""Cancelling from outside."""

import pytest

from millrace.worker.contract.cancellation import CancelReply, cancel
from millrace.worker.contract.connection import Redis
from millrace.worker.contract.events import Cancelled, Chunk, Done, Usage
from millrace.worker.contract.ids import new_id
from millrace.worker.contract.lease import claim, renew_all
from millrace.worker.contract.log import Verdict
from tests.worker.contract.generations import (
    COMPLETE,
    RUNNING,
    SETTINGS,
    completed,
    cursors_of,
    field,
    held,
    is_leased,
    kinds_of,
    log_of,
    lose_holder,
    put,
    queued,
)

ENDED_BY_THIS = CancelReply("cancelled", has_ended=True, had_ended_before=False)


def test_a_queued_generation_has_ended_when_the_reply_comes(redis: Redis) -> None:
    generation = queued(redis)
    assert cancel(redis, generation, "user", SETTINGS) == ENDED_BY_THIS
    assert log_of(redis, generation)[1:] == [Cancelled("user", Usage(exact=True)), Done("cancelled")]
    assert cursors_of(redis, generation)[1].epoch > 0, "an ending has an epoch of its own"
    assert not is_leased(redis, generation)
    assert claim(redis, generation, SETTINGS) is None


def test_one_whose_holder_is_gone_ends_at_once_with_unknown_usage(redis: Redis) -> None:
    holding = held(redis)
    generation = holding.claim.generation
    put(redis, holding.claim, 2, Chunk("a"))
    assert lose_holder(redis, generation).to_enqueue == [generation]
    assert cancel(redis, generation, "deleted", SETTINGS) == ENDED_BY_THIS
    assert log_of(redis, generation)[2:] == [Cancelled("deleted", Usage(exact=False)), Done("cancelled")]
    assert put(redis, holding.claim, 3, Chunk("b")).verdict == Verdict.FENCED


def test_a_held_one_is_flagged_and_left_to_its_holder(redis: Redis) -> None:
    holding = held(redis)
    generation = holding.claim.generation
    assert cancel(redis, generation, "user", SETTINGS) == CancelReply(
        "running", has_ended=False, had_ended_before=False
    )
    assert kinds_of(redis, generation) == ["status"]
    renewal = renew_all(redis, [holding.claim], SETTINGS)[0]
    assert not isinstance(renewal, Exception)
    assert (renewal.verdict, renewal.cancelled_by) == ("held", "user")


def test_first_cancel_is_kept(redis: Redis) -> None:
    claimed = held(redis).claim
    cancel(redis, claimed.generation, "user", SETTINGS)
    at = field(redis, claimed.generation, "cancel_at")
    cancel(redis, claimed.generation, "deleted", SETTINGS)
    assert put(redis, claimed, 2, RUNNING).cancelled_by == "user"
    assert field(redis, claimed.generation, "cancel_at") == at


def test_a_flagged_one_whose_holder_is_gone_is_ended_by_the_second_look(redis: Redis) -> None:
    holding = held(redis)
    generation = holding.claim.generation
    cancel(redis, generation, "user", SETTINGS)
    assert lose_holder(redis, generation).ended == 1
    assert log_of(redis, generation)[1:] == [Cancelled("user", Usage(exact=False)), Done("cancelled")]


def test_second_cancel_changes_nothing(redis: Redis) -> None:
    generation = queued(redis)
    cancel(redis, generation, "user", SETTINGS)
    before = log_of(redis, generation)
    assert cancel(redis, generation, "user", SETTINGS) == CancelReply(
        "cancelled", has_ended=True, had_ended_before=True
    )
    assert log_of(redis, generation) == before


def test_cancel_after_the_end_returns_the_final_status(redis: Redis) -> None:
    generation = completed(redis).claim.generation
    assert cancel(redis, generation, "user", SETTINGS) == CancelReply(
        "completed", has_ended=True, had_ended_before=True
    )
    assert field(redis, generation, "cancel") is None


def test_cancel_between_outcome_and_done_is_too_late(redis: Redis) -> None:
    claimed = held(redis).claim
    put(redis, claimed, 2, COMPLETE)
    assert cancel(redis, claimed.generation, "user", SETTINGS) == CancelReply(
        "completed", has_ended=True, had_ended_before=True
    )
    assert put(redis, claimed, 2, COMPLETE).cancelled_by is None


@pytest.mark.parametrize("by", ["user", "abandoned", "deleted"])
def test_every_kind_of_cancel_has_its_final_event(redis: Redis, by: str) -> None:
    for generation in (queued(redis), held(redis).claim.generation):
        cancel(redis, generation, by, SETTINGS)  # pyright: ignore[reportArgumentType]
        if not kinds_of(redis, generation)[1:]:
            lose_holder(redis, generation)
        assert kinds_of(redis, generation) == ["status", "cancelled", "done"]


def test_there_is_nothing_to_cancel_where_there_is_no_generation(redis: Redis) -> None:
    assert cancel(redis, new_id(), "user", SETTINGS) is None
    assert redis.keys("*") == []
