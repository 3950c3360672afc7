"""Several streams on one connection: the requests. tests/webapp/relay tests the bytes on the wire."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from werkzeug.test import TestResponse

from millrace.worker.contract.feed import FEED_START, ConversationChanged, FeedPosition, publish, read_feeds
from millrace.worker.contract.lease import ClaimedGeneration
from tests.webapp.harness import DEAD_PORT, WHOLE, WebHarness, check_problem

Build = Callable[..., WebHarness]
API = "/api/events"
PAGE = {"Sec-Fetch-Site": "same-origin"}


def ended(site: WebHarness) -> ClaimedGeneration:
    """Return an ended generation of the user."""
    holding = site.hold(site.ask())
    site.write(holding, *WHOLE)
    return holding


def follow(site: WebHarness, *follows: str, last: str = "", feed: str = "") -> TestResponse:
    query: dict[str, Any] = {"follow": follows} | ({"feed": feed} if feed else {})
    return site.user.get(API, query_string=query, headers={"Last-Event-ID": last} if last else {})


def ids(answer: TestResponse) -> list[str]:
    """Read the stream to its end and return the ids of its events."""
    assert (answer.status_code, answer.mimetype) == (200, "text/event-stream"), answer.text
    return [line[4:] for line in answer.get_data(as_text=True).split("\n") if line.startswith("id: ")]


def numbers(answer: TestResponse, holding: ClaimedGeneration) -> list[int]:
    name = f"{holding.claim.generation}@"
    return [int(each.rpartition("-")[2]) for each in ids(answer) if each.startswith(name)]


def test_each_event_has_its_generation_in_id_and_data(site: WebHarness) -> None:
    one, two = ended(site), ended(site)
    answer = follow(site, one.claim.generation, two.claim.generation)
    kinds_of: dict[str, list[str]] = {}
    for frame in answer.get_data(as_text=True).split("\n\n"):
        if frame.startswith("data: "):
            data, name = frame.split("\n")
            event = json.loads(data.removeprefix("data: "))
            assert name.startswith(f"id: {event['generation']}@")
            kinds_of.setdefault(event["generation"], []).append(event["type"])
    kinds = ["status", "chunk", "chunk", "complete", "done"]
    assert kinds_of == {one.claim.generation: kinds, two.claim.generation: kinds}
    assert answer.headers["Cache-Control"] == "no-cache, no-store, no-transform"


def test_each_stream_resumes_at_its_cursor_and_last_event_id_overrides_one(site: WebHarness) -> None:
    one, two = ended(site), ended(site)
    first, second = one.claim.generation, two.claim.generation
    at_three = f"{first}@{one.claim.epoch}-3"
    answer = follow(site, at_three, second)
    assert (numbers(answer, one), numbers(answer, two)) == ([4, 5], [1, 2, 3, 4, 5])
    again = follow(site, at_three, second, last=f"{second}@{two.claim.epoch}-4")
    assert (numbers(again, one), numbers(again, two)) == ([4, 5], [5])
    moved = follow(site, at_three, second, last=f"{first}@{one.claim.epoch}-5")
    assert (numbers(moved, one), numbers(moved, two)) == ([], [1, 2, 3, 4, 5])
    unrelated = follow(site, at_three, last=f"{second}@{two.claim.epoch}-3")
    assert [each.partition("@")[0] for each in ids(unrelated)] == [first, first]


def test_stream_is_204_only_if_nothing_follows_any_cursor(site: WebHarness) -> None:
    one, two = (f"{each.claim.generation}@{each.claim.epoch}" for each in (ended(site), ended(site)))
    assert follow(site, f"{one}-5", f"{two}-5").status_code == 204
    assert follow(site, f"{one}-5", f"{two}-4", last=f"{two}-5").status_code == 204
    assert len(ids(follow(site, f"{one}-5", f"{two}-4"))) == 1


@pytest.mark.parametrize("foreign", ["theirs", "0" * 32, "x", "", "A" * 32])
def test_one_foreign_absent_or_malformed_id_makes_the_request_404(site: WebHarness, foreign: str) -> None:
    theirs = site.stranger().post("/api/generations", json={"message": "a"}).get_json()["id"]
    own = ended(site).claim.generation
    unknown = theirs if foreign == "theirs" else foreign
    problem = check_problem(follow(site, own, unknown), 404, "not_found")
    assert "-c jar -b jar" in problem["detail"]
    assert problem["generation_id"] == unknown, "the client follows the others without it"
    assert follow(site, own).status_code == 200
    foreigners = check_problem(site.stranger().get(API, query_string={"follow": own}), 404, "not_found")
    assert foreigners == problem | {"generation_id": own}


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("", "bad_follow"),
        ("feed=0", "bad_follow"),
        ("follow=ID&follow=ID", "bad_follow"),
        ("follow=ID&follow=ID@1-1", "bad_follow"),
        ("&".join(f"follow={number:032x}" for number in range(51)), "bad_follow"),
        ("follow=ID@", "bad_cursor"),
        ("follow=ID@1", "bad_cursor"),
        ("follow=ID@1-2-3", "bad_cursor"),
        ("follow=ID@12345678901-1", "bad_cursor"),
        ("feed=yes", "bad_cursor"),
        ("feed=1-", "bad_cursor"),
    ],
)
def test_invalid_follow_or_feed_is_400(site: WebHarness, query: str, code: str) -> None:
    generation = ended(site).claim.generation
    check_problem(site.user.get(f"{API}?{query.replace('ID', generation)}"), 400, code)


@pytest.mark.parametrize("last", ["1-5", "@1-5", "feed@", "feed@1", "ID@", "ID@x", "ID@1-", "nobody@1-5", "ID", "@"])
def test_malformed_last_event_id_is_400(site: WebHarness, last: str) -> None:
    generation = ended(site).claim.generation
    check_problem(follow(site, generation, feed="1", last=last.replace("ID", generation)), 400, "bad_cursor")


def test_streams_beyond_max_readers_are_503_with_retry_after(build: Build) -> None:
    site = build(max_readers=2)
    one, two = ended(site).claim.generation, ended(site).claim.generation
    check_problem(follow(site, one, two), 503, "too_many_readers")
    assert len(ids(follow(site, one))) == 5


def test_max_follows_per_connection_is_a_setting(build: Build) -> None:
    site = build(max_follows=1)
    one, two = ended(site).claim.generation, ended(site).claim.generation
    problem = check_problem(follow(site, one, two), 400, "bad_follow")
    assert "at most 1 " in problem["detail"]


def test_reader_is_held_while_redis_is_unavailable_then_gets_503(build: Build) -> None:
    site = build(redis_url=f"redis://127.0.0.1:{DEAD_PORT}/0")
    site.owner()
    check_problem(follow(site, "0" * 32), 503, "redis_away")
    check_problem(follow(site, feed="1"), 503, "redis_away")


def fed(site: WebHarness, count: int, *follows: str, **how: str) -> list[dict[str, Any]]:
    """Return the next `count` events of the feed; the caller's assertion fails if it ends earlier."""
    answer = follow(site, *follows, **how)
    assert answer.status_code == 200
    found: list[dict[str, Any]] = []
    for part in answer.iter_encoded():
        frames = [frame for frame in part.decode().split("\n\n") if "\nid: feed@" in frame]
        found += [json.loads(frame.partition("\n")[0].removeprefix("data: ")) for frame in frames]
        if len(found) >= count:
            break
    answer.close()
    return found


