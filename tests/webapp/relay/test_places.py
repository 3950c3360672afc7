"""No client takes all the places of readers, or of requests that wait for a whole answer."""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import gevent
import pytest
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from millrace.webapp.guard.client import Client
from millrace.webapp.relay.frames import stream_end
from millrace.webapp.relay.places import Places
from tests.client import wait_for
from tests.webapp.harness import WHOLE, WebHarness, check_problem, json_of

Build = Callable[..., WebHarness]
API = "/api/generations"
EVENT_SOURCE = {"Accept": "text/event-stream"}
STREAMING: list[tuple[str, dict[str, Any]]] = [
    (API, {"message": "a", "stream": True}),
    ("/api/chat", {"message": "a"}),
    ("/api/conversation-stream/me", {"message": "a"}),
]
WAITING: list[tuple[str, dict[str, Any]]] = [
    (API, {"message": "a", "stream": False}),
    ("/api/conversation/me", {"message": "a"}),
]


@pytest.fixture
def streams() -> Iterator[ExitStack]:
    """Close all streams at the end, before their site stops."""
    with ExitStack() as stack:
        yield stack


def open_stream(streams: ExitStack, client: FlaskClient, path: str, **given: Any) -> TestResponse:
    """Open a stream whose reader has its place."""
    answer = client.get(path, **given)
    assert answer.status_code == 200
    streams.callback(answer.close)
    parts = answer.iter_encoded()
    next(parts)  # the response has begun
    next(parts)  # the reader is attached
    return answer


def test_owner_takes_no_more_than_its_places(build: Build, streams: ExitStack) -> None:
    site = build(max_readers_per_user=3)
    path, feed = f"{API}/{site.ask()}/events", "/api/events?feed=1"
    multiplexed = f"/api/events?follow={site.ask()}&follow={site.ask()}"
    first = open_stream(streams, site.user, path)
    before = site.made()
    for other in (multiplexed, f"{multiplexed}&feed=1"):
        problem = check_problem(site.user.get(other), 429, "too_many_streams")
        assert "(MILLRACE_MAX_READERS_PER_USER)" in problem["detail"]
        delayed = site.user.get(other, headers=EVENT_SOURCE)
        assert (delayed.status_code, delayed.mimetype) == (200, "text/event-stream"), "429 would end an EventSource"
        assert re.fullmatch(r": too often\nretry: [3-6]\d{4}\n\n", delayed.text)
    for _ in range(2):
        open_stream(streams, site.user, path)
    for streaming, body in STREAMING:
        check_problem(site.user.post(streaming, json=body, headers=EVENT_SOURCE), 429, "too_many_streams")
    assert site.made() == before, "nothing was created"
    neighbour = site.stranger()
    site.owner(neighbour)
    open_stream(streams, neighbour, f"{API}/{json_of(neighbour.post(API, json={'message': 'a'}))['id']}/events")
    first.close()
    assert site.services.hub.places.count == 3
    open_stream(streams, site.user, path)
    streams.close()
    assert site.services.hub.places.count == 0
    assert not any(site.services.hub.places._held), "nothing is kept about clients that have left"
    assert site.user.get(feed).status_code == 200


def test_users_of_one_address_take_no_more_than_its_places(build: Build, streams: ExitStack) -> None:
    site = build(max_readers_per_address=2, trusted_proxies=1)

    def ask(address: str) -> tuple[FlaskClient, str, dict[str, str]]:
        client, headers = site.stranger(), {"X-Forwarded-For": address}
        asked = client.post(API, json={"message": "a"}, headers=headers)
        return client, f"{API}/{json_of(asked)['id']}/events", headers

    for port in (1, 2):
        client, path, headers = ask(f"192.0.2.1:{port}")
        open_stream(streams, client, path, headers=headers)
    client, path, headers = ask("192.0.2.1:3")
    problem = check_problem(client.get(path, headers=headers), 429, "too_many_streams")
    assert "(MILLRACE_MAX_READERS_PER_ADDRESS)" in problem["detail"]
    client, path, headers = ask("192.0.2.2")
    open_stream(streams, client, path, headers=headers)


