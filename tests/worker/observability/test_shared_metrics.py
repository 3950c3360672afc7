"""Metrics of many processes: published by each, collected together, each sample labelled with its process."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from millrace.worker.contract.keys import METRICS, metrics_key
from millrace.worker.contract.redis.connection import Redis
from millrace.worker.observability.shared_metrics import collect, merge, process_name, publish


def registry_of(count: int) -> CollectorRegistry:
    registry = CollectorRegistry()
    Counter("answers", "Answers.", ["outcome"], registry=registry).labels("complete").inc(count)
    Gauge("running", "Running.", registry=registry).set(count + 0.5)
    Histogram("seconds", "How long.", registry=registry, buckets=(1, 2)).observe(count)
    return registry


def samples_of(redis: Redis) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = merge(collect(redis))
    assert len({family.name for family in families}) == len(families)
    return {
        (each.name, tuple(sorted(each.labels.items()))): each.value for family in families for each in family.samples
    }


def test_latest_metrics_of_each_process_are_labelled_with_it(redis: Redis) -> None:
    publish(redis, "web:a:1", registry_of(1))
    publish(redis, "worker:b:2", registry_of(1))
    publish(redis, "worker:b:2", registry_of(2))
    found = samples_of(redis)
    assert found["answers_total", (("outcome", "complete"), ("process", "web:a:1"))] == 1
    assert found["answers_total", (("outcome", "complete"), ("process", "worker:b:2"))] == 2
    assert found["running", (("process", "worker:b:2"),)] == 2.5
    assert found["seconds_bucket", (("le", "1.0"), ("process", "worker:b:2"))] == 0
    assert found["seconds_bucket", (("le", "+Inf"), ("process", "worker:b:2"))] == 1
    assert found["seconds_sum", (("process", "worker:b:2"),)] == 2
    assert not [name for name, _ in found if name.endswith("_created")]


def test_metrics_of_a_process_expire_after_its_end(redis: Redis) -> None:
    publish(redis, "worker:b:2", registry_of(1))
    assert 0 < redis.pttl(metrics_key("worker:b:2")) <= 30_000  # type: ignore[operator]
    redis.delete(metrics_key("worker:b:2"))
    assert collect(redis) == {}
    redis.zadd(METRICS, {"worker:b:2": 1})
    publish(redis, "web:a:1", registry_of(1))
    assert redis.zrange(METRICS, 0, -1) == [b"web:a:1"]


def test_no_published_metrics_collect_to_nothing(redis: Redis) -> None:
    assert collect(redis) == {}
    assert merge({}) == []


def test_process_name_has_role_host_and_id() -> None:
    role, host, pid = process_name("worker").split(":")
    assert role == "worker"
    assert host
    assert int(pid) > 0
