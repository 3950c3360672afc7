"""A cluster and a service of Sentinel that accept TLS alone, from clients with certificates and the least rights."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

import pytest
import redis

from deploy.redis_acl import line_of, rights_of
from millrace.worker.contract.creation import create
from millrace.worker.contract.keys import keys_of
from millrace.worker.contract.log import read
from millrace.worker.contract.redis.cluster import ClusterClient
from millrace.worker.contract.redis.connection import connect
from millrace.worker.contract.redis.connection_pool import is_current
from millrace.worker.contract.redis.streams import Streams
from tests.tls_redis import ADMIN_PASSWORD, Authority, TlsRedis, program
from tests.valkey import free_port
from tests.worker.contract.generations import RUNNING, SETTINGS, append_event, claim_generation, new_draft
from tests.worker.harness import wait_until

pytestmark = pytest.mark.skipif(program() is None and "CI" not in os.environ, reason="redis-server is not installed")

MASTERS = 2
SERVICE = "answers"
SENTINEL_PASSWORD = "of-the-sentinel"


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[list[TlsRedis]]:
    """Masters with half of the slots each, that also talk to each other by TLS."""
    users = [f"{line_of('worker', rights_of('worker', ('streams', 'cluster')))} >of-worker"]
    authority = Authority(tmp_path)
    with ExitStack() as stack:
        made: list[TlsRedis] = []
        buses: list[int] = []
        for number in range(MASTERS):
            (tmp_path / str(number)).mkdir()
            buses.append(free_port())
            options = ["--cluster-enabled", "yes", "--tls-cluster", "yes", "--cluster-port", str(buses[-1])]
            made.append(
                stack.enter_context(TlsRedis(tmp_path / str(number), *users, authority=authority, options=options))
            )
        for number, node in enumerate(made):
            with node.client() as client:
                begin, end = 16384 * number // MASTERS, 16384 * (number + 1) // MASTERS - 1
                client.execute_command("CLUSTER", "ADDSLOTSRANGE", begin, end)
                client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
                if number:
                    client.execute_command("CLUSTER", "MEET", "127.0.0.1", made[0].port, buses[0])
        wait_until(lambda: all(map(is_ready, made)), "the cluster to serve", 30)
        yield made


def is_ready(node: TlsRedis) -> bool:
    with node.client() as client:
        ranges = cast("list[Any]", client.execute_command("CLUSTER SLOTS"))
        return len(ranges) == MASTERS and "cluster_state:ok" in str(client.execute_command("CLUSTER", "INFO"))


def test_a_cluster_is_used_by_tls_with_the_least_rights(cluster: list[TlsRedis]) -> None:
    url = f"rediss+cluster://worker:of-worker@127.0.0.1:{cluster[0].port}?{cluster[0].options()}"
    with connect(url) as client:
        assert isinstance(client, ClusterClient)
        streams, used = Streams(client), set[tuple[str, int] | None]()
        draft = new_draft()
        while len(used) < MASTERS:
            draft = new_draft()
            create(streams, draft, SETTINGS)
            used.add(streams.nodes[0].server_of(draft.ids.generation)[1])
        claim = claim_generation(client, draft.ids.generation).claim
        pool: Any = client.connection_pool
        listening = pool.connection_class(**pool.connection_kwargs)
        listening.send_command("SUBSCRIBE", keys_of(draft.ids.generation).channel)
        assert listening.read_response(push_request=True)[0] == b"subscribe"
        assert is_current(pool, listening)
        append_event(client, claim, 2, RUNNING)
        assert listening.read_response(timeout=20, push_request=True)[0] == b"message"
        listening.disconnect()
        assert [entry.cursor.seq for entry in read(streams, draft.ids.generation).entries] == [1, 2]
        assert client.map.check() == ({}, {})
        with cluster[0].client() as admin:
            assert [each for each in admin.acl_log() if each["username"] == "worker"] == []
    with connect(url.replace("of-worker", "wrong")) as stranger, pytest.raises(redis.RedisError):
        stranger.get("mr:{b00}:x")


@pytest.fixture
def service(tmp_path: Path) -> Iterator[tuple[list[TlsRedis], int]]:
    """A master, its replica, and one sentinel, which talk by TLS alone; the sentinel's port."""
    authority = Authority(tmp_path)
    options = ("--tls-replication", "yes", "--masterauth", ADMIN_PASSWORD, "--repl-diskless-sync-delay", "0")
    servers: list[TlsRedis] = []
    with ExitStack() as stack:
        for name in ("a", "b"):
            (tmp_path / name).mkdir()
            servers.append(stack.enter_context(TlsRedis(tmp_path / name, authority=authority, options=options)))
        with servers[1].client() as replica:
            replica.replicaof("127.0.0.1", servers[0].port)
        own, port = authority.sign("sentinel"), free_port()
        (tmp_path / "sentinel.conf").write_text(
            f"port 0\ntls-port {port}\nbind 127.0.0.1\ndir {tmp_path}\ntls-replication yes\n"
            f"tls-cert-file {own.certificate}\ntls-key-file {own.key}\ntls-ca-cert-file {authority.file}\n"
            f"requirepass {SENTINEL_PASSWORD}\nsentinel sentinel-pass {SENTINEL_PASSWORD}\n"
            f"sentinel monitor {SERVICE} 127.0.0.1 {servers[0].port} 1\n"
            f"sentinel auth-pass {SERVICE} {ADMIN_PASSWORD}\n"
        )
        command = [cast("str", program()), str(tmp_path / "sentinel.conf"), "--sentinel"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            yield servers, port
        finally:
            process.kill()
            process.wait()


def test_sentinel_is_asked_by_tls_and_its_failover_followed(service: tuple[list[TlsRedis], int]) -> None:
    servers, port = service
    options = f"{servers[0].options()}&sentinel_password={SENTINEL_PASSWORD}"
    url = f"rediss+sentinel://:{ADMIN_PASSWORD}@127.0.0.1:{port}/{SERVICE}/0?{options}"
    own = servers[0].client_certificate
    tls: dict[str, Any] = {"ssl": True, "ssl_ca_certs": str(servers[0].authority.file)}
    tls |= {"ssl_certfile": str(own.certificate), "ssl_keyfile": str(own.key)}
    with connect(url) as client, redis.Redis("127.0.0.1", port, password=SENTINEL_PASSWORD, **tls) as sentinel:
        wait_until(lambda: answers(sentinel) and replicas(sentinel) == 1, "the sentinel to know the replica", 30)
        assert client.set("mr:check:x", 1)
        assert port_of(client) == servers[0].port
        wait_until(lambda: fail_over(sentinel), "a failover", 30)
        wait_until(lambda: has_followed(client, servers[1].port), "the new master to be used", 30)
    wrong = url.replace(SENTINEL_PASSWORD, "wrong")
    with connect(wrong, retries=0) as stranger, pytest.raises(redis.ConnectionError, match="reject the user name"):
        stranger.ping()
    plain = url.partition("?")[0].replace("rediss", "redis") + f"?sentinel_password={SENTINEL_PASSWORD}"
    with connect(plain, retries=0) as plain_client, pytest.raises(redis.ConnectionError):
        plain_client.ping()


def answers(sentinel: redis.Redis) -> bool:
    try:
        return bool(sentinel.ping())
    except redis.RedisError:
        return False


def replicas(sentinel: redis.Redis) -> int:
    found = cast("dict[str, Any]", sentinel.sentinel_master(SERVICE))
    return int(found["num-slaves"])


def fail_over(sentinel: redis.Redis) -> bool:
    try:
        return bool(sentinel.execute_command("SENTINEL", "FAILOVER", SERVICE))
    except redis.ResponseError:  # the replica is not good enough yet
        return False


def port_of(client: redis.Redis) -> int:
    connection: Any = client.connection_pool.get_connection()
    try:
        return int(connection.port)
    finally:
        client.connection_pool.release(connection)


def has_followed(client: redis.Redis, port: int) -> bool:
    try:
        return bool(client.set("mr:check:x", 2)) and port_of(client) == port
    except redis.RedisError:
        return False
