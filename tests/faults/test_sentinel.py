"""Row 50: Sentinel fails over under load, with and without loss, and the old master comes back with newer writes."""

import itertools
import signal
from collections.abc import Iterator

import pytest
import redis

from tests.client import wait_for
from tests.faults.conftest import ask, ask_several, assert_complete
from tests.faults.rig import Rig
from tests.sentinels import PASSWORD, SentinelService

AT_ONCE = 8
MOVED_SECONDS = 8.0  # sooner than the sentinels make the old master a replica, which closes its connections

_names = (f"{number:02x}" for number in itertools.count())  # so that no two answers of the module are alike


def commands_of(server: redis.Redis, kind: str) -> set[str]:
    """Return the last commands of a server's clients of one kind, without the sentinels, which subscribe as well."""
    return {each["cmd"] for each in server.client_list(_type=kind) if not each["name"].startswith("sentinel-")}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SentinelService]:
    with SentinelService(tmp_path_factory.mktemp("sentinels")) as service:
        yield service


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory, service: SentinelService) -> Iterator[Rig]:
    """A system whose streams, queue and limits are at the master that Sentinel names."""
    with Rig(tmp_path_factory.mktemp("rig"), redis_url=service.url) as rig:
        yield rig


def test_row_50_answers_complete_when_sentinel_promotes_the_replica(rig: Rig, service: SentinelService) -> None:
    asked = ask_several(rig, 6, itertools.islice(_names, AT_ONCE))
    old = service.master
    service.fail_over()
    with service.master.client() as master:
        for kind, command in (("pubsub", "subscribe"), ("normal", "brpop"), ("normal", "evalsha")):
            wait_for(
                lambda kind=kind, command=command: command in commands_of(master, kind),
                MOVED_SECONDS,
                f"{command} at the new master",
            )
    assert_complete(rig, asked)
    assert_complete(rig, [ask(rig, 1, name=next(_names))])
    service.await_replica(old)


def test_row_50_a_new_master_without_the_last_entries_is_given_them_and_the_old_ones_newer_writes_are_dropped(
    rig: Rig, service: SentinelService
) -> None:
    old, replica = service.master, service.replica
    service.await_replica(replica)
    asked = ask_several(rig, 9, itertools.islice(_names, AT_ONCE))
    with replica.client() as behind, old.client() as ahead:
        behind.config_set("masterauth", "wrong")
        ahead.client_kill_filter(_type="replica")
        lengths = [len(each.follower.text) for each in asked]
        wait_for(
            lambda: all(len(each.follower.text) > length + 60 for each, length in zip(asked, lengths, strict=True)),
            10,
            "text that the replica has not",
        )
        old.stop(signal.SIGKILL)
        behind.config_set("masterauth", PASSWORD)
    service.await_master_other_than(old)
    old.start()
    assert_complete(rig, asked)
    lost = [each for each in asked if "lost" in {event["reason"] for event in each.follower.of_type("snapshot")}]
    assert lost, "no reader was given a snapshot in place of entries that were lost"
    service.await_replica(old)
    assert_complete(rig, [ask(rig, 1, name=next(_names))])
