from collections.abc import Callable
from typing import Any

import pytest

from millrace.worker.contract.events import Chunk, Done
from millrace.worker.contract.ids import new_id
from millrace.worker.contract.keys import keys_of
from millrace.worker.contract.redis.streams import Streams
from millrace.worker.contract.state import read_state
from tests.webapp.facades.lines import lines_of
from tests.webapp.harness import COMPLETE, WHOLE, Json, WebHarness, json_of

Build = Callable[..., WebHarness]
API = "/api/chat"


def says(role: str, text: str, **more: Any) -> Json:
    return {"id": new_id(), "role": role, "parts": [{"type": "text", "text": text}], **more}


def body_of(*messages: Json, chat: str = "chat", **more: Any) -> Json:
    return {"id": chat, "messages": list(messages), "trigger": "submit-message", **more}


def text_of(lines: list[Any]) -> str:
    return "".join(line["delta"] for line in lines[:-1] if line["type"] == "text-delta")


def ask(site: WebHarness, body: Json) -> list[Any]:
    """Send a chat, answer it and return the parts."""
    worker = site.answer_next(*WHOLE)
    lines = lines_of(site.user.post(f"{API}?sdk=7", json=body))
    worker.get()
    return lines


def messages_of(site: WebHarness, lines: list[Any]) -> list[Json]:
    """Return the stored messages of the answer's conversation."""
    conversation = lines[0]["messageMetadata"]["conversationId"]
    found = json_of(site.user.get(f"/api/conversations/{conversation}/messages"))["messages"]
    assert isinstance(found, list)
    return found


def test_answer_is_a_ui_message_stream_that_the_header_announces(site: WebHarness) -> None:
    worker = site.answer_next(*WHOLE)
    answer = site.user.post(API, json=body_of(says("user", "hello")))
    lines = lines_of(answer)
    claimed = worker.get()
    assert answer.headers["x-vercel-ai-ui-message-stream"] == "v1"
    assert answer.headers["Millrace-Generation-Id"] == claimed.claim.generation
    state = read_state(Streams(site.redis), claimed.claim.generation)
    assert state is not None
    assert lines[0] == {
        "type": "start",
        "messageId": state.message,
        "messageMetadata": {"generation": state.generation, "conversationId": state.conversation},
    }
    assert text_of(lines) == "Hello."
    assert [line["type"] for line in lines[-4:-1]] == ["finish-step", "message-metadata", "finish"]
    assert lines[-1] == "[DONE]"
    assert [each.content for each in claimed.request.messages] == ["hello"]


def test_messages_of_one_chat_are_turns_of_one_conversation(site: WebHarness) -> None:
    first = ask(site, body_of(says("user", "one")))
    second = ask(site, body_of(says("user", "two")))
    other = ask(site, body_of(says("user", "three"), chat="another"))
    assert second[0]["messageMetadata"]["conversationId"] == first[0]["messageMetadata"]["conversationId"]
    assert other[0]["messageMetadata"]["conversationId"] != first[0]["messageMetadata"]["conversationId"]
    assert [each["content"] for each in messages_of(site, second) if each["role"] == "user"] == ["one", "two"]


def test_chat_with_the_id_of_a_conversation_is_that_conversation_for_its_owner_only(site: WebHarness) -> None:
    conversation = json_of(site.user.post("/api/conversations", json={}))["id"]
    lines = ask(site, body_of(says("user", "one"), chat=conversation))
    assert lines[0]["messageMetadata"]["conversationId"] == conversation
    site.user = site.stranger()
    lines = ask(site, body_of(says("user", "one"), chat=conversation))
    assert lines[0]["messageMetadata"]["conversationId"] != conversation


