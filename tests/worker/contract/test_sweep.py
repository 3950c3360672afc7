"""Sweeps: requeueing, takeover and the end of generations that are due."""

from dataclasses import replace

import gevent
import pytest

from millrace.worker.contract.cancellation import cancel
from millrace.worker.contract.creation import create
from millrace.worker.contract.events import Chunk, Done, Error
from millrace.worker.contract.keys import LEASES, QUEUE, WAITING, keys_of
from millrace.worker.contract.lease import claim, reclaim
from millrace.worker.contract.lifetimes import ENQUEUE_AGAIN_MS, LATE_TAKEOVER_MS, SUSPICION_MS
from millrace.worker.contract.queue import TaskQueue
from millrace.worker.contract.redis.connection import Redis
from millrace.worker.contract.redis.streams import Streams
from millrace.worker.contract.sweep import SweepResult, sweep, sweep_and_enqueue
from millrace.worker.settings.schema import Settings
from tests.valkey import ValkeyProcess
from tests.worker.contract.generations import (
    COMPLETE,
    SETTINGS,
    append_event,
    claim_generation,
    create_completed,
    create_queued,
    expire_deadlines,
    field,
    is_leased,
    kinds_of,
    log_of,
    make_due,
    new_draft,
    sweep_twice,
    sweep_when_due,
)

NOTHING = SweepResult([], 0, [])


def now_ms(redis: Redis) -> int:
    """Return the clock of Redis in ms."""
    seconds, micros = redis.time()
    return int(seconds * 1000 + micros / 1000)


def due_in(redis: Redis, generation: str) -> float:
    """Return the time in ms until the generation is due."""
    score = redis.zscore(keys_of(generation).leases, generation)
    assert isinstance(score, float)
    return score - now_ms(redis)


def code_of(redis: Redis, generation: str) -> str | None:
    error = log_of(redis, generation)[-2]
    return error.code if isinstance(error, Error) else None


def test_generation_is_not_swept_before_it_is_due(redis: Redis) -> None:
    create_queued(redis)
    claim_generation(redis)
    assert sweep(Streams(redis), SETTINGS) == NOTHING


def test_ended_generation_is_never_swept_again(redis: Redis) -> None:
    generation = create_completed(redis).claim.generation
    assert sweep(Streams(redis), SETTINGS) == NOTHING
    redis.zadd(keys_of(generation).leases, {generation: 1})  # a stale lease
    assert sweep(Streams(redis), SETTINGS) == NOTHING
    assert not is_leased(redis, generation)


def test_lease_without_a_state_is_removed(redis: Redis) -> None:
    generation = create_queued(redis)
    redis.delete(keys_of(generation).state, keys_of(generation).log)
    assert sweep_when_due(redis, generation) == NOTHING
    assert redis.exists(keys_of(generation).leases) == 0


def test_queued_generation_is_enqueued_again_at_half_of_the_remaining_time(redis: Redis) -> None:
    generation = create_queued(redis)
    assert 55_000 < due_in(redis, generation) <= 60_000
    for left, following in ((60_000, 30_000), (5000, ENQUEUE_AGAIN_MS), (1000, 1000)):
        redis.hset(keys_of(generation).state, "queue_until", now_ms(redis) + left)
        assert sweep_when_due(redis, generation).to_enqueue == [generation]
        assert following - 1000 < due_in(redis, generation) <= following
    assert kinds_of(redis, generation) == ["status"]


def test_generation_not_claimed_in_time_ends_in_queue_timeout(redis: Redis) -> None:
    generation = create_queued(redis)
    expire_deadlines(redis, generation, "queue_until")
    assert sweep(Streams(redis), SETTINGS) == SweepResult([], 0, [generation])
    assert code_of(redis, generation) == "queue_timeout"
    assert log_of(redis, generation)[-1] == Done("failed")
    assert claim(Streams(redis), generation, SETTINGS) is None
    assert not is_leased(redis, generation)


def test_first_sweep_of_an_expired_lease_only_suspects(redis: Redis) -> None:
    claimed = claim_generation(redis).claim
    assert sweep_when_due(redis, claimed.generation) == SweepResult([], 1, [])
    assert SUSPICION_MS - 2000 < due_in(redis, claimed.generation) <= SUSPICION_MS
    assert sweep(Streams(redis), SETTINGS) == NOTHING, "a suspected generation has a delay of its own"
    assert append_event(redis, claimed, 2, Chunk("still here")).verdict == "appended"


