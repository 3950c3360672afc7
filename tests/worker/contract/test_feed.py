"""An owner's feed: written where things end, read from a place on; who writes it is never held up by it."""

import json
from typing import Any, cast

import pytest

from millrace.worker.contract.cancellation import cancel
from millrace.worker.contract.connection import Redis, connect
from millrace.worker.contract.feed import (
    FEED_MS,
    FEED_START,
    MAX_EVENTS,
    ConversationChanged,
    FeedPosition,
    GenerationStarted,
    end_of_feed,
    parse_position,
    publish,
    publish_ended,
    read_feeds,
)
from millrace.worker.contract.ids import new_id
from millrace.worker.contract.keys import feed_key
from millrace.worker.contract.lease import claim
from millrace.worker.contract.sweep import sweep
from tests.valkey import free_port
from tests.worker.contract.generations import SETTINGS, completed, field, held, let_pass, lose_holder, queued


def told(
    redis: Redis, owner: str = "owner", after: FeedPosition = FEED_START, count: int = 100
) -> list[dict[str, Any]]:
    (entries,) = read_feeds(redis, [(owner, after)], count)
    return [json.loads(entry.data) for entry in entries]


def ended(redis: Redis, generation: str, status: str) -> dict[str, Any]:
    conversation = field(redis, generation, "conversation")
    return {
        "type": "generation_ended",
        "generation": generation,
        "conversation_id": conversation,
        "status": status,
    }


def test_events_are_read_in_order_from_a_place_on_and_by_their_owner_alone(redis: Redis) -> None:
    publish(redis, "ann", GenerationStarted("g", "c"), ConversationChanged("c"))
    after = end_of_feed(redis, "ann")
    publish(redis, "bob", ConversationChanged("d"))
    publish(redis, "ann", ConversationChanged("e"))
    one, two, three = told(redis, "ann")
    assert one == {"type": "generation_started", "generation": "g", "conversation_id": "c"}
    assert two == {"type": "conversation_changed", "conversation_id": "c"}
    assert told(redis, "ann", after) == [three] == [{"type": "conversation_changed", "conversation_id": "e"}]
    assert told(redis, "ann", count=1) == [one]
    both = read_feeds(redis, [("ann", after), ("bob", FEED_START)], 10)
    assert [len(entries) for entries in both] == [1, 1]


def test_a_feed_is_capped_and_goes_after_an_hour(redis: Redis) -> None:
    for _ in range(4):
        publish(redis, "ann", *[ConversationChanged("c")] * 500)
    assert MAX_EVENTS <= redis.xlen(feed_key("ann")) < 2000
    assert 0 < redis.pttl(feed_key("ann")) <= FEED_MS


def test_owner_cannot_be_read_from_the_key_of_a_feed() -> None:
    assert "ann@example.org" not in feed_key("ann@example.org")
    assert feed_key("ann") != feed_key("bob")


def test_followers_are_woken(redis: Redis) -> None:
    listening = redis.pubsub()
    listening.subscribe(feed_key("ann"))
    assert cast("dict[str, Any]", listening.get_message(timeout=5))["type"] == "subscribe"
    publish(redis, "ann", ConversationChanged("c"))
    message = cast("dict[str, Any]", listening.get_message(timeout=5))
    listening.close()
    assert message["type"] == "message"
    assert told(redis, "ann")


def test_the_end_of_no_feed_is_its_beginning(redis: Redis) -> None:
    assert end_of_feed(redis, "nobody") == FEED_START
    assert told(redis, "nobody") == []


def test_a_cancel_that_ends_a_generation_tells_so_once(redis: Redis) -> None:
    generation = queued(redis)
    for _ in range(2):
        cancel(redis, generation, "user", SETTINGS)
    assert told(redis) == [ended(redis, generation, "cancelled")]


def test_a_cancel_that_leaves_it_to_the_holder_tells_nothing(redis: Redis) -> None:
    cancel(redis, held(redis).claim.generation, "user", SETTINGS)
    assert told(redis) == []


def test_a_sweep_that_ends_generations_tells_so(redis: Redis) -> None:
    late, lost = queued(redis), held(redis).claim.generation
    for _ in range(SETTINGS.generation.max_attempts - 1):
        lose_holder(redis, lost)
        held(redis, lost)
    lose_holder(redis, lost)
    let_pass(redis, late, "queue_until")
    sweep(redis, SETTINGS)
    assert told(redis) == [ended(redis, lost, "failed"), ended(redis, late, "failed")]


def test_a_claim_that_ends_a_generation_tells_so(redis: Redis) -> None:
    holding = held(redis)
    lose_holder(redis, holding.claim.generation)
    cancelled = holding.claim.generation
    _flag(redis, cancelled)
    assert claim(redis, cancelled, SETTINGS) is None
    assert told(redis) == [ended(redis, cancelled, "cancelled")]


def _flag(redis: Redis, generation: str) -> None:
    """Leave the state as after a cancel that a holder did not live to heed."""
    (state,) = [key for key in cast("list[bytes]", redis.keys("*:state")) if generation.encode() in key]
    redis.hset(state, "cancel", "user")


def test_generation_without_a_state_is_left_out(redis: Redis) -> None:
    there = completed(redis).claim.generation
    publish_ended(redis, [new_id(), there])
    assert told(redis) == [ended(redis, there, "completed")]
    assert redis.keys("*:feed") == [feed_key("owner").encode()]


def test_unavailable_redis_is_logged_and_raises_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with connect(f"redis://127.0.0.1:{free_port()}/0", retries=0) as away:
        publish(away, "ann", ConversationChanged("c"))
        publish_ended(away, [new_id()])
    assert [record.getMessage().split(" error")[0] for record in caplog.records] == ["feed_publish_failed events=1"] * 2


@pytest.mark.parametrize("text", ["", "1", "1-", "-1", "a-b", "1-1-1", "1-1 ", "\u0661-1", "1" * 16 + "-0"])
def test_text_that_is_no_position_is_none(text: str) -> None:
    assert parse_position(text) is None


def test_position_is_spelled_as_redis_spells_it() -> None:
    assert parse_position("1764115200000-3") == FeedPosition(1764115200000, 3)
    assert str(FeedPosition(1764115200000, 3)) == "1764115200000-3"
