"""Checks of a Redis Cluster as a whole: its slots, its replicas, and what a failed master would do to the others."""

from collections.abc import Iterator
from typing import Any, cast

from redis.exceptions import RedisError

from deploy.doctor.report import Finding, failed, ok, warning
from millrace.worker.contract.ids import BUCKETS
from millrace.worker.contract.redis.cluster import ClusterClient
from millrace.worker.contract.redis.cluster_map import Place, slot_of

SLOTS = 16384


def masters_of(redis: ClusterClient) -> list[tuple[Place, int]]:
    """Return each master that has a bucket, with one of its buckets."""
    first: dict[Place, int] = {}
    for bucket in range(BUCKETS):
        place = redis.map.known_master(slot_of(b"b%02d" % bucket))
        if place is not None:
            first.setdefault(place, bucket)
    return sorted(first.items())


def check_cluster(subject: str, redis: ClusterClient) -> Iterator[Finding]:
    """Yield whether every slot has a master and every master a replica, and whether one may stop the others."""
    redis.map.check()
    client = redis.client_of(redis.map.up_nodes[0])
    try:
        ranges = cast("list[list[Any]]", client.execute_command("CLUSTER SLOTS"))
    except RedisError as error:
        yield warning(subject, f"its slots are unknown ({error})", "Allow the command CLUSTER SLOTS.")
        return
    covered = sum(last - first + 1 for first, last, *_ in ranges)
    if covered < SLOTS:
        advice = "Questions whose bucket is there fail. Let a replica take over, or assign the slots."
        yield failed(subject, f"{SLOTS - covered} slots have no master", advice)
    alone = {(host, port) for _, _, (host, port, *_), *replicas in ranges if not replicas}
    if alone:
        found = f"{len(alone)} of {len(redis.map.masters)} masters have no replica"
        yield warning(subject, found, "Nothing can take their place. Start replicas.")
    else:
        yield ok(subject, f"each of {len(redis.map.masters)} masters has a replica")
    yield from _coverage(subject, redis)


def _coverage(subject: str, redis: ClusterClient) -> Iterator[Finding]:
    for place in redis.map.up_nodes:
        try:
            found = cast("dict[str, Any]", redis.client_of(place).config_get("cluster-require-full-coverage"))
        except RedisError:
            return  # its user may not, which the least rights imply
        if found.get("cluster-require-full-coverage") == "yes":
            advice = "Set cluster-require-full-coverage to no, so that the other masters' answers go on."
            yield warning(subject, "a master without a replica that fails stops the whole cluster", advice)
            return
