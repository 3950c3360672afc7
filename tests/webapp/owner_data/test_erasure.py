"""The deletion of all that is stored of one owner, over a real Valkey and a database."""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import gevent
import pytest
from sqlalchemy import delete, text

from deploy.emulator.picture import make_png
from millrace.webapp.owner_data import erasure
from millrace.webapp.owner_data.erasure import Erased, Erasure
from millrace.worker.contract.cancellation import is_being_cancelled
from millrace.worker.contract.creation import create
from millrace.worker.contract.events import Cancelled, Done, Usage
from millrace.worker.contract.feed import GenerationEnded, publish
from millrace.worker.contract.keys import conversation_key, feed_key, hash_of, keys_of
from millrace.worker.contract.state import read_state
from millrace.worker.store import memories, profiles, retention
from millrace.worker.store.answers import save_answer
from millrace.worker.store.tables import Base, ConversationRow, MessageRow
from tests.webapp.harness import WHOLE, WebHarness, json_of
from tests.webapp.stored_turns import API, begin, messages_of, turn
from tests.worker.contract.generations import SETTINGS, new_draft
from tests.worker.store.samples import answer, question

Build = Callable[..., WebHarness]

SECRET = "a secret of the user"


def erasure_of(site: WebHarness, owner: str) -> Erasure:
    return Erasure(site.services.stores, site.services.task_queue, site.redis, owner)


def fill(site: WebHarness) -> tuple[str, str]:
    """Store some of everything for the user; return a conversation and the generation of an answer with an image."""
    owner, database = site.owner(), site.services.database
    asked = site.post({"message": SECRET}, Idempotency_Key="a key")
    conversation = json_of(asked)["conversation_id"]
    site.write(site.hold(json_of(asked)["id"]), *WHOLE)
    turn(site, conversation, SECRET, SECRET)
    site.user.patch(f"{API}/{conversation}", json={"title": SECRET})
    database.run(lambda session: memories.add(session, owner, SECRET, conversation))
    database.run(lambda session: profiles.save(session, owner, {"text": SECRET}))
    database.run(lambda session: retention.set_days(session, owner, 9))
    site.services.housekeeping.index_messages()
    generation = messages_of(site, conversation)["messages"][-1]["generation"]
    if site.services.images.is_on:
        site.services.images.save(generation, make_png("a"), "png")
    return conversation, generation


def create_stateless(site: WebHarness) -> str:
    """Create a generation of the user that is no turn of a conversation."""
    draft = new_draft(SECRET)
    create(site.services.streams, replace(draft, owner=site.owner(), ids=replace(draft.ids, question="")), SETTINGS)
    return draft.ids.generation


def rows_with(site: WebHarness, word: str) -> set[str]:
    """Return the tables of which a row holds this word."""
    found = set[str]()
    for table in Base.metadata.tables:
        rows = site.services.database.run(
            lambda session, table=table: session.execute(text(f"SELECT * FROM {table}")).all()
        )
        found |= {table for row in rows if word in json.dumps(list(row))}
    return found


def keys_with(site: WebHarness, word: str) -> set[str]:
    """Return the keys of Redis that hold this word, or have it in their names."""
    found = set[str]()
    for key in site.redis.scan_iter():
        read = {b"hash": site.redis.hgetall, b"stream": site.redis.xrange}.get(site.redis.type(key), site.redis.dump)  # type: ignore[call-overload]
        value = read(key)
        if word in f"{key}{value}":
            found.add(key.decode())
    return found


def is_forgotten(site: WebHarness, key: str) -> bool:
    """Return whether a key is the state of a forgotten generation, which expires in half a minute."""
    return key.endswith(":state") and 0 < site.redis.pttl(key) <= 30_000  # type: ignore[operator]


