"""The generations of a deleted conversation leave nothing readable in Redis."""

import pytest

from millrace.worker.contract.cancellation import cancel, forget
from millrace.worker.contract.events import Cancelled, Done, Usage
from millrace.worker.contract.ids import new_id
from millrace.worker.contract.keys import keys_of
from millrace.worker.contract.redis.connection import Redis
from millrace.worker.contract.redis.streams import Streams
from millrace.worker.contract.state import read_request, read_state
from tests.worker.contract.generations import (
    SETTINGS,
    append_event,
    claim_generation,
    create_completed,
    create_queued,
    kinds_of,
)

LEFT_MS = 30_000


def is_forgotten(redis: Redis, generation: str) -> bool:
    keys = keys_of(generation)
    state = read_state(Streams(redis), generation)
    assert state is not None
    assert state.is_deleted
    assert 0 < redis.pttl(keys.state) <= LEFT_MS
    assert read_request(Streams(redis), generation) is None
    return redis.zscore(keys.unstored, generation) is None


def test_ended_generation_loses_its_log_its_request_and_its_pending_storage(redis: Redis) -> None:
    ended, cancelled, other = create_completed(redis).claim.generation, create_queued(redis), create_completed(redis)
    cancel(Streams(redis), cancelled, "deleted", SETTINGS)
    for _ in range(2):
        forget(Streams(redis), [ended, cancelled, new_id()])
        for each in (ended, cancelled):
            assert is_forgotten(redis, each)
            assert not redis.exists(keys_of(each).log)
    assert len(kinds_of(redis, other.claim.generation)) == 5


@pytest.mark.parametrize("is_claimed", [True, False])
def test_running_generation_is_unreadable_at_once_and_gone_after_its_end(redis: Redis, is_claimed: bool) -> None:
    generation = create_queued(redis)
    holding = claim_generation(redis, generation) if is_claimed else None
    forget(Streams(redis), [generation])
    state = read_state(Streams(redis), generation)
    assert state is not None
    assert (state.is_deleted, state.is_running) == (True, True)
    if holding is None:
        cancel(Streams(redis), generation, "deleted", SETTINGS)
    else:
        append_event(redis, holding.claim, 2, Cancelled("deleted", Usage()))
        append_event(redis, holding.claim, 3, Done("cancelled"))
    assert is_forgotten(redis, generation)
    assert 0 < redis.pttl(keys_of(generation).log) <= LEFT_MS


def test_nothing_to_forget_is_no_error(redis: Redis) -> None:
    forget(Streams(redis), [])
