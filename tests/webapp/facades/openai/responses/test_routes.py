from collections.abc import Callable
from typing import Any

import gevent
import pytest
from openai.types.responses import Response

from millrace.worker.contract.events import Cancelled, Chunk, Complete, Done, Error, Reasoning, StatusEvent
from millrace.worker.contract.keys import keys_of
from tests.webapp.facades.openai.responses.logs import (
    USAGE,
    Json,
    check_error,
    frames_of,
    own,
    stored,
    types_of,
    validate,
)
from tests.webapp.harness import COMPLETE, WHOLE, WebHarness, json_of
from tests.webapp.stored_turns import messages_of

Build = Callable[..., WebHarness]
API = "/v1/responses"
HISTORY = [{"role": "user", "content": "one"}, {"role": "assistant", "content": "two"}]


def create(site: WebHarness, question: Any = "hello", **fields: Any) -> Json:
    """Create a response in the background and return it."""
    answer = site.user.post(API, json={"input": question, "background": True, **fields})
    assert answer.status_code == 200, answer.text
    return json_of(answer)


def get(site: WebHarness, name: str) -> Json:
    answer = site.user.get(f"{API}/{name}")
    assert answer.status_code == 200, answer.text
    Response.model_validate_json(answer.get_data(), strict=True)
    return json_of(answer)


def texts(response: Json) -> list[str]:
    return [each["content"][0]["text"] for each in response["output"] if each["type"] == "message"]


def test_response_is_whole_and_its_question_is_a_turn_of_a_new_conversation(site: WebHarness) -> None:
    worker = site.answer_next(*WHOLE)
    answer = site.user.post(API, json={"input": "hello", "metadata": {"a": "b"}, "user": "u", "top_p": 0.5})
    response = json_of(answer)
    claimed = worker.get()
    Response.model_validate_json(answer.get_data(), strict=True)
    assert response["id"] == f"resp_{claimed.claim.generation}"
    assert answer.headers["Millrace-Generation-Id"] == claimed.claim.generation
    assert (response["status"], texts(response)) == ("completed", ["Hello."])
    assert (response["metadata"], response["user"], response["top_p"]) == ({"a": "b"}, "u", 0.5)
    assert response["usage"]["total_tokens"] == 7
    assert claimed.question
    assert [each["content"] for each in messages_of(site, claimed.conversation)["messages"]] == ["hello"]
    assert get(site, response["id"]) == response


def test_stream_ends_with_the_response_that_can_be_fetched(site: WebHarness) -> None:
    worker = site.answer_next(Reasoning("Hm"), *WHOLE)
    frames = frames_of(site.user.post(API, json={"input": "hello", "stream": True}))
    worker.get()
    validate(frames)
    assert [each["sequence_number"] for each in frames] == list(range(len(frames)))
    assert types_of(frames)[:2] == ["created", "in_progress"]
    assert get(site, frames[0]["response"]["id"]) == frames[-1]["response"]


def test_stream_resumes_after_every_number_also_by_another_facade_s_id(site: WebHarness) -> None:
    response = create(site)
    holding = site.hold(own(response))
    site.write(holding, StatusEvent("running", 1, "asked-model", "bedrock"), Reasoning("Hm"), *WHOLE)
    frames = frames_of(site.user.get(f"{API}/{response['id']}?stream=true"))
    assert types_of(frames)[:3] == ["created", "queued", "in_progress"]
    for number in range(len(frames)):
        path = f"{API}/{response['id']}?stream=true&starting_after={number}"
        assert frames_of(site.user.get(path)) == frames[number + 1 :]
    assert frames_of(site.user.get(f"{API}/{own(response)}?stream=True")) == frames


def test_stream_after_the_log_s_expiry_ends_with_whole_items(site: WebHarness) -> None:
    response = create(site)
    stored(site, response, "Hello.")
    site.redis.delete(keys_of(own(response)).log, keys_of(own(response)).state)
    frames = frames_of(site.user.get(f"{API}/{response['id']}?stream=true&starting_after=5"))
    validate(frames)
    assert types_of(frames) == ["output_text.done", "content_part.done", "output_item.done", "completed"]
    assert [each["sequence_number"] for each in frames] == [6, 7, 8, 9]
    assert frames[0]["text"] == "Hello."
    whole = frames_of(site.user.get(f"{API}/{response['id']}?stream=true"))
    assert types_of(whole)[0] == "created"
    assert whole[-1]["response"] == get(site, response["id"])


