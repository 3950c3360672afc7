from collections.abc import Callable
from typing import Any

import pytest

from millrace.worker.contract.events import Cancelled, Chunk, Done, Error, Suggestions, Usage
from millrace.worker.contract.ids import is_id
from millrace.worker.contract.keys import keys_of
from millrace.worker.contract.redis.streams import Streams
from millrace.worker.contract.state import read_request, read_state
from millrace.worker.errors import RedisUnavailable
from tests.webapp.facades.lines import lines_of
from tests.webapp.harness import WHOLE, WebHarness, check_problem, json_of

Build = Callable[..., WebHarness]
STREAM, ONCE = "/api/conversation-stream", "/api/conversation"
ANSWER = (*WHOLE[:-1], Suggestions(["What else?"]), WHOLE[-1])


def test_stream_is_typed_lines_and_its_session_takes_a_second_turn(site: WebHarness) -> None:
    worker = site.answer_next(*ANSWER)
    answer = site.user.post(f"{STREAM}/me", json={"message": "hello", "session_id": None})
    lines = lines_of(answer)
    worker.get()
    assert (answer.status_code, answer.mimetype) == (200, "text/event-stream")
    assert answer.headers["Cache-Control"] == "no-cache, no-store, no-transform"
    assert [line["type"] for line in lines] == ["status", "status", "chunk", "chunk", "complete"]
    assert "".join(line["content"] for line in lines if line["type"] == "chunk") == "Hello."
    complete = lines[-1]
    assert (complete["message"], complete["suggestions"]) == ("Hello.", ["What else?"])
    assert is_id(complete["session_id"])
    worker = site.answer_next(*WHOLE)
    more = lines_of(site.user.post(f"{STREAM}/me", json={"message": "more", "session_id": complete["session_id"]}))
    worker.get()
    assert more[-1]["session_id"] == complete["session_id"]


def test_answer_in_one_piece_has_three_fields(site: WebHarness) -> None:
    worker = site.answer_next(*ANSWER)
    answer = site.user.post(f"{ONCE}/me", json={"message": "hello"})
    worker.get()
    body = json_of(answer)
    assert answer.status_code == 200
    assert is_id(body.pop("session_id"))
    assert body == {"message": "Hello.", "suggestions": ["What else?"]}


def test_cancelled_generation_is_answered_with_its_partial_text(site: WebHarness) -> None:
    worker = site.answer_next(Chunk("Hel"), Cancelled("user", Usage()), Done("cancelled"))
    answer = site.user.post(f"{ONCE}/me", json={"message": "hello"})
    worker.get()
    assert (answer.status_code, json_of(answer)["message"]) == (200, "Hel")


def test_failed_answer_is_502_and_a_late_answer_is_504(build: Build) -> None:
    site = build(wait_seconds=3)
    worker = site.answer_next(Error("provider_timeout", "It fell silent.", retryable=True), Done("failed"))
    failed = check_problem(site.user.post(f"{ONCE}/me", json={"message": "hello"}), 502, "provider_timeout")
    worker.get()
    assert (failed["detail"], failed["retryable"], is_id(failed["session_id"])) == ("It fell silent.", True, True)
    late = check_problem(site.user.post(f"{ONCE}/me", json={"message": "hello"}), 504, "still_running")
    running = read_state(Streams(site.redis), late["generation_id"])
    assert running is not None
    assert late["session_id"] == running.conversation, "without it the client cannot go on in this session"
    assert site.user.get_cookie(site.cookie_name) is not None  # the owner of an answer that exists is kept
    assert site.user.get(late["events_url"].removesuffix("/events")).status_code == 200


