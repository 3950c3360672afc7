"""Response bodies are JSON in ASCII, times are ISO 8601 in UTC, and URLs include the prefix of the mount."""

import json

import pytest
from flask import Flask

from millrace.webapp import create_app, mount
from millrace.webapp.schemas import (
    CancelReceipt,
    FailureSchema,
    conversation_url,
    generation_url,
    json_response,
    timestamp,
)
from millrace.worker.settings.schema import Settings
from tests.webapp.harness import SECRET_KEY, stopping

SETTINGS = Settings.of(secret_key=SECRET_KEY)


def test_timestamp_is_iso_8601_in_utc_with_milliseconds() -> None:
    assert timestamp(0) == "1970-01-01T00:00:00.000+00:00"
    assert timestamp(1_700_000_000_123) == "2023-11-14T22:13:20.123+00:00"


def test_json_response_escapes_lone_surrogates() -> None:
    response = json_response(FailureSchema("code", "half \ud83d", retryable=True), 202)
    assert (response.status_code, response.mimetype) == (202, "application/json")
    assert response.data.isascii()
    assert json.loads(response.data) == {"code": "code", "message": "half \ud83d", "retryable": True}
    assert json_response(CancelReceipt("running")).status_code == 200


@pytest.mark.parametrize("prefix", ["", "/chat"])
def test_urls_include_the_prefix_of_the_mount(prefix: str) -> None:
    if prefix:
        app = Flask("host")
        app.secret_key = "the host's own"
        mount(app, SETTINGS, url_prefix=prefix)
    else:
        app = create_app(SETTINGS)
    with stopping(app), app.test_request_context():
        assert generation_url("g") == f"{prefix}/api/generations/g"
        assert conversation_url("c") == f"{prefix}/api/conversations/c"
