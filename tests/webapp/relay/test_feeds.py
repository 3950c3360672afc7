"""Those who follow a feed miss nothing of it, whatever becomes of the words that it has grown."""

from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest

from millrace.webapp.relay import Hub
from millrace.webapp.relay import feeds as feeds_module
from millrace.webapp.relay.feeds import SWEEP_SECONDS, Feeds
from millrace.webapp.relay.subscription import Messages, Subscription
from millrace.worker.contract.connection import Redis, connect
from millrace.worker.contract.events import encode
from millrace.worker.contract.feed import FEED_START, ConversationChanged, FeedEntry, FeedPosition, publish
from millrace.worker.contract.ids import new_id
from millrace.worker.contract.keys import feed_key
from tests.client import wait_for
from tests.valkey import ValkeyProcess
from tests.webapp.relay.author import Author
from tests.webapp.relay.conftest import SETTINGS
from tests.webapp.relay.serving import Served, Stream


class Listener:
    """A follower that takes at most `room` events before it is full."""

    def __init__(self, owner: str, room: int = 1_000_000) -> None:
        self.owner = owner
        self.place: FeedPosition = FEED_START
        self.room = room
        self.heard: list[bytes] = []

    @property
    def is_full(self) -> bool:
        return len(self.heard) >= self.room

    def give(self, entries: list[FeedEntry], /) -> None:
        for entry in entries[: self.room - len(self.heard)]:
            self.heard.append(entry.data)
            self.place = entry.position


def changed(number: int) -> ConversationChanged:
    return ConversationChanged(f"{number}")


def expected(count: int) -> list[bytes]:
    return [encode(changed(number)) for number in range(count)]


Make = Callable[[Redis], Feeds]


@pytest.fixture
def make() -> Iterator[Make]:
    rounds: list[tuple[Subscription, gevent.Greenlet[..., None]]] = []

    def run(redis: Redis) -> Feeds:
        made: list[Feeds] = []

        def hear(messages: Messages) -> None:
            for _, channel, _ in messages:
                made[0].hear(channel)

        subscription = Subscription(redis, hear, lambda: None)
        made.append(Feeds(redis, subscription))
        rounds.append((subscription, gevent.spawn(subscription.run)))
        return made[0]

    yield run
    for subscription, running in rounds:
        subscription.stop()
        running.join()


@pytest.fixture
def feeds(redis: Redis, make: Make) -> Feeds:
    return make(redis)


def hears(listener: Listener, count: int) -> None:
    wait_for(lambda: len(listener.heard) == count, 10, f"{count} events")
    assert listener.heard == expected(count)


def test_what_is_there_and_what_comes_is_given_in_order_and_once(feeds: Feeds, redis: Redis) -> None:
    owner = new_id()
    early, late = Listener(owner), Listener(owner)
    feeds.follow(early)
    for number in range(250):
        publish(redis, owner, changed(number))
    feeds.follow(late)
    for number in range(250, 300):
        publish(redis, owner, changed(number))
    hears(early, 300)
    hears(late, 300)


def test_another_owners_feed_is_not_given(feeds: Feeds, redis: Redis) -> None:
    ann, bob = Listener(new_id()), Listener(new_id())
    feeds.follow(ann)
    feeds.follow(bob)
    publish(redis, ann.owner, changed(0))
    hears(ann, 1)
    assert bob.heard == []


def test_a_lost_word_is_made_up_for_by_the_sweep(feeds: Feeds, redis: Redis) -> None:
    listener = Listener(new_id())
    feeds.follow(listener)
    publish(redis, listener.owner, changed(0))
    hears(listener, 1)
    redis.xadd(feed_key(listener.owner), {"d": encode(changed(1))})  # and nobody is told
    feeds.sweep(0.0)
    gevent.sleep(0.05)
    assert len(listener.heard) == 1, "it was read just now"
    feeds.sweep(float("inf"))
    hears(listener, 2)


