import time
from collections.abc import Callable
from typing import Any

import pytest

from millrace.webapp.generation import stored_log
from millrace.webapp.relay import stream
from millrace.worker.contract import log
from millrace.worker.contract.cancellation import cancel
from millrace.worker.contract.ids import is_id
from millrace.worker.contract.keys import keys_of
from millrace.worker.contract.redis.streams import Streams
from millrace.worker.contract.state import read_state
from millrace.worker.errors import RedisUnavailable
from tests.webapp.harness import DEAD_PORT, WHOLE, WebHarness, check_problem, json_of

Build = Callable[..., WebHarness]
API = "/api/generations"


def stored_field(site: WebHarness, generation: str, field: str) -> bytes | None:
    return site.redis.hget(keys_of(generation).state, field)  # type: ignore[return-value]


def test_create_is_202_with_events_and_cancel_urls(site: WebHarness) -> None:
    answer = site.post({"message": "hello"})
    body = json_of(answer)
    assert answer.status_code == 202
    assert set(body) == {"id", "status", "conversation_id", "message_id", "question_id", "events_url", "cancel_url"}
    assert body["status"] == "queued"
    assert all(is_id(body[name]) for name in ("id", "conversation_id", "message_id"))
    assert answer.headers["Location"] == f"{API}/{body['id']}"
    assert (body["events_url"], body["cancel_url"]) == (f"{API}/{body['id']}/events", f"{API}/{body['id']}/cancel")
    assert answer.headers["Cache-Control"] == "no-store"
    assert site.queued_tasks() == 1
    assert site.generations() == [body["id"]]


def test_conversation_is_busy_until_its_answer_has_ended(site: WebHarness) -> None:
    first = json_of(site.post({"message": "hello"}))
    more = {"message": "more", "conversation_id": first["conversation_id"]}
    assert check_problem(site.post(more), 409, "conversation_busy")["generation_id"] == first["id"]
    holding = site.hold(first["id"])
    assert check_problem(site.post(more), 409, "conversation_busy")["generation_id"] == first["id"]
    site.write(holding, *WHOLE)
    again = json_of(site.post(more))
    assert again["conversation_id"] == first["conversation_id"]
    assert again["id"] != first["id"]
    check_problem(site.post(more), 409, "conversation_busy")


def test_conversation_can_be_continued_after_a_cancel(site: WebHarness) -> None:
    first = json_of(site.post({"message": "hello"}))
    site.user.post(first["cancel_url"])
    assert site.post({"message": "more", "conversation_id": first["conversation_id"]}).status_code == 202


def test_same_key_returns_its_generation_while_the_conversation_is_busy(site: WebHarness) -> None:
    first = json_of(site.post({"message": "hello"}, Idempotency_Key="k"))
    site.user.post(first["cancel_url"])
    second = site.post({"message": "more", "conversation_id": first["conversation_id"]})
    assert second.status_code == 202
    assert json_of(site.post({"message": "hello"}, Idempotency_Key="k")) == first


def test_stateless_history_cannot_be_continued(site: WebHarness) -> None:
    first = json_of(site.post({"messages": [{"role": "user", "content": "a"}]}))
    more = site.post({"message": "more", "conversation_id": first["conversation_id"]})
    check_problem(more, 404, "not_found", "conversation_id")


@pytest.mark.parametrize("conversation", ["0" * 32, " ", "x", "0" * 31 + "G", "0" * 5000, "\ud83d", "../" * 10])
def test_absent_or_malformed_conversation_is_404_and_creates_nothing(site: WebHarness, conversation: str) -> None:
    problem = check_problem(
        site.post({"message": "a", "conversation_id": conversation}), 404, "not_found", "conversation_id"
    )
    assert "-c jar -b jar" in problem["detail"]
    assert site.made() == []


def test_another_users_conversation_is_the_404_of_an_absent_one(site: WebHarness) -> None:
    theirs = json_of(site.post({"message": "a"}))["conversation_id"]
    answer = site.stranger().post(API, json={"message": "a", "conversation_id": theirs})
    absent = site.stranger().post(API, json={"message": "a", "conversation_id": "0" * 32})
    assert check_problem(answer, 404, "not_found", "conversation_id") == json_of(absent)


@pytest.mark.parametrize(
    ("fields", "headers", "settings", "expected"),
    [
        ({}, {}, {}, (b"continue", b"60000")),
        ({}, {}, {"on_disconnect": "cancel", "disconnect_grace_seconds": 7.0}, (b"cancel", b"7000")),
        ({"on_disconnect": "cancel"}, {}, {}, (b"cancel", b"60000")),
        ({"on_disconnect": "continue"}, {}, {"on_disconnect": "cancel"}, (b"continue", b"60000")),
        ({"stream": True}, {}, {}, (b"cancel", b"10000")),
        ({"stream": True, "on_disconnect": "continue"}, {}, {}, (b"continue", b"60000")),
        ({"stream": True, "on_disconnect": "cancel"}, {}, {}, (b"cancel", b"60000")),
        ({}, {"Accept": "text/event-stream"}, {}, (b"cancel", b"10000")),
        ({"stream": False}, {"Accept": "text/event-stream"}, {"wait_seconds": 0.0}, (b"continue", b"60000")),
    ],
)
def test_disconnect_policy_and_grace_follow_request_and_settings(
    build: Build, fields: Any, headers: dict[str, str], settings: Any, expected: tuple[bytes, bytes]
) -> None:
    site = build(**settings)
    answer = site.post({"message": "a", **fields}, **headers)
    answer.close()
    (generation,) = site.generations()
    assert (stored_field(site, generation, "on_disconnect"), stored_field(site, generation, "grace_ms")) == expected


