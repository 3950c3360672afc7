"""Claiming again after Redis has lost data."""

from typing import cast

from millrace.worker.contract.cancellation import cancel
from millrace.worker.contract.connection import Redis
from millrace.worker.contract.events import Chunk, Snapshot, StatusEvent
from millrace.worker.contract.ids import Cursor
from millrace.worker.contract.keys import keys_of
from millrace.worker.contract.lease import Reclaimed, claim, reclaim, release
from millrace.worker.contract.log import Verdict
from tests.worker.contract.generations import (
    COMPLETE,
    DONE,
    RUNNING,
    SETTINGS,
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

LOST = Snapshot("text", "", [], [], "lost")


def save(redis: Redis, generation: str) -> list[bytes]:
    """Return what a restart would bring back."""
    keys = keys_of(generation)
    return [cast("bytes", redis.dump(key)) for key in (keys.state, keys.log, keys.leases)]


def bring_back(redis: Redis, generation: str, saved: list[bytes]) -> None:
    keys = keys_of(generation)
    for key, value in zip((keys.state, keys.log, keys.leases), saved, strict=True):
        redis.restore(key, 0, value, replace=True)


def test_entries_that_are_gone_are_answered_by_a_new_epoch_after_what_is_left(redis: Redis) -> None:
    holding = held(redis)
    generation = holding.claim.generation
    put(redis, holding.claim, 2, RUNNING)
    saved = save(redis, generation)
    put(redis, holding.claim, 3, Chunk("text"))
    bring_back(redis, generation, saved)
    assert put(redis, holding.claim, 4, Chunk("x")).verdict == Verdict.GAP
    again = reclaim(redis, holding, holding.claim, SETTINGS)
    assert again is not None
    assert (again.top, again.has_outcome) == (Cursor(holding.claim.epoch, 2), False)
    assert again.claim.epoch > holding.claim.epoch
    assert put(redis, again.claim, 3, LOST).verdict == Verdict.APPENDED
    assert put(redis, holding.claim, 3, Chunk("x")).verdict == Verdict.FENCED
    assert field(redis, generation, "attempt") == "1"


def test_lost_state_and_first_event_are_created_again(redis: Redis) -> None:
    holding = held(redis)
    generation = holding.claim.generation
    before = log_of(redis, generation)
    constant = {name: field(redis, generation, name) for name in ("owner", "conversation", "message", "request")}
    redis.flushall()
    again = reclaim(redis, holding, holding.claim, SETTINGS)
    assert again is not None
    assert (again.top, again.has_outcome) == (Cursor(0, 1), False)
    assert log_of(redis, generation) == before
    assert isinstance(before[0], StatusEvent)
    assert {name: field(redis, generation, name) for name in constant} == constant
    assert is_leased(redis, generation)
    for seq, event in enumerate((LOST, COMPLETE, DONE), 2):
        assert put(redis, again.claim, seq, event).verdict == Verdict.APPENDED
    assert kinds_of(redis, generation) == ["status", "snapshot", "complete", "done"]


def test_recreated_generation_can_be_taken_over(redis: Redis) -> None:
    holding = held(redis)
    redis.flushall()
    assert reclaim(redis, holding, holding.claim, SETTINGS)
    assert lose_holder(redis, holding.claim.generation).to_enqueue == [holding.claim.generation]
    following = held(redis, holding.claim.generation)
    assert (following.attempt, following.request) == (2, holding.request)


def test_a_state_from_before_the_claim_is_claimed_again(redis: Redis) -> None:
    generation = queued(redis)
    saved = save(redis, generation)
    holding = held(redis, generation)
    bring_back(redis, generation, saved)
    again = reclaim(redis, holding, holding.claim, SETTINGS)
    assert again is not None
    assert put(redis, again.claim, 2, LOST).verdict == Verdict.APPENDED


def test_it_is_claimed_again_even_from_the_holder_before_that_redis_brought_back(redis: Redis) -> None:
    first = held(redis)
    generation = first.claim.generation
    saved = save(redis, generation)
    release(redis, first.claim, SETTINGS)
    second = held(redis, generation)
    bring_back(redis, generation, saved)
    again = reclaim(redis, second, second.claim, SETTINGS)
    assert again is not None
    assert put(redis, first.claim, 2, Chunk("x")).verdict == Verdict.FENCED


def test_claim_made_since_the_loss_is_kept(redis: Redis) -> None:
    generation = queued(redis)
    saved = save(redis, generation)
    first = held(redis, generation)
    bring_back(redis, generation, saved)
    redis.hset(keys_of(generation).state, "epoch", first.claim.epoch)  # as if the clock had moved on
    second = held(redis, generation)
    assert reclaim(redis, first, first.claim, SETTINGS) is None
    assert put(redis, second.claim, 2, RUNNING).verdict == Verdict.APPENDED


def test_one_that_was_taken_or_released_is_not_claimed_again(redis: Redis) -> None:
    taken, released = held(redis), held(redis)
    lose_holder(redis, taken.claim.generation)
    release(redis, released.claim, SETTINGS)
    for holding in (taken, released):
        assert reclaim(redis, holding, holding.claim, SETTINGS) is None
        assert claim(redis, holding.claim.generation, SETTINGS) is not None


def test_generation_that_has_ended_since_is_not_reclaimed(redis: Redis) -> None:
    generation = queued(redis)
    saved = save(redis, generation)
    holding = held(redis, generation)
    bring_back(redis, generation, saved)
    cancel(redis, generation, "user", SETTINGS)
    assert reclaim(redis, holding, holding.claim, SETTINGS) is None
    ended = held(redis)
    put(redis, ended.claim, 2, COMPLETE)
    put(redis, ended.claim, 3, DONE)
    assert reclaim(redis, ended, ended.claim, SETTINGS) is None


def test_an_outcome_by_the_holder_before_it_stands(redis: Redis) -> None:
    first = held(redis)
    generation = first.claim.generation
    saved = save(redis, generation)
    release(redis, first.claim, SETTINGS)
    second = held(redis, generation)
    bring_back(redis, generation, saved)
    put(redis, first.claim, 2, COMPLETE)
    assert reclaim(redis, second, second.claim, SETTINGS) is None
    assert put(redis, first.claim, 3, DONE).verdict == Verdict.APPENDED


def test_where_the_outcome_is_left_only_the_rest_may_follow(redis: Redis) -> None:
    holding = held(redis)
    put(redis, holding.claim, 2, COMPLETE)
    again = reclaim(redis, holding, holding.claim, SETTINGS)
    assert again is not None
    assert again.has_outcome
    assert put(redis, again.claim, 3, LOST).verdict == Verdict.OVER
    assert put(redis, again.claim, 3, DONE).verdict == Verdict.APPENDED
    assert field(redis, holding.claim.generation, "status") == "completed"


def test_a_reclaim_whose_reply_was_lost_may_be_made_again(redis: Redis) -> None:
    holding = held(redis)
    redis.flushall()
    assert isinstance(reclaim(redis, holding, holding.claim, SETTINGS), Reclaimed)
    again = reclaim(redis, holding, holding.claim, SETTINGS)
    assert again is not None
    assert put(redis, again.claim, 2, LOST).verdict == Verdict.APPENDED
    assert cursors_of(redis, holding.claim.generation) == [Cursor(0, 1), Cursor(again.claim.epoch, 2)]


def test_a_reclaim_may_follow_a_reclaim(redis: Redis) -> None:
    holding = held(redis)
    claimed, tokens = holding.claim, {holding.claim.token}
    for _ in range(3):
        redis.flushall()
        again = reclaim(redis, holding, claimed, SETTINGS)
        assert again is not None
        assert again.claim.epoch > claimed.epoch
        claimed = again.claim
        tokens.add(claimed.token)
    assert len(tokens) == 4