def owner_of(site: WebHarness) -> str:
    """Return the user's owner id, after one generation has put an event into their feed."""
    return site.hold(site.ask()).owner


def places(site: WebHarness, owner: str) -> list[FeedPosition]:
    (entries,) = read_feeds(site.redis, [(owner, FEED_START)], 1000)
    return [entry.position for entry in entries]


def test_feed_resumes_at_a_position(site: WebHarness) -> None:
    owner = owner_of(site)
    publish(site.redis, owner, ConversationChanged("a"), ConversationChanged("b"))
    _, started, *_ = (*[None], *places(site, owner))
    assert [event["conversation_id"] for event in fed(site, 2, feed=str(started))] == ["a", "b"]
    last = f"feed@{places(site, owner)[1]}"
    assert [event["conversation_id"] for event in fed(site, 1, feed="1", last=last)] == ["b"]


def test_feed_1_starts_with_new_events(site: WebHarness) -> None:
    owner = owner_of(site)
    publish(site.redis, owner, ConversationChanged("before"))
    answer = follow(site, feed="1")
    parts = answer.iter_encoded()
    assert next(parts).startswith(b": millrace")
    publish(site.redis, owner, ConversationChanged("after"))
    assert b'"conversation_id":"after"' in next(parts)
    answer.close()


def test_resuming_with_another_streams_cursor_returns_the_whole_feed(site: WebHarness) -> None:
    holding = ended(site)
    publish(site.redis, holding.owner, ConversationChanged("missed"))
    generation, last = holding.claim.generation, f"{holding.claim.generation}@{holding.claim.epoch}-5"
    kinds = [event["type"] for event in fed(site, 2, generation, feed="1", last=last)]
    assert kinds == ["generation_started", "conversation_changed"]


def test_feed_of_a_client_without_an_owner_has_ended(site: WebHarness) -> None:
    answer = site.stranger().get(API, query_string={"feed": "1"})
    assert (answer.status_code, answer.mimetype) == (204, "text/event-stream")
    assert "Set-Cookie" not in answer.headers


def test_feed_has_only_its_owners_events(site: WebHarness) -> None:
    owner = owner_of(site)
    stranger = site.stranger()
    site.owner(stranger)
    answer = stranger.get(API, query_string={"feed": "1"})
    parts = answer.iter_encoded()
    next(parts)
    publish(site.redis, owner, ConversationChanged("not theirs"))
    theirs = stranger.post("/api/generations", json={"message": "a"}).get_json()["id"]
    received = next(parts)
    answer.close()
    assert theirs.encode() in received
    assert b"not theirs" not in received
