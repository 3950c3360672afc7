"""A real Redis Cluster with each thing that can be wrong with it."""

import signal
from collections.abc import Iterator

import pytest

from deploy.doctor.redis_server import check_server, servers_of
from deploy.doctor.report import Finding
from deploy.redis_acl import line_of, rights_of
from millrace.worker.settings.schema import Settings
from tests.redis_cluster import MASTERS, RedisCluster


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    with RedisCluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


def check(cluster: RedisCluster, user: str = "") -> list[Finding]:
    url = cluster.url.replace("://", f"://{user}@") if user else cluster.url
    (node,) = (each for each in servers_of(Settings.of(stream_redis_urls=(("c", url),))) if each.is_stream_node)
    return list(check_server(node))


def test_every_master_is_checked_and_what_fails_with_one_of_them_is_said(cluster: RedisCluster) -> None:
    masters = [f"redis (stream node c, 127.0.0.1:{node.port})" for node in cluster.nodes[:MASTERS]]
    found = check(cluster)
    assert [each.subject for each in found if each.found == "scripts and all needed commands run"] == sorted(masters), (
        found
    )
    assert [(each.status, each.found) for each in found if each.status != "ok"] == [
        ("warning", "2 of 3 masters have no replica")
    ]
    for node in cluster.nodes:
        with node.client() as client:
            client.config_set("cluster-require-full-coverage", "yes")
    try:
        assert "stops the whole cluster" in str([each.found for each in check(cluster) if each.status == "warning"])
    finally:
        for node in cluster.nodes:
            with node.client() as client:
                client.config_set("cluster-require-full-coverage", "no")
    hanging = cluster.nodes[1]
    hanging.signal(signal.SIGSTOP)
    try:
        failures = [each for each in check(cluster) if each.status == "failed"]
        assert [(each.subject, each.found) for each in failures] == [(masters[1], "it does not answer")]
    finally:
        hanging.signal(signal.SIGCONT)


def test_the_least_rights_are_enough(cluster: RedisCluster) -> None:
    for node in cluster.nodes:
        with node.client() as client:
            words = line_of("lean", rights_of("worker", ("streams", "cluster"))).split()
            client.execute_command("ACL", "SETUSER", "lean", "reset", "nopass", *words[2:], "+info")
    found = check(cluster, "lean:x")
    ran = [each for each in found if each.found == "scripts and all needed commands run"]
    assert len(ran) == MASTERS, [each.found for each in found]
