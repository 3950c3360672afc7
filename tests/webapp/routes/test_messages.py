"""Messages are listed page by page, and a question is answered again."""

from collections.abc import Callable

import pytest

from millrace.worker.contract.events import Cancelled, Latency, Link, Usage
from millrace.worker.contract.ids import Cursor, new_id
from millrace.worker.contract.keys import keys_of
from millrace.worker.contract.redis.streams import Streams
from millrace.worker.contract.state import read_request
from millrace.worker.store.answers import StoredAnswer, save_answer
from millrace.worker.store.messages import StoredQuestion
from tests.webapp.harness import WHOLE, WebHarness, check_problem, json_of
from tests.webapp.stored_turns import API, begin, messages_of, turn


def test_messages_are_paged_newest_page_first_and_oldest_message_first(site: WebHarness) -> None:
    conversation = json_of(site.user.post(API))["id"]
    for number in range(5):
        turn(site, conversation, f"q{number}", f"a{number}")
    newest = messages_of(site, conversation, "?limit=4")
    assert [each["content"] for each in newest["messages"]] == ["q3", "a3", "q4", "a4"]
    older = messages_of(site, conversation, f"?limit=4&cursor={newest['next']}")
    oldest = messages_of(site, conversation, f"?limit=4&cursor={older['next']}")
    assert [each["content"] for each in older["messages"]] == ["q1", "a1", "q2", "a2"]
    assert [each["content"] for each in oldest["messages"]] == ["q0", "a0"]
    assert oldest["next"] is None
    question, answer = oldest["messages"]
    assert answer["parent_id"] == question["id"]
    assert (answer["outcome"]["type"], answer["model"], answer["suggestions"]) == ("complete", "model", ["more?"])
    assert (question["outcome"], question["generation"]) == (None, None)


def test_page_of_large_messages_is_bounded_in_bytes(build: Callable[..., WebHarness]) -> None:
    site = build(max_page_bytes=10_000)
    conversation = json_of(site.user.post(API))["id"]
    for number in range(4):
        turn(site, conversation, f"q{number}", "\U0001f600" * 2000)
    found: list[str] = []
    cursor = ""
    while cursor is not None:
        answer = site.user.get(f"{API}/{conversation}/messages?limit=100" + (cursor and f"&cursor={cursor}"))
        assert len(answer.data) < 12_000
        found += [each["content"] for each in reversed(json_of(answer)["messages"])]
        cursor = json_of(answer)["next"]
    assert found[1::2] == ["q3", "q2", "q1", "q0"]


def test_message_with_a_lone_surrogate_is_listed_unchanged(site: WebHarness) -> None:
    conversation = json_of(site.user.post(API))["id"]
    turn(site, conversation, "q", "caf\u00e9 \ud83d")
    assert [each["content"] for each in messages_of(site, conversation)["messages"]] == ["q", "caf\u00e9 \ud83d"]


@pytest.mark.parametrize("which", ["question", "answer"])
def test_retry_of_a_message_is_a_new_generation(site: WebHarness, which: str) -> None:
    conversation = json_of(site.user.post(API))["id"]
    turn(site, conversation, "q0", "a0")
    question, answer = turn(site, conversation, "q1", "a1")
    turn(site, conversation, "q2", "a2")
    again = site.user.post(f"{API}/{conversation}/messages/{question if which == 'question' else answer}/retry")
    receipt = json_of(again)
    assert again.status_code == 202
    assert receipt["conversation_id"] == conversation
    assert receipt["message_id"] not in (question, answer)
    request = read_request(Streams(site.redis), receipt["id"])
    assert request is not None
    assert [each.content for each in request.messages] == ["q1"]
    assert site.redis.hget(keys_of(receipt["id"]).state, "question") == question.encode()
    assert [each["content"] for each in messages_of(site, conversation)["messages"]] == [
        *("q0", "a0", "q1", "a1", "q2", "a2")
    ], "no question was stored twice"
    busy = site.user.post(f"{API}/{conversation}/messages/{answer}/retry")
    assert check_problem(busy, 409, "conversation_busy")["generation_id"] == receipt["id"]


def test_retry_takes_answer_fields_and_can_stream(site: WebHarness) -> None:
    conversation = json_of(site.user.post(API))["id"]
    _, answer = turn(site, conversation, "q", "a")
    url = f"{API}/{conversation}/messages/{answer}/retry"
    worker = site.answer_next(*WHOLE)
    streamed = site.user.post(url, json={"stream": True, "temperature": 0.5})
    assert streamed.get_data(as_text=True).count('"type":"done"') == 1
    worker.get()
    request = read_request(Streams(site.redis), streamed.headers["Millrace-Generation-Id"])
    assert request is not None
    assert request.temperature == 0.5
    for body, field in (({"message": "other"}, "message"), ({"conversation_id": "x"}, "conversation_id")):
        check_problem(site.user.post(url, json=body), 422, "invalid_field", field)


def test_retry_with_the_same_key_is_one_generation_and_for_another_question_409(site: WebHarness) -> None:
    conversation = json_of(site.user.post(API))["id"]
    _, first = turn(site, conversation, "same words", "a")
    _, second = turn(site, conversation, "same words", "b")
    headers = {"Idempotency-Key": "k"}
    one = site.user.post(f"{API}/{conversation}/messages/{first}/retry", headers=headers)
    again = site.user.post(f"{API}/{conversation}/messages/{first}/retry", json={}, headers=headers)
    assert json_of(one) == json_of(again)
    other = site.user.post(f"{API}/{conversation}/messages/{second}/retry", headers=headers)
    check_problem(other, 409, "idempotency_conflict")


@pytest.mark.parametrize("message", ["0" * 32, "x", "%00", "\u0660" * 32])
def test_absent_message_is_404(site: WebHarness, message: str) -> None:
    conversation = begin(site)["conversation_id"]
    other = json_of(site.user.post(API))["id"]
    question, _ = turn(site, other, "q", "a")
    for each in (message, question):
        check_problem(site.user.post(f"{API}/{conversation}/messages/{each}/retry"), 404, "not_found")


def test_answer_has_its_sources_and_its_latency_also_where_it_was_stopped(site: WebHarness) -> None:
    page = Link("A page", "https://example.com/")
    stopped = Cancelled("user", Usage(), latency=Latency(5, 60, 40))
    conversation = json_of(site.user.post(API))["id"]
    asked = StoredQuestion(new_id(), site.owner(), conversation, "q")
    said = StoredAnswer(new_id(), new_id(), 1, Cursor(1, 9), "a", stopped, sources=(page,))
    assert site.services.database.run(lambda session: save_answer(session, asked, said))
    question, answer = messages_of(site, conversation)["messages"]
    assert answer["sources"] == [{"title": "A page", "url": "https://example.com/"}]
    assert answer["latency"] == answer["outcome"]["latency"]
    assert answer["latency"] == {"first_delta_ms": 5, "total_ms": 60, "reasoning_ms": 40}
    assert (question["sources"], question["latency"]) == ([], None)
    view = json_of(site.user.get(f"/api/generations/{said.generation}"))
    assert (view["sources"], view["question_id"]) == (answer["sources"], question["id"])
