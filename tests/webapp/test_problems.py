import errno
from collections.abc import Callable
from typing import Any

import pytest
from flask import abort

from millrace.webapp.problems import Problem
from millrace.worker.errors import QueueUnavailable, RedisUnavailable
from tests.webapp.site import Site, check_problem

Build = Callable[..., Site]


def failing(site: Site, error: BaseException | type[BaseException]) -> Any:
    def fail() -> str:
        raise error

    site.app.add_url_rule("/api/fails", view_func=fail)
    return site.user.get("/api/fails")


def test_unexpected_error_is_500_with_details_only_in_the_log(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    answer = failing(site, RuntimeError("the password is 1234"))
    check_problem(answer, 500, "internal")
    assert "1234" not in answer.text
    assert "Traceback" in caplog.text
    assert "the password is 1234" in caplog.text


@pytest.mark.parametrize(
    ("error", "code"),
    [(RedisUnavailable("at 10.0.0.1"), "redis_away"), (QueueUnavailable("x"), "queue_away")],
)
def test_unavailable_redis_or_queue_is_503_on_any_route(site: Site, error: Exception, code: str) -> None:
    assert "10.0.0.1" not in check_problem(failing(site, error), 503, code)["detail"]


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
def test_process_without_file_descriptors_answers_503_without_a_traceback(
    site: Site, number: int, caplog: pytest.LogCaptureFixture
) -> None:
    check_problem(failing(site, OSError(number, "Too many open files")), 503, "overloaded")
    assert "Traceback" not in caplog.text


def test_any_other_system_error_is_500(site: Site) -> None:
    check_problem(failing(site, OSError(errno.EIO, "broken")), 500, "internal")


def test_problem_has_extra_members_and_retry_after(site: Site) -> None:
    answer = failing(site, Problem(429, "slow_down", "Too many.", retry_after=7, limit=60))
    assert check_problem(answer, 429, "slow_down")["limit"] == 60
    assert answer.headers["Retry-After"] == "7"


def test_unknown_path_is_404(site: Site) -> None:
    for path in ("/api/nothing", "/nothing", "/api/generations/", "/api/generations/x/y/z"):
        check_problem(site.user.get(path), 404, "not_found")


def test_other_method_is_405_with_an_allow_header(site: Site) -> None:
    answer = site.user.get("/api/generations")
    check_problem(answer, 405, "method_not_allowed")
    assert "POST" in answer.headers["Allow"]
    check_problem(site.user.put("/api/generations/" + "0" * 32), 405, "method_not_allowed")


def test_errors_of_flask_are_problems_too(site: Site) -> None:
    site.app.add_url_rule("/api/teapot", view_func=lambda: abort(418))
    check_problem(site.user.get("/api/teapot"), 418, "im_a_teapot")


def test_every_response_forbids_sniffing_and_api_responses_caching(site: Site) -> None:
    for path in ("/", "/healthz", "/api/nothing", "/static/page.js"):
        assert site.user.get(path, buffered=True).headers["X-Content-Type-Options"] == "nosniff"
    assert site.user.get("/api/nothing").headers["Cache-Control"] == "no-store"
