"""Every ended generation is recorded as pending until its answer is stored; one process at a time takes it."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from millrace.worker.contract.cancellation import cancel
from millrace.worker.contract.creation import create, new_ids
from millrace.worker.contract.events import encode
from millrace.worker.contract.ids import bucket_of
from millrace.worker.contract.keys import UNSTORED, keys_of
from millrace.worker.contract.lease import claim, release
from millrace.worker.contract.log import Append, AppendResult, Verdict, append_all
from millrace.worker.contract.pending_storage import PendingAnswer, remove_pending, take_due
from millrace.worker.contract.redis.connection import Redis
from millrace.worker.contract.redis.streams import Streams
from millrace.worker.contract.request import RequestSummary
from millrace.worker.contract.state import read_request, read_summary
from millrace.worker.contract.sweep import sweep
from tests.worker.contract.generations import (
    COMPLETE,
    DONE,
    SETTINGS,
    append_event,
    claim_generation,
    create_queued,
    expire_deadlines,
    new_draft,
    sweep_twice,
)

LONG_MS = 60_000


def all_pending(redis: Redis) -> list[str]:
    """Return all the pending generations, due or not."""
    return [each.decode() for bucket in UNSTORED for each in redis.zrange(bucket, 0, -1)]  # type: ignore[union-attr]


def cancelled_in_the_queue(redis: Redis) -> str:
    generation = create_queued(redis)
    cancel(Streams(redis), generation, "user", SETTINGS)
    return generation


def never_claimed(redis: Redis) -> str:
    generation = create_queued(redis)
    expire_deadlines(redis, generation, "queue_until")
    sweep(Streams(redis), SETTINGS)
    return generation


def lost_with_its_worker(redis: Redis) -> str:
    settings = SETTINGS.replace(max_attempts=1)
    generation = claim_generation(redis).claim.generation
    sweep_twice(redis, generation, settings)
    return generation


def ended_without_done(redis: Redis) -> str:
    holding = claim_generation(redis)
    append_event(redis, holding.claim, 2, COMPLETE)
    release(Streams(redis), holding.claim, SETTINGS)
    assert claim(Streams(redis), holding.claim.generation, SETTINGS) is None
    return holding.claim.generation


def ended_by_its_holder(redis: Redis) -> str:
    holding = claim_generation(redis)
    for seq, event in enumerate((COMPLETE, DONE), 2):
        append_event(redis, holding.claim, seq, event)
    return holding.claim.generation


@pytest.mark.parametrize(
    "end", [cancelled_in_the_queue, never_claimed, lost_with_its_worker, ended_without_done, ended_by_its_holder]
)
def test_every_ended_generation_is_recorded_as_pending(redis: Redis, end: Callable[[Redis], str]) -> None:
    generation = end(redis)
    assert redis.hget(keys_of(generation).state, "done") == b"1"
    assert [each.generation for each in take_due(redis, LONG_MS)] == [generation]


def test_stored_answer_and_answer_without_conversation_are_not_pending(redis: Redis) -> None:
    holding = claim_generation(redis)
    append_event(redis, holding.claim, 2, COMPLETE)
    done = Append(holding.claim, 3, "done", encode(DONE), is_settled=True)
    (answer,) = append_all(redis, [done], LONG_MS)
    assert isinstance(answer, AppendResult)
    assert answer.verdict is Verdict.APPENDED
    stateless = replace(new_draft(), ids=new_ids(question=""))
    create(Streams(redis), stateless, SETTINGS)
    cancel(Streams(redis), stateless.ids.generation, "user", SETTINGS)
    assert all_pending(redis) == []
    for generation in (holding.claim.generation, stateless.ids.generation):
        assert read_request(Streams(redis), generation) is None, "the request stays in Redis for a day"
        assert read_summary(Streams(redis), generation) == RequestSummary("model")


def test_unfinished_generation_is_not_pending(redis: Redis) -> None:
    create_queued(redis)
    append_event(redis, claim_generation(redis).claim, 2, COMPLETE)
    assert all_pending(redis) == []


def test_taken_answer_is_postponed_for_other_processes(redis: Redis) -> None:
    generation = cancelled_in_the_queue(redis)
    assert len(take_due(redis, LONG_MS)) == 1
    assert take_due(redis, LONG_MS) == []
    redis.zadd(keys_of(generation).unstored, {generation: 1})  # the postponement is over
    assert len(take_due(redis, LONG_MS)) == 1


def test_stored_answer_is_removed_unless_it_was_recorded_again(redis: Redis) -> None:
    generation = cancelled_in_the_queue(redis)
    (first,) = take_due(redis, LONG_MS)
    redis.zadd(keys_of(generation).unstored, {generation: 1})
    remove_pending(redis, first)
    (second,) = take_due(redis, LONG_MS)
    assert second.generation == generation
    assert read_request(Streams(redis), generation) is not None
    remove_pending(redis, second)
    assert all_pending(redis) == []
    assert read_request(Streams(redis), generation) is None
    assert read_summary(Streams(redis), generation) == RequestSummary("model")
    remove_pending(redis, PendingAnswer(generation, second.score))


def test_junk_among_the_unstored_answers_is_dropped_and_the_others_are_taken(redis: Redis) -> None:
    ended = cancelled_in_the_queue(redis)
    buckets = {bucket_of(ended), 3, 40}
    misplaced = b"%02x" % min({0, 1, 2, 4} - buckets) + b"0" * 30  # the id of another bucket
    for bucket in buckets:
        redis.zadd(UNSTORED[bucket], dict.fromkeys((b"junk", b"\xff\xfe", b"", misplaced), 1))  # pyright: ignore[reportArgumentType]
    assert [each.generation for each in take_due(redis, 1000)] == [ended]
    assert all_pending(redis) == [ended]
