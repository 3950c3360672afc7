"""`/v1/chat/completions` over HTTP, beside a worker that the test plays."""

from collections.abc import Callable
from typing import Any

import pytest

from millrace.worker.contract.events import (
    AnyEvent,
    Cancelled,
    Chunk,
    Done,
    Error,
    Reasoning,
    Snapshot,
    ToolUse,
    Usage,
)
from millrace.worker.contract.ids import Cursor, new_id
from millrace.worker.contract.keys import keys_of
from millrace.worker.store.answers import StoredAnswer, save_answer
from millrace.worker.store.messages import StoredQuestion
from tests.webapp.facades.openai.frames import check_error, frames_of, text_of
from tests.webapp.harness import COMPLETE, WHOLE, WebHarness, check_problem, json_of

Build = Callable[..., WebHarness]
API = "/v1/chat/completions"
BODY: dict[str, Any] = {"messages": [{"role": "user", "content": "Hi"}]}
STREAM = {**BODY, "stream": True}


def id_of(generation: str) -> str:
    return f"chatcmpl-{generation}"


def running(site: WebHarness, *events: AnyEvent) -> str:
    """Return the generation of a native request that has so far these events."""
    generation = site.ask()
    site.write(site.hold(generation), *events)
    return generation


def test_plain_request_waits_for_the_completion(site: WebHarness) -> None:
    worker = site.answer_next(*WHOLE)
    answer = site.user.post(API, json=BODY)
    claimed = worker.get()
    completion = json_of(answer)
    assert (answer.status_code, completion["id"]) == (200, id_of(claimed.claim.generation))
    assert completion["choices"][0]["message"]["content"] == "Hello."
    assert completion["choices"][0]["finish_reason"] == "stop"
    assert completion["model"] == site.services.settings.default_model
    assert completion["usage"]["total_tokens"] == 7
    assert answer.headers["Millrace-Generation-Id"] == claimed.claim.generation
    assert [each.content for each in claimed.request.messages] == ["Hi"]


def test_stream_has_numbered_chunks_and_ends_with_done(site: WebHarness) -> None:
    worker = site.answer_next(*WHOLE)
    answer = site.user.post(API, json={**STREAM, "stream_options": {"include_usage": True}})
    frames = frames_of(answer)
    generation = worker.get().claim.generation
    assert [frame.number for frame in frames] == list(range(1, len(frames) + 1))
    assert (text_of(frames), frames[-1].data) == ("Hello.", "[DONE]")
    assert frames[-2].data["usage"]["total_tokens"] == 7
    assert {frame.data["id"] for frame in frames[:-1]} == {id_of(generation)}
    assert len({frame.data["created"] for frame in frames[:-1]}) == 1
    assert answer.headers["Millrace-Generation-Id"] == generation


def test_nothing_is_stored_and_a_streamed_completion_is_cancelled_once_its_client_is_gone(site: WebHarness) -> None:
    site.user.post(API, json=STREAM).close()
    (generation,) = site.generations()
    assert site.redis.hmget(keys_of(generation).state, "on_disconnect", "grace_ms", "question") == [
        b"cancel",
        b"10000",
        b"",
    ]


@pytest.mark.parametrize(
    ("code", "status", "shown"),
    [
        ("content_filtered", 400, "content_filter"),
        ("context_too_long", 400, "context_length_exceeded"),
        ("provider_throttled", 429, "provider_throttled"),
        ("provider_unavailable", 502, "provider_unavailable"),
        ("worker_lost", 500, "worker_lost"),
    ],
)
def test_failed_answer_is_an_error_by_its_code_now_and_later(
    site: WebHarness, code: str, status: int, shown: str
) -> None:
    worker = site.answer_next(Error(code, "Oh.", retryable=True), Done("failed"))
    answer = site.user.post(API, json=BODY)
    generation = worker.get().claim.generation
    error = check_error(answer, status, shown)
    assert (error["message"], error["id"], answer.headers["x-should-retry"]) == ("Oh.", id_of(generation), "true")
    later = site.user.get(f"{API}/{id_of(generation)}")
    assert check_error(later, status, shown) == error
    assert later.headers["x-should-retry"] == "false"
    *_, last = frames_of(site.user.get(f"{API}/{id_of(generation)}?stream=true"))
    assert last.data == {"error": {**error, "param": None}}


def test_failed_answer_is_not_asked_for_again_with_its_idempotency_key(site: WebHarness) -> None:
    worker = site.answer_next(Error("provider_unavailable", "Oh.", retryable=True), Done("failed"))
    answers = [site.user.post(API, json=BODY, headers={"Idempotency-Key": "k"}) for _ in range(2)]
    worker.get()
    assert [answer.headers["x-should-retry"] for answer in answers] == ["false", "false"]
    assert answers[0].data == answers[1].data


