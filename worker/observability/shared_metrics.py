"""Metrics of every process at one address: each publishes its own to Redis, and any web process returns those of all.

So one address suffices, whatever the number of processes and machines. The metrics of a process are at most five
seconds old, and expire half a minute after its end.
"""

import json
import os
import socket
from collections.abc import Iterable, Mapping
from typing import Any, cast

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric

from millrace.worker.contract.keys import METRICS, metrics_key
from millrace.worker.contract.redis.connection import Redis, run_each, translate_redis_errors
from millrace.worker.contract.scripts import RECORD_HEARTBEAT
from millrace.worker.observability.logs import get_logger

PUBLISH_SECONDS = 5.0
_LIFE_MS = 30_000

_log = get_logger(__name__)


def process_name(role: str) -> str:
    """Return the name under which this process publishes its metrics: `<role>:<host>:<process id>`."""
    return f"{role}:{socket.gethostname()}:{os.getpid()}"


def host_of(process: str) -> str:
    """Return the host in the name of a process."""
    return [*process.split(":"), ""][1]


def publish(redis: Redis, process: str, registry: CollectorRegistry) -> None:
    """Publish a process's metrics to Redis; raises RedisUnavailable."""
    with translate_redis_errors():
        redis.set(metrics_key(process), encode(registry), px=_LIFE_MS)
    RECORD_HEARTBEAT(redis, (METRICS,), process, _LIFE_MS)


def collect(redis: Redis) -> dict[str, list[Metric]]:
    """Return the metrics of every process that published within half a minute, by name; unreadable ones are left out.

    Raises RedisUnavailable, RedisKeyInvalid.
    """
    with translate_redis_errors():
        names = [name.decode("utf-8", "replace") for name in cast("list[bytes]", redis.zrange(METRICS, 0, -1))]
    pipeline = redis.pipeline(transaction=False)
    for name in names:
        pipeline.get(metrics_key(name))
    found: dict[str, list[Metric]] = {}
    for name, text in zip(names, run_each(pipeline), strict=True):
        if text is not None:
            try:
                found[name] = decode(text)
            except (TypeError, ValueError) as error:  # not a text, or a text of another form
                _log.error("metrics_unreadable", process=name, error=error)
    return found


def merge(processes: Mapping[str, Iterable[Metric]]) -> list[Metric]:
    """Return the metric families of all processes, each name once; each sample has the label `process`."""
    merged: dict[str, Metric] = {}
    for process, families in processes.items():
        for family in families:
            whole = merged.setdefault(family.name, Metric(family.name, family.documentation, family.type))
            for name, labels, value in _samples(family):
                whole.add_sample(name, {**labels, "process": process}, value)
    return list(merged.values())


def _samples(family: Metric) -> list[tuple[str, dict[str, str], float]]:
    samples = (each for each in family.samples if not each.name.endswith("_created"))
    return [(each.name, each.labels, each.value) for each in samples]


def encode(registry: CollectorRegistry) -> str:
    """Return a process's metrics as another process decodes them."""
    return json.dumps([[each.name, each.documentation, each.type, _samples(each)] for each in registry.collect()])


def decode(text: bytes) -> list[Metric]:
    """Return the metrics that another process has encoded; raises TypeError or ValueError for any other text."""
    families: list[Any] = json.loads(text)
    decoded: list[Metric] = []
    for name, documentation, kind, samples in families:
        family = Metric(name, documentation, kind)
        for sample in samples:
            family.add_sample(*sample)
        decoded.append(family)
    return decoded
