"""No worker, one that takes nothing, and one that answers; whatever happens, nothing is left behind."""

import time
from collections.abc import Iterator
from threading import Thread

import pytest
import redis
from prometheus_client import CollectorRegistry, Gauge

from deploy.doctor import workers
from deploy.doctor.workers import check_workers, find_hosts
from millrace.worker.contract.events import AnyEvent, Chunk, Error, StatusEvent, encode, kind_of
from millrace.worker.contract.keys import metrics_key
from millrace.worker.contract.lease import claim, count_unfinished
from millrace.worker.contract.log import Append, append_all
from millrace.worker.contract.presence import record_heartbeat
from millrace.worker.contract.queue import TaskQueue
from millrace.worker.contract.redis.streams import Streams
from millrace.worker.observability.shared_metrics import collect, publish
from millrace.worker.settings.schema import Settings
from tests.client import wait_for
from tests.deploy.doctor.findings import METRICS_PAGE, all_ok, the
from tests.valkey import ValkeyProcess

RUNNING = StatusEvent("running", 1, "m", "stub")


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyProcess]:
    with ValkeyProcess(tmp_path_factory.mktemp("valkey")) as running:
        yield running


@pytest.fixture
def client(valkey: ValkeyProcess) -> Iterator[redis.Redis]:
    with redis.Redis(port=valkey.port) as client:
        client.flushall()
        yield client


def play_worker(client: redis.Redis, settings: Settings, *events: AnyEvent) -> Thread:
    """Take the next generation from the queue and append the events, as a worker does."""

    def work() -> None:
        queue = TaskQueue(settings)
        generation = wait_for(
            lambda: queue.take() or next(iter(queue.find_oldest()), ""), 10
        )  # a lone one is in no lane
        claimed = claim(Streams(client), generation, settings)
        assert claimed is not None
        appends = [Append(claimed.claim, seq, kind_of(each), encode(each)) for seq, each in enumerate(events, 2)]
        append_all(client, appends, 1000)
        queue.close()

    thread = Thread(target=work)
    thread.start()
    return thread


def test_no_worker_fails_and_says_how_to_start_one(valkey: ValkeyProcess, client: redis.Redis) -> None:
    found = the(check_workers(Settings.of(redis_url=valkey.url)), "failed")
    assert "no worker has consumed anything in the last 10 s" in found.found
    assert "millrace-worker" in found.advice


def test_worker_that_takes_nothing_fails_and_nothing_is_left_in_the_queue(
    valkey: ValkeyProcess, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "CLAIM_SECONDS", 0.3)
    record_heartbeat(client, "one")
    settings = Settings.of(redis_url=valkey.url)
    found = the(check_workers(settings), "failed")
    assert "alive, but none took a question within 0.3 s" in found.found
    queue = TaskQueue(settings)
    assert (queue.take(), count_unfinished(client)) == ("", 0)
    queue.close()


def test_first_text_of_a_worker_is_the_end_of_a_round_trip(valkey: ValkeyProcess, client: redis.Redis) -> None:
    record_heartbeat(client, "one")
    settings = Settings.of(redis_url=valkey.url)
    worker = play_worker(client, settings, RUNNING, Chunk("ok"))
    began = time.monotonic()
    found = all_ok(check_workers(settings))
    worker.join()
    assert "took a question" in found
    assert "the first text through it came after" in found
    assert time.monotonic() - began < 15


def test_model_that_the_workers_do_not_ask_for_now_is_a_warning(valkey: ValkeyProcess, client: redis.Redis) -> None:
    record_heartbeat(client, "one")
    settings = Settings.of(redis_url=valkey.url)
    registry = CollectorRegistry()
    gauge = Gauge("millrace_breaker_open", "", ["provider", "model"], registry=registry)
    gauge.labels("openai", "broken").set(1)
    gauge.labels("openai", "fine").set(0)
    for process in ("worker:a:1", "worker:a:2"):
        publish(client, process, registry)
    worker = play_worker(client, settings, RUNNING, Chunk("ok"))
    found = the(check_workers(settings), "warning").found
    worker.join()
    assert "`millrace_breaker_open`" in METRICS_PAGE.read_text()
    assert found == "calls of openai/broken are suspended by its circuit breaker"


def test_error_of_a_worker_fails_with_what_to_do_about_its_code(valkey: ValkeyProcess, client: redis.Redis) -> None:
    record_heartbeat(client, "one")
    settings = Settings.of(redis_url=valkey.url)
    worker = play_worker(client, settings, RUNNING, Error("provider_throttled", "busy", retryable=True))
    found = the(check_workers(settings), "failed")
    worker.join()
    assert "with provider_throttled" in found.found
    assert "quota" in found.advice


def test_hosts_are_those_of_all_processes_that_publish_metrics(valkey: ValkeyProcess, client: redis.Redis) -> None:
    for name in ("web:alpha:1", "web:alpha:1:2", "worker:beta:7"):
        client.set(metrics_key(name), "[]")
        client.zadd("mr:figures", {name: 1})
    assert set(collect(client)) == {"web:alpha:1", "web:alpha:1:2", "worker:beta:7"}
    assert find_hosts(Settings.of(redis_url=valkey.url)) == {"alpha", "beta"}
    assert find_hosts(Settings.of(redis_url="redis://127.0.0.1:1/0")) == set()
