"""The limit of active generations per owner or address; an ended generation frees its slot without a release."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from millrace.worker.contract import state
from millrace.worker.contract.active_generations import acquire_slot, acquire_slots, release_slot
from millrace.worker.contract.cancellation import cancel
from millrace.worker.contract.creation import create
from millrace.worker.contract.ids import new_id
from millrace.worker.contract.keys import active_key, keys_of
from millrace.worker.contract.redis.connection import Redis
from millrace.worker.contract.redis.streams import Streams
from millrace.worker.contract.scripts import ACQUIRE_SLOT
from tests.worker.contract.generations import (
    COMPLETE,
    SETTINGS,
    append_event,
    claim_generation,
    create_queued,
    new_draft,
)

ADA, EVE = active_key("ada"), active_key("eve")


def acquire_and_create(redis: Redis, owner: str, limit: int) -> str:
    """Acquire a slot and create a generation in it; return its id."""
    draft = new_draft()
    assert acquire_slot(Streams(redis), active_key(owner), draft.ids.generation, limit)
    create(Streams(redis), draft, SETTINGS)
    return draft.ids.generation


def test_slots_are_limited_per_owner(redis: Redis) -> None:
    generations = [acquire_and_create(redis, "ada", 3) for _ in range(3)]
    assert not acquire_slot(Streams(redis), ADA, new_id(), 3)
    assert acquire_slot(Streams(redis), EVE, new_id(), 3), "each owner has a separate limit"
    assert all(acquire_slot(Streams(redis), ADA, each, 3) for each in generations), (
        "a repeated acquire of a held slot succeeds"
    )
    assert redis.zcard(ADA) == 3
    assert 0 < redis.ttl(ADA) <= 25 * 3600  # type: ignore[operator]


def test_slots_in_several_places_are_acquired_together_and_tell_which_place_is_full(redis: Redis) -> None:
    places, generation = [(ADA, 1), (EVE, 1)], new_id()
    assert acquire_slots(Streams(redis), places, generation) == [True, True]
    assert acquire_slots(Streams(redis), places, generation) == [True, True], (
        "a repeated acquire of held slots succeeds"
    )
    assert acquire_slots(Streams(redis), [(ADA, 1), (EVE, 2)], new_id()) == [False, True]
    assert acquire_slots(Streams(redis), places, new_id()) == [False, False]


@pytest.mark.parametrize("how", ["complete", "cancelled while queued", "state lost"])
def test_ended_generation_frees_its_slot_when_it_is_needed(
    redis: Redis, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = acquire_and_create(redis, "ada", 2), acquire_and_create(redis, "ada", 2)
    assert not acquire_slot(Streams(redis), ADA, new_id(), 2)
    if how == "complete":
        append_event(redis, claim_generation(redis, first).claim, 2, COMPLETE)
    elif how == "cancelled while queued":
        cancel(Streams(redis), first, "user", SETTINGS)
    else:
        redis.delete(keys_of(first).state)
        monkeypatch.setattr(state, "CREATION_MS", -1)
    third = acquire_and_create(redis, "ada", 2)
    assert set(redis.zrange(ADA, 0, -1)) == {second.encode(), third.encode()}  # type: ignore[arg-type]
    assert not acquire_slot(Streams(redis), ADA, new_id(), 2)


def test_generation_being_created_holds_its_slot(redis: Redis) -> None:
    assert acquire_slot(Streams(redis), ADA, new_id(), 1)
    assert not acquire_slot(Streams(redis), ADA, new_id(), 1)


def test_released_slot_is_free(redis: Redis) -> None:
    generation = new_id()
    acquire_slot(Streams(redis), ADA, generation, 1)
    release_slot(redis, ADA, generation)
    assert acquire_slot(Streams(redis), ADA, new_id(), 1)


def test_concurrent_requests_get_no_more_slots_than_allowed(redis: Redis) -> None:
    for _ in range(5):
        append_event(redis, claim_generation(redis, acquire_and_create(redis, "ada", 5)).claim, 2, COMPLETE)
    with ThreadPoolExecutor(20) as pool:
        let_in: list[Any] = list(pool.map(lambda _: acquire_slot(Streams(redis), ADA, new_id(), 5), range(60)))
    assert let_in.count(True) == 5


def test_repeated_call_takes_one_slot(redis: Redis) -> None:
    generation = create_queued(redis)
    for _ in range(3):
        assert ACQUIRE_SLOT(redis, (ADA,), generation, 2, 1000) == []
    assert redis.zcard(ADA) == 1
