"""POST /api/beacon counts sums, only where the setting is on, and keeps nothing else."""

from collections.abc import Callable

import pytest

from tests.webapp.harness import WebHarness
from tests.webapp.routes.test_metrics import figures_of, value

Build = Callable[..., WebHarness]
GOOD = {"outcome": "completed", "streaming_seconds": 10.5, "visible_seconds": 4}


def test_beacons_are_summed_and_no_owner_is_needed(build: Build) -> None:
    site = build(beacon=True)
    assert site.stranger().post("/api/beacon", json=GOOD).status_code == 204
    sent = site.stranger().post("/api/beacon", json={**GOOD, "outcome": "left", "visible_seconds": 99})
    assert sent.status_code == 204
    assert "Set-Cookie" not in sent.headers
    figures = figures_of(site)
    assert value(figures, "millrace_page_answers_total", outcome="completed") == 1
    assert value(figures, "millrace_page_answers_total", outcome="left") == 1
    assert value(figures, "millrace_page_streaming_seconds_total") == 21
    assert value(figures, "millrace_page_visible_seconds_total") == 14.5, "never more than the whole"
    assert not site.redis.keys("*"), "nothing is stored"


@pytest.mark.parametrize(
    ("wrong", "status"),
    [
        ({**GOOD, "outcome": "secret"}, 422),
        ({**GOOD, "streaming_seconds": -1}, 422),
        ({**GOOD, "visible_seconds": 1e9}, 422),
        ({**GOOD, "visible_seconds": "1"}, 422),
        ({**GOOD, "text": "What I asked"}, 422),
        ({**GOOD, "outcome": "x" * 2000}, 413),
        ([], 400),
    ],
)
def test_wrong_beacon_is_refused(build: Build, wrong: object, status: int) -> None:
    assert build(beacon=True).stranger().post("/api/beacon", json=wrong).status_code == status


def test_other_types_and_sites_are_refused(build: Build) -> None:
    site = build(beacon=True)
    site.ask()  # the user has a cookie now
    plain = site.stranger().post("/api/beacon", data='{"outcome": "left"}', content_type="text/plain")
    assert plain.status_code == 415, "what a form of another site can send"
    foreign = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
    assert site.user.post("/api/beacon", json=GOOD, headers=foreign).status_code == 403


def test_beacon_is_off_by_default_and_the_page_says_which(build: Build) -> None:
    for is_on in (False, True):
        site = build(beacon=is_on)
        assert site.stranger().post("/api/beacon", json=GOOD).status_code == (204 if is_on else 404)
        assert ('<meta name="millrace-beacon"' in site.stranger().get("/").text) is is_on
