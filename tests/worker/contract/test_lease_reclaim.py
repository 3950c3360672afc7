"""Reclaiming a generation after Redis has lost data."""

from typing import cast

from millrace.worker.contract.cancellation import cancel
from millrace.worker.contract.events import Chunk, Snapshot, StatusEvent
from millrace.worker.contract.ids import Cursor
from millrace.worker.contract.keys import keys_of
from millrace.worker.contract.lease import Reclaimed, claim, reclaim, release
from millrace.worker.contract.log import Verdict
from millrace.worker.contract.redis.connection import Redis
from millrace.worker.contract.redis.streams import Streams
from tests.worker.contract.generations import (
    COMPLETE,
    DONE,
    RUNNING,
    SETTINGS,
    append_event,
    claim_generation,
    create_queued,
    cursors_of,
    field,
    is_leased,
    kinds_of,
    log_of,
    sweep_twice,
)

LOST = Snapshot("text", "", [], [], "lost")


def save(redis: Redis, generation: str) -> list[bytes]:
    """Return the content that a restart would restore."""
    keys = keys_of(generation)
    return [cast("bytes", redis.dump(key)) for key in (keys.state, keys.log, keys.leases)]


def restore(redis: Redis, generation: str, saved: list[bytes]) -> None:
    keys = keys_of(generation)
    for key, value in zip((keys.state, keys.log, keys.leases), saved, strict=True):
        redis.restore(key, 0, value, replace=True)


def test_reclaim_after_lost_entries_continues_with_a_new_epoch(redis: Redis) -> None:
    holding = claim_generation(redis)
    generation = holding.claim.generation
    append_event(redis, holding.claim, 2, RUNNING)
    saved = save(redis, generation)
    append_event(redis, holding.claim, 3, Chunk("text"))
    restore(redis, generation, saved)
    assert append_event(redis, holding.claim, 4, Chunk("x")).verdict == Verdict.GAP
    again = reclaim(redis, holding, holding.claim, SETTINGS)
    assert again is not None
    assert (again.top, again.has_outcome) == (Cursor(holding.claim.epoch, 2), False)
    assert again.claim.epoch > holding.claim.epoch
    assert append_event(redis, again.claim, 3, LOST).verdict == Verdict.APPENDED
    assert append_event(redis, holding.claim, 3, Chunk("x")).verdict == Verdict.FENCED
    assert field(redis, generation, "attempt") == "1"


def test_lost_state_and_first_event_are_created_again(redis: Redis) -> None:
    holding = claim_generation(redis)
    generation = holding.claim.generation
    before = log_of(redis, generation)
    constant = {
        name: field(redis, generation, name) for name in ("owner", "conversation", "message", "request", "summary")
    }
    redis.flushall()
    again = reclaim(redis, holding, holding.claim, SETTINGS)
    assert again is not None
    assert (again.top, again.has_outcome) == (Cursor(0, 1), False)
    assert log_of(redis, generation) == before
    assert isinstance(before[0], StatusEvent)
    assert {name: field(redis, generation, name) for name in constant} == constant
    assert is_leased(redis, generation)
    for seq, event in enumerate((LOST, COMPLETE, DONE), 2):
        assert append_event(redis, again.claim, seq, event).verdict == Verdict.APPENDED
    assert kinds_of(redis, generation) == ["status", "snapshot", "complete", "done"]


def test_recreated_generation_can_be_taken_over(redis: Redis) -> None:
    holding = claim_generation(redis)
    redis.flushall()
    assert reclaim(redis, holding, holding.claim, SETTINGS)
    assert sweep_twice(redis, holding.claim.generation).to_enqueue == [holding.claim.generation]
    following = claim_generation(redis, holding.claim.generation)
    assert (following.attempt, following.request) == (2, holding.request)


def test_state_from_before_the_claim_is_reclaimed(redis: Redis) -> None:
    generation = create_queued(redis)
    saved = save(redis, generation)
    holding = claim_generation(redis, generation)
    restore(redis, generation, saved)
    again = reclaim(redis, holding, holding.claim, SETTINGS)
    assert again is not None
    assert append_event(redis, again.claim, 2, LOST).verdict == Verdict.APPENDED