def test_answer_that_takes_too_long_is_504_with_its_id_and_can_be_fetched(build: Build) -> None:
    site = build(wait_seconds=0.0)
    answer = site.user.post(API, json=BODY)
    error = check_error(answer, 504, "still_running")
    assert answer.headers["x-should-retry"] == "false"
    (generation,) = site.generations()
    path = f"{API}/{id_of(generation)}"
    assert error["id"] == id_of(generation)
    assert f"GET {path}." in error["message"]
    holding = site.hold(generation)
    site.write(holding, Chunk("Hel"))
    so_far = site.user.get(path)
    assert so_far.status_code == 202
    assert json_of(so_far)["choices"][0]["finish_reason"] is None
    assert json_of(so_far)["choices"][0]["message"]["content"] == "Hel"
    site.write(holding, Chunk("lo."), COMPLETE, Done("completed"), after=2)
    assert json_of(site.user.get(path))["choices"][0]["message"]["content"] == "Hello."


def test_stream_resumes_after_every_frame(site: WebHarness) -> None:
    generation = running(
        site, Reasoning("Hm."), *map(Chunk, "Hello."), ToolUse("t", "f", {}), COMPLETE, Done("completed")
    )
    path = f"{API}/{id_of(generation)}?stream=true&include_usage=true"
    whole = frames_of(site.user.get(path))
    assert text_of(whole) == "Hello."
    for frame in whole:
        rest = [each for each in whole if each.number > frame.number]
        assert frames_of(site.user.get(f"{path}&starting_after={frame.number}")) == rest
        assert frames_of(site.user.get(path, headers={"Last-Event-ID": str(frame.number)})) == rest


def test_generation_of_another_protocol_is_followed_fetched_and_cancelled(site: WebHarness) -> None:
    generation = running(site, Chunk("Hel"))
    for theirs in (id_of(generation), generation):
        assert json_of(site.user.get(f"{API}/{theirs}"))["id"] == id_of(generation)
        status = site.user.post(f"{API}/{theirs}/cancel")
        assert (status.status_code, json_of(status)) == (
            202,
            {"id": id_of(generation), "status": "running", "object": "chat.completion"},
        )


def test_cancelled_completion_keeps_its_text_and_is_cut_off(site: WebHarness) -> None:
    generation = running(site, Chunk("Hel"), Cancelled("user", Usage(1, 2)), Done("cancelled"))
    completion = json_of(site.user.get(f"{API}/{id_of(generation)}"))
    assert completion["cancelled_by"] == "user"
    assert completion["choices"][0]["finish_reason"] == "length"
    answer = site.user.post(f"{API}/{id_of(generation)}/cancel")
    assert (answer.status_code, json_of(answer)["status"]) == (200, "cancelled")
    frames = frames_of(site.user.get(f"{API}/{id_of(generation)}?stream=true"))
    assert frames[-2].data["choices"][0]["finish_reason"] == "length"


def test_same_idempotency_key_gives_the_same_completion_and_resumes(site: WebHarness) -> None:
    worker = site.answer_next(*WHOLE)
    headers = {"Idempotency-Key": "k"}
    whole = frames_of(site.user.post(API, json=STREAM, headers=headers))
    worker.get()
    rest = frames_of(site.user.post(API, json=STREAM, headers={**headers, "Last-Event-ID": "2"}))
    assert rest == whole[2:]
    assert json_of(site.user.post(API, json=BODY, headers=headers))["id"] == whole[0].data["id"]
    other = site.user.post(API, json={**BODY, "temperature": 0.5}, headers=headers)
    check_error(other, 409, "idempotency_conflict")
    assert other.headers["x-should-retry"] == "false"
    assert len(site.generations()) == 1


def test_takeover_with_other_text_is_an_error_and_never_mixed(site: WebHarness) -> None:
    events = [Chunk("Hello"), Snapshot("", "", [], [], "takeover"), Chunk("Good"), COMPLETE, Done("completed")]
    generation = running(site, *events)
    frames = frames_of(site.user.get(f"{API}/{id_of(generation)}?stream=true"))
    assert frames[-1].data["error"]["code"] == "stream_lost"
    assert text_of(frames[:-1]) == "Hello"
    whole = json_of(site.user.get(f"{API}/{id_of(generation)}"))
    assert whole["choices"][0]["message"]["content"] == "Good"


def test_expired_log_of_a_stored_answer_is_whole_or_an_error_but_never_doubled(site: WebHarness) -> None:
    asked = StoredQuestion(new_id(), site.owner(), new_id(), "question")
    said = StoredAnswer(new_id(), new_id(), 1, Cursor(1, 9), "answer", COMPLETE, "model", "bedrock", suggestions=())
    assert site.services.database.run(lambda session: save_answer(session, asked, said))
    path = f"{API}/{id_of(said.generation)}"
    completion = json_of(site.user.get(path))
    assert completion["choices"][0]["message"]["content"] == "answer"
    frames = frames_of(site.user.get(f"{path}?stream=true"))
    assert (text_of(frames), frames[-1].data, frames[0].data["model"]) == ("answer", "[DONE]", "model")
    (frame,) = frames_of(site.user.get(f"{path}?stream=true&starting_after=2"))
    assert frame.data["error"]["code"] == "stream_lost"


