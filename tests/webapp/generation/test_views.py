from collections.abc import Callable
from typing import Any

import pytest

from millrace.worker.contract.events import (
    Cancelled,
    Chunk,
    Done,
    Error,
    Reasoning,
    Snapshot,
    StatusEvent,
    Suggestions,
    Title,
)
from millrace.worker.contract.ids import is_id, parse_cursor
from millrace.worker.contract.keys import keys_of
from tests.webapp.harness import COMPLETE, USAGE, WHOLE, WebHarness, json_of

Build = Callable[..., WebHarness]
API = "/api/generations"


def test_waiting_client_gets_the_whole_answer(site: WebHarness) -> None:
    worker = site.answer_next(*WHOLE[:-1], Title("A name"), Suggestions(["b"]), WHOLE[-1])
    answer = site.post({"message": "a", "stream": False})
    worker.get()
    body = json_of(answer)
    assert answer.status_code == 200
    ids = [body.pop(name) for name in ("id", "conversation_id", "message_id", "question_id")]
    assert all(is_id(each) for each in ids)
    assert body == {
        "message": "Hello.",
        "title": "A name",
        "suggestions": ["b"],
        "outcome": "complete",
        "mode": "live",
        "stop_reason": "end_turn",
        "usage": usage(),
        "model": "asked-model",
        "provider": "bedrock",
    }


def usage() -> dict[str, Any]:
    names = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "exact", "reasoning_tokens")
    return {name: getattr(USAGE, name) for name in names}


@pytest.mark.parametrize(
    ("outcome", "status", "failure"),
    [
        (
            Error("provider_timeout", "It fell silent.", retryable=True),
            "failed",
            {"code": "provider_timeout", "message": "It fell silent.", "retryable": True},
        ),
        (Cancelled("user", USAGE), "cancelled", None),
    ],
)
def test_waiting_client_gets_the_failure_or_cancellation(
    site: WebHarness, outcome: Any, status: Any, failure: Any
) -> None:
    worker = site.answer_next(Chunk("He"), outcome, Done(status))
    body = json_of(site.post({"message": "a", "stream": False}))
    worker.get()
    assert (body["message"], body["outcome"], body.get("error")) == ("He", "error" if failure else "cancelled", failure)
    assert (body["title"], body["suggestions"], body["mode"], body["stop_reason"]) == (None, [], None, None)
    assert (body["model"], body["provider"]) == ("asked-model", "bedrock")
    assert body["usage"] == (None if failure else usage())


def test_waiting_client_gets_202_after_the_time_limit_and_the_generation_continues(build: Build) -> None:
    site = build(wait_seconds=0.2)
    answer = site.post({"message": "a", "stream": False})
    assert answer.status_code == 202
    site.write(site.hold(json_of(answer)["id"]), *WHOLE)
    assert json_of(site.user.get(answer.headers["Location"]))["content"] == "Hello."


def test_waiting_client_waits_beyond_the_outcome_until_done(build: Build) -> None:
    site = build(wait_seconds=1.0)
    worker = site.answer_next(*WHOLE[:-1])  # a title may follow
    answer = site.post({"message": "a", "stream": False})
    worker.get()
    assert answer.status_code == 202
    assert json_of(site.user.get(answer.headers["Location"]))["outcome"]["type"] == "complete"


def test_poller_gets_the_current_state_at_each_stage(site: WebHarness) -> None:
    generation = site.ask(metadata={"a": "b"})
    queued = json_of(site.user.get(f"{API}/{generation}"))
    assert (queued["status"], queued["content"], queued["last_event_id"]) == ("queued", "", "0-1")
    assert (queued["outcome"], queued["usage"], queued["attempt"]) == (None, None, 0)
    assert queued["metadata"] == {"a": "b"}
    holding = site.hold(generation)
    site.write(holding, StatusEvent("running", 1), Reasoning("Hm."), Chunk("Hel\ud83d"))
    running = json_of(site.user.get(f"{API}/{generation}"))
    assert (running["status"], running["content"], running["reasoning"]) == ("running", "Hel\ud83d", "Hm.")
    assert running["last_event_id"] == f"{holding.claim.epoch}-4"
    site.write(holding, Snapshot("Hello", "", [], [], "takeover"), COMPLETE, after=4)
    complete = json_of(site.user.get(f"{API}/{generation}"))
    assert (complete["status"], complete["done"]) == ("completed", False), "a title may follow"
    site.write(holding, Done("completed"), after=6)
    ended = json_of(site.user.get(f"{API}/{generation}"))
    assert (ended["status"], ended["content"], ended["usage"]) == ("completed", "Hello", usage())
    assert (ended["outcome"]["type"], ended["outcome"]["stop_reason"]) == ("complete", "end_turn")
    assert [each["done"] for each in (queued, running, ended)] == [False, False, True]
    assert ended["created_at"].endswith("+00:00")


def test_poller_of_an_expired_log_gets_null_instead_of_an_empty_text(site: WebHarness) -> None:
    generation = site.ask()
    site.write(site.hold(generation), *WHOLE)
    site.redis.delete(keys_of(generation).log)
    body = json_of(site.user.get(f"{API}/{generation}"))
    assert (body["status"], body["done"], body["content"]) == ("completed", True, None)
    assert parse_cursor(body["last_event_id"]) is not None