def test_response_in_the_background_goes_on_without_a_reader(site: WebHarness) -> None:
    response = create(site, temperature=0.5)
    assert (response["status"], response["background"], response["output"]) == ("queued", True, [])
    state = keys_of(own(response)).state
    assert site.redis.hget(state, "on_disconnect") == b"continue"
    holding = site.hold(own(response))
    site.write(holding, StatusEvent("running", 1, "asked-model", "bedrock"), Chunk("He"))
    running = get(site, response["id"])
    assert (running["status"], texts(running)) == ("in_progress", ["He"])
    assert running["output"][0]["status"] == "in_progress"
    site.user.post(API, json={"input": "hello", "background": True, "stream": True}).close()
    (streamed,) = set(site.generations()) - {own(response)}
    assert site.redis.hget(keys_of(streamed).state, "on_disconnect") == b"continue"


def test_stream_in_the_foreground_is_cancelled_after_ten_seconds_without_its_client(site: WebHarness) -> None:
    site.user.post(API, json={"input": "a", "stream": True}).close()
    (generation,) = site.generations()
    assert site.redis.hmget(keys_of(generation).state, "on_disconnect", "grace_ms") == [b"cancel", b"10000"]


@pytest.mark.parametrize(
    ("outcome", "status", "reason"),
    [
        (Error("content_filtered", "Filtered.", retryable=False), "incomplete", "content_filter"),
        (Error("worker_lost", "Lost.", retryable=True), "failed", "server_error"),
        (Complete("live", "max_tokens", USAGE, COMPLETE.latency, "m", "p", "m", stored=False), "incomplete", None),
    ],
)
def test_answer_that_is_not_whole_has_its_status(
    site: WebHarness, outcome: Any, status: str, reason: str | None
) -> None:
    worker = site.answer_next(Chunk("He"), outcome, Done("failed"))
    response = json_of(site.user.post(API, json={"input": "hello"}))
    worker.get()
    assert (response["status"], texts(response)) == (status, ["He"])
    assert response["output"][0]["status"] == "incomplete"
    found = response["error"] or response["incomplete_details"]
    assert reason is None or reason in (found.get("code"), found.get("reason"))


def test_cancel_returns_the_cancelled_response_and_later_the_same(site: WebHarness) -> None:
    response = create(site)
    cancelled = site.user.post(f"{API}/{response['id']}/cancel")
    assert json_of(cancelled)["status"] == "cancelled"
    assert json_of(site.user.post(f"{API}/{response['id']}/cancel")) == json_of(cancelled)
    assert get(site, response["id"]) == json_of(cancelled)
    (*_, last) = frames_of(site.user.get(f"{API}/{response['id']}?stream=true"))
    assert (last["type"], last["response"]["status"]) == ("response.incomplete", "cancelled")


def test_cancel_of_a_running_response_waits_for_its_end(site: WebHarness) -> None:
    response = create(site)
    holding = site.hold(own(response))
    site.write(holding, StatusEvent("running", 1, "asked-model", "bedrock"), Chunk("He"))

    def end() -> None:
        with gevent.Timeout(30):
            while not site.redis.hget(keys_of(own(response)).state, "cancel"):
                gevent.sleep(0.01)
        site.write(holding, Cancelled("user", USAGE), Done("cancelled"), after=3)

    worker = gevent.spawn(end)
    cancelled = json_of(site.user.post(f"{API}/{response['id']}/cancel"))
    worker.get()
    assert (cancelled["status"], texts(cancelled)) == ("cancelled", ["He"])


def test_deleted_response_is_gone_and_the_other_turns_stay(site: WebHarness) -> None:
    first = create(site, "one")
    stored(site, first, "1")
    second = create(site, "two", previous_response_id=first["id"])
    stored(site, second, "2")
    conversation = conversation_of(site, second)
    answer = site.user.delete(f"{API}/{first['id']}")
    assert json_of(answer) == {"id": first["id"], "object": "response.deleted", "deleted": True}
    for path in (first["id"], f"{first['id']}?stream=true", f"{first['id']}/input_items"):
        check_error(site.user.get(f"{API}/{path}"), 404, "not_found")
    check_error(site.user.delete(f"{API}/{first['id']}"), 404, "not_found")
    assert [each["content"] for each in messages_of(site, conversation)["messages"]] == ["two", "2"]
    assert texts(get(site, second["id"])) == ["2"]
    site.redis.delete(keys_of(own(first)).state)
    check_error(site.user.get(f"{API}/{first['id']}"), 404, "not_found")