@pytest.mark.parametrize(
    ("fields", "accept", "is_stream"),
    [
        ({"stream": True}, "application/json", True),
        ({}, "text/event-stream", True),
        ({}, "Text/Event-Stream;q=0.5, application/json", True),
        ({"stream": False}, "text/event-stream", False),
        ({}, "text/event-stream;q=0", False),
        ({}, "*/*", False),
        ({}, "text/*", False),
        ({}, "application/json", False),
    ],
)
def test_stream_field_overrides_the_accept_header(build: Build, fields: Any, accept: str, is_stream: bool) -> None:
    site = build(wait_seconds=0.0)
    answer = site.post({"message": "a", **fields}, Accept=accept)
    (generation,) = site.generations()
    if is_stream:
        assert (answer.status_code, answer.mimetype) == (200, "text/event-stream")
        assert answer.headers["Millrace-Generation-Id"] == generation
        assert answer.headers["Cache-Control"] == "no-cache, no-store, no-transform"
        assert f"{site.cookie_name}=" in answer.headers["Set-Cookie"]
    else:
        assert answer.status_code == 202
    answer.close()


def test_post_stream_equals_the_event_stream(site: WebHarness) -> None:
    worker = site.answer_next(*WHOLE)
    posted = site.post({"message": "a", "stream": True})
    text = posted.get_data(as_text=True)
    worker.get()
    followed = site.user.get(f"{API}/{posted.headers['Millrace-Generation-Id']}/events").get_data(as_text=True)
    assert text.split("\n\n")[1:] == followed.split("\n\n")[1:]  # the jittered `retry:` comes first
    assert text.count("data: ") == 7  # one of them is a heartbeat


def test_repeated_post_with_a_cursor_goes_on_after_it(site: WebHarness) -> None:
    worker = site.answer_next(*WHOLE)
    whole = site.post({"message": "a", "stream": True}, **{"Idempotency-Key": "k"}).get_data(as_text=True)
    worker.get()
    frames = [frame for frame in whole.split("\n\n") if frame.startswith("data: ")]
    for number, frame in enumerate(frames, 1):
        cursor = frame.rpartition("id: ")[2]
        headers = {"Idempotency-Key": "k", "Last-Event-ID": cursor}
        again = site.post({"message": "a", "stream": True}, **headers)
        rest = [frame for frame in again.get_data(as_text=True).split("\n\n") if frame.startswith("data: ")]
        assert rest == frames[number:]
        assert again.status_code == (200 if rest else 204)
    bad = site.post({"message": "b", "stream": True}, **{"Idempotency-Key": "l", "Last-Event-ID": "five"})
    check_problem(bad, 400, "bad_cursor")
    assert len(site.generations()) == 1


@pytest.mark.parametrize("how", ["cancel", "delete"])
def test_cancel_is_202_then_200_once_ended(site: WebHarness, how: str) -> None:
    def stop(generation: str) -> Any:
        url = f"{API}/{generation}"
        return site.user.delete(url) if how == "delete" else site.user.post(f"{url}/cancel")

    queued = site.ask()
    assert [(each.status_code, json_of(each)) for each in (stop(queued), stop(queued))] == [
        (202, {"status": "cancelled"}),
        (200, {"status": "cancelled"}),
    ]
    running = site.ask()
    holding = site.hold(running)
    assert [(each.status_code, json_of(each)) for each in (stop(running), stop(running))] == [
        (202, {"status": "running"}),
        (202, {"status": "running"}),
    ]
    site.write(holding, *WHOLE)
    assert (stop(running).status_code, json_of(stop(running))) == (200, {"status": "completed"})


@pytest.mark.parametrize("generation", ["0" * 32, "x", "0" * 31, "0" * 33, "A" * 32, "%00", "x" * 5000, "\u0660" * 32])
@pytest.mark.parametrize("method_and_path", ["GET ", "GET /events", "POST /cancel", "DELETE "])
def test_foreign_absent_and_malformed_ids_get_the_same_404(
    site: WebHarness, method_and_path: str, generation: str
) -> None:
    method, path = method_and_path.split(" ")
    theirs = site.ask()
    stranger = site.stranger()
    stranger.post(API, json={"message": "a"})
    foreign = check_problem(stranger.open(f"{API}/{theirs}{path}", method=method), 404, "not_found")
    assert "-c jar -b jar" in foreign["detail"]
    without_cookie = site.stranger().open(f"{API}/{theirs}{path}", method=method)
    assert check_problem(without_cookie, 404, "not_found") == foreign
    before = site.made()
    assert check_problem(stranger.open(f"{API}/{generation}{path}", method=method), 404, "not_found") == foreign
    assert site.made() == before
    state = read_state(Streams(site.redis), theirs)
    assert state is not None
    assert state.status == "queued"


