"""Only listed hosts are answered, and only insiders see metrics and the results of checks."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from millrace.webapp import mount
from millrace.worker.contract.presence import record_heartbeat
from tests.webapp.harness import UNLIMITED, WebHarness, check_problem, json_of, stopping

Build = Callable[..., WebHarness]
API = "/api/generations"
TOKEN = "a-token-of-these-tests"
NEAR: dict[str, str] = {"REMOTE_ADDR": "127.0.0.1", "HTTP_HOST": "127.0.0.1:8000"}


def test_host_that_is_not_listed_is_400_with_its_name_and_the_setting(build: Build) -> None:
    site = build(allowed_hosts=("chat.example.com", "127.0.0.1", "[::1]"))
    for host in (
        "chat.example.com",
        "CHAT.example.com:8443",
        "chat.example.com.",
        "127.0.0.1:80",
        "[::1]:8000",
        "[::1]",
    ):
        assert site.post({"message": "a"}, Host=host).status_code == 202, host
    long = ".".join(["x" * 60] * 5)
    for host in ("evil.example", "chat.example.com.evil.example", "127.0.0.1.evil.example:8000", "[::2]", long):
        for answer in (
            site.post({"message": "a"}, Host=host),
            site.user.get("/", headers={"Host": host}),
            site.user.get("/metrics", headers={"Host": host}),
            site.user.get("/nowhere", headers={"Host": host}),
            site.user.get("/static/page.js", headers={"Host": host}),
        ):
            problem = check_problem(answer, 400, "unknown_host")
            assert host[:200] in problem["detail"]
            assert "MILLRACE_ALLOWED_HOSTS" in problem["detail"]
        assert site.user.get("/healthz", headers={"Host": host}).status_code == 200
        assert site.user.get("/readyz", headers={"Host": host}).status_code == 503


def test_any_host_is_answered_by_default(site: WebHarness) -> None:
    assert site.post({"message": "a"}, Host="whatever.example").status_code == 202


OUTSIDERS: list[dict[str, str]] = [
    {"REMOTE_ADDR": "203.0.113.9"},
    {"REMOTE_ADDR": ""},  # a Unix socket, which a proxy uses
    {"REMOTE_ADDR": "2001:db8::1"},
    {"HTTP_X_FORWARDED_FOR": "127.0.0.1"},
    {"HTTP_X_FORWARDED_PROTO": "https"},
    {"HTTP_FORWARDED": "for=127.0.0.1"},
    {"HTTP_HOST": "rebound.example"},
]


@pytest.mark.parametrize("proxies", [0, 1])
def test_without_a_token_only_direct_clients_of_the_same_machine_see_figures(build: Build, proxies: int) -> None:
    site = build(trusted_proxies=proxies)
    for inside in (
        NEAR,
        NEAR | {"REMOTE_ADDR": "::1", "HTTP_HOST": "localhost"},
        NEAR | {"REMOTE_ADDR": "::ffff:127.0.0.1"},
    ):
        assert site.user.get("/metrics", environ_overrides=inside).status_code == 200, inside
        assert site.user.get("/metrics/cluster", environ_overrides=inside).status_code == 200, inside
        assert "checks" in json_of(site.user.get("/readyz", environ_overrides=inside))
    for outside in OUTSIDERS:
        assert site.user.get("/metrics/cluster", environ_overrides=NEAR | outside).status_code == 403
        refused = site.user.get("/metrics", environ_overrides=NEAR | outside)
        assert "MILLRACE_METRICS_TOKEN" in check_problem(refused, 403, "metrics_not_allowed")["detail"], outside
        problem = check_problem(site.user.get("/readyz", environ_overrides=NEAR | outside), 503, "not_ready")
        assert problem["detail"] == "Not ready."
        assert not {"checks", "failing"} & set(problem)
    record_heartbeat(site.redis, "one")
    assert json_of(site.user.get("/readyz", environ_overrides=NEAR | OUTSIDERS[0])) == {"status": "ready"}


def test_with_a_token_its_holder_sees_figures_from_anywhere_and_no_one_else_does(build: Build) -> None:
    site = build(metrics_token=TOKEN)
    record_heartbeat(site.redis, "one")
    for wrong in ("", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", f"Basic {TOKEN}", TOKEN, "Bearer ", "Bearer \xe9"):
        given: Any = {"headers": {"Authorization": wrong} if wrong else {}, "environ_overrides": NEAR}
        refused = site.user.get("/metrics", **given)
        check_problem(refused, 401, "unauthorized")
        assert refused.headers["WWW-Authenticate"].startswith("Bearer ")
        assert json_of(site.user.get("/readyz", **given)) == {"status": "ready"}
    for outside in OUTSIDERS:
        right: Any = {"headers": {"Authorization": f"bearer {TOKEN}"}, "environ_overrides": outside}
        assert "millrace_readers" in site.user.get("/metrics", **right).text
        assert json_of(site.user.get("/readyz", **right))["checks"]["workers"] == "1 alive"


def test_mount_has_metrics_only_with_a_token(site: WebHarness) -> None:
    for token in ("", TOKEN):
        host = Flask("host")
        host.secret_key = "theirs"
        host.add_url_rule("/metrics", "metrics", lambda: "the host's own")
        mount(host, UNLIMITED.replace(redis_url=site.services.settings.redis.url, metrics_token=token))
        with stopping(host):
            user = host.test_client()
            assert user.get("/millrace/metrics").status_code == (401 if token else 404)
            right = user.get("/millrace/metrics", headers={"Authorization": f"Bearer {token}"})
            assert right.status_code == (200 if token else 404)
            assert user.get("/metrics").text == "the host's own"


def faults_of(site: WebHarness) -> dict[str, float]:
    """Return the counted requests by kind, without the kinds that none was of."""
    (family,) = site.services.metrics.proxy_faults.collect()
    return {each.labels["kind"]: each.value for each in family.samples if each.name.endswith("_total") and each.value}


def test_requests_that_do_not_fit_the_number_of_trusted_proxies_are_counted(build: Build) -> None:
    one, two = {"X-Forwarded-For": "198.51.100.7"}, {"X-Forwarded-For": "198.51.100.7, 10.0.0.1"}
    for trusted, headers, expected in (
        (0, {}, {}),
        (0, one, {"untrusted": 1}),
        (1, {}, {"missing": 1}),
        (1, one, {}),
        (1, two, {}),
        (2, one, {"missing": 1}),
        (2, two, {}),
    ):
        site = build(trusted_proxies=trusted)
        site.user.get("/api/profile", headers=headers)
        for probe in ("/healthz", "/readyz", "/metrics"):
            site.user.get(probe, headers=headers)
        assert faults_of(site) == expected, (trusted, headers)


def test_requests_by_http_1_0_are_counted(site: WebHarness) -> None:
    site.user.get("/api/profile", environ_overrides={"SERVER_PROTOCOL": "HTTP/1.0"})
    site.user.get("/api/profile", environ_overrides={"SERVER_PROTOCOL": "HTTP/1.1"})
    assert faults_of(site) == {"http_1_0": 1}


def test_proxies_of_an_app_that_trusts_its_own_are_no_fault(build: Build) -> None:
    site = build()
    site.app.wsgi_app = ProxyFix(site.app.wsgi_app)
    site.user.get("/api/profile", headers={"X-Forwarded-For": "198.51.100.7"})
    assert faults_of(site) == {}