def test_unknown_response_is_a_404_in_the_protocol_s_words(site: WebHarness) -> None:
    other = create(site)
    for name in ("resp_unknown", "resp_" + "0" * 32, "x" * 300):
        for method, path in (("get", ""), ("get", "?stream=true"), ("post", "/cancel"), ("delete", "")):
            error = check_error(getattr(site.user, method)(f"{API}/{name}{path}"), 404, "not_found")
            assert error["message"] == f"Response with id '{name[:200]}' not found."
            assert error["type"] == "invalid_request_error"
    check_error(site.stranger().get(f"{API}/{other['id']}"), 404, "not_found")


def test_input_items_are_the_messages_of_the_request(site: WebHarness) -> None:
    response = create(site, [*HISTORY, {"role": "user", "content": "three"}])
    path = f"{API}/{response['id']}/input_items"
    page = json_of(site.user.get(f"{path}?order=asc"))
    kinds = [(each["role"], each["content"][0]["type"], each["content"][0]["text"]) for each in page["data"]]
    assert kinds == [
        ("user", "input_text", "one"),
        ("assistant", "output_text", "two"),
        ("user", "input_text", "three"),
    ]
    turn = create(site)
    stored(site, turn, "Hello.")
    (item,) = json_of(site.user.get(f"{API}/{turn['id']}/input_items"))["data"]
    assert item["content"][0]["text"] == "hello"


@pytest.mark.parametrize(
    ("path", "param"),
    [
        ("?stream=maybe", "stream"),
        ("?stream=true&starting_after=x", "starting_after"),
        ("?stream=true&starting_after=-1", "starting_after"),
        ("/input_items?limit=0", "limit"),
        ("/input_items?limit=101", "limit"),
        ("/input_items?order=up", "order"),
        ("/input_items?after=msg_1", "after"),
    ],
)
def test_bad_query_names_its_parameter(site: WebHarness, path: str, param: str) -> None:
    response = create(site)
    check_error(site.user.get(f"{API}/{response['id']}{path}"), 400, "invalid_value", param)


def test_same_idempotency_key_returns_the_same_response(site: WebHarness) -> None:
    headers = {"Idempotency-Key": "key"}
    body = {"input": "hello", "background": True}
    first = json_of(site.user.post(API, json=body, headers=headers))
    stored(site, first, "1")
    following = body | {"input": "next", "previous_response_id": first["id"]}
    second = json_of(site.user.post(API, json=following, headers={"Idempotency-Key": "other"}))
    stored(site, second, "2")
    again = json_of(site.user.post(API, json=following, headers={"Idempotency-Key": "other"}))
    assert again["id"] == second["id"]
    assert json_of(site.user.post(API, json=body, headers=headers))["id"] == first["id"]
    check_error(site.user.post(API, json=body | {"input": "b"}, headers=headers), 409, "idempotency_conflict")


def test_instructions_are_refused_by_name_where_they_are_off(build: Build) -> None:
    closed = build()
    body: Json = {"input": "a", "instructions": "Be brief."}
    error = check_error(closed.user.post(API, json=body), 403, "system_not_allowed", "instructions")
    assert "MILLRACE_ALLOW_SYSTEM" in error["message"]
    allowed = build(allow_system=True)
    worker = allowed.answer_next(*WHOLE)
    body["input"] = [{"role": "developer", "content": "Rhyme."}, {"role": "user", "content": "a"}]
    response = json_of(allowed.user.post(API, json=body))
    request = worker.get().request
    assert (request.system, [each.content for each in request.messages]) == ("Be brief.\n\nRhyme.", ["a"])
    assert response["instructions"] == "Be brief."


def test_too_slow_answer_is_returned_as_it_is_and_goes_on(build: Build) -> None:
    site = build(wait_seconds=0.2)
    response = json_of(site.user.post(API, json={"input": "hello"}))
    assert (response["status"], response["output"]) == ("queued", [])
    assert get(site, response["id"])["status"] == "queued"


def conversation_of(site: WebHarness, response: Json) -> str:
    found = site.redis.hget(keys_of(own(response)).state, "conversation")
    assert isinstance(found, bytes)
    return found.decode()
