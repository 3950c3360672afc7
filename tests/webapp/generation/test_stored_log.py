"""A stored answer replaces an expired log and state: the same three events from any cursor, for its owner only."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from millrace.webapp.generation.stored_log import entries_of
from millrace.worker.contract.events import Cancelled, Done, Error, Title, decode
from millrace.worker.contract.ids import Cursor, new_id, parse_cursor
from millrace.worker.contract.keys import keys_of
from millrace.worker.store.answers import StoredAnswer, save_answer
from millrace.worker.store.messages import StoredQuestion
from tests.webapp.harness import COMPLETE, USAGE, WHOLE, WebHarness, check_problem, json_of

Build = Callable[..., WebHarness]
API = "/api/generations"
TEXT = "Hello \ud83d\x00\u2028 again."
OUTCOMES = [COMPLETE, Cancelled("user", USAGE), Error("truncated", "It was cut.", retryable=True)]
LOST = ["the log", "the log and the state"]


def answered(site: WebHarness, outcome: Any = COMPLETE, *after: Any) -> tuple[str, int]:
    """Create a generation, answer and store it as a worker does; return its id and its epoch."""
    receipt = json_of(site.post({"message": "hello", "metadata": {"a": "b"}}))
    generation = receipt["id"]
    holding = site.hold(generation)
    epoch = holding.claim.epoch
    status = {"Complete": "completed", "Cancelled": "cancelled", "Error": "failed"}[type(outcome).__name__]
    site.write(holding, *WHOLE[:2], outcome, *after, Done(status))  # type: ignore[arg-type]
    question_id = site.redis.hget(keys_of(generation).state, "question")
    assert isinstance(question_id, bytes)
    question = StoredQuestion(question_id.decode(), site.owner(), receipt["conversation_id"], "hello")
    last = Cursor(epoch, 5)  # queued, two chunks, the outcome, `done`
    answer = StoredAnswer(
        receipt["message_id"], generation, epoch, last, TEXT, outcome, "model", "bedrock", "Hm.", ({"title": "t"},)
    )
    assert site.services.database.run(lambda session: save_answer(session, question, answer))
    return generation, epoch


def expire(site: WebHarness, generation: str, lost: str) -> None:
    keys = keys_of(generation)
    site.redis.delete(keys.log, *([keys.state] if lost == "the log and the state" else []))


def follow(site: WebHarness, generation: str, after: str = "") -> list[tuple[str, Any]]:
    answer = site.user.get(f"{API}/{generation}/events?after={after}")
    assert answer.status_code == 200, answer.text
    frames = answer.get_data(as_text=True).split("\n\n")[1:-1]
    found = [frame.split("\n") for frame in frames]
    return [(name.removeprefix("id: "), json.loads(data.removeprefix("data: "))) for data, name in found]


@pytest.mark.parametrize("lost", LOST)
@pytest.mark.parametrize("outcome", OUTCOMES, ids=lambda each: type(each).__name__)
def test_row_32_expired_log_is_replayed_as_the_same_three_events_from_any_cursor(
    site: WebHarness, outcome: Any, lost: str
) -> None:
    generation, epoch = answered(site, outcome)
    expire(site, generation, lost)
    replayed = follow(site, generation)
    assert [name for name, _ in replayed] == [f"{epoch}-3", f"{epoch}-4", f"{epoch}-5"]
    assert [event["type"] for _, event in replayed] == ["snapshot", type(outcome).__name__.lower(), "done"]
    assert (replayed[0][1]["content"], replayed[0][1]["reasoning"], replayed[0][1]["reason"]) == (
        TEXT,
        "Hm.",
        "expired",
    )
    assert replayed[1][1] == json.loads(json.dumps(replayed[1][1]))
    for cursor, expected in {
        "0-1": replayed,
        f"{epoch}-2": replayed,
        f"{epoch}-3": replayed[1:],
        f"{epoch}-4": replayed[2:],
        f"{epoch - 1}-9": replayed,
        f"{epoch + 1}-1": replayed,
        "9999999999-9999999999": replayed,
    }.items():
        assert follow(site, generation, cursor) == expected, cursor
    assert site.user.get(f"{API}/{generation}/events?after={epoch}-5").status_code == 204


@pytest.mark.parametrize("lost", LOST)
def test_reader_with_a_cursor_after_the_outcome_gets_no_second_outcome(site: WebHarness, lost: str) -> None:
    generation, epoch = answered(site, COMPLETE, Title("T"))
    expire(site, generation, lost)
    url = f"{API}/{generation}/events"
    after_title = site.user.get(f"{url}?after={epoch}-5")
    after_done = site.user.get(f"{url}?after={epoch}-6")
    assert '"type":"complete"' not in after_title.get_data(as_text=True)
    assert after_done.status_code == 204


@pytest.mark.parametrize("lost", LOST)
@pytest.mark.parametrize("outcome", OUTCOMES, ids=lambda each: type(each).__name__)
def test_row_32_poller_of_an_expired_log_gets_the_stored_answer(site: WebHarness, outcome: Any, lost: str) -> None:
    generation, epoch = answered(site, outcome)
    before = json_of(site.user.get(f"{API}/{generation}"))
    expire(site, generation, lost)
    after = json_of(site.user.get(f"{API}/{generation}"))
    assert (after["content"], after["reasoning"], after["citations"]) == (TEXT, "Hm.", [{"title": "t"}])
    assert after["last_event_id"] == f"{epoch}-5"
    same = ("id", "status", "outcome", "usage", "conversation_id", "message_id")
    assert {name: after[name] for name in same} == {name: before[name] for name in same}
    if lost == "the log":
        assert (after["metadata"], after["model"]) == ({"a": "b"}, before["model"])
    else:
        assert (after["metadata"], after["model"]) == ({}, "model")
    stopped = site.user.post(f"{API}/{generation}/cancel")
    assert (stopped.status_code, json_of(stopped)["status"]) == (200, before["status"])


@pytest.mark.parametrize("lost", LOST)
def test_stored_answer_of_another_user_is_the_same_404_as_an_absent_one(site: WebHarness, lost: str) -> None:
    generation, _ = answered(site)
    expire(site, generation, lost)
    stranger = site.stranger()
    site.owner(stranger)
    for path, method in (("", "get"), ("/events", "get"), ("/cancel", "post")):
        foreign = getattr(stranger, method)(f"{API}/{generation}{path}")
        absent = getattr(stranger, method)(f"{API}/{new_id()}{path}")
        assert check_problem(foreign, 404, "not_found") == json_of(absent)


def test_reader_gets_the_stored_answer_after_redis_lost_everything(site: WebHarness) -> None:
    generation, epoch = answered(site)
    site.redis.flushall()
    assert [event["type"] for _, event in follow(site, generation, f"{epoch}-2")] == ["snapshot", "complete", "done"]


def test_expired_generation_is_503_while_the_database_is_unavailable(build: Build) -> None:
    site = build()
    generation, _ = answered(site)
    apart = build(database_url="sqlite:////nowhere/at/all.db", database_seconds=0.2)
    apart.user = site.user
    apart.user.application = apart.app
    expire(site, generation, "the log")
    check_problem(apart.user.get(f"{API}/{generation}"), 503, "store_away")
    expire(site, generation, "the log and the state")
    check_problem(apart.user.get(f"{API}/{generation}"), 503, "store_away")
    check_problem(apart.user.get(f"{API}/{generation}/events"), 503, "store_away")


def test_replayed_ids_end_with_the_id_of_done() -> None:
    last = parse_cursor("12-3")
    assert last is not None
    entries = entries_of(StoredAnswer(new_id(), new_id(), 12, last, "", COMPLETE))
    assert [str(entry.cursor) for entry in entries] == ["12-1", "12-2", "12-3"]
    assert [type(decode(entry.data)).__name__ for entry in entries] == ["Snapshot", "Complete", "Done"]
