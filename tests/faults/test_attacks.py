"""A client that asks for all it can get: another one, at another address, notices nothing."""

import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from itertools import cycle
from statistics import median
from threading import Event
from typing import Any

import httpx
import pytest

from tests.bare import UNLIMITED
from tests.client import Client, emulate, text_of, wait_for
from tests.faults.rig import Rig

THREADS = 16


PER_ADDRESS = 10
SMALL: dict[str, object] = {
    "read_rate_limit": "200/minute",
    "write_rate_limit": "50/minute",
    "max_active_per_address": PER_ADDRESS,
    "max_readers": 60,
    "max_readers_per_user": 20,
    "max_readers_per_address": 40,
    "max_waiters": 12,
    "reader_stall_seconds": 2,
}
"""Limits that are lower than by default, so that they are reached sooner; all others are as by default."""


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    settings: dict[str, Any] = {**dict.fromkeys(UNLIMITED, ""), **SMALL}
    with Rig(tmp_path_factory.mktemp("limits"), **settings) as rig:
        yield rig


def client_at(rig: Rig, address: str, options: Sequence[tuple[int, int, int]] = ()) -> Client:
    """Return a user whose requests come from this address of the loopback network."""
    client = rig.client()
    transport = httpx.HTTPTransport(local_address=address, socket_options=options)
    client.http = httpx.Client(base_url=rig.urls[0], timeout=60, trust_env=False, transport=transport)
    return client


def statuses_meanwhile(attack: Callable[[int], int], honest: Callable[[], None]) -> Counter[int]:
    """Run the attack in several threads while an honest client does its work; return the statuses that it has got."""
    stop = Event()

    def loop(number: int) -> Counter[int]:
        statuses: Counter[int] = Counter()
        while not stop.is_set():
            statuses[attack(number)] += 1
        return statuses

    with ThreadPoolExecutor(THREADS) as pool:
        loops = [pool.submit(loop, number) for number in range(THREADS)]
        try:
            honest()
        finally:
            stop.set()
        return sum((each.result() for each in loops), Counter[int]())


def test_loops_of_reading_and_writing_slow_no_one_else_down(rig: Rig) -> None:
    attackers = [client_at(rig, "127.0.0.2") for _ in range(THREADS)]
    conversation = attackers[0].http.post("/api/conversations", json={}).json()["id"]
    for each in attackers[1:]:
        each.http.cookies = attackers[0].http.cookies
    path = f"/api/conversations/{conversation}"
    calls = [("GET", "/api/conversations", None), ("PATCH", path, {"title": "a"}), ("DELETE", "/api/memories", None)]
    turns = [cycle(calls) for _ in attackers]

    def attack(number: int) -> int:
        method, url, body = next(turns[number])
        return attackers[number].http.request(method, url, json=body).status_code

    honest = client_at(rig, "127.0.0.3")
    honest.ask(emulate(text="Mine."))

    def seconds() -> float:
        times: list[float] = []
        for _ in range(30):
            began = time.monotonic()
            assert honest.http.get("/api/conversations").status_code == 200
            times.append(time.monotonic() - began)
        return median(times)

    alone = seconds()
    attacked: list[float] = []
    statuses = statuses_meanwhile(attack, lambda: attacked.extend(seconds() for _ in range(3)))
    alone = max(alone, seconds())  # other processes may have begun or ended meanwhile
    print(alone, attacked, statuses)
    assert statuses[429] > THREADS
    assert min(attacked) < 4 * alone, (alone, attacked)


def test_new_owners_without_end_leave_room_for_everyone_else(rig: Rig) -> None:
    attackers = [client_at(rig, "127.0.0.4") for _ in range(THREADS)]

    def ask(number: int) -> list[httpx.Response]:
        answers: list[httpx.Response] = []
        for _ in range(10):
            attackers[number].http.cookies.clear()
            answers.append(attackers[number].post({"message": emulate(tokens=1000, rate=1)}))
        return answers

    with ThreadPoolExecutor(THREADS) as pool:
        answers = [answer for each in pool.map(ask, range(THREADS)) for answer in each]
    created = [answer.json()["id"] for answer in answers if answer.status_code == 202]
    assert len(created) == PER_ADDRESS
    refused = Counter(answer.json()["code"] for answer in answers if answer.status_code != 202)
    assert set(refused) == {"too_many_active", "too_many_owners"}, refused
    honest = client_at(rig, "127.0.0.5")
    assert text_of(honest.whole(honest.ask(emulate(text="Mine.", rate=0)))) == "Mine."
    assert client_at(rig, "127.0.0.6").ask(emulate(text="Mine, too."))


def test_one_address_takes_not_all_places_of_readers(rig: Rig) -> None:
    attackers = [client_at(rig, "127.0.0.7") for _ in range(4)]
    slow = [each.ask(emulate(tokens=1000, rate=1)) for each in attackers]
    honest = client_at(rig, "127.0.0.8")
    with ExitStack() as streams:
        for number, each in enumerate(attackers):
            path = f"/api/events?follow={slow[number]}&feed=1"
            statuses = [streams.enter_context(each.http.stream("GET", path)).status_code for _ in range(12)]
            # Each stream takes two places. A client has 20 of them, and an address 40.
            assert statuses == ([200] * 10 + [429] * 2 if number < 2 else [429] * 12)
        assert text_of(honest.whole(honest.ask(emulate(text="Mine.", tokens=5, rate=20)))) == "Mine."
    for number, each in enumerate(attackers):
        each.cancel(slow[number])


def test_reader_that_reads_nothing_loses_its_place(rig: Rig) -> None:
    client = client_at(rig, "127.0.0.11")
    large = client.ask(emulate(tokens=400, chars=5000, rate=0))
    client.whole(large)
    stalled = client_at(rig, "127.0.0.11", [(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)])
    stalled.http.cookies = client.http.cookies
    with ExitStack() as streams:

        def open_stream() -> AbstractContextManager[httpx.Response]:
            return stalled.http.stream("GET", f"/api/generations/{large}/events")

        def has_room() -> bool:
            with open_stream() as answer:
                return answer.status_code == 200

        assert [streams.enter_context(open_stream()).status_code for _ in range(20)] == [200] * 20
        assert not has_room()
        wait_for(has_room, 40, "the stalled readers to be cut")


def test_requests_that_wait_take_not_all_places(rig: Rig) -> None:
    owners = [client_at(rig, "127.0.0.9") for _ in range(3)]
    honest = client_at(rig, "127.0.0.10")
    slow = {"message": emulate(tokens=1000, rate=1), "stream": False}
    for each in owners:
        each.begin()
    with ThreadPoolExecutor(15) as pool:
        waiting = [pool.submit(owner.post, slow) for owner in owners for _ in range(5)]
        wait_for(lambda: sum(each.done() for each in waiting) == 5, 30, "five to be refused")
        assert {each.result().status_code for each in waiting if each.done()} == {429}
        answer = honest.post({"message": emulate(text="Mine.", rate=0), "stream": False})
        assert (answer.status_code, answer.json()["message"]) == (200, "Mine.")
        assert sum(each.done() for each in waiting) == 5, "the others still wait"
        for owner in owners:
            for conversation in owner.http.get("/api/conversations").json()["conversations"]:
                if running := conversation["active_generation"]:
                    owner.cancel(running)
        assert Counter(each.result().status_code for each in waiting) == {200: 10, 429: 5}
