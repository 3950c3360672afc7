"""A real Valkey with each thing that can be wrong with it."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from deploy.doctor.redis_server import Server, check_server, servers_of
from deploy.doctor.report import Finding
from deploy.redis_acl import line_of, rights_of
from millrace.worker.settings.schema import Settings
from tests.deploy.doctor.findings import all_ok, the
from tests.valkey import ValkeyProcess

EVERYTHING = ("logs", "queue", "rate limits")


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyProcess]:
    with ValkeyProcess(tmp_path_factory.mktemp("valkey")) as running:
        yield running


@pytest.fixture
def client(valkey: ValkeyProcess) -> Iterator[redis.Redis]:
    """A client whose changes to the configuration are undone."""
    names = ("maxmemory-policy", "maxmemory", "appendonly", "save")
    with redis.Redis(port=valkey.port) as client:
        before: Any = client.config_get(*names)
        yield client
        for name, value in before.items():
            client.config_set(name, value)
        assert client.dbsize() == 0


def check(valkey: ValkeyProcess, *uses: str, user: str = "") -> list[Finding]:
    url = valkey.url.replace("redis://", f"redis://{user}@") if user else valkey.url
    return list(check_server(Server(url, "MILLRACE_REDIS_URL", uses or EVERYTHING)))


def test_each_server_is_checked_once_for_all_its_uses() -> None:
    one, two = "redis://a:6379/0", "redis://b:6379/0"
    assert [each.uses for each in servers_of(Settings.of(redis_url=one))] == [EVERYTHING]
    found = servers_of(Settings.of(redis_url=one, broker_url=two, rate_limit_redis_url=two))
    assert [(each.variable, each.uses) for each in found] == [
        ("MILLRACE_REDIS_URL", ("logs",)),
        ("MILLRACE_BROKER_URL", ("queue", "rate limits")),
    ]
    found = servers_of(Settings.of(redis_url=one, stream_redis_urls=(("a", "redis://127.0.0.1:1/0"),)))
    assert [each.uses for each in found] == [EVERYTHING, ("stream node a",)]
    assert all(each.keeps_answers for each in found)
    assert "the other nodes get the new ones" in the(check_server(found[1]), "failed").advice


def test_good_server_is_ok_and_nothing_is_left_in_it(valkey: ValkeyProcess, client: redis.Redis) -> None:
    found = all_ok(check(valkey))
    assert f"127.0.0.1:{valkey.port} is Valkey 9." in found
    assert "maxmemory-policy is noeviction" in found
    assert "appendonly yes" in found
    assert "round trip" in found
    assert client.dbsize() == 0


def test_policy_that_evicts_fails_where_it_loses_answers_or_the_queue(
    valkey: ValkeyProcess, client: redis.Redis
) -> None:
    client.config_set("maxmemory-policy", "volatile-lru")
    assert "volatile-lru: a full Redis removes running answers" in the(check(valkey), "failed").found
    all_ok(check(valkey, "queue"))  # nothing there has a lifetime
    client.config_set("maxmemory-policy", "allkeys-lru")
    assert "removes the queue" in the(check(valkey, "queue"), "failed").found
    assert "counts may be removed early" in all_ok(check(valkey, "rate limits"))


def test_server_without_persistence_is_a_warning_with_its_consequence(
    valkey: ValkeyProcess, client: redis.Redis
) -> None:
    client.config_set("appendonly", "no")
    none = the(check(valkey), "warning")
    assert none.found.startswith("not persistent")
    assert "loses all logs" in none.advice
    all_ok(check(valkey, "rate limits"))
    client.config_set("save", "3600 1")
    assert "snapshots only (save 3600 1)" in the(check(valkey), "warning").found


def test_memory_that_is_nearly_full_is_a_warning_and_a_full_one_fails(
    valkey: ValkeyProcess, client: redis.Redis
) -> None:
    memory: Any = client.info("memory")
    used = int(memory["used_memory"])
    client.config_set("maxmemory", int(used * 1.1))
    assert "maxmemory" in the(check(valkey), "warning").found
    client.config_set("maxmemory", 1000)
    assert "does not take writes" in the(check(valkey), "failed").found


def test_user_without_the_needed_rights_is_told_which_commands_are_missing(
    valkey: ValkeyProcess, client: redis.Redis
) -> None:
    client.acl_setuser(
        "guest", enabled=True, nopass=True, keys=["mr:*", "millrace*"], channels=["mr:*"],
        commands=["+@all", "-xadd", "-publish", "-config"],
    )  # fmt: skip
    found = the(check(valkey, user="guest:x"), "failed")
    assert "XADD, PUBLISH on" in found.found
    assert "ACL SETUSER" in found.advice


def test_rights_that_the_advice_names_are_enough(valkey: ValkeyProcess, client: redis.Redis) -> None:
    def give(*rights: str) -> None:
        client.execute_command("ACL", "SETUSER", "lean", "reset", "on", "nopass", *rights)

    give("-@all", "+ping")
    found = the(check(valkey, user="lean:x"), "failed")
    assert "SET, GET, TIME, SCRIPT LOAD" in found.found
    assert "deploy/redis_acl.py" in found.advice
    give(*line_of("lean", rights_of("worker")).split()[2:], "+info")
    all_ok(check(valkey, user="lean:x"))
    give(*line_of("lean", rights_of("web")).split()[2:])
    assert "may not run BRPOP, which workers need" in the(check(valkey, user="lean:x"), "warning").found


def test_server_that_is_away_silent_or_needs_a_password_fails_with_one_sentence(
    valkey: ValkeyProcess, client: redis.Redis
) -> None:
    client.config_set("requirepass", "secret")
    try:
        assert "password is missing or wrong" in the(check(valkey), "failed").found
    finally:
        client.config_set("requirepass", "")
    began = time.monotonic()
    away = the(check_server(Server("redis://:hidden@127.0.0.1:1/0", "MILLRACE_BROKER_URL", ("queue",))), "failed")
    assert away.found == (
        "MILLRACE_BROKER_URL: Redis at 127.0.0.1:1 does not serve: Connection refused. Start it, or correct the URL"
    )
    assert "no question is accepted" in away.advice
    assert time.monotonic() - began < 15


def test_replica_fails_because_it_takes_no_writes(valkey: ValkeyProcess, tmp_path: Path) -> None:
    with ValkeyProcess(tmp_path, "--replicaof", "127.0.0.1", str(valkey.port)) as replica:
        assert "does not take writes" in the(check(replica), "failed").found
