from collections.abc import Callable
from typing import Any

import pytest

from millrace.worker.contract.events import Chunk, Done, Error
from millrace.worker.contract.keys import keys_of
from tests.webapp.facades.lines import lines_of
from tests.webapp.harness import WHOLE, WebHarness, check_problem

Build = Callable[..., WebHarness]
API = "/api/chat"
HISTORY = [{"role": "user", "content": "one"}, {"role": "assistant", "content": "two"}]


def test_answer_is_content_lines_and_done_and_the_model_gets_the_history(site: WebHarness) -> None:
    worker = site.answer_next(*WHOLE)
    answer = site.user.post(API, json={"message": "three", "history": HISTORY})
    assert lines_of(answer) == [{"content": "Hel"}, {"content": "lo."}, "[DONE]"]
    claimed = worker.get()
    assert [each.content for each in claimed.request.messages] == ["one", "two", "three"]
    assert answer.headers["Millrace-Generation-Id"] == claimed.claim.generation


@pytest.mark.parametrize("history", [{}, {"history": None}, {"history": []}])
def test_history_may_be_absent_null_or_empty(site: WebHarness, history: Any) -> None:
    worker = site.answer_next(*WHOLE)
    assert lines_of(site.user.post(API, json={"message": "a", **history}))[-1] == "[DONE]"
    worker.get()


@pytest.mark.parametrize(
    ("roles", "asked"),
    [
        (["user:a"], ["user:a\n\nb"]),  # the answer to the first question failed
        (["user:a", "assistant:"], ["user:a\n\nb"]),
        (["user:a", "user: ", "user:c"], ["user:a\n\nc\n\nb"]),
        (["user:a", "assistant:x", "assistant:y"], ["user:a", "assistant:x\n\ny", "user:b"]),
        (["user:" + "c" * 32_000], ["user:" + "c" * 32_000 + "\n\nb"]),  # the limit is for each message
    ],
    ids=range(5),
)
def test_neighbours_of_one_role_are_one_message_and_empty_ones_are_none(
    site: WebHarness, roles: list[str], asked: list[str]
) -> None:
    worker = site.answer_next(*WHOLE)
    history = [{"role": each.partition(":")[0], "content": each.partition(":")[2]} for each in roles]
    assert lines_of(site.user.post(API, json={"message": "b", "history": history}))[-1] == "[DONE]"
    assert [f"{each.role}:{each.content}" for each in worker.get().request.messages] == asked
    strict = [*history, {"role": "user", "content": "b"}]
    check_problem(site.post({"messages": strict}), 422, "invalid_field", "messages")


def test_leading_system_message_is_rejected_by_name_only_where_instructions_are_off(build: Build) -> None:
    history = [{"role": "system", "content": text} for text in ("Be brief.", "", "Rhyme.")] + HISTORY
    without = build().user.post(API, json={"message": "a", "history": history})
    assert "MILLRACE_ALLOW_SYSTEM" in check_problem(without, 403, "system_not_allowed", "history")["detail"]
    allowed = build(allow_system=True)
    worker = allowed.answer_next(*WHOLE)
    assert lines_of(allowed.user.post(API, json={"message": "a", "history": history}))[-1] == "[DONE]"
    request = worker.get().request
    assert (request.system, [each.content for each in request.messages]) == ("Be brief.\n\nRhyme.", ["one", "two", "a"])
    empty = [history[1], *HISTORY]
    worker = allowed.answer_next(*WHOLE)
    assert lines_of(allowed.user.post(API, json={"message": "a", "history": empty}))[-1] == "[DONE]"
    assert worker.get().request.system is None


def test_failed_answer_ends_in_an_error_line(site: WebHarness) -> None:
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
        ({"message": "a", "history": HISTORY[::-1]}, "history"),
        ({"message": "a", "history": [{**HISTORY[0], "id": 1}, HISTORY[1]]}, "history"),
        ({"message": "a", "history": [{**HISTORY[0], "content": ""}, HISTORY[1]]}, "history"),
        ({"message": "a", "history": [1, 2]}, "history"),
        ({"message": "a", "history": [HISTORY[0], {"role": "system", "content": "x"}]}, "history"),
        ({"message": "a", "history": [{"role": "user", "content": "x" * 32_001}]}, "history"),
        ({"message": "a", "history": HISTORY * 500}, "history"),
        ({"message": "a", "model": "unknown"}, "model"),
        ({"message": "a", "stream": True}, "stream"),
        ({"message": "a", "messages": HISTORY}, "messages"),
    ],
)
def test_invalid_field_is_rejected_under_its_name_in_this_protocol(site: WebHarness, body: Any, field: str) -> None:
    check_problem(site.user.post(API, json=body), 422, "invalid_field", field)
    assert site.made() == []


def test_generation_is_cancelled_after_ten_seconds_without_its_client(site: WebHarness) -> None:
    site.user.post(API, json={"message": "a"}).close()
    (generation,) = site.generations()
    assert site.redis.hmget(keys_of(generation).state, "on_disconnect", "grace_ms") == [b"cancel", b"10000"]