def test_model_gets_the_messages_of_the_request_where_there_are_several(site: WebHarness) -> None:
    history = [says("user", "one"), says("assistant", "two"), says("user", "three")]
    worker = site.answer_next(*WHOLE)
    lines = lines_of(site.user.post(API, json=body_of(*history)))
    assert [each.content for each in worker.get().request.messages] == ["one", "two", "three"]
    assert [each["content"] for each in messages_of(site, lines)] == ["three"], "the answer is not stored by a worker"


def test_app_may_send_the_last_message_alone_as_message(site: WebHarness) -> None:
    worker = site.answer_next(*WHOLE)
    lines = lines_of(site.user.post(API, json={"id": "chat", "message": says("user", "hello")}))
    assert lines[-1] == "[DONE]"
    assert [each.content for each in worker.get().request.messages] == ["hello"]


@pytest.mark.parametrize("has_history", [False, True])
@pytest.mark.parametrize("names_answer", [False, True])
def test_regeneration_answers_the_stored_question_again(
    site: WebHarness, has_history: bool, names_answer: bool
) -> None:
    before = [says("user", "zero"), says("assistant", "0")] if has_history else []
    first = ask(site, body_of(*before, says("user", "one")))
    named = {"messageId": first[0]["messageId"]} if names_answer else {}
    again = ask(site, body_of(*before, says("user", "one"), trigger="regenerate-message", **named))
    assert [each["content"] for each in messages_of(site, again) if each["role"] == "user"] == ["one"]
    assert again[0]["messageId"] != first[0]["messageId"]


def test_regeneration_of_another_question_and_an_edited_message_are_new_turns(site: WebHarness) -> None:
    first = ask(site, body_of(says("user", "one")))
    ask(site, body_of(says("user", "two"), trigger="regenerate-message", messageId=first[0]["messageId"]))
    last = ask(site, body_of(says("user", "three"), messageId=new_id()))
    assert [each["content"] for each in messages_of(site, last)] == ["one", "two", "three"]


def test_stream_of_a_running_answer_resumes_from_its_beginning_until_it_ends(site: WebHarness) -> None:
    started = site.user.post(API, json=body_of(says("user", "hello"), chat="my chat"))
    (generation,) = site.generations()
    holding = site.hold(generation)
    site.write(holding, Chunk("Hel"))
    resumed = [site.user.get(f"{API}/my%20chat/stream"), site.user.get(f"{API}/my%20chat/stream?sdk=7")]
    site.write(holding, Chunk("lo."), COMPLETE, Done("completed"), after=2)
    texts = [answer.get_data(as_text=True) for answer in (started, *resumed)]
    assert texts[0] == texts[1] == texts[2]
    assert text_of(lines_of(resumed[0])) == "Hello."
    assert resumed[0].headers["x-vercel-ai-ui-message-stream"] == "v1"
    ended = site.user.get(f"{API}/my%20chat/stream")
    assert (ended.status_code, ended.data) == (204, b"")
    named = site.user.get(f"{API}/my%20chat/stream?generation={generation}")
    assert named.get_data(as_text=True) == texts[0]


def test_chat_without_an_answer_or_of_another_user_has_nothing_to_resume_or_to_stop(site: WebHarness) -> None:
    conversation = json_of(site.user.post("/api/conversations", json={}))["id"]
    site.user.post(API, json=body_of(says("user", "hello"), chat=conversation))
    (generation,) = site.generations()
    stranger = site.stranger()
    for client, chat in ((stranger, conversation), (stranger, "chat"), (site.user, "other"), (site.user, "a/b")):
        assert client.get(f"{API}/{chat}/stream").status_code == 204
        assert client.post(f"{API}/{chat}/stop").status_code == 204
    assert stranger.get(f"{API}/{conversation}/stream?generation={generation}").status_code == 404
    state = read_state(Streams(site.redis), generation)
    assert state is not None
    assert state.is_running


