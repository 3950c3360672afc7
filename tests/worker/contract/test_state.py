"""The state of a generation as its readers see it."""

from millrace.worker.contract.creation import create
from millrace.worker.contract.events import Chunk
from millrace.worker.contract.ids import Cursor, new_id
from millrace.worker.contract.keys import keys_of
from millrace.worker.contract.redis.connection import Redis
from millrace.worker.contract.redis.streams import Streams
from millrace.worker.contract.state import GenerationState, mark_watched, read_state, read_states
from tests.worker.contract.generations import (
    COMPLETE,
    SETTINGS,
    append_event,
    claim_generation,
    create_completed,
    create_queued,
    new_draft,
)


def test_state_follows_a_generation_through_its_life(redis: Redis) -> None:
    draft = new_draft()
    generation = draft.ids.generation
    create(Streams(redis), draft, SETTINGS)
    state = read_state(Streams(redis), generation)
    assert state is not None
    assert state == GenerationState(
        *(generation, "owner", draft.ids.conversation, draft.ids.message, "queued", 0, Cursor(0, 1)),
        is_done=False,
        on_disconnect="continue",
        created_ms=state.created_ms,
        question=draft.ids.question,
    )
    assert abs(state.created_ms - redis.time()[0] * 1000) < 60_000
    claimed = claim_generation(redis, generation).claim
    append_event(redis, claimed, 2, Chunk("a"))
    state = read_state(Streams(redis), generation)
    assert state is not None
    assert (state.status, state.attempt, state.top) == ("running", 1, Cursor(claimed.epoch, 2))
    append_event(redis, claimed, 3, COMPLETE)
    state = read_state(Streams(redis), generation)
    assert state is not None
    assert (state.status, state.is_done) == ("completed", False)


def test_state_shows_the_end(redis: Redis) -> None:
    state = read_state(Streams(redis), create_completed(redis).claim.generation)
    assert state is not None
    assert (state.status, state.is_done, state.top.seq) == ("completed", True, 5)


def test_states_are_returned_in_order_and_absent_ones_are_none(redis: Redis) -> None:
    generations = [create_queued(redis), new_id(), create_queued(redis)]
    states = read_states(Streams(redis), generations)
    assert [state.generation if state else None for state in states] == [generations[0], None, generations[2]]
    assert read_states(Streams(redis), []) == []
    assert read_state(Streams(redis), new_id()) is None


def test_generation_is_watched_for_a_limited_time(redis: Redis) -> None:
    generations = [create_queued(redis), create_queued(redis)]
    mark_watched(Streams(redis), generations)
    for generation in generations:
        assert 0 < redis.pttl(keys_of(generation).watched) <= 15_000