def test_second_sweep_takes_the_generation_and_enqueues_it(redis: Redis) -> None:
    holding = claim_generation(redis)
    generation = holding.claim.generation
    assert sweep_twice(redis, generation) == SweepResult([generation], 0, [])
    assert append_event(redis, holding.claim, 2, Chunk("late")).verdict == "fenced"
    assert 0 < due_in(redis, generation) <= ENQUEUE_AGAIN_MS
    following = claim_generation(redis, generation)
    assert following.attempt == 2
    assert field(redis, generation, "ring_until") is None


def test_lost_message_is_enqueued_again_until_the_time_limit(redis: Redis) -> None:
    generation = claim_generation(redis).claim.generation
    sweep_twice(redis, generation)
    for _ in range(3):
        assert sweep_when_due(redis, generation) == SweepResult([generation], 0, [])
    expire_deadlines(redis, generation, "ring_until")
    assert sweep(Streams(redis), SETTINGS) == SweepResult([], 0, [generation])
    assert code_of(redis, generation) == "worker_lost"


def test_second_takeover_is_enqueued_after_a_delay(redis: Redis) -> None:
    generation = claim_generation(redis).claim.generation
    sweep_twice(redis, generation)
    claim_generation(redis, generation)
    assert sweep_twice(redis, generation) == NOTHING
    assert ENQUEUE_AGAIN_MS // 2 - 1000 < due_in(redis, generation) <= LATE_TAKEOVER_MS
    assert sweep_when_due(redis, generation) == SweepResult([generation], 0, [])


def test_generation_that_loses_every_worker_ends_in_worker_lost_after_the_last_attempt(redis: Redis) -> None:
    generation = create_queued(redis)
    for attempt in range(1, SETTINGS.generation.max_attempts + 1):
        assert claim_generation(redis, generation).attempt == attempt
        swept = sweep_twice(redis, generation)
    assert len(swept.ended) == 1  # pyright: ignore[reportPossiblyUnboundVariable]
    assert code_of(redis, generation) == "worker_lost"
    assert claim(Streams(redis), generation, SETTINGS) is None


def test_number_of_attempts_is_a_setting(redis: Redis) -> None:
    once = SETTINGS.replace(max_attempts=1)
    generation = claim_generation(redis).claim.generation
    assert len(sweep_twice(redis, generation, once).ended) == 1


def test_generation_lost_between_outcome_and_done_gets_only_done(redis: Redis) -> None:
    claimed = claim_generation(redis).claim
    append_event(redis, claimed, 2, COMPLETE)
    assert len(sweep_twice(redis, claimed.generation).ended) == 1
    assert log_of(redis, claimed.generation)[1:] == [COMPLETE, Done("completed")]
    assert field(redis, claimed.generation, "status") == "completed"


@pytest.mark.parametrize("is_released", [True, False])
def test_generation_cancelled_while_held_is_ended_by_a_sweep(redis: Redis, is_released: bool) -> None:
    claimed = claim_generation(redis).claim
    cancel(Streams(redis), claimed.generation, "user", SETTINGS)
    if is_released:
        redis.hset(keys_of(claimed.generation).state, "token", "")
        assert len(sweep_when_due(redis, claimed.generation).ended) == 1
    else:
        assert len(sweep_twice(redis, claimed.generation).ended) == 1
    assert kinds_of(redis, claimed.generation) == ["status", "cancelled", "done"]


def test_concurrent_sweeps_take_each_generation_once(redis: Redis) -> None:
    generations = [claim_generation(redis).claim.generation for _ in range(20)]
    for wanted in ("suspected", "to_enqueue"):
        for generation in generations:
            make_due(redis, generation)
        sweeps = [gevent.spawn(sweep, Streams(redis), SETTINGS) for _ in range(10)]
        gevent.joinall(sweeps, timeout=30, raise_error=True)
        if wanted == "suspected":
            assert sum(task.get().suspected for task in sweeps) == len(generations)
        else:
            assert sorted(each for task in sweeps for each in task.get().to_enqueue) == sorted(generations)
    assert {field(redis, generation, "losses") for generation in generations} == {"1"}


