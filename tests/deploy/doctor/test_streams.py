"""A proxy that buffers, compresses, cuts or drops cursors is recognised, and the documented one is not."""

import re
import threading
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from deploy.doctor import streams
from deploy.doctor.report import Finding
from deploy.doctor.streams import check_headers, judge_answer, judge_cut, judge_pace, watch_idle
from deploy.doctor.visitor import Arrival, Visitor
from tests.client import Client
from tests.deploy.doctor.conftest import HEARTBEAT_SECONDS
from tests.deploy.doctor.findings import all_ok
from tests.faults.tcp_proxy import TcpProxy
from tests.system import System

Found = dict[str, list[Finding]]


def failures(findings: list[Finding]) -> str:
    assert all(each.advice for each in findings if each.status != "ok")
    return "\n".join(each.found for each in findings if each.status == "failed")


def test_documented_proxy_has_no_fault_and_every_property_is_measured(found_behind: Found) -> None:
    found = all_ok(found_behind["documented"])
    for measured in (
        "leads to Millrace by HTTP/1.1",
        "a made-up X-Forwarded-For is not believed",
        "a question is answered: first text after",
        "streams are not buffered: 9 slow events arrive",
        "a stream resumes where it was left",
        "cookies, Host and Origin arrive",
        "until its next heartbeat, and for",
    ):
        assert measured in found


def test_proxy_that_buffers_and_compresses_fails_with_the_measured_delay(found_behind: Found) -> None:
    found = failures(found_behind["buffering"])
    assert re.search(r"streams are buffered: events of \d\.\d s arrived within 0\.0", found)
    assert "event streams are compressed (gzip)" in found


def test_proxy_that_cuts_idle_streams_fails_with_the_time_of_the_cut(found_behind: Found) -> None:
    found = failures(found_behind["cutting"])
    assert re.search(r"an idle stream was cut after \d\.\d s without data", found)
    assert "buffered" not in found


def test_proxy_that_limits_a_whole_response_fails_although_heartbeats_pass(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "WHOLE_SECONDS", 60)
    pings: list[bytes] = []

    def cut_behind_second_ping(part: bytes) -> bytes:
        pings.extend([part] * part.count(b"event: ping"))
        if len(pings) == 2:
            threading.Timer(0.1, proxy.cut).start()
        return part

    with TcpProxy(urlsplit(system.url).port or 0, cut_behind_second_ping) as proxy:
        visitor = Visitor(f"http://127.0.0.1:{proxy.port}", {})
        visitor.request("POST", "/api/conversations", {}).raise_for_status()
        found = watch_idle(visitor, HEARTBEAT_SECONDS)
    assert found.status == "failed"
    assert "s after its beginning, although heartbeats came" in found.found


def test_a_silence_that_was_survived_before_is_not_the_cause_of_a_cut() -> None:
    whole, idle = judge_cut(20, 5, 14.1, 15), judge_cut(20.9, 20, 0.9, 30)
    assert "a stream was cut 20.0 s after its beginning" in whole.found
    assert "whole response" in whole.advice
    assert "an idle stream was cut after 20.0 s without data" in idle.found
    assert "proxy_read_timeout" in idle.advice


def test_proxy_that_drops_the_cursor_fails(found_behind: Found) -> None:
    assert "resumes at 0-1" in failures(found_behind["changing"])


def test_only_compression_by_the_server_itself_is_accepted() -> None:
    cache = {"Content-Type": "text/event-stream", "Cache-Control": "no-store, no-transform"}
    for encoding, compression, count in (("", "off", 0), ("gzip", "gzip", 0), ("gzip", "off", 1), ("br", "gzip", 1)):
        response = httpx.Response(200, headers={**cache, **({"Content-Encoding": encoding} if encoding else {})})
        assert len(list(check_headers(response, compression))) == count


def arrivals(*seconds: float, kind: str = "chunk", **fields: Any) -> list[Arrival]:
    return [Arrival(f"7-{seq}", {"type": kind, **fields}, at) for seq, at in enumerate(seconds, 2)]


def test_events_that_arrive_together_are_buffered_and_late_ones_a_warning() -> None:
    published = {2: 0.0, 3: 1.0, 4: 2.0}
    assert judge_pace(published, arrivals(0.1, 1.1, 2.1)).status == "ok"
    assert judge_pace(published, arrivals(1.5, 2.5, 3.5)).status == "warning"
    assert judge_pace(published, arrivals(2.0, 2.0, 2.1)).found.startswith("streams are buffered")
    assert "1 of 3 events" in judge_pace(published, arrivals(0.0, 1.0)).found


def test_answer_is_judged_by_its_outcome() -> None:
    done = arrivals(3.0, kind="done")
    assert "first text after 1.00 s, the end after 3.00 s" in judge_answer(0.0, arrivals(1.0, 2.0) + done).found
    assert judge_answer(0.0, arrivals(1.0)).status == "failed"
    error = judge_answer(0.0, arrivals(1.0, kind="error", code="provider_throttled") + done)
    assert "with provider_throttled" in error.found
    assert "quota" in error.advice
    assert judge_answer(0.0, arrivals(1.0, kind="error", code="empty_answer") + done).status == "ok"


@pytest.mark.usefixtures("found_behind")
def test_nothing_of_the_checks_is_left_for_users_or_workers(system: System) -> None:
    with Client(system.url) as client:
        metrics = client.http.get("/metrics").text
    assert "millrace_unfinished 0.0" in metrics
    assert "millrace_queue_length 0.0" in metrics
