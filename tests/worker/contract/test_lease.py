"""Claiming, renewing and releasing a generation."""

from dataclasses import replace
from typing import cast

import gevent
import pytest

from millrace.worker.contract.cancellation import cancel
from millrace.worker.contract.creation import create
from millrace.worker.contract.events import FINAL_EVENTS, Cancelled, Chunk, Done, Error, Usage
from millrace.worker.contract.ids import Cursor, new_id
from millrace.worker.contract.keys import keys_of
from millrace.worker.contract.lease import Renewal, claim, release, renew_all
from millrace.worker.contract.log import Claim, Verdict
from millrace.worker.contract.redis.connection import Redis
from millrace.worker.contract.redis.streams import Streams
from millrace.worker.contract.request import ModelRequest, PromptMessage
from millrace.worker.contract.scripts import CLAIM
from millrace.worker.contract.state import mark_watched
from tests.worker.contract.generations import (
    COMPLETE,
    SETTINGS,
    append_event,
    claim_generation,
    create_cancel_on_disconnect,
    create_completed,
    create_queued,
    cursors_of,
    expire_deadlines,
    field,
    is_leased,
    kinds_of,
    log_of,
    new_draft,
    sweep_twice,
    sweep_when_due,
)

HELD = Renewal("held", None)


def renewed(redis: Redis, claimed: Claim) -> Renewal:
    renewal = renew_all(redis, [claimed], SETTINGS)[0]
    assert isinstance(renewal, Renewal)
    return renewal


def test_claim_returns_the_request(redis: Redis) -> None:
    draft = new_draft("what?")
    create(Streams(redis), draft, SETTINGS)
    holding = claim_generation(redis, draft.ids.generation)
    assert holding.request == ModelRequest([PromptMessage("user", "what?")], "model", 100)
    ids = draft.ids
    assert (holding.owner, holding.conversation, holding.message) == ("owner", ids.conversation, ids.message)
    assert holding.question == ids.question
    assert (holding.top, holding.attempt) == (Cursor(0, 1), 1)
    assert holding.claim.epoch > 0
    assert field(redis, draft.ids.generation, "status") == "running"


def test_one_of_a_hundred_concurrent_claims_succeeds(redis: Redis) -> None:
    generation = create_queued(redis)
    tasks = [gevent.spawn(claim, Streams(redis), generation, SETTINGS) for _ in range(100)]
    gevent.joinall(tasks, timeout=30, raise_error=True)
    assert len([task for task in tasks if task.get() is not None]) == 1
    assert field(redis, generation, "attempt") == "1"


def test_repeated_claim_with_the_same_token_is_the_same_claim(redis: Redis) -> None:
    generation = create_queued(redis)
    arguments = (generation, "token", 8000, 60_000, 3, 1000, FINAL_EVENTS)
    first = cast("list[bytes]", CLAIM(redis, keys_of(generation), *arguments))
    assert first[0] == b"run"
    assert CLAIM(redis, keys_of(generation), *arguments) == first
    assert CLAIM(redis, keys_of(generation), generation, "another", *arguments[2:]) == [b"busy"]


def test_claim_of_unknown_or_ended_generation_returns_none(redis: Redis) -> None:
    assert claim(Streams(redis), new_id(), SETTINGS) is None
    generation = create_completed(redis).claim.generation
    before = kinds_of(redis, generation)
    assert claim(Streams(redis), generation, SETTINGS) is None
    assert kinds_of(redis, generation) == before


def test_every_claim_has_a_higher_epoch_than_all_earlier_ones(redis: Redis) -> None:
    generation = create_queued(redis)
    epochs: list[int] = []
    for _ in range(20):
        epochs.append(claim_generation(redis, generation).claim.epoch)
        assert release(Streams(redis), Claim(generation, field(redis, generation, "token") or "", epochs[-1]), SETTINGS)
    assert sorted(set(epochs)) == epochs


def test_existing_outcome_wins_over_cancel_and_spent_attempts(redis: Redis) -> None:
    claimed = claim_generation(redis).claim
    generation = claimed.generation
    append_event(redis, claimed, 2, COMPLETE)
    assert release(Streams(redis), claimed, SETTINGS)
    redis.hset(keys_of(generation).state, mapping={"cancel": "user", "losses": 9})
    assert claim(Streams(redis), generation, SETTINGS) is None
    assert log_of(redis, generation)[1:] == [COMPLETE, Done("completed")]
    assert field(redis, generation, "done") == "1"


def test_cancel_wins_over_spent_attempts(redis: Redis) -> None:
    claimed = claim_generation(redis).claim
    cancel(Streams(redis), claimed.generation, "user", SETTINGS)
    assert release(Streams(redis), claimed, SETTINGS)
    redis.hset(keys_of(claimed.generation).state, "losses", 9)
    assert claim(Streams(redis), claimed.generation, SETTINGS) is None
    assert log_of(redis, claimed.generation)[1:] == [Cancelled("user", Usage(exact=False)), Done("cancelled")]


def test_spent_attempts_end_in_worker_lost(redis: Redis) -> None:
    generation = create_queued(redis)
    redis.hset(keys_of(generation).state, "losses", SETTINGS.generation.max_attempts)
    assert claim(Streams(redis), generation, SETTINGS) is None
    _, error, done = log_of(redis, generation)
    assert isinstance(error, Error)
    assert (error.code, error.retryable, done) == ("worker_lost", True, Done("failed"))