def test_generation_is_reclaimed_from_an_earlier_holder_restored_by_redis(redis: Redis) -> None:
    first = claim_generation(redis)
    generation = first.claim.generation
    saved = save(redis, generation)
    release(Streams(redis), first.claim, SETTINGS)
    second = claim_generation(redis, generation)
    restore(redis, generation, saved)
    again = reclaim(redis, second, second.claim, SETTINGS)
    assert again is not None
    assert append_event(redis, first.claim, 2, Chunk("x")).verdict == Verdict.FENCED


def test_claim_made_since_the_loss_is_kept(redis: Redis) -> None:
    generation = create_queued(redis)
    saved = save(redis, generation)
    first = claim_generation(redis, generation)
    restore(redis, generation, saved)
    redis.hset(keys_of(generation).state, "epoch", first.claim.epoch)  # as if the clock had advanced
    second = claim_generation(redis, generation)
    assert reclaim(redis, first, first.claim, SETTINGS) is None
    assert append_event(redis, second.claim, 2, RUNNING).verdict == Verdict.APPENDED


def test_generation_taken_over_or_released_is_not_reclaimed(redis: Redis) -> None:
    taken, released = claim_generation(redis), claim_generation(redis)
    sweep_twice(redis, taken.claim.generation)
    release(Streams(redis), released.claim, SETTINGS)
    for holding in (taken, released):
        assert reclaim(redis, holding, holding.claim, SETTINGS) is None
        assert claim(Streams(redis), holding.claim.generation, SETTINGS) is not None


def test_generation_that_has_ended_since_is_not_reclaimed(redis: Redis) -> None:
    generation = create_queued(redis)
    saved = save(redis, generation)
    holding = claim_generation(redis, generation)
    restore(redis, generation, saved)
    cancel(Streams(redis), generation, "user", SETTINGS)
    assert reclaim(redis, holding, holding.claim, SETTINGS) is None
    ended = claim_generation(redis)
    append_event(redis, ended.claim, 2, COMPLETE)
    append_event(redis, ended.claim, 3, DONE)
    assert reclaim(redis, ended, ended.claim, SETTINGS) is None


def test_outcome_of_the_previous_holder_is_kept(redis: Redis) -> None:
    first = claim_generation(redis)
    generation = first.claim.generation
    saved = save(redis, generation)
    release(Streams(redis), first.claim, SETTINGS)
    second = claim_generation(redis, generation)
    restore(redis, generation, saved)
    append_event(redis, first.claim, 2, COMPLETE)
    assert reclaim(redis, second, second.claim, SETTINGS) is None
    assert append_event(redis, first.claim, 3, DONE).verdict == Verdict.APPENDED


def test_only_title_and_done_may_follow_an_outcome_that_was_not_lost(redis: Redis) -> None:
    holding = claim_generation(redis)
    append_event(redis, holding.claim, 2, COMPLETE)
    again = reclaim(redis, holding, holding.claim, SETTINGS)
    assert again is not None
    assert again.has_outcome
    assert append_event(redis, again.claim, 3, LOST).verdict == Verdict.OVER
    assert append_event(redis, again.claim, 3, DONE).verdict == Verdict.APPENDED
    assert field(redis, holding.claim.generation, "status") == "completed"


def test_reclaim_with_lost_reply_can_be_repeated(redis: Redis) -> None:
    holding = claim_generation(redis)
    redis.flushall()
    assert isinstance(reclaim(redis, holding, holding.claim, SETTINGS), Reclaimed)
    again = reclaim(redis, holding, holding.claim, SETTINGS)
    assert again is not None
    assert append_event(redis, again.claim, 2, LOST).verdict == Verdict.APPENDED
    assert cursors_of(redis, holding.claim.generation) == [Cursor(0, 1), Cursor(again.claim.epoch, 2)]


def test_reclaimed_generation_can_be_reclaimed_again(redis: Redis) -> None:
    holding = claim_generation(redis)
    claimed, tokens = holding.claim, {holding.claim.token}
    for _ in range(3):
        redis.flushall()
        again = reclaim(redis, holding, claimed, SETTINGS)
        assert again is not None
        assert again.claim.epoch > claimed.epoch
        claimed = again.claim
        tokens.add(claimed.token)
    assert len(tokens) == 4
