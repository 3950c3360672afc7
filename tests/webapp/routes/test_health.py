import socket
import time
from collections.abc import Callable
from pathlib import Path

from millrace.worker.contract.presence import record_heartbeat
from tests.webapp.harness import DEAD_PORT, WebHarness, check_problem, json_of

Build = Callable[..., WebHarness]


def test_liveness_does_not_depend_on_redis(build: Build) -> None:
    answer = build(redis_url=f"redis://127.0.0.1:{DEAD_PORT}/0").user.get("/healthz")
    assert answer.status_code == 200


def test_process_is_ready_once_a_worker_is_alive(site: WebHarness) -> None:
    problem = check_problem(site.user.get("/readyz"), 503, "not_ready")
    assert problem["failing"] == ["workers"]
    assert problem["checks"] == {"redis": "ok", "maxmemory_policy": "noeviction", "workers": "none", "database": "ok"}
    record_heartbeat(site.redis, "one")
    answer = site.user.get("/readyz")
    assert answer.status_code == 200
    assert json_of(answer) == {
        "status": "ready",
        "checks": {"redis": "ok", "maxmemory_policy": "noeviction", "workers": "1 alive", "database": "ok"},
    }


def test_process_that_has_been_ready_once_stays_ready_for_a_probe_that_asks_for_that(site: WebHarness) -> None:
    for _ in range(2):
        check_problem(site.user.get("/readyz?once=1"), 503, "not_ready")
    record_heartbeat(site.redis, "one")
    assert site.user.get("/readyz?once=1").status_code == 200
    site.redis.flushdb()
    assert json_of(site.user.get("/readyz?once=1")) == {"status": "ready"}
    for current in ("/readyz", "/readyz?once=0"):
        check_problem(site.user.get(current), 503, "not_ready")


def test_unavailable_or_unmigrated_database_is_not_ready(build: Build, site: WebHarness, tmp_path: Path) -> None:
    record_heartbeat(site.redis, "one")
    for url in (f"sqlite:///{tmp_path}/nowhere/millrace.db", f"sqlite:///{tmp_path}/empty.db"):
        problem = check_problem(build(database_url=url).user.get("/readyz"), 503, "not_ready")
        assert problem["failing"] == ["database"]
        assert problem["checks"]["database"] == "away"


def test_process_is_ready_while_one_of_its_stream_nodes_answers(build: Build) -> None:
    site = build(stream_redis_urls=tuple((name, f"redis://127.0.0.1:{DEAD_PORT}/0") for name in ("a", "b")))
    statuses = site.services.streams.statuses
    record_heartbeat(site.redis, "one")
    statuses["a"].down_since, statuses["b"].down_since = time.monotonic(), None
    answer = site.user.get("/readyz")
    assert answer.status_code == 200
    assert json_of(answer)["checks"]["stream_a"] == "away"
    statuses["b"].down_since = time.monotonic()
    problem = check_problem(site.user.get("/readyz"), 503, "not_ready")
    assert problem["failing"] == ["streams"]
    shown = site.user.get("/metrics").get_data(as_text=True)
    assert "\nmillrace_unfinished 0" in shown, "of the nodes that answer"
    assert '\nmillrace_stream_node_up{node="a"} 0' in shown


def test_redis_with_eviction_is_not_ready(site: WebHarness) -> None:
    record_heartbeat(site.redis, "one")
    site.redis.config_set("maxmemory-policy", "allkeys-lru")
    try:
        problem = check_problem(site.user.get("/readyz"), 503, "not_ready")
    finally:
        site.redis.config_set("maxmemory-policy", "noeviction")
    assert problem["failing"] == ["maxmemory_policy"]
    assert problem["checks"]["maxmemory_policy"] == "allkeys-lru"


def test_redis_that_hides_its_eviction_policy_is_ready(build: Build, site: WebHarness) -> None:
    record_heartbeat(site.redis, "one")
    site.redis.acl_setuser("guest", enabled=True, nopass=True, keys=["*"], channels=["*"], commands=["+@all", "-info"])
    url = site.services.settings.redis.url.replace("redis://", "redis://guest:x@")
    answer = build(redis_url=url).user.get("/readyz")
    assert answer.status_code == 200
    assert json_of(answer)["checks"]["maxmemory_policy"] == "unknown"


def test_unreachable_redis_is_reported_as_not_ready(build: Build) -> None:
    problem = check_problem(build(redis_url=f"redis://127.0.0.1:{DEAD_PORT}/0").user.get("/readyz"), 503, "not_ready")
    assert problem["failing"] == ["redis"]


def test_unresponsive_redis_is_reported_within_the_timeout(build: Build) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        began = time.monotonic()
        answer = build(redis_url=f"redis://127.0.0.1:{silent.getsockname()[1]}/0").user.get("/readyz")
        assert time.monotonic() - began < 10
    assert check_problem(answer, 503, "not_ready")["failing"] == ["redis"]
