"""An answer once more."""

import pytest

from millrace.worker.contract.keys import keys_of
from millrace.worker.contract.state import read_request
from tests.webapp.routes.test_conversations import API, begin, messages_of, turn
from tests.webapp.site import WHOLE, Site, check_problem, json_of


@pytest.mark.parametrize("which", ["question", "answer"])
def test_an_answer_is_given_once_more_as_a_new_generation(site: Site, which: str) -> None:
    conversation = json_of(site.user.post(API))["id"]
    turn(site, conversation, "q0", "a0")
    question, answer = turn(site, conversation, "q1", "a1")
    turn(site, conversation, "q2", "a2")
    again = site.user.post(f"{API}/{conversation}/messages/{question if which == 'question' else answer}/retry")
    receipt = json_of(again)
    assert again.status_code == 202
    assert receipt["conversation_id"] == conversation
    assert receipt["message_id"] not in (question, answer)
    request = read_request(site.redis, receipt["id"])
    assert request is not None
    assert [each.content for each in request.messages] == ["q1"]
    assert site.redis.hget(keys_of(receipt["id"]).state, "question") == question.encode()
    assert [each["content"] for each in messages_of(site, conversation)["messages"]] == [
        *("q0", "a0", "q1", "a1", "q2", "a2")
    ], "no question was stored twice"
    busy = site.user.post(f"{API}/{conversation}/messages/{answer}/retry")
    assert check_problem(busy, 409, "conversation_busy")["generation_id"] == receipt["id"]


def test_once_more_takes_the_fields_of_an_answer_and_streams(site: Site) -> None:
    conversation = json_of(site.user.post(API))["id"]
    _, answer = turn(site, conversation, "q", "a")
    url = f"{API}/{conversation}/messages/{answer}/retry"
    worker = site.answer_next(*WHOLE)
    streamed = site.user.post(url, json={"stream": True, "temperature": 0.5})
    assert streamed.get_data(as_text=True).count('"type":"done"') == 1
    worker.get()
    request = read_request(site.redis, streamed.headers["Millrace-Generation-Id"])
    assert request is not None
    assert request.temperature == 0.5
    for body, field in (({"message": "other"}, "message"), ({"conversation_id": "x"}, "conversation_id")):
        check_problem(site.user.post(url, json=body), 422, "invalid_field", field)


def test_once_more_with_the_same_key_is_one_generation_and_another_question_a_conflict(site: Site) -> None:
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
def test_a_message_that_is_not_there_is_404(site: Site, message: str) -> None:
    conversation = begin(site)["conversation_id"]
    other = json_of(site.user.post(API))["id"]
    question, _ = turn(site, other, "q", "a")
    for each in (message, question):
        check_problem(site.user.post(f"{API}/{conversation}/messages/{each}/retry"), 404, "not_found")