def test_answer_that_cannot_be_awaited_because_redis_is_away_is_the_504_of_a_running_one(
    site: WebHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise RedisUnavailable("away")

    monkeypatch.setattr(site.services.hub, "entries", fail)  # after the generation was created
    late = check_problem(site.user.post(f"{ONCE}/me", json={"message": "hello"}), 504, "still_running")
    assert site.generations() == [late["generation_id"]]
    assert site.post({"message": "hello", "stream": False}).status_code == 202


@pytest.mark.parametrize("path", [STREAM, ONCE])
def test_path_takes_only_the_id_of_the_owner_or_me(build: Build, path: str) -> None:
    site = build(wait_seconds=0.0)
    mine = site.owner()
    for user in ("0" * 32, "another", "a/b", "%00", mine + "x", mine.upper() + "/"):
        check_problem(site.user.post(f"{path}/{user}", json={"message": "hello"}), 404, "not_found")
    check_problem(site.stranger().post(f"{path}/{mine}", json={"message": "hello"}), 404, "not_found")
    assert site.generations() == []
    site.user.post(f"{path}/{mine}", json={"message": "hello"}).close()
    (generation,) = site.generations()
    state = read_state(Streams(site.redis), generation)
    assert state is not None
    assert state.owner == mine


@pytest.mark.parametrize("path", [STREAM, ONCE])
@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({}, 422, "message"),
        ({"message": ""}, 422, "message"),
        ({"message": 5}, 422, "message"),
        ({"message": "x" * 32_001}, 422, "message"),
        ({"message": "a", "model": "unknown"}, 422, "model"),
        ({"message": "a", "user_id": "me"}, 422, "user_id"),
        ({"message": "a", "conversation_id": "0" * 32}, 422, "conversation_id"),
        ({"message": "a", "session_id": 5}, 422, "session_id"),
        ({"message": "a", "session_id": "0" * 32}, 404, "session_id"),
        ({"message": "a", "session_id": "mine"}, 404, "session_id"),
    ],
)
def test_invalid_field_is_rejected_under_its_name_in_this_protocol(
    site: WebHarness, path: str, body: dict[str, Any], status: int, field: str
) -> None:
    code = "not_found" if status == 404 else "invalid_field"
    check_problem(site.user.post(f"{path}/me", json=body), status, code, field)
    assert site.made() == []


def test_session_of_another_user_is_the_same_404_as_an_absent_one(site: WebHarness) -> None:
    theirs = json_of(site.post({"message": "a"}))["conversation_id"]
    stranger = site.stranger()
    foreign = stranger.post(f"{STREAM}/me", json={"message": "a", "session_id": theirs})
    absent = stranger.post(f"{STREAM}/me", json={"message": "a", "session_id": "0" * 32})
    assert check_problem(foreign, 404, "not_found", "session_id") == json_of(absent)


def test_leaving_the_stream_cancels_and_leaving_the_call_in_one_piece_does_not(build: Build) -> None:
    site = build(wait_seconds=0.0)
    site.user.post(f"{STREAM}/me", json={"message": "a"}).close()
    (streamed,) = site.generations()
    site.user.post(f"{ONCE}/me", json={"message": "a"})
    (waited,) = set(site.generations()) - {streamed}
    kept = [site.redis.hmget(keys_of(each).state, "on_disconnect", "grace_ms") for each in (streamed, waited)]
    assert kept == [[b"cancel", b"10000"], [b"continue", b"60000"]]


def test_same_idempotency_key_is_the_same_turn(site: WebHarness) -> None:
    headers = {"Idempotency-Key": "k"}
    worker = site.answer_next(*WHOLE)
    first = site.user.post(f"{ONCE}/me", json={"message": "a"}, headers=headers)
    worker.get()
    again = site.user.post(f"{STREAM}/me", json={"message": "a"}, headers=headers)
    assert lines_of(again)[-1]["session_id"] == json_of(first)["session_id"]
    (generation,) = site.generations()
    assert again.headers["Millrace-Generation-Id"] == generation
    request = read_request(Streams(site.redis), generation)
    assert request is not None
    assert [(each.role, each.content) for each in request.messages] == [("user", "a")]


def test_stream_rejected_by_a_full_relay_creates_nothing(build: Build) -> None:
    site = build(max_readers=1)
    first = site.user.post(f"{STREAM}/me", json={"message": "a"})
    stream = first.iter_encoded()
    next(stream)
    next(stream)
    before = site.made()
    check_problem(site.user.post(f"{STREAM}/me", json={"message": "b"}), 503, "too_many_readers")
    assert site.made() == before
    first.close()