def test_renewal_extends_the_lease_and_clears_a_suspicion(redis: Redis) -> None:
    claimed = claim_generation(redis).claim
    for _ in range(3):  # a live holder keeps its lease, however often a sweep is late
        assert sweep_when_due(redis, claimed.generation).suspected == 1
        assert renewed(redis, claimed) == HELD
        assert field(redis, claimed.generation, "suspect") is None
    assert sweep_when_due(redis, claimed.generation).suspected == 1


def test_renewal_is_refused_to_everyone_but_the_holder(redis: Redis) -> None:
    claimed = claim_generation(redis).claim
    refused = Renewal("fenced", None)
    assert renewed(redis, Claim(claimed.generation, "0" * 16, claimed.epoch)) == refused
    sweep_twice(redis, claimed.generation)
    assert renewed(redis, claimed) == refused
    claim_generation(redis, claimed.generation)
    assert renewed(redis, claimed) == refused
    assert renewed(redis, create_completed(redis).claim) == refused


def test_renewal_reports_a_claim_that_redis_has_lost(redis: Redis) -> None:
    generation = create_queued(redis)
    before = cast("bytes", redis.dump(keys_of(generation).state))
    claimed = claim_generation(redis, generation).claim
    redis.restore(keys_of(generation).state, 0, before, replace=True)
    lost = Renewal("lost", None)
    assert renewed(redis, claimed) == lost
    redis.flushall()
    assert renewed(redis, claimed) == lost
    assert redis.keys("*") == []


def test_renewal_past_the_generations_deadline_is_refused(redis: Redis) -> None:
    claimed = claim_generation(redis).claim
    expire_deadlines(redis, claimed.generation, "run_until")
    assert renewed(redis, claimed) == Renewal("expired", None)
    assert sweep_when_due(redis, claimed.generation).suspected == 1
    assert renewed(redis, claimed) == Renewal("expired", None)
    assert sweep_when_due(redis, claimed.generation).to_enqueue == [claimed.generation]


def test_renewals_share_a_round_trip_and_keep_their_order(redis: Redis) -> None:
    claims = [claim_generation(redis).claim for _ in range(5)]
    cancel(Streams(redis), claims[3].generation, "user", SETTINGS)
    flags = [each.cancelled_by for each in renew_all(redis, claims, SETTINGS) if isinstance(each, Renewal)]
    assert flags == [None, None, None, "user", None]


def test_generation_without_readers_is_abandoned_after_its_grace(redis: Redis) -> None:
    claimed = claim_generation(redis, create_cancel_on_disconnect(redis)).claim
    assert renewed(redis, claimed) == HELD
    mark_watched(Streams(redis), [claimed.generation])
    redis.hset(keys_of(claimed.generation).state, "watched_at", 1)
    assert renewed(redis, claimed) == HELD, "a reader is present"
    assert int(field(redis, claimed.generation, "watched_at") or 0) > 1
    redis.delete(keys_of(claimed.generation).watched)
    assert renewed(redis, claimed) == HELD, "the grace period has just started"
    redis.hset(keys_of(claimed.generation).state, "watched_at", 1)
    assert renewed(redis, claimed).cancelled_by == "abandoned"
    assert append_event(redis, claimed, 2, Chunk("a")).cancelled_by == "abandoned"


def test_generation_set_to_continue_is_never_abandoned(redis: Redis) -> None:
    claimed = claim_generation(redis).claim
    redis.hset(keys_of(claimed.generation).state, "watched_at", 1)
    assert renewed(redis, claimed) == HELD


def test_release_allows_the_next_claim_at_once_and_counts_no_loss(redis: Redis) -> None:
    holding = claim_generation(redis)
    append_event(redis, holding.claim, 2, Chunk("a"))
    generation = holding.claim.generation
    assert release(Streams(redis), holding.claim, SETTINGS)
    assert field(redis, generation, "losses") == "0"
    following = claim_generation(redis, generation)
    assert (following.attempt, following.top) == (2, Cursor(holding.claim.epoch, 2))
    assert following.claim.epoch > holding.claim.epoch


def test_released_generation_is_enqueued_by_sweeps_and_ends_in_time(redis: Redis) -> None:
    claimed = claim_generation(redis).claim
    assert release(Streams(redis), claimed, SETTINGS)
    for _ in range(3):
        assert sweep_when_due(redis, claimed.generation).to_enqueue == [claimed.generation]
    expire_deadlines(redis, claimed.generation, "ring_until")
    assert len(sweep_when_due(redis, claimed.generation).ended) == 1
    assert kinds_of(redis, claimed.generation) == ["status", "error", "done"]


@pytest.mark.parametrize("how", ["twice", "of another's", "after the end", "of nothing"])
def test_release_without_the_claim_changes_nothing(redis: Redis, how: str) -> None:
    claimed = create_completed(redis).claim if how == "after the end" else claim_generation(redis).claim
    if how == "twice":
        assert release(Streams(redis), claimed, SETTINGS)
    if how == "of another's":
        claimed = replace(claimed, token="0" * 16)
    if how == "of nothing":
        redis.flushall()
    before = cast("dict[bytes, bytes]", redis.hgetall(keys_of(claimed.generation).state))
    assert not release(Streams(redis), claimed, SETTINGS)
    assert redis.hgetall(keys_of(claimed.generation).state) == before


def test_holder_is_fenced_after_release_even_before_the_next_claim(redis: Redis) -> None:
    claimed = claim_generation(redis).claim
    assert release(Streams(redis), claimed, SETTINGS)
    assert append_event(redis, claimed, 2, Chunk("a")).verdict == Verdict.FENCED
    assert renewed(redis, claimed).verdict == "fenced"
    assert is_leased(redis, claimed.generation)
    assert cursors_of(redis, claimed.generation) == [Cursor(0, 1)]
