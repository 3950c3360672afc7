"""What has ended and may not be stored yet is noted by whoever ends it, and looked into by one at a time."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from millrace.worker.contract.cancellation import cancel
from millrace.worker.contract.connection import Redis
from millrace.worker.contract.creation import create, new_ids
from millrace.worker.contract.events import encode
from millrace.worker.contract.keys import UNSTORED, keys_of
from millrace.worker.contract.lease import claim, release
from millrace.worker.contract.log import Append, AppendResult, Verdict, append_all
from millrace.worker.contract.pending_storage import PendingAnswer, remove_pending, take_due
from millrace.worker.contract.sweep import sweep
from tests.worker.contract.generations import (
    COMPLETE,
    DONE,
    SETTINGS,
    held,
    let_pass,
    lose_holder,
    new_draft,
    put,
    queued,
)

LONG_MS = 60_000


def noted(redis: Redis) -> list[str]:
    """Return all that is noted, due or not."""
    return [each.decode() for bucket in UNSTORED for each in redis.zrange(bucket, 0, -1)]  # type: ignore[union-attr]


def cancelled_in_the_queue(redis: Redis) -> str:
    generation = queued(redis)
    cancel(redis, generation, "user", SETTINGS)
    return generation


def never_claimed(redis: Redis) -> str:
    generation = queued(redis)
    let_pass(redis, generation, "queue_until")
    sweep(redis, SETTINGS)
    return generation


def lost_with_its_worker(redis: Redis) -> str:
    settings = SETTINGS.replace(max_attempts=1)
    generation = held(redis).claim.generation
    lose_holder(redis, generation, settings)
    return generation


def told_but_for_its_done(redis: Redis) -> str:
    holding = held(redis)
    put(redis, holding.claim, 2, COMPLETE)
    release(redis, holding.claim, SETTINGS)
    assert claim(redis, holding.claim.generation, SETTINGS) is None
    return holding.claim.generation


def done_by_its_holder(redis: Redis) -> str:
    holding = held(redis)
    for seq, event in enumerate((COMPLETE, DONE), 2):
        put(redis, holding.claim, seq, event)
    return holding.claim.generation


@pytest.mark.parametrize(
    "end", [cancelled_in_the_queue, never_claimed, lost_with_its_worker, told_but_for_its_done, done_by_its_holder]
)
def test_every_ended_generation_is_recorded_as_pending(redis: Redis, end: Callable[[Redis], str]) -> None:
    generation = end(redis)
    assert redis.hget(keys_of(generation).state, "done") == b"1"
    assert [arrear.generation for arrear in take_due(redis, LONG_MS)] == [generation]


def test_stored_answer_and_answer_without_conversation_are_not_pending(redis: Redis) -> None:
    holding = held(redis)
    put(redis, holding.claim, 2, COMPLETE)
    done = Append(holding.claim, 3, "done", encode(DONE), is_settled=True)
    (answer,) = append_all(redis, [done], LONG_MS)
    assert isinstance(answer, AppendResult)
    assert answer.verdict is Verdict.APPENDED
    stateless = replace(new_draft(), ids=new_ids(question=""))
    create(redis, stateless, SETTINGS)
    cancel(redis, stateless.ids.generation, "user", SETTINGS)
    assert noted(redis) == []


def test_unfinished_generation_is_not_pending(redis: Redis) -> None:
    queued(redis)
    put(redis, held(redis).claim, 2, COMPLETE)
    assert noted(redis) == []


def test_taken_answer_is_postponed_for_other_processes(redis: Redis) -> None:
    generation = cancelled_in_the_queue(redis)
    assert len(take_due(redis, LONG_MS)) == 1
    assert take_due(redis, LONG_MS) == []
    redis.zadd(keys_of(generation).unstored, {generation: 1})  # the while is over
    assert len(take_due(redis, LONG_MS)) == 1


def test_stored_answer_is_removed_unless_it_was_recorded_again(redis: Redis) -> None:
    generation = cancelled_in_the_queue(redis)
    (first,) = take_due(redis, LONG_MS)
    redis.zadd(keys_of(generation).unstored, {generation: 1})
    remove_pending(redis, first)
    (second,) = take_due(redis, LONG_MS)
    assert second.generation == generation
    remove_pending(redis, second)
    assert noted(redis) == []
    remove_pending(redis, PendingAnswer(generation, second.score))
