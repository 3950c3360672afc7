"""An edit replaces a question and all that follows it, or changes nothing."""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from millrace.worker.contract.events import Cancelled, Chunk, ImageReference, Usage
from millrace.worker.contract.feed import FEED_START, read_feeds
from millrace.worker.contract.ids import Cursor
from millrace.worker.contract.keys import keys_of
from millrace.worker.contract.redis.streams import Streams
from millrace.worker.contract.state import read_request
from millrace.worker.store.answers import StoredAnswer, save_answer
from millrace.worker.store.messages import StoredQuestion
from tests.webapp.harness import COMPLETE, DEAD_PORT, WHOLE, Json, WebHarness, check_problem, json_of
from tests.webapp.stored_turns import API, begin, messages_of, turn

Build = Callable[..., WebHarness]


def edit(site: WebHarness, conversation: str, message: str, text: str = "edited", **fields: Any) -> Any:
    headers = {"Idempotency-Key": fields.pop("key")} if "key" in fields else {}
    url = f"{API}/{conversation}/messages/{message}/edit"
    return site.user.post(url, json={"message": text, **fields}, headers=headers)


def contents(site: WebHarness, conversation: str) -> list[str]:
    return [each["content"] for each in messages_of(site, conversation)["messages"]]


def store_answer(site: WebHarness, receipt: Json, text: str) -> bool:
    asked = StoredQuestion(receipt["question_id"], site.owner(), receipt["conversation_id"], text)
    said = StoredAnswer(receipt["message_id"], receipt["id"], 1, Cursor(1, 9), "late", COMPLETE)
    return site.services.database.run(lambda session: save_answer(session, asked, said))


def feed_of(site: WebHarness) -> list[bytes]:
    (entries,) = read_feeds(site.redis, [(site.owner(), FEED_START)], 100)
    return [each.data for each in entries]


@pytest.mark.parametrize("names", ["question", "answer"])
def test_question_with_all_that_follows_is_replaced_and_answered(site: WebHarness, names: str) -> None:
    conversation = json_of(site.user.post(API))["id"]
    turn(site, conversation, "q0", "a0")
    question, answer = turn(site, conversation, "q1", "a1")
    turn(site, conversation, "q2", "a2")
    accepted = edit(site, conversation, question if names == "question" else answer, "q1, edited", temperature=0.5)
    receipt = json_of(accepted)
    assert (accepted.status_code, receipt["conversation_id"]) == (202, conversation)
    listed = messages_of(site, conversation)
    assert [each["content"] for each in listed["messages"]] == ["q0", "a0", "q1, edited"]
    assert listed["messages"][-1]["id"] == receipt["question_id"]
    assert listed["active_generation"] == receipt["id"]
    request = read_request(Streams(site.redis), receipt["id"])
    assert request is not None
    assert ([each.content for each in request.messages], request.temperature) == (["q1, edited"], 0.5)
    assert site.queued_tasks() == 1
    assert any(b"conversation_changed" in each for each in feed_of(site))
    assert b"generation_started" in feed_of(site)[-1]


def test_logs_and_images_of_removed_answers_are_deleted(build: Build, tmp_path: Path) -> None:
    site = build(image_dir=str(tmp_path))
    conversation = json_of(site.user.post(API))["id"]
    first, second = (begin_and_end(site, conversation, f"q{number}") for number in range(2))
    saved: list[ImageReference] = []
    for receipt in (first, second):
        assert store_answer(site, receipt, "q")
        saved.append(site.services.images.save(receipt["id"], b"\x89PNG\r\n\x1a\n" + bytes(20), "png"))
    assert edit(site, conversation, second["message_id"]).status_code == 202
    url = f"/api/generations/{second['id']}"
    for response in (site.user.get(url), site.user.get(f"{url}/events"), site.user.get(f"{url}/images/{saved[1].id}")):
        check_problem(response, 404, "not_found")
    assert not site.redis.exists(keys_of(second["id"]).log)
    assert site.services.images.read(second["id"], saved[1].id) is None
    assert site.user.get(f"/api/generations/{first['id']}/images/{saved[0].id}").status_code == 200


def begin_and_end(site: WebHarness, conversation: str | None, message: str) -> Json:
    fields = {} if conversation is None else {"conversation_id": conversation}
    receipt = begin(site, message, **fields)
    site.write(site.hold(receipt["id"]), *WHOLE)
    return receipt


@pytest.mark.parametrize("names", ["question_id", "message_id"])
def test_stopped_answer_that_is_not_stored_yet_is_not_stored_after_the_edit(site: WebHarness, names: str) -> None:
    receipt = begin(site, "stopped")
    conversation = receipt["conversation_id"]
    site.write(site.hold(receipt["id"]), Chunk("par"), Cancelled("user", Usage()))
    edited = edit(site, conversation, receipt[names])
    assert edited.status_code == 202, edited.text
    assert not store_answer(site, receipt, "stopped"), "the worker stores it after the outcome"
    assert contents(site, conversation) == ["edited"]
    check_problem(site.user.get(f"/api/generations/{receipt['id']}"), 404, "not_found")