def test_completion_is_404_once_its_log_has_expired_because_it_is_not_stored(site: WebHarness) -> None:
    generation = running(site, *WHOLE)
    site.redis.delete(keys_of(generation).log)
    check_error(site.user.get(f"{API}/{id_of(generation)}"), 404, "not_found")


@pytest.mark.parametrize("path", ["", "/cancel"])
@pytest.mark.parametrize("theirs", ["chatcmpl-x", "resp_" + "0" * 32, "0" * 32])
def test_absent_completion_is_404(site: WebHarness, path: str, theirs: str) -> None:
    send = site.user.post if path else site.user.get
    check_error(send(f"{API}/{theirs}{path}"), 404, "not_found")


def test_completion_of_another_owner_is_404(site: WebHarness) -> None:
    theirs = id_of(running(site, *WHOLE))
    stranger = site.stranger()
    for answer in (
        stranger.get(f"{API}/{theirs}"),
        stranger.get(f"{API}/{theirs}?stream=true"),
        stranger.post(f"{API}/{theirs}/cancel"),
    ):
        check_error(answer, 404, "not_found")


def test_rejections_of_every_kind_have_openais_shape(build: Build) -> None:
    site = build(max_body_bytes=1000)
    post = site.user.post
    check_error(post(API, json={**BODY, "n": 2}), 400, "unsupported_parameter", "n")
    check_error(post(API, json={**BODY, "temperature": "hot"}), 400, "invalid_value", "temperature")
    check_error(post(API, json={**BODY, "model": "x"}), 404, "model_not_found", "model")
    check_error(post(API, data="{", content_type="application/json"), 400, "malformed")
    check_error(post(API, data="{}", content_type="text/plain"), 415, "unsupported_media_type")
    check_error(post(API, data=b" " * 2000, content_type="application/json"), 413, "too_large")
    check_error(post(API, json=BODY, headers={"Idempotency-Key": ""}), 400, "bad_idempotency_key")
    check_error(post(API, json=BODY, headers={"Sec-Fetch-Site": "cross-site"}), 403, "cross_site")
    instructed = {"messages": [{"role": "system", "content": "a"}, *BODY["messages"]]}
    check_error(post(API, json=instructed), 403, "system_not_allowed", "messages[0]")
    check_error(site.user.get(f"{API}/{'0' * 32}"), 404, "not_found")
    generation = running(site)
    check_error(site.user.get(f"{API}/{generation}?stream=true&starting_after=x"), 400, "bad_cursor", "starting_after")
    check_error(site.user.get(f"{API}/{generation}?stream=maybe"), 400, "invalid_value", "stream")
    check_error(site.user.get(f"{API}/{generation}?stream=true&include_usage=x"), 400, "invalid_value", "include_usage")
    assert site.generations() == [generation]


@pytest.mark.parametrize("body", [BODY, STREAM])
def test_wrong_or_missing_key_is_401(build: Build, body: Any) -> None:
    session = build()
    error = check_error(
        session.user.post(API, json=body, headers={"Authorization": "Bearer mr-wrong"}), 401, "invalid_api_key"
    )
    assert error["message"].startswith("Incorrect API key provided")
    tokens = build(auth="jwt", jwt_algorithm="HS256", jwt_secret="0" * 32, jwt_audience="a", jwt_issuer="b")
    error = check_error(tokens.user.post(API, json=body), 401, "invalid_api_key")
    assert error["message"].startswith("You didn't provide an API key")
    check_error(tokens.user.get("/v1/models"), 401, "invalid_api_key")


def test_beyond_a_limit_is_429_also_for_a_client_that_accepts_event_streams(build: Build) -> None:
    site = build(rate_limit="1/hour", follow_rate_limit="1/hour")
    theirs = id_of(running(site, *WHOLE))
    check_error(site.user.post(API, json=STREAM), 429, "rate_limit_exceeded")
    path = f"{API}/{theirs}?stream=true"
    frames_of(site.user.get(path))
    headers = {"Accept": "text/event-stream"}
    error = check_error(site.user.get(path, headers=headers), 429, "rate_limit_exceeded")
    assert "MILLRACE_FOLLOW_RATE_LIMIT" in error["message"]
    native = site.user.get(f"/api/generations/{theirs.removeprefix('chatcmpl-')}/events", headers=headers)
    assert (native.status_code, native.mimetype) == (200, "text/event-stream")
    check_problem(site.post({"message": "a"}), 429, "rate_limited")


def test_too_many_streams_is_429(build: Build) -> None:
    site = build(max_active_per_user=1)
    running(site, Chunk("a"))
    check_error(site.user.post(API, json=STREAM), 429, "too_many_active")
