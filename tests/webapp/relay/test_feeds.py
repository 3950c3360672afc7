"""Followers of a feed get every entry, even if the messages that announce it are lost."""

from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest

from millrace.webapp.relay import Hub
from millrace.webapp.relay import feeds as feeds_module
from millrace.webapp.relay.feeds import SWEEP_SECONDS, Feeds
from millrace.webapp.relay.subscription import Messages, Subscription
from millrace.worker.contract.events import encode
from millrace.worker.contract.feed import FEED_START, ConversationChanged, FeedEntry, FeedPosition, publish
from millrace.worker.contract.ids import new_id
from millrace.worker.contract.keys import feed_key
from millrace.worker.contract.redis.connection import Redis, connect
from millrace.worker.contract.redis.streams import Streams
from tests.client import wait_for
from tests.valkey import ValkeyProcess
from tests.webapp.relay.conftest import SETTINGS
from tests.webapp.relay.log_writer import LogWriter
from tests.webapp.relay.relay_server import RelayServer, StreamClient


class RecordingFollower:
    """A follower that takes at most `room` events before it is full."""

    def __init__(self, owner: str, room: int = 1_000_000) -> None:
        self.owner = owner
        self.position: FeedPosition = FEED_START
        self.room = room
        self.entries: list[bytes] = []

    @property
    def is_full(self) -> bool:
        return len(self.entries) >= self.room

    def take(self, entries: list[FeedEntry], /) -> None:
        for entry in entries[: self.room - len(self.entries)]:
            self.entries.append(entry.data)
            self.position = entry.position


def changed(number: int) -> ConversationChanged:
    return ConversationChanged(f"{number}")


def expected(count: int) -> list[bytes]:
    return [encode(changed(number)) for number in range(count)]


MakeFeeds = Callable[[Redis], Feeds]


@pytest.fixture
def make_feeds() -> Iterator[MakeFeeds]:
    subscriptions: list[Subscription] = []

    def run(redis: Redis) -> Feeds:
        made: list[Feeds] = []

        def notify(messages: Messages) -> None:
            for _, channel, _ in messages:
                made[0].notify(channel)

        subscription = Subscription(redis, notify, lambda: None)
        made.append(Feeds(redis, subscription))
        subscription.start()
        subscriptions.append(subscription)
        return made[0]

    yield run
    for subscription in subscriptions:
        subscription.stop()


@pytest.fixture
def feeds(redis: Redis, make_feeds: MakeFeeds) -> Feeds:
    return make_feeds(redis)


def wait_for_entries(follower: RecordingFollower, count: int) -> None:
    wait_for(lambda: len(follower.entries) == count, 30, f"{count} events")
    assert follower.entries == expected(count)


def test_existing_and_new_entries_are_delivered_once_in_order(feeds: Feeds, redis: Redis) -> None:
    owner = new_id()
    early, late = RecordingFollower(owner), RecordingFollower(owner)
    feeds.follow(early)
    for number in range(250):
        publish(redis, owner, changed(number))
    feeds.follow(late)
    for number in range(250, 300):
        publish(redis, owner, changed(number))
    wait_for_entries(early, 300)
    wait_for_entries(late, 300)


def test_feed_of_another_owner_is_not_delivered(feeds: Feeds, redis: Redis) -> None:
    ann, bob = RecordingFollower(new_id()), RecordingFollower(new_id())
    feeds.follow(ann)
    feeds.follow(bob)
    publish(redis, ann.owner, changed(0))
    wait_for_entries(ann, 1)
    assert bob.entries == []


def test_sweep_delivers_the_entry_of_a_lost_message(feeds: Feeds, redis: Redis) -> None:
    follower = RecordingFollower(new_id())
    feeds.follow(follower)
    publish(redis, follower.owner, changed(0))
    wait_for_entries(follower, 1)
    redis.xadd(feed_key(follower.owner), {"d": encode(changed(1))})  # without a message
    feeds.sweep(0.0)
    gevent.sleep(0.05)
    assert len(follower.entries) == 1, "it was read within the sweep interval"
    feeds.sweep(float("inf"))
    wait_for_entries(follower, 2)