@pytest.mark.parametrize("path", ["/api/events?follow=ID", f"{API}/ID/events"])
def test_streams_that_begin_at_the_same_time_take_no_more_than_the_places(
    build: Build, streams: ExitStack, path: str
) -> None:
    places = 2 if "follow" in path else 1
    site = build(max_readers_per_user=places)
    path = path.replace("ID", site.ask())
    answers = [site.user.get(path) for _ in range(3)]
    for answer in answers:
        streams.callback(answer.close)
    bodies = [answer.iter_encoded() for answer in answers]
    assert [next(each).startswith(b": millrace") for each in bodies] == [True] * 3
    assert b'"queued"' in next(bodies[0])
    for late in bodies[1:]:
        assert [re.sub(rb"\d+", b"N", each) for each in late] == [re.sub(rb"\d+", b"N", stream_end())]
    assert site.services.hub.places.count == places


def test_facade_stream_that_lost_its_place_ends_with_an_error(build: Build, streams: ExitStack) -> None:
    site = build(max_readers_per_user=1)
    answers = [site.user.post("/api/chat", json={"message": "a"}) for _ in range(2)]
    for answer in answers:
        streams.callback(answer.close)
    first, second = (answer.iter_encoded() for answer in answers)
    next(first)
    pulling = gevent.spawn(next, first)
    wait_for(lambda: site.services.hub.places.count == 1, 30, "the first reader")
    assert b'data: {"error":' in b"".join(second)
    pulling.kill()


def test_requests_that_wait_have_a_limit_of_their_own(build: Build) -> None:
    site = build(max_waiters=2, max_readers=1)
    users = [site.stranger() for _ in range(3)]
    waiting = [gevent.spawn(user.post, *WAITING[0][:1], json=WAITING[0][1]) for user in users[:2]]
    wait_for(lambda: site.services.hub.waiting.count == 2 and len(site.generations()) == 2, 30, "two to wait")
    assert site.services.hub.places.count == 0, "they take no places of readers"
    wait_for(lambda: sum(key.endswith(":feed") for key in site.made()) == 2, 30, "both to be in their owners' feeds")
    before = site.made()
    for path, body in WAITING:
        check_problem(users[2].post(path, json=body), 503, "too_many_waiting")
    assert site.made() == before
    assert users[2].post(API, json={"message": "a"}).status_code == 202
    for generation in [key.split(":")[2] for key in before if key.endswith(":state")]:
        site.write(site.hold(generation), *WHOLE)
    assert [each.get(timeout=30).status_code for each in waiting] == [200, 200]
    assert site.services.hub.waiting.count == 0
    answering = site.answer_next(*WHOLE)
    assert users[2].post(WAITING[0][0], json=WAITING[0][1]).status_code == 200
    answering.get()


def test_client_waits_for_as_many_answers_as_it_may_have_running(build: Build) -> None:
    site = build(max_active_per_user=1)
    site.owner()
    headers = {"Idempotency-Key": "k"}  # repeated requests for one generation are not limited otherwise
    waiting = gevent.spawn(site.user.post, API, json={"message": "a", "stream": False}, headers=headers)
    wait_for(lambda: site.services.hub.waiting.count == 1 and site.generations(), 30, "the first to wait")
    repeated = site.user.post(API, json={"message": "a", "stream": False}, headers=headers)
    check_problem(repeated, 429, "too_many_active")
    (generation,) = site.generations()
    site.write(site.hold(generation), *WHOLE)
    assert waiting.get(timeout=30).status_code == 200
    again = site.user.post(API, json={"message": "a", "stream": False}, headers=headers)
    assert again.status_code == 200
    broken = build(redis_url="redis://127.0.0.1:1/0")
    check_problem(broken.post({"message": "a", "stream": False}), 503, "redis_away")
    assert broken.services.hub.waiting.count == 0


CLIENTS = st.none() | st.builds(Client, st.sampled_from("abc"), st.sampled_from("xy"))


@given(st.lists(st.tuples(CLIENTS, st.booleans()), max_size=40))
def test_places_held_never_exceed_a_limit(steps: list[tuple[Client | None, bool]]) -> None:
    places, held = Places((6, 2, 4)), list[Client | None]()
    for client, is_taken in steps:
        if is_taken:
            owned = sum(each is not None and client is not None and each.owner == client.owner for each in held)
            near = sum(each is not None and client is not None and each.address == client.address for each in held)
            counts = ((len(held), 6), (owned, 2), (near, 4))
            full = next((number for number, (has, most) in enumerate(counts) if has >= most), None)
            if client is None and full != 0:
                full = None
            assert places.find_full(client, 1) == full
            if full is None:
                places.take(client)
                held.append(client)
        elif client in held:
            places.release(client)
            held.remove(client)
        assert places.count == len(held)
