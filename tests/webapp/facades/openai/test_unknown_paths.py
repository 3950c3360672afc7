"""Paths and methods of OpenAI's API that this server does not have."""

import pytest
from flask import Flask

from millrace.webapp import mount
from tests.webapp.facades.openai.frames import check_error
from tests.webapp.harness import WebHarness, check_problem, stopping


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "embeddings"), ("POST", "audio/speech"), ("DELETE", "files/x"), ("GET", "chat/completions/x/messages")],
)
def test_unknown_path_is_404_in_openais_shape(site: WebHarness, method: str, path: str) -> None:
    error = check_error(site.user.open(f"/v1/{path}", method=method), 404, "unknown_url")
    assert f"{method} /v1/{path}" in error["message"]
    assert error["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "chat/completions", "POST"),
        ("POST", "models", "GET"),
        ("DELETE", "chat/completions/x", "GET"),
        ("GET", "chat/completions/x/cancel", "POST"),
        ("PUT", "models/a/b", "GET"),
    ],
)
def test_wrong_method_is_405_with_those_that_are_allowed(
    site: WebHarness, method: str, path: str, allowed: str
) -> None:
    answer = site.user.open(f"/v1/{path}", method=method)
    check_error(answer, 405, "method_not_allowed")
    assert answer.headers["Allow"] == allowed


def test_other_paths_keep_their_own_errors(site: WebHarness) -> None:
    check_problem(site.user.get("/api/nothing"), 404, "not_found")
    assert len(site.user.get("/v1/" + "x" * 5000).text) < 1000


def test_mounted_below_a_prefix_a_host_apps_own_v1_is_untouched(site: WebHarness) -> None:
    app = Flask(__name__)
    app.add_url_rule("/v1/own", "own", lambda: "own")
    settings = site.services.settings
    mount(app, owner=lambda _: "ada", url_prefix="/chat", settings=settings)
    with stopping(app):
        user = app.test_client()
        assert user.get("/v1/own").text == "own"
        assert user.get("/v1/other").mimetype == "text/html"
        check_error(user.get("/chat/v1/other"), 404, "unknown_url")
        check_error(user.post("/chat/v1/models"), 405, "method_not_allowed")