def test_who_is_full_is_given_the_rest_once_there_is_room(feeds: Feeds, redis: Redis) -> None:
    listener = Listener(new_id(), room=3)
    feeds.follow(listener)
    for number in range(10):
        publish(redis, listener.owner, changed(number))
    hears(listener, 3)
    listener.room = 20
    feeds.wake(listener.owner)
    hears(listener, 10)


def test_who_has_left_is_given_nothing_more_and_the_channel_is_left(feeds: Feeds, redis: Redis) -> None:
    one, two = Listener(new_id()), Listener(new_id())
    for each in (one, two):
        feeds.follow(each)
        publish(redis, each.owner, changed(0))
        hears(each, 1)
    feeds.leave(one)
    feeds.leave(one)
    publish(redis, one.owner, changed(1))
    publish(redis, two.owner, changed(1))
    hears(two, 2)
    assert len(one.heard) == 1
    wait_for(lambda: redis.pubsub_numsub(feed_key(one.owner))[0][1] == 0, 5, "the unsubscription")


def test_a_long_feed_is_given_to_its_end_with_no_further_word(feeds: Feeds, redis: Redis) -> None:
    listener = Listener(new_id())
    publish(redis, listener.owner, *(changed(number) for number in range(250)))
    feeds.follow(listener)
    hears(listener, 250)


def test_for_who_is_full_nothing_is_read(feeds: Feeds, redis: Redis) -> None:
    listener = Listener(new_id(), room=3)
    publish(redis, listener.owner, *(changed(number) for number in range(250)))
    feeds.follow(listener)
    hears(listener, 3)
    gevent.sleep(0.1)
    before = reads(redis)
    gevent.sleep(0.2)
    assert reads(redis) == before


def reads(redis: Redis) -> int:
    statistics: Any = redis.info("commandstats")
    return int(statistics["cmdstat_xrange"]["calls"])


def test_a_redis_that_is_away_is_read_when_it_is_back(
    own_valkey: ValkeyProcess, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    with connect(own_valkey.url, retries=0) as redis:
        feeds, listener = make(redis), Listener("ann")
        redis.xadd(feed_key("ann"), {"d": encode(changed(0))})
        own_valkey.stop()
        feeds.follow(listener)
        wait_for(lambda: "feeds_not_read" in caplog.text, 10, "a try")
        own_valkey.start()
        hears(listener, 1)


def test_the_hub_sweeps(own_valkey: ValkeyProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds_module, "SWEEP_SECONDS", 0.1)
    with connect(own_valkey.url) as redis:
        hub, listener = Hub(redis, SETTINGS), Listener("ann")
        hub.start()
        hub.feeds.follow(listener)
        publish(redis, "ann", changed(0))
        hears(listener, 1)
        redis.xadd(feed_key("ann"), {"d": encode(changed(1))})
        hears(listener, 2)
        hub.stop()


def test_what_was_told_while_there_was_no_connection_is_read_on_the_next(own_valkey: ValkeyProcess) -> None:
    with (
        connect(own_valkey.url) as redis,
        Served(own_valkey.directory.parent, own_valkey.url) as web,
        Stream(web.port, f"/many?owner=ann&g={Author(redis, SETTINGS).generation}") as stream,
    ):
        stream.socket.settimeout(SWEEP_SECONDS / 2)
        stream.events(1)
        for number in range(20):
            if number % 5 == 4:  # with the connection gone, nobody hears the word
                with redis.pipeline() as pipeline:
                    pipeline.client_kill_filter(_type="pubsub")
                    pipeline.xadd(feed_key("ann"), {"d": encode(changed(number))})
                    pipeline.publish(feed_key("ann"), b"")
                    pipeline.execute()
                stream.events(1 + number + 1)
            else:
                publish(redis, "ann", changed(number))
        fed = [event for name, event in stream.events(21) if name.startswith("feed@")]
        assert [event["conversation_id"] for event in fed] == [str(number) for number in range(20)]
