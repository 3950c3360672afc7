"""Claims: who may write, for how long, and how a claim is made again."""

from dataclasses import replace
from typing import cast

import gevent
import pytest

from millrace.worker.contract.cancellation import cancel
from millrace.worker.contract.connection import Redis
from millrace.worker.contract.creation import create
from millrace.worker.contract.events import FINAL_EVENTS, Cancelled, Chunk, Done, Error, Usage
from millrace.worker.contract.ids import Cursor, new_id
from millrace.worker.contract.keys import keys_of
from millrace.worker.contract.lease import Renewal, claim, release, renew_all
from millrace.worker.contract.log import Claim, Verdict
from millrace.worker.contract.request import ModelRequest, PromptMessage
from millrace.worker.contract.scripts import CLAIM
from millrace.worker.contract.state import mark_watched
from tests.worker.contract.generations import (
    COMPLETE,
    SETTINGS,
    completed,
    cursors_of,
    field,
    held,
    is_leased,
    kinds_of,
    let_pass,
    log_of,
    look,
    lose_holder,
    new_draft,
    put,
    queued,
    watched_by_nobody,
)

HELD = Renewal("held", None)


def renewed(redis: Redis, claimed: Claim) -> Renewal:
    renewal = renew_all(redis, [claimed], SETTINGS)[0]
    assert isinstance(renewal, Renewal)
    return renewal


def test_claim_returns_the_request(redis: Redis) -> None:
    draft = new_draft("what?")
    create(redis, draft, SETTINGS)
    holding = held(redis, draft.ids.generation)
    assert holding.request == ModelRequest([PromptMessage("user", "what?")], "model", 100)
    ids = draft.ids
    assert (holding.owner, holding.conversation, holding.message) == ("owner", ids.conversation, ids.message)
    assert holding.question == ids.question
    assert (holding.top, holding.attempt) == (Cursor(0, 1), 1)
    assert holding.claim.epoch > 0
    assert field(redis, draft.ids.generation, "status") == "running"


def test_of_a_hundred_claims_at_once_one_holds(redis: Redis) -> None:
    generation = queued(redis)
    tasks = [gevent.spawn(claim, redis, generation, SETTINGS) for _ in range(100)]
    gevent.joinall(tasks, timeout=30, raise_error=True)
    assert len([task for task in tasks if task.get() is not None]) == 1
    assert field(redis, generation, "attempt") == "1"


def test_a_claim_sent_again_with_the_same_token_is_the_same_claim(redis: Redis) -> None:
    generation = queued(redis)
    arguments = (generation, "token", 8000, 60_000, 3, 1000, FINAL_EVENTS)
    first = cast("list[bytes]", CLAIM(redis, keys_of(generation), *arguments))
    assert first[0] == b"run"
    assert CLAIM(redis, keys_of(generation), *arguments) == first
    assert CLAIM(redis, keys_of(generation), generation, "another", *arguments[2:]) == [b"busy"]


def test_there_is_nothing_to_claim_where_there_is_no_generation_or_it_has_ended(redis: Redis) -> None:
    assert claim(redis, new_id(), SETTINGS) is None
    generation = completed(redis).claim.generation
    before = kinds_of(redis, generation)
    assert claim(redis, generation, SETTINGS) is None
    assert kinds_of(redis, generation) == before


def test_every_claim_has_a_higher_epoch_than_all_before_it(redis: Redis) -> None:
    generation = queued(redis)
    epochs: list[int] = []
    for _ in range(20):
        epochs.append(held(redis, generation).claim.epoch)
        assert release(redis, Claim(generation, field(redis, generation, "token") or "", epochs[-1]), SETTINGS)
    assert sorted(set(epochs)) == epochs


def test_an_outcome_that_is_there_wins_over_a_cancel_and_spent_attempts(redis: Redis) -> None:
    claimed = held(redis).claim
    generation = claimed.generation
    put(redis, claimed, 2, COMPLETE)
    assert release(redis, claimed, SETTINGS)
    redis.hset(keys_of(generation).state, mapping={"cancel": "user", "losses": 9})
    assert claim(redis, generation, SETTINGS) is None
    assert log_of(redis, generation)[1:] == [COMPLETE, Done("completed")]
    assert field(redis, generation, "done") == "1"


def test_a_cancel_wins_over_spent_attempts(redis: Redis) -> None:
    claimed = held(redis).claim
    cancel(redis, claimed.generation, "user", SETTINGS)
    assert release(redis, claimed, SETTINGS)
    redis.hset(keys_of(claimed.generation).state, "losses", 9)
    assert claim(redis, claimed.generation, SETTINGS) is None
    assert log_of(redis, claimed.generation)[1:] == [Cancelled("user", Usage(exact=False)), Done("cancelled")]


def test_spent_attempts_end_in_worker_lost(redis: Redis) -> None:
    generation = queued(redis)
    redis.hset(keys_of(generation).state, "losses", SETTINGS.generation.max_attempts)
    assert claim(redis, generation, SETTINGS) is None
    _, error, done = log_of(redis, generation)
    assert isinstance(error, Error)
    assert (error.code, error.retryable, done) == ("worker_lost", True, Done("failed"))