def test_full_follower_gets_the_rest_when_it_has_room(feeds: Feeds, redis: Redis) -> None:
    follower = RecordingFollower(new_id(), room=3)
    feeds.follow(follower)
    for number in range(10):
        publish(redis, follower.owner, changed(number))
    wait_for_entries(follower, 3)
    follower.room = 20
    feeds.request_read(follower.owner)
    wait_for_entries(follower, 10)


def test_last_unfollow_stops_delivery_and_unsubscribes(feeds: Feeds, redis: Redis) -> None:
    one, two = RecordingFollower(new_id()), RecordingFollower(new_id())
    for each in (one, two):
        feeds.follow(each)
        publish(redis, each.owner, changed(0))
        wait_for_entries(each, 1)
    feeds.unfollow(one)
    feeds.unfollow(one)
    publish(redis, one.owner, changed(1))
    publish(redis, two.owner, changed(1))
    wait_for_entries(two, 2)
    assert len(one.entries) == 1
    wait_for(lambda: redis.pubsub_numsub(feed_key(one.owner))[0][1] == 0, 30, "the unsubscription")


def test_long_feed_is_delivered_whole_without_another_message(feeds: Feeds, redis: Redis) -> None:
    follower = RecordingFollower(new_id())
    publish(redis, follower.owner, *(changed(number) for number in range(250)))
    feeds.follow(follower)
    wait_for_entries(follower, 250)


def test_redis_is_not_read_for_a_full_follower(feeds: Feeds, redis: Redis) -> None:
    follower = RecordingFollower(new_id(), room=3)
    publish(redis, follower.owner, *(changed(number) for number in range(250)))
    feeds.follow(follower)
    wait_for_entries(follower, 3)
    gevent.sleep(0.1)
    before = reads(redis)
    gevent.sleep(0.2)
    assert reads(redis) == before


def reads(redis: Redis) -> int:
    statistics: Any = redis.info("commandstats")
    return int(statistics["cmdstat_xrange"]["calls"])


def test_feed_is_read_when_redis_recovers(
    own_valkey: ValkeyProcess, make_feeds: MakeFeeds, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    with connect(own_valkey.url, retries=0) as redis:
        feeds, follower = make_feeds(redis), RecordingFollower("ann")
        redis.xadd(feed_key("ann"), {"d": encode(changed(0))})
        own_valkey.stop()
        feeds.follow(follower)
        wait_for(lambda: "feed_read_failed" in caplog.text, 30, "a try")
        own_valkey.start()
        wait_for_entries(follower, 1)


def test_hub_sweeps_the_feeds(own_valkey: ValkeyProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds_module, "SWEEP_SECONDS", 0.1)
    with connect(own_valkey.url) as redis:
        hub, follower = Hub(Streams(redis), SETTINGS), RecordingFollower("ann")
        hub.start()
        hub.feeds.follow(follower)
        publish(redis, "ann", changed(0))
        wait_for_entries(follower, 1)
        redis.xadd(feed_key("ann"), {"d": encode(changed(1))})
        wait_for_entries(follower, 2)
        hub.stop()


def test_entries_published_without_a_connection_are_read_after_reconnecting(own_valkey: ValkeyProcess) -> None:
    with (
        connect(own_valkey.url) as redis,
        RelayServer(own_valkey.directory.parent, own_valkey.url) as server,
        StreamClient(server.port, f"/many?owner=ann&g={LogWriter(redis, SETTINGS).generation}") as stream,
    ):
        stream.socket.settimeout(SWEEP_SECONDS / 2)
        stream.events(1)
        for number in range(20):
            if number % 5 == 4:  # without a connection the message is lost
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
