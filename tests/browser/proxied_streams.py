"""Streams through a proxy, measured at both ends: as they are made, resumed, cancelled, left, and many at once."""

import asyncio
import re
import time
from concurrent.futures import ThreadPoolExecutor

import httpx

from tests.client import FrameParser, Received, assert_complete, emulate, parse_frames, text_of, wait_for
from tests.system import System

STREAMS = 40  # on one connection of HTTP/2; nginx allows 128


def readers(proxied: System) -> int:
    """Return how many streams the web process holds, as it says itself."""
    metrics = httpx.get(f"{proxied.url}/metrics", timeout=30, trust_env=False).text
    return sum(int(float(each)) for each in re.findall(r"^millrace_readers(?:{.*})? (\S+)$", metrics, re.MULTILINE))


def assert_resumed_and_cancelled(http: httpx.Client, proxied: System) -> None:
    """Follow an answer in three pieces, the last one until it is cancelled; the app notices each reader that leaves."""
    message = emulate(text="wheel " * 1200, tokens=1200, rate=40)
    made = http.post("/api/generations", json={"message": message}).json()
    received: list[Received] = []
    for after in ("", "yes"):
        headers = {"Last-Event-ID": received[-1].cursor} if after else {}
        with http.stream("GET", made["events_url"], headers=headers) as response:
            for each in parse_frames(response.iter_lines()):
                received.append(each)
                if each.event["type"] == "chunk" and len(received) > 20:
                    break
        wait_for(lambda: readers(proxied) == 0, 30, "the app to notice that the client is gone")
    with http.stream("GET", made["events_url"], headers={"Last-Event-ID": received[-1].cursor}) as response:
        frames = parse_frames(response.iter_lines())
        received.append(next(frames))
        assert http.post(made["cancel_url"]).status_code in (200, 202, 204)
        began = time.monotonic()
        received += frames
    assert time.monotonic() - began < 15
    assert_complete(received)
    assert received[-2].event["type"] == "cancelled"
    assert ("wheel " * 1200).startswith(text_of(received))


def assert_streams_share_a_connection(http: httpx.Client, proxied: System) -> None:
    """Follow one answer many times over one connection of HTTP/2, and reset one of the streams."""
    made = http.post("/api/generations", json={"message": emulate(text="wheel " * 60, tokens=60, rate=6)}).json()
    cookie = "; ".join(f"{name}={value}" for name, value in http.cookies.items())
    headers = {"Host": http.headers["Host"], "Cookie": cookie}
    url = str(http.base_url.join(made["events_url"]))
    with ThreadPoolExecutor(1) as thread:  # this one may have Playwright's loop
        runs, ports = thread.submit(lambda: asyncio.run(follow_over_http_2(url, headers))).result()
    wait_for(lambda: readers(proxied) == 0, 30, "the app to notice the stream that was reset")
    assert len(ports) == 1, "all streams came on one connection"
    *whole, cut = runs
    for each in whole:
        assert_complete(each)
        assert text_of(each) == "wheel " * 60
    assert len(cut) == 5, "one was reset while the others went on"
    spans = [each[-1].at - each[5].at for each in whole]
    assert min(spans) > 1.0, "a stream arrived all at once"


async def follow_over_http_2(url: str, headers: dict[str, str]) -> tuple[list[list[Received]], set[int]]:
    """Follow one log many times on one connection, the last time for five events; returns the local ports as well."""
    ports: set[int] = set()

    async def follow(http: httpx.AsyncClient, most: int) -> list[Received]:
        received: list[Received] = []
        parser = FrameParser()
        async with http.stream("GET", url, headers=headers) as response:
            assert (response.status_code, response.http_version) == (200, "HTTP/2")
            ports.add(response.extensions["network_stream"].get_extra_info("client_addr")[1])
            async for line in response.aiter_lines():
                if event := parser.feed(line):
                    received.append(event)
                if len(received) == most:
                    break
        return received

    async with httpx.AsyncClient(http2=True, verify=False, trust_env=False, timeout=60) as http:
        counts = [*([10_000] * (STREAMS - 1)), 5]
        return list(await asyncio.gather(*(follow(http, most) for most in counts))), ports