GARBAGE = ["x", "1", "1-", "-1", "1-2-3", "1-2 ", " 1-2", "+1-2", "12345678901-1", "1-12345678901", "٠-١", "1-1\t"]


@pytest.mark.parametrize("cursor", [*GARBAGE, "1" * 10_240, "1-" + "1" * 10_240], ids=range(14))
def test_malformed_cursor_is_400_in_header_and_query(site: WebHarness, cursor: str) -> None:
    url = f"{API}/{site.ask()}/events"
    check_problem(site.user.get(url, query_string={"after": cursor}), 400, "bad_cursor")
    if cursor.isascii() and cursor == cursor.strip():
        check_problem(site.user.get(url, headers={"Last-Event-ID": cursor}), 400, "bad_cursor")


def test_last_event_id_overrides_after_and_the_default_is_the_start(site: WebHarness) -> None:
    generation = site.ask()
    holding = site.hold(generation)
    site.write(holding, *WHOLE)
    url, epoch = f"{API}/{generation}/events", holding.claim.epoch

    def ids(query: str, **headers: str) -> list[int]:
        answer = site.user.get(f"{url}?{query}", headers={k.replace("_", "-"): v for k, v in headers.items()})
        lines = answer.get_data(as_text=True).split("\n")
        return [int(line.split("-")[1]) for line in lines if line.startswith("id: ")]

    assert ids("") == ids("after=") == ids("after=0-0&unknown=1") == [1, 2, 3, 4, 5]
    assert ids(f"after={epoch}-3") == [4, 5]
    assert ids("after=0-1", Last_Event_ID=f"{epoch}-4") == [5]
    assert ids(f"after={epoch}-3", Last_Event_ID="") == [4, 5]
    for name in ("after", "lastEventId"):
        ended = site.user.get(f"{url}?{name}={epoch}-5")
        assert (ended.status_code, ended.mimetype) == (204, "text/event-stream")


def test_reader_is_held_while_redis_is_unavailable_then_gets_503(build: Build) -> None:
    site = build(redis_url=f"redis://127.0.0.1:{DEAD_PORT}/0")
    site.owner()
    began = time.monotonic()
    check_problem(site.user.get(f"{API}/{'0' * 32}/events"), 503, "redis_away")
    assert 4 < time.monotonic() - began < 30


def test_event_source_is_held_while_redis_is_unavailable_then_asked_to_come_back(build: Build) -> None:
    """After a 503 it would give up."""
    site = build(redis_url=f"redis://127.0.0.1:{DEAD_PORT}/0")
    site.owner()
    for path in (f"{API}/{'0' * 32}/events", f"/api/events?follow={'0' * 32}", "/api/events?feed=1"):
        answer = site.user.get(path, headers={"Accept": "text/event-stream"})
        assert (answer.status_code, answer.mimetype) == (200, "text/event-stream")
        _, retry, *rest = answer.get_data(as_text=True).split("\n")
        assert 5000 <= int(retry.removeprefix("retry: ")) <= 10_000
        assert rest == ["", ""]


def test_reader_beyond_the_last_event_is_held_while_redis_is_unavailable(
    site: WebHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With such a cursor the route reads the log as well, after it has read the state."""
    generation = site.ask()
    holding = site.hold(generation)
    site.write(holding, *WHOLE)
    failures: list[RedisUnavailable] = []

    def read_after_failures(*given: Any, **named: Any) -> log.LogSlice:
        if failures:
            raise failures.pop()
        return log.read(*given, **named)

    monkeypatch.setattr(stored_log, "read", read_after_failures)
    beyond = f"{holding.claim.epoch}-9"
    forms = ((f"{API}/{generation}/events", beyond), (f"/api/events?follow={generation}", f"{generation}@{beyond}"))
    for url, last in forms:
        failures[:] = [RedisUnavailable("restarting"), RedisUnavailable("restarting")]
        answer = site.user.get(url, headers={"Last-Event-ID": last})
        assert (answer.status_code, failures) == (200, []), url


def test_stream_in_a_server_without_gevent_is_503_and_creates_nothing(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = build()
    monkeypatch.setattr(stream, "is_module_patched", lambda _: False)
    check_problem(site.post({"message": "a", "stream": True}), 503, "unsupported_server")
    assert not site.generations()


def test_stream_beyond_max_readers_is_503_and_creates_nothing(build: Build) -> None:
    site = build(max_readers=1)
    first = site.post({"message": "a", "stream": True})
    next(first.iter_encoded())
    next(first.iter_encoded())
    assert site.services.hub.reader_count == 1
    before = site.made()
    check_problem(site.post({"message": "b", "stream": True}), 503, "too_many_readers")
    assert site.made() == before
    cancel(Streams(site.redis), site.generations()[0], "user", site.services.settings)
    first.close()
