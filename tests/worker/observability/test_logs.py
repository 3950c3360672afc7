"""Every log line of a process is one JSON object; a host application's handlers render our events as text."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from structlog.contextvars import bound_contextvars, clear_contextvars

from millrace.worker.observability.logs import get_logger, make_handler

NAME = "millrace.test_logs"


@pytest.fixture(autouse=True)
def _unbound() -> None:
    clear_contextvars()  # another test may have left fields in this greenlet


@pytest.fixture
def lines() -> Iterator[Any]:
    """Return the lines that our handler has written, parsed."""
    written = io.StringIO()
    handler = make_handler()
    handler.setStream(written)  # type: ignore[attr-defined]
    logger = logging.getLogger(NAME)
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield lambda: [json.loads(line) for line in written.getvalue().splitlines()]
    logger.removeHandler(handler)


def test_event_is_an_object_with_its_fields(lines: Any) -> None:
    get_logger(NAME).info("ended", generation="abc", chars=17, first_delta_ms=None, is_exact=True)
    (line,) = lines()
    assert list(line)[:3] == ["time", "level", "event"]
    assert line["time"].endswith("Z")
    del line["time"]
    assert line == {
        "level": "info",
        "event": "ended",
        "generation": "abc",
        "chars": 17,
        "first_delta_ms": None,
        "is_exact": True,
        "logger": NAME,
    }


def test_bound_fields_are_on_every_line_of_the_greenlet(lines: Any) -> None:
    log = get_logger(NAME)
    with bound_contextvars(request_id="r1"):
        log.info("within")
    log.info("without")
    assert [line.get("request_id") for line in lines()] == ["r1", None]


def test_records_of_other_libraries_have_the_same_form(lines: Any) -> None:
    logging.getLogger(NAME).warning("%d of %s", 3, "four\nfive")
    (line,) = lines()
    assert (line["event"], line["level"], line["logger"]) == ("3 of four\nfive", "warning", NAME)


def test_exception_is_in_its_line(lines: Any) -> None:
    def fail() -> None:
        raise ValueError("the reason")

    for log in (get_logger(NAME), logging.getLogger(NAME)):
        try:
            fail()
        except ValueError:
            log.exception("failed")
    found = lines()
    assert len(found) == 2
    for line in found:
        assert "Traceback" in line["exception"]
        assert "ValueError: the reason" in line["exception"]


def test_line_is_json_for_every_value(lines: Any) -> None:
    get_logger(NAME).info("odd", text="\ud800\n\u2028\x00", error=OSError("gone"), number=float("nan"), raw=b"x")
    (line,) = lines()
    assert line["text"] == "\ud800\n\u2028\x00"
    assert "gone" in line["error"]


def test_record_below_the_level_writes_nothing(lines: Any) -> None:
    get_logger(NAME).debug("unheard", generation="abc")
    assert lines() == []


def test_handler_of_a_host_application_renders_name_and_fields(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        get_logger(NAME).info("ended", generation="abc", chars=17)
        get_logger(NAME).warning("100% of it", part="%s")
    assert [record.getMessage() for record in caplog.records] == ["ended generation=abc chars=17", "100% of it part=%s"]


HOSTILE = 'a\nlevel=error\r\x1b[31m\x00\x85\u2028\u202e\ud800"'


def test_hostile_text_stays_on_its_line_and_is_escaped(lines: Any, caplog: pytest.LogCaptureFixture) -> None:
    written = make_handler()
    with caplog.at_level(logging.INFO):
        get_logger(NAME).info("ended", reason=HOSTILE)
        logging.getLogger(NAME).info("Invalid request line: %s", HOSTILE)
    ours, other = lines()
    assert (ours["reason"], other["event"]) == (HOSTILE, f"Invalid request line: {HOSTILE}")
    for record in caplog.records:
        line = written.format(record)
        assert line.isascii()
        assert line.isprintable(), line
    text = caplog.records[0].getMessage()
    assert text.isprintable()
    assert text == r'ended reason=a\nlevel=error\r\x1b[31m\x00\x85\u2028\u202e\ud800"'
