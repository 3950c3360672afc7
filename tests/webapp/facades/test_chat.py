from typing import Any

import pytest

from millrace.worker.contract.events import Chunk, Done, Error
from millrace.worker.contract.keys import keys_of
from millrace.worker.contract.state import read_request
from tests.webapp.facades.lines import lines_of
from tests.webapp.site import WHOLE, Site, check_problem

API = "/api/chat"
HISTORY = [{"role": "user", "content": "one"}, {"role": "assistant", "content": "two"}]


def test_the_answer_is_content_and_done_and_the_history_is_asked_along(site: Site) -> None:
    worker = site.answer_next(*WHOLE)
    answer = site.user.post(API, json={"message": "three", "history": HISTORY})
    assert lines_of(answer) == [{"content": "Hel"}, {"content": "lo."}, "[DONE]"]
    worker.get()
    (generation,) = site.generations()
    request = read_request(site.redis, generation)
    assert request is not None
    assert [each.content for each in request.messages] == ["one", "two", "three"]
    assert answer.headers["Millrace-Generation-Id"] == generation


@pytest.mark.parametrize("history", [{}, {"history": None}, {"history": []}])
def test_a_first_message_has_no_history(site: Site, history: Any) -> None:
    worker = site.answer_next(*WHOLE)
    assert lines_of(site.user.post(API, json={"message": "a", **history}))[-1] == "[DONE]"
    worker.get()


def test_a_failed_answer_ends_in_an_error(site: Site) -> None:
    worker = site.answer_next(Chunk("He"), Error("truncated", "It was cut.", retryable=True), Done("failed"))
    assert lines_of(site.user.post(API, json={"message": "a"})) == [{"content": "He"}, {"error": "It was cut."}]
    worker.get()


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "message"),
        ({"history": HISTORY}, "message"),
        ({"message": " ", "history": HISTORY}, "message"),
        ({"message": ["a"]}, "message"),
        ({"message": "a", "history": "one"}, "history"),
        ({"message": "a", "history": {"role": "user"}}, "history"),
        ({"message": "a", "history": HISTORY[:1]}, "history"),
        ({"message": "a", "history": HISTORY[::-1]}, "history"),
        ({"message": "a", "history": [*HISTORY, *HISTORY[::-1]]}, "history"),
        ({"message": "a", "history": [{"role": "system", "content": "x"}, *HISTORY[1:]]}, "history"),
        ({"message": "a", "history": [{**HISTORY[0], "id": 1}, HISTORY[1]]}, "history"),
        ({"message": "a", "history": [{**HISTORY[0], "content": ""}, HISTORY[1]]}, "history"),
        ({"message": "a", "history": [1, 2]}, "history"),
        ({"message": "a", "history": HISTORY * 500}, "history"),
        ({"message": "a", "model": "unknown"}, "model"),
        ({"message": "a", "stream": True}, "stream"),
        ({"message": "a", "messages": HISTORY}, "messages"),
    ],
)
def test_a_bad_field_is_refused_under_its_own_name(site: Site, body: Any, field: str) -> None:
    check_problem(site.user.post(API, json=body), 422, "invalid_field", field)
    assert site.made() == []


def test_who_leaves_has_it_cancelled(site: Site) -> None:
    site.user.post(API, json={"message": "a"}).close()
    (generation,) = site.generations()
    assert site.redis.hmget(keys_of(generation).state, "on_disconnect", "grace_ms") == [b"cancel", b"10000"]
