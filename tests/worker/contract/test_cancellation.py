"""Cancellation by a client."""

import pytest

from millrace.worker.contract.cancellation import CancelReply, cancel
from millrace.worker.contract.events import Cancelled, Chunk, Done, Usage
from millrace.worker.contract.ids import new_id
from millrace.worker.contract.lease import claim, renew_all
from millrace.worker.contract.log import Verdict
from millrace.worker.contract.redis.connection import Redis
from millrace.worker.contract.redis.streams import Streams
from tests.worker.contract.generations import (
    COMPLETE,
    RUNNING,
    SETTINGS,
    append_event,
    claim_generation,
    create_completed,
    create_queued,
    cursors_of,
    field,
    is_leased,
    kinds_of,
    log_of,
    sweep_twice,
)

ENDED_BY_THIS = CancelReply("cancelled", has_ended=True, had_ended_before=False)


def test_queued_generation_has_ended_when_cancel_returns(redis: Redis) -> None:
    generation = create_queued(redis)
    assert cancel(Streams(redis), generation, "user", SETTINGS) == ENDED_BY_THIS
    assert log_of(redis, generation)[1:] == [Cancelled("user", Usage(exact=True)), Done("cancelled")]
    assert cursors_of(redis, generation)[1].epoch > 0, "the final events have a new epoch"
    assert not is_leased(redis, generation)
    assert claim(Streams(redis), generation, SETTINGS) is None


def test_generation_without_holder_ends_at_once_with_unknown_usage(redis: Redis) -> None:
    holding = claim_generation(redis)
    generation = holding.claim.generation
    append_event(redis, holding.claim, 2, Chunk("a"))
    assert sweep_twice(redis, generation).to_enqueue == [generation]
    assert cancel(Streams(redis), generation, "deleted", SETTINGS) == ENDED_BY_THIS
    assert log_of(redis, generation)[2:] == [Cancelled("deleted", Usage(exact=False)), Done("cancelled")]
    assert append_event(redis, holding.claim, 3, Chunk("b")).verdict == Verdict.FENCED


def test_held_generation_is_flagged_and_left_to_its_holder(redis: Redis) -> None:
    holding = claim_generation(redis)
    generation = holding.claim.generation
    assert cancel(Streams(redis), generation, "user", SETTINGS) == CancelReply(
        "running", has_ended=False, had_ended_before=False
    )
    assert kinds_of(redis, generation) == ["status"]
    renewal = renew_all(redis, [holding.claim], SETTINGS)[0]
    assert not isinstance(renewal, Exception)
    assert (renewal.verdict, renewal.cancelled_by) == ("held", "user")


def test_first_cancel_is_kept(redis: Redis) -> None:
    claimed = claim_generation(redis).claim
    cancel(Streams(redis), claimed.generation, "user", SETTINGS)
    at = field(redis, claimed.generation, "cancel_at")
    cancel(Streams(redis), claimed.generation, "deleted", SETTINGS)
    assert append_event(redis, claimed, 2, RUNNING).cancelled_by == "user"
    assert field(redis, claimed.generation, "cancel_at") == at


def test_flagged_generation_without_holder_is_ended_by_second_sweep(redis: Redis) -> None:
    holding = claim_generation(redis)
    generation = holding.claim.generation
    cancel(Streams(redis), generation, "user", SETTINGS)
    assert len(sweep_twice(redis, generation).ended) == 1
    assert log_of(redis, generation)[1:] == [Cancelled("user", Usage(exact=False)), Done("cancelled")]


def test_second_cancel_changes_nothing(redis: Redis) -> None:
    generation = create_queued(redis)
    cancel(Streams(redis), generation, "user", SETTINGS)
    before = log_of(redis, generation)
    assert cancel(Streams(redis), generation, "user", SETTINGS) == CancelReply(
        "cancelled", has_ended=True, had_ended_before=True
    )
    assert log_of(redis, generation) == before


def test_cancel_after_the_end_returns_the_final_status(redis: Redis) -> None:
    generation = create_completed(redis).claim.generation
    assert cancel(Streams(redis), generation, "user", SETTINGS) == CancelReply(
        "completed", has_ended=True, had_ended_before=True
    )
    assert field(redis, generation, "cancel") is None


def test_cancel_between_outcome_and_done_is_too_late(redis: Redis) -> None:
    claimed = claim_generation(redis).claim
    append_event(redis, claimed, 2, COMPLETE)
    assert cancel(Streams(redis), claimed.generation, "user", SETTINGS) == CancelReply(
        "completed", has_ended=True, had_ended_before=True
    )
    assert append_event(redis, claimed, 2, COMPLETE).cancelled_by is None


@pytest.mark.parametrize("by", ["user", "abandoned", "deleted"])
def test_every_kind_of_cancel_has_its_final_event(redis: Redis, by: str) -> None:
    for generation in (create_queued(redis), claim_generation(redis).claim.generation):
        cancel(Streams(redis), generation, by, SETTINGS)  # pyright: ignore[reportArgumentType]
        if not kinds_of(redis, generation)[1:]:
            sweep_twice(redis, generation)
        assert kinds_of(redis, generation) == ["status", "cancelled", "done"]


def test_cancel_of_unknown_generation_returns_none(redis: Redis) -> None:
    assert cancel(Streams(redis), new_id(), "user", SETTINGS) is None
    assert redis.keys("*") == []
