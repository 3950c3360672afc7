import errno
from collections.abc import Callable
from typing import Any

import pytest
from flask import abort

from millrace.webapp.problems import Problem
from millrace.worker.contract.keys import (
    LEASES,
    METRICS,
    UNSTORED,
    WORKERS,
    active_key,
    feed_key,
    idempotency_key,
    keys_of,
    metrics_key,
)
from millrace.worker.errors import QueueUnavailable, RedisKeyInvalid, RedisUnavailable
from tests.webapp.harness import WHOLE, WebHarness, check_problem, json_of

Build = Callable[..., WebHarness]


def failing(site: WebHarness, error: BaseException | type[BaseException]) -> Any:
    def fail() -> str:
        raise error

    site.app.add_url_rule("/api/fails", view_func=fail)
    return site.user.get("/api/fails")


def test_unexpected_error_is_500_with_details_only_in_the_log(
    site: WebHarness, caplog: pytest.LogCaptureFixture
) -> None:
    answer = failing(site, RuntimeError("the password is 1234"))
    check_problem(answer, 500, "internal")
    assert "1234" not in answer.text
    assert "Traceback" in caplog.text
    assert "the password is 1234" in caplog.text


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RedisUnavailable("at 10.0.0.1"), "redis_away"),
        (QueueUnavailable("x"), "queue_away"),
        (RedisKeyInvalid("at 10.0.0.1"), "record_unreadable"),
    ],
)
def test_unavailable_redis_or_queue_is_503_on_any_route(site: WebHarness, error: Exception, code: str) -> None:
    assert "10.0.0.1" not in check_problem(failing(site, error), 503, code)["detail"]


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
def test_process_without_file_descriptors_answers_503_without_a_traceback(
    site: WebHarness, number: int, caplog: pytest.LogCaptureFixture
) -> None:
    check_problem(failing(site, OSError(number, "Too many open files")), 503, "overloaded")
    assert "Traceback" not in caplog.text


def test_any_other_system_error_is_500(site: WebHarness) -> None:
    check_problem(failing(site, OSError(errno.EIO, "broken")), 500, "internal")


def test_problem_has_extra_members_and_retry_after(site: WebHarness) -> None:
    answer = failing(site, Problem(429, "slow_down", "Too many.", retry_after=7, limit=60))
    assert check_problem(answer, 429, "slow_down")["limit"] == 60
    assert answer.headers["Retry-After"] == "7"


def test_unknown_path_is_404(site: WebHarness) -> None:
    for path in ("/api/nothing", "/nothing", "/api/generations/", "/api/generations/x/y/z"):
        check_problem(site.user.get(path), 404, "not_found")


def test_other_method_is_405_with_an_allow_header(site: WebHarness) -> None:
    answer = site.user.get("/api/generations")
    check_problem(answer, 405, "method_not_allowed")
    assert "POST" in answer.headers["Allow"]
    check_problem(site.user.put("/api/generations/" + "0" * 32), 405, "method_not_allowed")


def test_errors_of_flask_are_problems_too(site: WebHarness) -> None:
    site.app.add_url_rule("/api/teapot", view_func=lambda: abort(418))
    check_problem(site.user.get("/api/teapot"), 418, "im_a_teapot")


def test_every_response_forbids_sniffing_and_api_responses_caching(site: WebHarness) -> None:
    for path in ("/", "/healthz", "/api/nothing", "/static/page.js"):
        assert site.user.get(path, buffered=True).headers["X-Content-Type-Options"] == "nosniff"
    assert site.user.get("/api/nothing").headers["Cache-Control"] == "no-store"


def test_keys_of_another_type_or_content_are_503_and_the_rest_is_served(site: WebHarness) -> None:
    """Put something else under each key in turn, and use every route that reads it: nothing answers 500."""
    healthy = site.ask()
    site.write(site.hold(healthy), *WHOLE)
    statuses: dict[tuple[str, str], int] = {}
    for name, junk in (("state", b"x"), ("log", b"x"), ("state", {"status": "queued", "owner": "o", "attempt": "x"})):
        made = json_of(site.post({"message": "a"}, Idempotency_Key=f"{name}{junk}"))
        key = getattr(keys_of(made["id"]), name)
        site.redis.delete(key)
        site.redis.hset(key, mapping=junk) if isinstance(junk, dict) else site.redis.set(key, junk)  # pyright: ignore[reportArgumentType]
        conversation = f"/api/conversations/{made['conversation_id']}"
        one = f"/api/generations/{made['id']}"
        for method, path, body in (
            ("GET", one, None),
            ("POST", f"{one}/cancel", None),
            ("GET", conversation, None),
            ("GET", f"{conversation}/messages", None),
            ("GET", "/api/conversations", None),
            ("POST", "/api/generations", {"message": "b", "conversation_id": made["conversation_id"]}),
            ("DELETE", conversation, None),
        ):
            answer = site.user.open(path, method=method, json=body)
            statuses[name + str(junk), f"{method} {path}"] = answer.status_code
            if answer.status_code >= 500:
                check_problem(answer, 503, "record_unreadable")
        if name == "state":
            repeated = site.post({"message": "a"}, Idempotency_Key=f"{name}{junk}")
            assert repeated.status_code in (202, 503), repeated.text
        assert site.user.get(f"/api/generations/{healthy}").status_code == 200
    assert 503 in statuses.values()
    assert 500 not in statuses.values(), statuses


def test_process_wide_keys_of_another_type_leave_health_and_metrics_readable(site: WebHarness) -> None:
    owner = site.owner()
    for key in (WORKERS, METRICS, LEASES[0], UNSTORED[0], feed_key(owner), metrics_key("x")):
        site.redis.set(key, b"\xff{")
    not_ready = check_problem(site.user.get("/readyz"), 503, "not_ready")
    assert (not_ready["failing"], not_ready["checks"]["workers"]) == (["workers"], "unreadable")
    figures = site.user.get("/metrics").text
    assert "millrace_unfinished 0.0" in figures
    assert "millrace_workers_alive" not in figures
    site.redis.delete(METRICS)
    site.redis.zadd(METRICS, {"x": 1})
    assert site.user.get("/metrics").status_code == 200
    assert site.post({"message": "a"}).status_code in (202, 503)
    site.redis.set(active_key(owner), b"x")
    check_problem(site.post({"message": "a"}), 503, "record_unreadable")
    site.redis.delete(active_key(owner))
    site.redis.zadd(active_key(owner), {b"\xff": 1, b"junk": 2})
    site.redis.delete(LEASES[0])  # any of the next generations may be in its bucket
    for _ in range(3):
        assert site.post({"message": "a"}).status_code == 202
    site.redis.set(idempotency_key(owner, "k"), "junk")
    check_problem(site.post({"message": "a"}, Idempotency_Key="k"), 503, "record_unreadable")
