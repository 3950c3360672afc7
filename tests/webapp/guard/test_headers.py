"""Every response has the security headers, and the page complies with its own policy."""

import re
from pathlib import Path

import pytest

from tests.webapp.harness import WHOLE, WebHarness

STATIC = Path(__file__).parents[3] / "webapp"


@pytest.mark.parametrize("path", ["/", "/static/page.js", "/healthz", "/api/openapi.json", "/api/generations/x", "/x"])
def test_every_response_has_the_security_headers(site: WebHarness, path: str) -> None:
    headers = site.user.get(path, buffered=True).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "microphone=()" in headers["Permissions-Policy"]
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert "unsafe" not in headers["Content-Security-Policy"]


def test_private_responses_are_not_cacheable(site: WebHarness) -> None:
    generation = site.ask()
    site.write(site.hold(generation), *WHOLE)
    for path in (f"/api/generations/{generation}", f"/api/generations/{generation}/events", "/api/generations/x"):
        assert "no-store" in site.user.get(path, buffered=True).headers["Cache-Control"]
    stream = site.user.get(f"/api/generations/{generation}/events", buffered=True)
    assert stream.headers["Cache-Control"] == "no-cache, no-store, no-transform"
    assert stream.headers["X-Accel-Buffering"] == "no"


def test_page_forbids_turning_text_into_markup(site: WebHarness) -> None:
    policy = site.user.get("/").headers["Content-Security-Policy"].split("; ")
    assert {"require-trusted-types-for 'script'", "trusted-types 'none'", "script-src 'self'"} <= set(policy)


def test_page_has_nothing_that_its_policy_forbids() -> None:
    page = (STATIC / "templates" / "millrace.html").read_text("utf-8")
    assert not re.findall(r"<script(?![^>]*\bsrc=)|<style|\son\w+=|\sstyle=|javascript:", page)
    for script in (STATIC / "static").glob("*.js"):
        assert not re.findall(r"\beval\(|new Function\(|\.innerHTML|insertAdjacentHTML", script.read_text("utf-8"))
