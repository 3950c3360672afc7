import io
import time
from typing import Any

import pytest

from tests.webapp.harness import WebHarness, check_problem


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{",
        "nonsense",
        '{"message": "a",}',
        '{"message": NaN}',
        '{"temperature": Infinity, "message": "a"}',
        '{"max_tokens": -Infinity}',
        "[]",
        '"message"',
        "5",
        "null",
        b'{"message": "\xff"}',
        b'{"message": "\xed\xa0\xbd"}',
        '{"message": "a"}'.encode("utf-16"),
        '{"max_tokens": ' + "1" * 5000 + "}",
        "[" * 100_000,
        '{"a":' * 100_000,
        '{"message": ' + "[" * 900 + "]" * 900 + "}",
    ],
    ids=range(18),
)
def test_malformed_body_is_400_or_422_within_seconds(site: WebHarness, body: str | bytes) -> None:
    began = time.monotonic()
    answer = site.post(body)
    assert time.monotonic() - began < 10
    if answer.status_code == 422:
        check_problem(answer, 422, "invalid_field", "message")  # deep, and yet JSON
    else:
        check_problem(answer, 400, "malformed")
    assert site.made() == []


def test_byte_order_mark_before_the_object_is_accepted(site: WebHarness) -> None:
    assert site.post('\ufeff{"message": "a"}').status_code == 202


@pytest.mark.parametrize("number", ["1e400", "-1e999", "[1e400]", "NaN", "Infinity"])
def test_number_that_json_cannot_represent_is_400(site: WebHarness, number: str) -> None:
    check_problem(site.post(f'{{"message": "a", "temperature": {number}}}'), 400, "malformed")


@pytest.mark.parametrize("kind", ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "json"])
def test_other_content_type_is_415(site: WebHarness, kind: str) -> None:
    check_problem(site.post('{"message": "a"}', Content_Type=kind), 415, "unsupported_media_type")
    assert site.made() == []


def test_charset_in_the_content_type_is_accepted(site: WebHarness) -> None:
    assert site.post('{"message": "a"}', Content_Type="application/json; charset=utf-8").status_code == 202


@pytest.mark.parametrize(
    "body", ['{"message": "a", "message": "b"}', '{"message": "a", "metadata": {"k": "1", "k": "2"}}'], ids=range(2)
)
def test_key_that_occurs_twice_in_an_object_is_400(site: WebHarness, body: str) -> None:
    assert "twice" in check_problem(site.post(body), 400, "malformed")["detail"]
    assert site.made() == []


def test_body_shorter_than_its_content_length_is_400_and_not_executed(site: WebHarness) -> None:
    body = b'{"message": "a"}'
    answer = site.user.post(
        "/api/generations",
        data=body,
        content_type="application/json",
        environ_overrides={"CONTENT_LENGTH": "500", "wsgi.input_terminated": True},
    )
    check_problem(answer, 400, "malformed")
    assert site.made() == []


class FailingBody(io.BytesIO):
    """A body whose reading raises, as a server's input stream does for a bad chunk or after its deadline."""

    def __init__(self, error: Exception) -> None:
        super().__init__(b"{")
        self._error = error

    def read(self, size: int | None = -1, /) -> bytes:
        raise self._error


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [(ValueError("0x5"), 400, "malformed"), (OSError("lost"), 400, "malformed"), (TimeoutError(), 408, "body_timeout")],
    ids=["chunk", "lost", "late"],
)
def test_body_that_cannot_be_read_is_the_clients_error(
    site: WebHarness, error: Exception, status: int, code: str
) -> None:
    answer = site.user.post(
        "/api/generations",
        content_type="application/json",
        environ_overrides={"CONTENT_LENGTH": "20", "wsgi.input": FailingBody(error), "wsgi.input_terminated": True},
    )
    check_problem(answer, status, code)
    assert site.made() == []


@pytest.mark.parametrize(
    "environ",
    [{}, {"CONTENT_LENGTH": str(10**12)}, {"CONTENT_LENGTH": "", "wsgi.input_terminated": True}],
    ids=range(3),
)
def test_too_large_body_is_413_with_or_without_a_content_length(site: WebHarness, environ: dict[str, Any]) -> None:
    body = b'{"message": "a", "metadata": {"a": "' + b"x" * site.services.settings.limits.max_body_bytes + b'"}}'
    answer = site.user.post("/api/generations", data=body, content_type="application/json", environ_overrides=environ)
    check_problem(answer, 413, "too_large")
    assert site.made() == []


@pytest.mark.parametrize("length", ["-5", "x", "", "3"])
def test_wrong_content_length_is_400(site: WebHarness, length: str) -> None:
    environ = {"CONTENT_LENGTH": length}
    answer = site.user.post(
        "/api/generations", data='{"message": "a"}', content_type="application/json", environ_overrides=environ
    )
    check_problem(answer, 400, "malformed")
