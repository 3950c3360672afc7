"""An owner's feed: written when generations end, read from a position; a failed write never stops the writer."""

import json
from typing import Any, cast

import pytest

from millrace.worker.contract.cancellation import cancel
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
from millrace.worker.contract.redis.connection import Redis, connect
from millrace.worker.contract.redis.streams import Streams
from millrace.worker.contract.sweep import sweep
from tests.valkey import free_port
from tests.worker.contract.generations import (
    SETTINGS,
    claim_generation,
    create_completed,
    create_queued,
    expire_deadlines,
    field,
    sweep_twice,
)


def feed_of(
    redis: Redis, owner: str = "owner", after: FeedPosition = FEED_START, count: int = 100
) -> list[dict[str, Any]]:
    (entries,) = read_feeds(redis, [(owner, after)], count)
    return [json.loads(entry.data) for entry in entries]


def ended_event(redis: Redis, generation: str, status: str) -> dict[str, Any]:
    conversation = field(redis, generation, "conversation")
    return {
        "type": "generation_ended",
        "generation": generation,
        "conversation_id": conversation,
        "status": status,
    }


def test_events_are_read_in_order_from_a_position_and_only_by_their_owner(redis: Redis) -> None:
    publish(redis, "ann", GenerationStarted("g", "c"), ConversationChanged("c"))
    after = end_of_feed(redis, "ann")
    publish(redis, "bob", ConversationChanged("d"))
    publish(redis, "ann", ConversationChanged("e"))
    one, two, three = feed_of(redis, "ann")
    assert one == {"type": "generation_started", "generation": "g", "conversation_id": "c"}
    assert two == {"type": "conversation_changed", "conversation_id": "c"}
    assert feed_of(redis, "ann", after) == [three] == [{"type": "conversation_changed", "conversation_id": "e"}]
    assert feed_of(redis, "ann", count=1) == [one]
    both = read_feeds(redis, [("ann", after), ("bob", FEED_START)], 10)
    assert [len(entries) for entries in both] == [1, 1]


def test_feed_is_capped_and_expires_after_an_hour(redis: Redis) -> None:
    for _ in range(4):
        publish(redis, "ann", *[ConversationChanged("c")] * 500)
    assert MAX_EVENTS <= redis.xlen(feed_key("ann")) < 2000
    assert 0 < redis.pttl(feed_key("ann")) <= FEED_MS


def test_owner_cannot_be_read_from_the_key_of_a_feed() -> None:
    assert "ann@example.org" not in feed_key("ann@example.org")
    assert feed_key("ann") != feed_key("bob")


def test_followers_are_woken(redis: Redis) -> None:
    subscriber = redis.pubsub()
    subscriber.subscribe(feed_key("ann"))
    assert cast("dict[str, Any]", subscriber.get_message(timeout=30))["type"] == "subscribe"
    publish(redis, "ann", ConversationChanged("c"))
    message = cast("dict[str, Any]", subscriber.get_message(timeout=30))
    subscriber.close()
    assert message["type"] == "message"
    assert feed_of(redis, "ann")


def test_end_of_missing_feed_is_its_start(redis: Redis) -> None:
    assert end_of_feed(redis, "unknown") == FEED_START
    assert feed_of(redis, "unknown") == []


def test_cancel_that_ends_a_generation_publishes_one_event(redis: Redis) -> None:
    generation = create_queued(redis)
    for _ in range(2):
        cancel(Streams(redis), generation, "user", SETTINGS)
    assert feed_of(redis) == [ended_event(redis, generation, "cancelled")]


def test_cancel_of_held_generation_publishes_no_event(redis: Redis) -> None:
    cancel(Streams(redis), claim_generation(redis).claim.generation, "user", SETTINGS)
    assert feed_of(redis) == []


def test_sweep_that_ends_generations_publishes_their_ends(redis: Redis) -> None:
    late, lost = create_queued(redis), claim_generation(redis).claim.generation
    for _ in range(SETTINGS.generation.max_attempts - 1):
        sweep_twice(redis, lost)
        claim_generation(redis, lost)
    sweep_twice(redis, lost)
    expire_deadlines(redis, late, "queue_until")
    sweep(Streams(redis), SETTINGS)
    assert feed_of(redis) == [ended_event(redis, lost, "failed"), ended_event(redis, late, "failed")]


def test_claim_that_ends_a_generation_publishes_its_end(redis: Redis) -> None:
    holding = claim_generation(redis)
    sweep_twice(redis, holding.claim.generation)
    cancelled = holding.claim.generation
    _mark_cancelled(redis, cancelled)
    assert claim(Streams(redis), cancelled, SETTINGS) is None
    assert feed_of(redis) == [ended_event(redis, cancelled, "cancelled")]


def _mark_cancelled(redis: Redis, generation: str) -> None:
    """Leave the state as after a cancel whose holder was lost before it reacted."""
    (state,) = [key for key in cast("list[bytes]", redis.keys("*:state")) if generation.encode() in key]
    redis.hset(state, "cancel", "user")


def test_generation_without_a_state_is_left_out(redis: Redis) -> None:
    there = create_completed(redis).claim.generation
    publish_ended(Streams(redis), [new_id(), there])
    assert feed_of(redis) == [ended_event(redis, there, "completed")]
    assert redis.keys("*:feed") == [feed_key("owner").encode()]


def test_unavailable_redis_is_logged_and_raises_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with connect(f"redis://127.0.0.1:{free_port()}/0", retries=0) as away:
        publish(away, "ann", ConversationChanged("c"))
        publish_ended(Streams(away), [new_id()])
    assert [record.getMessage().split(" error")[0] for record in caplog.records] == ["feed_publish_failed events=1"] * 2


@pytest.mark.parametrize("text", ["", "1", "1-", "-1", "a-b", "1-1-1", "1-1 ", "\u0661-1", "1" * 16 + "-0"])
def test_invalid_position_is_parsed_as_none(text: str) -> None:
    assert parse_position(text) is None


def test_position_has_the_format_of_a_redis_stream_id() -> None:
    assert parse_position("1764115200000-3") == FeedPosition(1764115200000, 3)
    assert str(FeedPosition(1764115200000, 3)) == "1764115200000-3"
