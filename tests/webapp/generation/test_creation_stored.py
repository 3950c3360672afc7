"""Creating stores the question; a retry completes a create that was interrupted between any two of its steps."""

from collections.abc import Callable
from typing import Any

import gevent
import pytest
from redis.connection import Connection

from millrace.webapp.generation import creation
from millrace.worker.contract.creation import Draft
from millrace.worker.contract.keys import active_key, conversation_key, keys_of
from millrace.worker.contract.queue import TaskQueue
from millrace.worker.contract.redis.streams import Streams
from millrace.worker.contract.scripts import Call
from millrace.worker.contract.state import read_state
from millrace.worker.settings.schema import Settings
from millrace.worker.store import conversations
from millrace.worker.store.database import Database
from millrace.worker.store.messages import StoredQuestion, save_question
from tests.webapp.harness import DEAD_PORT, WebHarness, check_problem, json_of

Build = Callable[..., WebHarness]
API = "/api/conversations"
DEAD = f"redis://127.0.0.1:{DEAD_PORT}/0"
NOWHERE = {"database_url": "sqlite:////nowhere/at/all.db", "database_seconds": 0.2}


def same_user(site: WebHarness, other: WebHarness) -> None:
    """Send the user's next requests to another process."""
    other.user = site.user
    other.user.application = other.app


def listed(site: WebHarness) -> list[str]:
    return [each["id"] for each in json_of(site.user.get(API))["conversations"]]


def questions(site: WebHarness, conversation: str) -> list[str]:
    answer = site.user.get(f"{API}/{conversation}/messages")
    return [each["content"] for each in json_of(answer)["messages"]]


def test_new_conversation_starts_and_continues_without_the_database(build: Build) -> None:
    apart = build(**NOWHERE)
    first = json_of(apart.post({"message": "hello"}))
    assert apart.queued_tasks() == 1
    apart.user.post(first["cancel_url"])
    assert apart.post({"message": "more", "conversation_id": first["conversation_id"]}).status_code == 202


def test_conversation_known_only_to_an_unavailable_database_is_503_and_nothing_is_created(build: Build) -> None:
    site = build()
    conversation = json_of(site.user.post(API))["id"]
    apart = build(**NOWHERE)
    same_user(site, apart)
    before = apart.made()
    check_problem(apart.post({"message": "a", "conversation_id": conversation}), 503, "store_away")
    assert apart.made() == before


def test_conversation_lost_by_redis_is_found_in_the_database(site: WebHarness) -> None:
    first = json_of(site.post({"message": "hello"}))
    site.user.post(first["cancel_url"])
    site.redis.flushall()
    more = {"message": "more", "conversation_id": first["conversation_id"]}
    check_problem(site.stranger().post("/api/generations", json=more), 404, "not_found", "conversation_id")
    assert site.post(more).status_code == 202
    assert questions(site, first["conversation_id"]) == ["hello", "more"]


