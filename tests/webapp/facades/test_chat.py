from typing import Any

import pytest

from millrace.worker.contract.events import Chunk, Done, Error
from millrace.worker.contract.keys import keys_of
from tests.webapp.facades.lines import lines_of
from tests.webapp.site import WHOLE, Site, check_problem

API = "/api/chat"
HISTORY = [{"role": "user", "content": "one"}, {"role": "assistant", "content": "two"}]


def test_answer_is_content_lines_and_done_and_the_model_gets_the_history(site: Site) -> None:
    worker = site.answer_next(*WHOLE)
    answer = site.user.post(API, json={"message": "three", "history": HISTORY})
    assert lines_of(answer) == [{"content": "Hel"}, {"content": "lo."}, "[DONE]"]
    claimed = worker.get()
    assert [each.content for each in claimed.request.messages] == ["one", "two", "three"]
    assert answer.headers["Millrace-Generation-Id"] == claimed.claim.generation


@pytest.mark.parametrize("history", [{}, {"history": None}, {"history": []}])
def test_history_may_be_absent_null_or_empty(site: Site, history: Any) -> None:
    worker = site.answer_next(*WHOLE)
    assert lines_of(site.user.post(API, json={"message": "a", **history}))[-1] == "[DONE]"
    worker.get()


def test_failed_answer_ends_in_an_error_line(site: Site) -> None:
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
def test_invalid_field_is_rejected_under_its_name_in_this_protocol(site: Site, body: Any, field: str) -> None:
    check_problem(site.user.post(API, json=body), 422, "invalid_field", field)
    assert site.made() == []


def test_generation_is_cancelled_after_ten_seconds_without_its_client(site: Site) -> None:
    site.user.post(API, json={"message": "a"}).close()
    (generation,) = site.generations()
    assert site.redis.hmget(keys_of(generation).state, "on_disconnect", "grace_ms") == [b"cancel", b"10000"]