def test_stop_takes_a_generation_of_another_protocol_as_well(site: WebHarness) -> None:
    generation = json_of(site.post({"messages": [{"role": "user", "content": "no turn of a chat"}]}))["id"]
    path = f"{API}/any/stop?generation={generation}"
    assert site.stranger().post(path).status_code == 404
    assert json_of(site.user.get(f"/api/generations/{generation}"))["status"] == "queued"
    assert site.user.post(path).status_code == 204
    assert json_of(site.user.get(f"/api/generations/{generation}"))["status"] == "cancelled"
    assert site.user.post(path).status_code == 204


def test_stop_cancels_the_running_answer_and_the_stream_says_so(site: WebHarness) -> None:
    started = site.user.post(API, json=body_of(says("user", "hello")))
    assert site.user.post(f"{API}/chat/stop").status_code == 204
    lines = lines_of(started)
    assert {"type": "abort", "reason": "user"} in lines
    assert lines[-1] == "[DONE]"
    assert "finish" not in [line["type"] for line in lines[:-1]]
    assert site.user.post(f"{API}/chat/stop").status_code == 204


@pytest.mark.parametrize("policy", ["continue", "cancel"])
def test_leaving_follows_the_servers_policy_because_a_reload_resumes(build: Build, policy: str) -> None:
    site = build(on_disconnect=policy)
    site.user.post(API, json=body_of(says("user", "a"))).close()
    (generation,) = site.generations()
    kept = site.redis.hmget(keys_of(generation).state, "on_disconnect", "grace_ms")
    assert kept == [policy.encode(), b"60000"]


def test_options_of_the_app_are_ours(site: WebHarness) -> None:
    worker = site.answer_next(*WHOLE)
    options: Json = {"temperature": 0.5, "max_tokens": 7, "metadata": {"plan": "pro"}, "on_disconnect": "cancel"}
    lines_of(site.user.post(API, json=body_of(says("user", "a"), **options)))
    request = worker.get().request
    assert (request.temperature, request.max_tokens, request.metadata) == (0.5, 7, {"plan": "pro"})


def test_error_is_a_text_that_the_client_can_show(site: WebHarness) -> None:
    rejected = site.user.post(API, json=body_of(says("user", "a"), tools={}))
    assert (rejected.status_code, rejected.mimetype) == (422, "text/plain")
    assert rejected.text == "tools: There is no such field."
    half_a_pair = site.user.post(API, json={**body_of(says("user", "a")), "\ud800": 1})
    assert (half_a_pair.status_code, half_a_pair.text) == (422, "\\ud800: There is no such field.")
    unknown = site.user.post(API, json=body_of(says("user", "a"), model="unknown"))
    assert unknown.text.startswith("model: The model must be one of: ")
    site.user.post(API, json=body_of(says("user", "a")))
    busy = site.user.post(API, json=body_of(says("user", "a")))
    assert (busy.status_code, busy.mimetype) == (409, "text/plain")
    assert busy.text == "An answer is still running in this conversation. Wait until it ends, or cancel it."


def test_error_before_the_body_is_read_is_a_text_where_the_query_names_the_sdk(build: Build) -> None:
    site = build(rate_limit="1/minute")
    site.user.post(API, json=body_of(says("user", "a")))
    limited = site.user.post(f"{API}?sdk=7", json=body_of(says("user", "b")))
    assert (limited.status_code, limited.mimetype) == (429, "text/plain")
    assert "Rate limit exceeded" in limited.text
    assert int(limited.headers["Retry-After"]) > 0
    assert site.user.post(API, json={"message": "b"}).mimetype == "application/problem+json"


def test_same_idempotency_key_gets_the_same_answer(site: WebHarness) -> None:
    body, headers = body_of(says("user", "a")), {"Idempotency-Key": "key"}
    first = site.user.post(API, json=body, headers=headers)
    again = site.user.post(API, json=body, headers=headers)
    assert first.headers["Millrace-Generation-Id"] == again.headers["Millrace-Generation-Id"]
    other = site.user.post(API, json=body_of(says("user", "a"), chat="other"), headers=headers)
    assert other.status_code == 409