def test_sweep_reaches_every_bucket_and_more_than_one_batch(redis: Redis) -> None:
    generations = {f"{number:02x}" + create_queued(redis)[2:] for number in range(64)}
    for generation in generations:
        redis.hset(keys_of(generation).state, mapping={"token": "", "epoch": 0, "queue_until": 10**15, "top": "0-1"})
        redis.zadd(keys_of(generation).leases, {generation: 1})
    assert set(sweep(Streams(redis), SETTINGS).to_enqueue) == generations


JUNK = (b"junk", b"\xff\xfe", b"", b"zz" * 16, b"../state", b"0" * 31)


def test_junk_among_the_leases_is_dropped_and_every_generation_is_still_swept(redis: Redis) -> None:
    drafts = [new_draft() for _ in range(3)]
    ids = [f"{number:02x}" + draft.ids.generation[2:] for number, draft in enumerate(drafts)]
    for generation, draft in zip(ids, drafts, strict=True):
        create(Streams(redis), replace(draft, ids=replace(draft.ids, generation=generation)), SETTINGS)
        redis.zadd(keys_of(generation).leases, {generation: 2})
    misplaced = "05" + "0" * 30  # the id of another bucket
    junk = dict.fromkeys((*JUNK, misplaced.encode(), *(b"junk %d" % number for number in range(500))), 1)
    for bucket in (*LEASES[:3], LEASES[40]):
        redis.zadd(bucket, junk)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    swept: list[str] = []
    for _ in range(4):
        swept += sweep(Streams(redis), SETTINGS).to_enqueue
    assert sorted(swept) == ids
    assert [member.decode() for each in LEASES[:3] for member in redis.zrange(each, 0, -1)] == ids  # type: ignore[union-attr]
    assert not redis.exists(LEASES[40])


def test_generation_with_a_key_of_another_type_is_removed_and_all_others_are_swept(redis: Redis) -> None:
    healthy = create_queued(redis)
    broken_state, broken_log, held = create_queued(redis), create_queued(redis), claim_generation(redis)
    redis.set(keys_of(broken_state).state, "not a hash")
    redis.set(keys_of(broken_log).log, "not a stream")
    redis.set(keys_of(held.claim.generation).state, "not a hash")
    expire_deadlines(redis, broken_log, "queue_until")
    for generation in (healthy, broken_state, held.claim.generation):
        make_due(redis, generation)
    redis.delete(LEASES[bucket := next(each for each in range(64) if not redis.exists(LEASES[each]))])
    redis.set(LEASES[bucket], "not a sorted set")
    assert sweep(Streams(redis), SETTINGS) == SweepResult([healthy], 0, [])
    for generation in (broken_state, broken_log, held.claim.generation):
        assert redis.exists(keys_of(generation).state, keys_of(generation).log) == 0
        assert not is_leased(redis, generation)
    reclaimed = reclaim(redis, held, held.claim, SETTINGS)
    assert reclaimed is not None, "a living worker restores its generation as after a loss of data"
    assert append_event(redis, reclaimed.claim, 2, Chunk("on")).verdict == "appended"


def test_generation_whose_state_no_script_can_read_does_not_hold_up_the_others(redis: Redis) -> None:
    healthy, broken = create_queued(redis), create_queued(redis)
    redis.hdel(keys_of(broken).state, "queue_until")
    make_due(redis, healthy)
    assert sweep_when_due(redis, broken).to_enqueue == [healthy]
    assert due_in(redis, broken) > 50_000, "it would take a place in every batch"


def test_sweep_enqueues_a_queued_generation_in_turn_and_a_lost_one_at_once(valkey: ValkeyProcess, redis: Redis) -> None:
    settings = Settings.of(redis_url=valkey.url)
    draft, held, ended = replace(new_draft(), lane="somebody"), claim_generation(redis), create_queued(redis)
    create(Streams(redis), draft, settings)
    task_queue = TaskQueue(settings)
    task_queue.enqueue(ended, "another")
    expire_deadlines(redis, ended, "queue_until")
    for generation in (draft.ids.generation, held.claim.generation):
        make_due(redis, generation)
    sweep_and_enqueue(Streams(redis), settings, task_queue)
    make_due(redis, held.claim.generation)
    sweep_and_enqueue(Streams(redis), settings, task_queue)
    assert redis.hgetall(WAITING[0]) == {draft.ids.generation.encode(): b"somebody"}
    assert redis.llen(QUEUE) == 3
    task_queue.close()
