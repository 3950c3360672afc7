"""Each request has an id that reaches the worker, and one log line without texts and tokens."""

import logging
from collections.abc import Callable
from typing import Any

import pytest

from millrace.worker.contract.ids import is_id
from millrace.worker.contract.keys import hash_of, keys_of
from tests.webapp.guard.auth.issuer import token
from tests.webapp.guard.auth.test_tokens import signed_with
from tests.webapp.harness import WebHarness, json_of

Build = Callable[..., WebHarness]
API = "/api/generations"


def lines_of(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [record.msg for record in caplog.records if record.name == "millrace.webapp.request_log"]  # type: ignore[misc]


@pytest.mark.parametrize("given", ["r1", "a" * 128, "2026-11-26T00:00:00Z_7f.a:b"])
def test_valid_request_id_is_kept_and_returned(site: WebHarness, given: str) -> None:
    answer = site.post({"message": "a"}, X_Request_Id=given)
    assert answer.headers["X-Request-Id"] == given
    state = keys_of(json_of(answer)["id"]).state
    assert site.redis.hget(state, "request_id") == given.encode()
    assert site.hold(json_of(answer)["id"]).request_id == given


@pytest.mark.parametrize("given", ["", " ", "a" * 129, "-a", "a b", "a;b", "a\u00e9", '{"a":1}', "a,b", "$(x)"])
def test_invalid_request_id_is_replaced(site: WebHarness, given: str) -> None:
    answers = [site.user.get("/healthz", headers={"X-Request-Id": given.encode().decode("latin-1")}) for _ in "ab"]
    ids = [answer.headers["X-Request-Id"] for answer in answers]
    assert all(map(is_id, ids))
    assert ids[0] != ids[1]


@pytest.mark.parametrize("path", ["/", "/static/page.js", f"{API}/x", "/nowhere", "/api/openapi.json"])
def test_every_response_has_a_request_id(site: WebHarness, path: str) -> None:
    assert site.user.get(path, headers={"X-Request-Id": "r1"}, buffered=True).headers["X-Request-Id"] == "r1"


def test_log_line_has_owner_route_status_and_duration(site: WebHarness, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        generation = site.ask()
        site.user.get(f"{API}/{generation}?after=x", headers={"X-Request-Id": "r2"})
    asked, looked = lines_of(caplog)
    owner: Any = site.redis.hget(keys_of(generation).state, "owner")
    assert (asked["event"], asked["method"], asked["route"], asked["status"]) == ("request", "POST", API, 202)
    assert asked["owner"] == hash_of(owner.decode())
    assert asked["ms"] > 0
    assert (looked["request_id"], looked["generation"], looked["status"]) == ("r2", generation, 200)
    assert looked["route"] == f"{API}/<generation>"


def test_log_lines_have_no_query_token_name_or_text(build: Build, caplog: pytest.LogCaptureFixture) -> None:
    site = build(**signed_with("HS256"), jwt_cookie="app_token", wait_seconds=0)
    heron = token(sub="heron@example.com")
    headers = {"Authorization": f"Bearer {heron}"}
    with caplog.at_level(logging.DEBUG):
        site.stranger().post(API, json={"message": "heron"}, headers=headers)
        site.stranger().post("/api/conversation/heron@example.com", json={"message": "heron"}, headers=headers)
        site.stranger().get(f"{API}/heron/events?after=heron&token={heron}", headers=headers)
        site.stranger().get(f"{API}/{'0' * 32}", headers={"Authorization": "Bearer heron", "X-Request-Id": "heron "})
        site.stranger().get("/heron/heron?heron=heron", headers={"Cookie": f"app_token={heron}"})
    assert len(lines_of(caplog)) == 5
    assert "heron" not in caplog.text
    assert heron not in caplog.text


def test_probes_are_not_logged(site: WebHarness, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        for path in ("/healthz", "/readyz", "/metrics", "/metrics/cluster"):
            site.user.get(path)
    assert lines_of(caplog) == []


def test_log_lines_of_a_request_have_its_id(site: WebHarness, caplog: pytest.LogCaptureFixture) -> None:
    site.user.get("/healthz", headers={"X-Request-Id": "before"})
    site.services.task_queue.enqueue_call = _fail
    with caplog.at_level(logging.ERROR):
        assert site.post({"message": "a"}, X_Request_Id="r3").status_code == 500
    failed = [record.msg for record in caplog.records if record.name == "millrace.webapp.problems"]
    assert [line["request_id"] for line in failed] == ["r3"]  # type: ignore[index,call-overload]


def _fail(generation: str, lane: str = "") -> None:
    raise ZeroDivisionError