def test_a_question_is_stored_after_a_worker_may_begin_and_before_the_reply(
    site: WebHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.owner()
    run, queued = Database.run, list[int]()

    def record(database: Database, *given: Any, **named: Any) -> Any:
        queued.append(site.queued_tasks())
        return run(database, *given, **named)

    with monkeypatch.context() as patch:
        patch.setattr(Database, "run", record)
        made = json_of(site.post({"message": "hello"}))
    assert queued == [1]
    assert questions(site, made["conversation_id"]) == ["hello"]


@pytest.mark.parametrize("is_claimed", [False, True])
def test_question_in_a_conversation_deleted_meanwhile_is_404_and_its_generation_is_ended(
    site: WebHarness, monkeypatch: pytest.MonkeyPatch, is_claimed: bool
) -> None:
    conversation, owner = json_of(site.user.post(API))["id"], site.owner()
    create_with, enqueued = creation.create_with, list[str]()

    def enqueue_and_delete(streams: Streams, draft: Draft, settings: Settings, calls: list[Call]) -> Any:
        created = create_with(streams, draft, settings, calls)
        enqueued.append(draft.ids.generation)
        if is_claimed:
            site.hold(draft.ids.generation)
        assert site.services.database.run(lambda session: conversations.delete(session, owner, conversation))
        return created

    with monkeypatch.context() as patch:
        patch.setattr(creation, "create_with", enqueue_and_delete)
        asked = site.post({"message": "a", "conversation_id": conversation})
    check_problem(asked, 404, "not_found", "conversation_id")
    (generation,) = enqueued
    status, cancelled_by = site.redis.hmget(keys_of(generation).state, "status", "cancel")  # type: ignore[misc]
    assert (status, cancelled_by) == (b"running" if is_claimed else b"cancelled", b"deleted")
    check_problem(site.user.get(f"/api/generations/{generation}"), 404, "not_found")
    assert site.redis.zcard(active_key(owner)) == 0
    assert site.services.task_queue.take() == ""


def test_unavailable_queue_withdraws_the_question_and_the_conversation_it_opened(build: Build) -> None:
    site, cut_off = build(), build(broker_url=DEAD)
    kept = json_of(site.user.post(API))["id"]
    same_user(site, cut_off)
    check_problem(cut_off.post({"message": "a"}), 503, "queue_away")
    check_problem(cut_off.post({"message": "a", "conversation_id": kept}), 503, "queue_away")
    assert listed(cut_off) == [kept]
    assert questions(cut_off, kept) == []


def test_failed_withdrawal_of_a_question_is_retried_when_the_database_recovers(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = build(broker_url=DEAD)
    site.owner()  # a failed request would begin none
    enqueue = site.services.task_queue.enqueue
    good = site.services.database

    def lose_the_database(generation: str, lane: str = "") -> None:
        asked = read_state(Streams(site.redis), generation)
        assert asked is not None
        question = StoredQuestion(asked.question, asked.owner, asked.conversation, "a")  # by the same request before
        assert good.run(lambda session: save_question(session, question))
        monkeypatch.setattr(Database, "run", build(**NOWHERE).services.database.run)
        enqueue(generation, lane)

    site.services.task_queue.enqueue = lose_the_database
    check_problem(site.post({"message": "a"}), 503, "queue_away")
    site.services.housekeeping.sweep()
    monkeypatch.undo()
    assert site.services.database is good
    assert len(listed(site)) == 1
    site.services.housekeeping.sweep()
    assert listed(site) == []


class Died(BaseException):
    """The process was killed here."""


class Steps:
    """Count the calls of a create to Redis, the database and the queue, and raise `Died` before call number `last`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, last: int) -> None:
        self.count = 0
        self._last = last
        self._request = gevent.getcurrent()  # background tasks of this process call Redis as well
        for owner, name in ((Connection, "send_packed_command"), (Database, "run"), (TaskQueue, "enqueue")):
            monkeypatch.setattr(owner, name, self._counted(name, getattr(owner, name)))

    def _counted(self, name: str, step: Callable[..., Any]) -> Callable[..., Any]:
        def count(*given: Any, **named: Any) -> Any:
            if gevent.getcurrent() is self._request:
                if self.count == self._last:
                    raise Died(name)
                self.count += 1
            return step(*given, **named)

        return count


@pytest.mark.parametrize("where", ["a new conversation", "one that was there"])
def test_row_43_create_interrupted_before_any_of_its_steps_is_completed_once_by_a_retry(
    build: Build, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    site = build()
    site.owner()
    body: dict[str, Any] = {"message": "hello"}
    died_before, count = set[str](), 0
    for number in range(1000):
        site.redis.flushall()
        for conversation in listed(site):
            site.user.delete(f"{API}/{conversation}")
        if where != "a new conversation":
            body["conversation_id"] = json_of(site.user.post(API))["id"]
        with monkeypatch.context() as patch:
            steps = Steps(patch, number)
            try:
                site.post(body, Idempotency_Key="k")
            except Died as died:
                died_before.add(str(died))
            else:
                count = steps.count
                break
        first, again = (json_of(site.post(body, Idempotency_Key="k")) for _ in range(2))
        assert first == again
        assert site.generations() == [first["id"]]
        assert listed(site) == [first["conversation_id"]]
        assert questions(site, first["conversation_id"]) == ["hello"]
        assert site.redis.hget(conversation_key(first["conversation_id"]), "active") == first["id"].encode()
        assert 1 <= site.queued_tasks() <= 3
        assert site.redis.hget(keys_of(first["id"]).state, "status") == b"queued"
    assert died_before == {"send_packed_command", "run", "enqueue"}
    assert count >= 5