def test_a_renewal_moves_the_lease_on_and_clears_a_suspicion(redis: Redis) -> None:
    claimed = held(redis).claim
    for _ in range(3):  # a living holder is never taken from, however often a sweep comes late
        assert look(redis, claimed.generation).suspected == 1
        assert renewed(redis, claimed) == HELD
        assert field(redis, claimed.generation, "suspect") is None
    assert look(redis, claimed.generation).suspected == 1


def test_a_renewal_is_refused_to_anybody_but_the_holder(redis: Redis) -> None:
    claimed = held(redis).claim
    refused = Renewal("fenced", None)
    assert renewed(redis, Claim(claimed.generation, "0" * 16, claimed.epoch)) == refused
    lose_holder(redis, claimed.generation)
    assert renewed(redis, claimed) == refused
    held(redis, claimed.generation)
    assert renewed(redis, claimed) == refused
    assert renewed(redis, completed(redis).claim) == refused


def test_a_renewal_tells_of_a_claim_that_redis_has_lost(redis: Redis) -> None:
    generation = queued(redis)
    before = cast("bytes", redis.dump(keys_of(generation).state))
    claimed = held(redis, generation).claim
    redis.restore(keys_of(generation).state, 0, before, replace=True)
    lost = Renewal("lost", None)
    assert renewed(redis, claimed) == lost
    redis.flushall()
    assert renewed(redis, claimed) == lost
    assert redis.keys("*") == []


def test_a_renewal_past_the_generations_own_deadline_is_refused_so_that_a_stuck_holder_loses_it(redis: Redis) -> None:
    claimed = held(redis).claim
    let_pass(redis, claimed.generation, "run_until")
    assert renewed(redis, claimed) == Renewal("expired", None)
    assert look(redis, claimed.generation).suspected == 1
    assert renewed(redis, claimed) == Renewal("expired", None)
    assert look(redis, claimed.generation).to_enqueue == [claimed.generation]


def test_many_renewals_share_a_round_trip_in_order(redis: Redis) -> None:
    claims = [held(redis).claim for _ in range(5)]
    cancel(redis, claims[3].generation, "user", SETTINGS)
    flags = [each.cancelled_by for each in renew_all(redis, claims, SETTINGS) if isinstance(each, Renewal)]
    assert flags == [None, None, None, "user", None]


def test_a_generation_that_nobody_watches_is_abandoned_after_its_grace(redis: Redis) -> None:
    claimed = held(redis, watched_by_nobody(redis)).claim
    assert renewed(redis, claimed) == HELD
    mark_watched(redis, [claimed.generation])
    redis.hset(keys_of(claimed.generation).state, "watched_at", 1)
    assert renewed(redis, claimed) == HELD, "somebody watches"
    assert int(field(redis, claimed.generation, "watched_at") or 0) > 1
    redis.delete(keys_of(claimed.generation).watched)
    assert renewed(redis, claimed) == HELD, "the grace has only begun"
    redis.hset(keys_of(claimed.generation).state, "watched_at", 1)
    assert renewed(redis, claimed).cancelled_by == "abandoned"
    assert put(redis, claimed, 2, Chunk("a")).cancelled_by == "abandoned"


def test_a_generation_that_goes_on_without_readers_is_never_abandoned(redis: Redis) -> None:
    claimed = held(redis).claim
    redis.hset(keys_of(claimed.generation).state, "watched_at", 1)
    assert renewed(redis, claimed) == HELD


def test_a_release_lets_the_next_worker_in_at_once_and_counts_no_loss(redis: Redis) -> None:
    holding = held(redis)
    put(redis, holding.claim, 2, Chunk("a"))
    generation = holding.claim.generation
    assert release(redis, holding.claim, SETTINGS)
    assert field(redis, generation, "losses") == "0"
    following = held(redis, generation)
    assert (following.attempt, following.top) == (2, Cursor(holding.claim.epoch, 2))
    assert following.claim.epoch > holding.claim.epoch


def test_released_generation_is_enqueued_by_sweeps_and_ends_in_time(redis: Redis) -> None:
    claimed = held(redis).claim
    assert release(redis, claimed, SETTINGS)
    for _ in range(3):
        assert look(redis, claimed.generation).to_enqueue == [claimed.generation]
    let_pass(redis, claimed.generation, "ring_until")
    assert look(redis, claimed.generation).ended == 1
    assert kinds_of(redis, claimed.generation) == ["status", "error", "done"]


@pytest.mark.parametrize("how", ["twice", "of another's", "after the end", "of nothing"])
def test_a_release_of_what_is_not_held_changes_nothing(redis: Redis, how: str) -> None:
    claimed = completed(redis).claim if how == "after the end" else held(redis).claim
    if how == "twice":
        assert release(redis, claimed, SETTINGS)
    if how == "of another's":
        claimed = replace(claimed, token="0" * 16)
    if how == "of nothing":
        redis.flushall()
    before = cast("dict[bytes, bytes]", redis.hgetall(keys_of(claimed.generation).state))
    assert not release(redis, claimed, SETTINGS)
    assert redis.hgetall(keys_of(claimed.generation).state) == before


def test_a_holder_that_released_is_fenced_even_before_anybody_claims(redis: Redis) -> None:
    claimed = held(redis).claim
    assert release(redis, claimed, SETTINGS)
    assert put(redis, claimed, 2, Chunk("a")).verdict == Verdict.FENCED
    assert renewed(redis, claimed).verdict == "fenced"
    assert is_leased(redis, claimed.generation)
    assert cursors_of(redis, claimed.generation) == [Cursor(0, 1)]
