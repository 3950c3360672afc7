"""The deletion of expired data, as the housekeeping does it, over a real Valkey and a database."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import update
from sqlalchemy.orm import Session

from deploy.emulator.picture import make_png
from millrace.webapp.owner_data import retention as retention_pass
from millrace.worker.contract.feed import FEED_START, read_feeds
from millrace.worker.contract.keys import retention_key
from millrace.worker.store import conversations, memories, retention
from millrace.worker.store.columns import clock_ms
from millrace.worker.store.image_files import ImageFiles
from millrace.worker.store.retention import DAY_MS, MESSAGES
from millrace.worker.store.tables import ConversationRow, MemoryRow
from tests.webapp.harness import WebHarness, json_of
from tests.webapp.stored_turns import API, begin, messages_of, turn
from tests.worker.migrated_database import new_database

Build = Callable[..., WebHarness]


def make_old(site: WebHarness, conversation: str, days: float) -> None:
    """Let the conversation, and all that was learned in it, have been last changed so many days ago."""

    def work(session: Session) -> None:
        then = clock_ms() - int(days * DAY_MS)
        session.execute(update(ConversationRow).where(ConversationRow.id == conversation).values(updated_ms=then))
        session.execute(update(MemoryRow).where(MemoryRow.conversation == conversation).values(created_ms=then))

    site.services.database.run(work)


def learn(site: WebHarness, conversation: str) -> None:
    owner = site.owner()
    site.services.database.run(lambda session: memories.add(session, owner, f"likes {conversation}", conversation))


def keep(site: WebHarness, days: int | None) -> None:
    owner = site.owner()
    site.services.database.run(lambda session: retention.set_days(session, owner, days))


def make_pass(site: WebHarness) -> None:
    """Make a pass in this process, also if another one had the last turn."""
    site.redis.delete(retention_key(site.services.database.name))
    site.services.housekeeping._retention.delete_expired()


def count(site: WebHarness, name: str, **labels: str) -> float:
    return site.services.metrics.registry.get_sample_value(f"millrace_retention_{name}_total", labels) or 0


def test_expired_conversations_go_with_images_memories_and_search_and_the_others_stay(
    build: Build, tmp_path: Path
) -> None:
    (tmp_path / "images").mkdir()
    site = build(retention_days=30, image_dir=str(tmp_path / "images"))
    old, fresh = (begin(site)["conversation_id"] for _ in range(2))
    for conversation in (old, fresh):
        turn(site, conversation, "Where do otters live?", "In rivers.")
        learn(site, conversation)
    site.services.housekeeping.index_messages()
    images = {each: messages_of(site, each)["messages"][-1]["generation"] for each in (old, fresh)}
    for generation in images.values():
        site.services.images.save(generation, make_png("a"), "png")
    make_old(site, old, 30.01)
    make_old(site, fresh, 29.99)
    make_pass(site)
    assert site.user.get(f"{API}/{old}").status_code == 404
    assert messages_of(site, fresh)["messages"]
    found = json_of(site.user.get(f"{API}?q=otters"))["conversations"]
    assert [each["id"] for each in found] == [fresh]
    assert [each["content"] for each in json_of(site.user.get("/api/memories"))["memories"]] == [f"likes {fresh}"]
    assert {each.name for each in (tmp_path / "images").iterdir()} == {images[fresh]}
    kinds = {kind: count(site, "deleted", kind=kind) for kind in ("conversations", "messages", "memories")}
    assert kinds == {"conversations": 1, "messages": 3, "memories": 1}
    assert count(site, "passes", result="complete") == 1
    assert site.services.database.run(lambda session: session.get(ConversationRow, old)) is not None  # its empty row


def test_days_of_an_owner_come_before_the_setting(build: Build) -> None:
    site = build(retention_days=30)
    conversation = begin(site)["conversation_id"]
    turn(site, conversation, "a", "b")
    make_old(site, conversation, 99)
    keep(site, None)
    make_pass(site)
    assert site.user.get(f"{API}/{conversation}").status_code == 200
    keep(site, 100)
    make_pass(site)
    assert site.user.get(f"{API}/{conversation}").status_code == 200
    keep(site, 98)
    make_pass(site)
    assert site.user.get(f"{API}/{conversation}").status_code == 404


def test_without_days_nothing_expires(site: WebHarness) -> None:
    conversation = begin(site)["conversation_id"]
    turn(site, conversation, "a", "b")
    make_old(site, conversation, 36_000)
    make_pass(site)
    assert site.user.get(f"{API}/{conversation}").status_code == 200


def test_log_of_an_expired_conversation_can_not_be_read_and_its_page_hears_of_it(build: Build) -> None:
    site = build(retention_days=1)
    receipt = begin(site)
    turn(site, receipt["conversation_id"], "a", "b")
    make_old(site, receipt["conversation_id"], 1.01)
    make_pass(site)
    assert site.user.get(f"/api/generations/{receipt['id']}").status_code == 404
    ((*_, last),) = read_feeds(site.redis, [(site.owner(), FEED_START)], 99)
    assert json.loads(last.data) == {"type": "conversation_changed", "conversation_id": receipt["conversation_id"]}
    again = {"message": "a", "conversation_id": receipt["conversation_id"]}
    assert site.user.post("/api/generations", json=again).status_code == 404


def test_conversation_that_is_used_while_it_is_about_to_expire_goes_on(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = build(retention_days=1)
    receipt = begin(site)
    conversation, mark = receipt["conversation_id"], retention.mark_expired
    turn(site, conversation, "a", "b")
    make_old(site, conversation, 1.01)

    def use_first(session: Session, found: retention.OwnedConversation) -> bool:
        conversations.create_or_touch(session, found.owner, found.id)
        return mark(session, found)

    monkeypatch.setattr(retention, "mark_expired", use_first)
    make_pass(site)
    assert site.user.get(f"{API}/{conversation}").status_code == 200
    assert site.user.get(f"/api/generations/{receipt['id']}").status_code == 200
    again = {"message": "a", "conversation_id": conversation}
    assert site.user.post("/api/generations", json=again).status_code != 404


def test_images_that_can_not_be_deleted_keep_no_text(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = build(retention_days=1, image_dir=str(tmp_path))
    conversation = begin(site)["conversation_id"]
    turn(site, conversation, "a", "b")
    make_old(site, conversation, 1.01)

    def fail(_images: ImageFiles, _generations: frozenset[str]) -> None:
        raise OSError("the disk is read-only")

    monkeypatch.setattr(ImageFiles, "delete", fail)
    make_pass(site)
    assert count(site, "passes", result="complete") == 1
    assert site.services.database.run(lambda session: retention.find_unremoved(session, 9)) == []


def test_only_one_process_has_the_turn(build: Build) -> None:
    sites = build(retention_days=1), build(retention_days=1)
    sites[0].redis.delete(retention_key(sites[0].services.database.name))
    for site in sites:
        site.services.housekeeping._retention.delete_expired()
    assert [count(site, "passes", result="complete") for site in sites] == [1, 0]


def test_mounts_with_other_databases_have_turns_of_their_own(build: Build, tmp_path: Path) -> None:
    other = new_database(tmp_path)
    sites = build(retention_days=1), build(retention_days=1, database_url=other)
    for site in sites:
        make_pass(site)
    assert [count(site, "passes", result="complete") for site in sites] == [1, 1]


def test_pass_that_is_interrupted_is_completed_by_the_next(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    site = build(retention_days=30)
    conversation = begin(site)["conversation_id"]
    for number in range(MESSAGES // 2 + 5):
        turn(site, conversation, f"a {number}", "b")
    make_old(site, conversation, 31)
    removed = retention.remove_messages

    def fail_after_one(session: Session, each: str) -> int:
        monkeypatch.setattr(retention, "remove_messages", fail)
        return removed(session, each)

    def fail(session: Session, each: str) -> int:
        raise OSError("the process is gone")

    monkeypatch.setattr(retention, "remove_messages", fail_after_one)
    with pytest.raises(OSError, match="gone"):
        make_pass(site)
    assert site.user.get(f"{API}/{conversation}").status_code == 404  # although messages are left
    assert site.services.database.run(lambda session: retention.find_unremoved(session, 9)) == [conversation]
    monkeypatch.setattr(retention, "remove_messages", removed)
    make_pass(site)
    assert site.services.database.run(lambda session: retention.find_unremoved(session, 9)) == []


def test_pass_ends_in_time_and_leaves_the_rest_to_the_next(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    site = build(retention_days=30)
    for _ in range(5):
        conversation = begin(site)["conversation_id"]
        turn(site, conversation, "a", "b")
        make_old(site, conversation, 31)
    monkeypatch.setattr(retention_pass, "PASS_SECONDS", 0.0)
    monkeypatch.setattr(retention_pass, "CONVERSATIONS", 2)
    make_pass(site)
    assert count(site, "passes", result="partial") == 1
    assert count(site, "deleted", kind="conversations") == 2
    monkeypatch.undo()
    make_pass(site)
    assert count(site, "deleted", kind="conversations") == 5


def test_steps_of_a_pass_leave_pauses_for_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention_pass, "PAUSE_SECONDS", 0.1)
    found = iter((3, 1, 0))
    started_at = time.monotonic()
    assert retention_pass._repeat(lambda: next(found), until=started_at + 60)
    assert time.monotonic() - started_at >= 0.2
