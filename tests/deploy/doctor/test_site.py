"""A proxy that changes headers is recognised, and so is an address that is not Millrace's or refuses a question."""

from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry, Counter

from deploy.doctor.report import Finding
from deploy.doctor.site import check_forwarding, check_reachable
from deploy.doctor.streams import check_url
from deploy.doctor.visitor import Visitor
from millrace.worker.contract.redis.connection import connect
from millrace.worker.observability.shared_metrics import publish
from millrace.worker.settings.schema import Settings
from tests.deploy.doctor.findings import METRICS_PAGE, all_ok, the
from tests.system import System
from tests.valkey import ValkeyProcess

Found = dict[str, list[Finding]]


def failures(findings: list[Finding]) -> str:
    return "\n".join(each.found for each in findings if each.status == "failed")


def test_made_up_address_that_a_proxy_passes_on_fails(found_behind: Found) -> None:
    assert "a made-up X-Forwarded-For (192.0.2.77) is believed" in failures(found_behind["changing"])


def test_host_that_a_proxy_changes_fails_with_both_origins(found_behind: Found) -> None:
    found = failures(found_behind["changing"])
    assert "403 cross_site" in found
    assert "this site is http://millrace" in found


def test_lost_cookie_and_lost_prefix_fail(found_behind: Found) -> None:
    found = failures(found_behind["below"])
    assert "responses name /api/generations/" in found
    assert "which is not below /chat" in found
    assert "the owner's own answer is refused with 40" in found


def test_cookie_that_is_not_secure_behind_https_fails(found_behind: Found) -> None:
    found = failures(found_behind["https"])
    assert "the session cookie is not Secure" in found
    assert "its origin is https://127.0.0.1:" in found
    assert not [each for each in found_behind["https"] if "HTTP/2 is not offered" in each.found]


def test_address_that_is_away_or_not_millrace_fails(system: System) -> None:
    nowhere = f"{system.url}/nowhere"
    for url, expected in (("http://127.0.0.1:1", "can't be reached"), (nowhere, "is not Millrace's: 404")):
        with Visitor(url, {}) as visitor:
            assert expected in the(check_reachable(visitor), "failed").found


def test_refused_question_says_why(system: System, settings: Settings) -> None:
    refused = the(check_url(system.url, {"Content-Type": "text/plain"}, settings), "failed")
    assert "a question is refused with 415" in refused.found


def test_settings_of_another_redis_are_a_warning_and_the_rest_is_still_checked(
    system: System, settings: Settings, monkeypatch: pytest.MonkeyPatch, other: ValkeyProcess
) -> None:
    found = list(check_url(system.url, {}, settings.replace(redis_url=other.url, stream_redis_urls=())))
    assert "use another Redis" in "\n".join(each.found for each in found if each.status == "warning")
    assert "a question is answered" in "\n".join(each.found for each in found if each.status == "ok")


@pytest.fixture
def other(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyProcess]:
    with ValkeyProcess(tmp_path_factory.mktemp("other")) as running:
        yield running


def test_counted_faults_of_proxies_are_warnings_and_none_is_ok(other: ValkeyProcess) -> None:
    assert "`millrace_proxy_faults_total`" in METRICS_PAGE.read_text()
    settings = Settings.of(redis_url=other.url)
    registry = CollectorRegistry()
    counter = Counter("millrace_proxy_faults", "", ["kind"], registry=registry)
    with connect(other.url) as redis:
        assert list(check_forwarding(settings)) == []
        publish(redis, "web:a:1", registry)
        assert "1 web processes have seen no request" in all_ok(check_forwarding(settings))
        counter.labels("untrusted").inc(3)
        publish(redis, "web:a:2", registry)
        found = the(check_forwarding(settings), "warning")
        assert found.found == "3 requests came with X-Forwarded-For, and MILLRACE_TRUSTED_PROXIES is 0"
        counter.labels("missing").inc()
        counter.labels("http_1_0").inc()
        publish(redis, "web:a:1", registry)
        assert [each.status for each in check_forwarding(settings)] == ["warning"] * 3