def test_all_that_is_stored_of_an_owner_is_deleted_and_nothing_of_another(build: Build, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    site = build(image_dir=str(tmp_path / "images"), rate_limit="100/minute")
    user, other = site.user, site.stranger()
    conversation, _ = fill(site)
    owner = site.owner()
    site.user = other
    kept, image = fill(site)
    site.user = user
    erased, left = erasure_of(site, owner).erase()
    assert left.is_empty
    assert asdict(erased) | {"keys": 0} == asdict(
        Erased(conversations=1, messages=3, memories=1, profiles=1, generations=1, cancelled=0, keys=0)
    )
    assert erased.keys >= 3  # the feed, the Idempotency-Key, the set of running ones, counts
    assert rows_with(site, owner) == {"conversations"}  # the empty row
    named = keys_with(site, owner)  # for a while, so that nothing brings the conversation back
    assert named - {conversation_key(conversation)} == {each for each in named if is_forgotten(site, each)}
    assert not keys_with(site, hash_of(owner))
    assert {each.name for each in (tmp_path / "images").iterdir()} == {image}
    site.user = other
    assert len(messages_of(site, kept)["messages"]) == 3
    assert json_of(site.user.get(f"{API}?q=secret"))["conversations"]
    assert rows_with(site, site.owner()) == {"conversations", "memories", "profiles", "owner_retention"}
    site.user = user
    assert json_of(site.user.get(API))["conversations"] == []


def test_texts_leave_the_database_and_redis(site: WebHarness) -> None:
    fill(site)
    create_stateless(site)
    assert rows_with(site, SECRET) == {"conversations", "messages", "memories", "profiles"}
    assert keys_with(site, SECRET)
    erasure_of(site, site.owner()).erase()
    assert not rows_with(site, "secret")
    assert not keys_with(site, SECRET)


def test_second_deletion_finds_nothing_and_changes_nothing(site: WebHarness) -> None:
    fill(site)
    erasure_of(site, site.owner()).erase()
    assert erasure_of(site, site.owner()).find().is_empty
    assert erasure_of(site, site.owner()).erase()[0] == Erased()
    assert erasure_of(site, "nobody").erase()[0] == Erased()


def test_running_and_waiting_generations_are_cancelled_before_anything_is_deleted(site: WebHarness) -> None:
    running, waiting, owner = begin(site), begin(site), site.owner()
    stateless = create_stateless(site)
    holding = site.hold(running["id"])

    def work() -> None:
        """End the generation as a worker does that is asked to cancel it."""
        with gevent.Timeout(30):
            while not is_being_cancelled(site.services.streams, running["id"]):
                gevent.sleep(0.01)
            gevent.sleep(0.2)  # meanwhile all else is deleted
            publish(site.redis, owner, GenerationEnded(running["id"], running["conversation_id"], "cancelled"))
            site.write(holding, Cancelled("deleted", Usage()), Done("cancelled"))

    worker = gevent.spawn(work)
    erased, left = erasure_of(site, site.owner()).erase()
    worker.get()
    assert left.is_empty
    assert (erased.conversations, erased.generations, erased.cancelled) == (2, 3, 3)
    assert site.services.task_queue.take() == ""
    assert not site.redis.exists(feed_key(owner)), "the worker has told the owner's feed of its end"
    for generation in (running["id"], waiting["id"], stateless):
        state = read_state(site.services.streams, generation)
        assert state is not None
        assert (state.status, state.is_deleted) == ("cancelled", True)
        assert 0 < site.redis.pttl(keys_of(generation).state) <= 30_000  # type: ignore[operator]
        assert site.user.get(f"/api/generations/{generation}").status_code == 404


def test_answer_in_a_conversation_that_is_not_stored_yet_can_not_bring_it_back(site: WebHarness) -> None:
    receipt, owner, database = begin(site, SECRET), site.owner(), site.services.database
    conversation = receipt["conversation_id"]
    database.run(lambda session: session.execute(delete(MessageRow)))
    database.run(lambda session: session.execute(delete(ConversationRow)))
    erasure_of(site, owner).erase()
    late = question(SECRET, conversation, owner)
    assert not database.run(lambda session: save_answer(session, late, answer(SECRET)))
    again = site.user.post("/api/generations", json={"message": SECRET, "conversation_id": conversation})
    assert again.status_code == 404


def test_open_page_hears_of_the_deletion(site: WebHarness) -> None:
    fill(site)
    owner = site.owner()
    with site.redis.pubsub() as feed:
        feed.subscribe(feed_key(owner))
        assert feed.get_message(timeout=5)
        erasure_of(site, owner).erase()
        assert feed.get_message(timeout=5)


def test_generation_whose_worker_is_gone_does_not_hold_up_the_deletion(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasure, "END_SECONDS", 0.1)
    site = build(lease_seconds=20)
    receipt = begin(site)
    site.hold(receipt["id"])
    _, left = erasure_of(site, site.owner()).erase()
    state = read_state(site.services.streams, receipt["id"])
    assert state is not None
    assert not state.is_done, "the deletion has waited for its lease to expire"
    assert left.is_empty
    assert site.user.get(f"/api/generations/{receipt['id']}").status_code == 404
    assert rows_with(site, "hello") == set()


def test_question_that_comes_meanwhile_is_deleted_by_another_round(
    site: WebHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(site)
    target, late = erasure_of(site, site.owner()), list[str]()
    delete_rows = target._delete_rows

    def ask_once(erased: Erased) -> None:
        if not late:
            late.append(begin(site, SECRET)["conversation_id"])
        delete_rows(erased)

    monkeypatch.setattr(target, "_delete_rows", ask_once)
    erased, left = target.erase()
    assert left.is_empty
    assert erased.conversations == 2
    assert not rows_with(site, "secret")


def test_owner_who_goes_on_asking_is_reported(site: WebHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(site)
    target = erasure_of(site, site.owner())
    delete_rows = target._delete_rows

    def ask_always(erased: Erased) -> None:
        begin(site, SECRET)
        delete_rows(erased)

    monkeypatch.setattr(target, "_delete_rows", ask_always)
    assert target.erase()[1].holdings.conversations == 1