def test_same_key_is_one_edit_and_another_message_409(site: WebHarness) -> None:
    conversation = json_of(site.user.post(API))["id"]
    first, _ = turn(site, conversation, "q0", "a0")
    second, _ = turn(site, conversation, "q1", "a1")
    one, again = edit(site, conversation, second, key="k"), edit(site, conversation, second, key="k")
    assert json_of(one) == json_of(again)
    assert contents(site, conversation) == ["q0", "a0", "edited"]
    check_problem(edit(site, conversation, first, key="k"), 409, "idempotency_conflict")
    site.write(site.hold(json_of(one)["id"]), *WHOLE)
    assert json_of(edit(site, conversation, second, key="k")) == json_of(one)
    assert contents(site, conversation) == ["q0", "a0", "edited"]


def test_running_answer_makes_the_conversation_busy_and_nothing_changes(site: WebHarness) -> None:
    conversation = json_of(site.user.post(API))["id"]
    question, _ = turn(site, conversation, "q0", "a0")
    running = begin(site, "running", conversation_id=conversation)
    busy = check_problem(edit(site, conversation, question), 409, "conversation_busy")
    assert busy["generation_id"] == running["id"]
    assert contents(site, conversation) == ["q0", "a0", "running"]


def test_refused_edit_changes_nothing(build: Build) -> None:
    site = build(max_active_per_user=1)
    conversation = json_of(site.user.post(API))["id"]
    question, _ = turn(site, conversation, "q0", "a0")
    for body, field in (
        ({"message": ""}, "message"),
        ({"message": None}, "message"),
        ({"message": " "}, "message"),
        ({"message": "x", "conversation_id": conversation}, "conversation_id"),
        ({"message": "x", "messages": []}, "messages"),
        ({"message": "x", "model": "unknown"}, "model"),
        ({}, "message"),
    ):
        answer = site.user.post(f"{API}/{conversation}/messages/{question}/edit", json=body)
        check_problem(answer, 422, "invalid_field", field)
    begin(site, "elsewhere")
    check_problem(edit(site, conversation, question), 429, "too_many_active")
    assert contents(site, conversation) == ["q0", "a0"]


@pytest.mark.parametrize("message", ["0" * 32, "x", "%00", "\u0660" * 32])
def test_absent_message_is_404_and_nothing_changes(site: WebHarness, message: str) -> None:
    conversation = begin_and_end(site, None, "q0")["conversation_id"]
    other = json_of(site.user.post(API))["id"]
    elsewhere, _ = turn(site, other, "q", "a")
    made = site.made()
    for each in (message, elsewhere):
        check_problem(edit(site, conversation, each), 404, "not_found")
    assert site.made() == made
    assert contents(site, conversation) == ["q0"]
    assert begin(site, "q1", conversation_id=conversation)


def test_database_that_fails_in_the_edit_is_503_and_nothing_is_lost(build: Build, database_url: str) -> None:
    site = build(database_seconds=1.5)
    conversation = json_of(site.user.post(API))["id"]
    question, _ = turn(site, conversation, "q0", "a0")
    blocker = sqlite3.connect(database_url.removeprefix("sqlite:///"), isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")  # others may read, so that only the edit's transaction fails
    check_problem(edit(site, conversation, question, key="k"), 503, "store_away")
    blocker.execute("ROLLBACK")
    blocker.close()
    assert contents(site, conversation) == ["q0", "a0"]
    assert site.queued_tasks() == 0
    assert site.generations() == []
    repeated = edit(site, conversation, question, key="k")
    assert repeated.status_code == 202, "neither the conversation nor a place is taken"
    assert contents(site, conversation) == ["edited"]


def test_edit_whose_task_the_queue_refuses_is_accepted_and_enqueued_by_a_sweep(build: Build) -> None:
    site, cut_off = build(), build(broker_url=f"redis://127.0.0.1:{DEAD_PORT}/0")
    cut_off.user = site.user
    conversation = json_of(site.user.post(API))["id"]
    question, _ = turn(site, conversation, "q0", "a0")
    cut_off.user.application = cut_off.app
    receipt = json_of(edit(cut_off, conversation, question))
    cut_off.user.application = site.app
    assert contents(site, conversation) == ["edited"]
    assert site.queued_tasks() == 0
    site.redis.zadd(keys_of(receipt["id"]).leases, {receipt["id"]: 1})  # as if half of the queue time had passed
    site.services.housekeeping.sweep()
    assert site.queued_tasks() == 1
    assert site.hold(receipt["id"]).question == receipt["question_id"]
