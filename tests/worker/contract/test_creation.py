"""Creating a generation and withdrawing it."""

from typing import cast

import gevent
import pytest

from millrace.worker.contract.cancellation import cancel
from millrace.worker.contract.conversation_lock import acquire
from millrace.worker.contract.creation import (
    Draft,
    bind_idempotency_key,
    body_hash,
    create,
    new_ids,
    release_idempotency_key,
    withdraw,
)
from millrace.worker.contract.events import StatusEvent
from millrace.worker.contract.ids import is_id, new_id
from millrace.worker.contract.keys import keys_of
from millrace.worker.contract.redis.connection import Redis
from millrace.worker.contract.redis.streams import Streams
from millrace.worker.contract.request import encode_request
from millrace.worker.contract.scripts import CREATE, WITHDRAW
from millrace.worker.contract.state import read_state
from tests.worker.contract.generations import (
    COMPLETE,
    SETTINGS,
    append_event,
    claim_generation,
    field,
    is_leased,
    kinds_of,
    log_of,
    new_draft,
)


def names_of(redis: Redis) -> list[str]:
    return [key.decode() for key in cast("list[bytes]", redis.keys("*"))]


def test_create_writes_the_state_the_first_event_and_a_lease(redis: Redis) -> None:
    draft = new_draft()
    generation = draft.ids.generation
    assert create(Streams(redis), draft, SETTINGS).status == "queued"
    assert log_of(redis, generation) == [
        StatusEvent(
            "queued", generation=generation, conversation_id=draft.ids.conversation, message_id=draft.ids.message
        )
    ]
    assert field(redis, generation, "request") == encode_request(draft.request).decode()
    assert (field(redis, generation, "owner"), field(redis, generation, "grace_ms")) == ("owner", "60000")
    assert is_leased(redis, generation)
    assert [key for key in names_of(redis) if redis.ttl(key) <= 0] == [keys_of(generation).leases]


def test_second_create_changes_nothing_and_returns_the_status(redis: Redis) -> None:
    draft = new_draft()
    create(Streams(redis), draft, SETTINGS)
    assert create(Streams(redis), draft, SETTINGS).status == "queued"
    claimed = claim_generation(redis, draft.ids.generation).claim
    assert create(Streams(redis), draft, SETTINGS).status == "running"
    append_event(redis, claimed, 2, COMPLETE)
    assert create(Streams(redis), draft, SETTINGS).status == "completed"
    assert kinds_of(redis, draft.ids.generation) == ["status", "complete"]


def test_hundred_concurrent_creates_make_one_generation(redis: Redis) -> None:
    draft = new_draft()
    tasks = [gevent.spawn(create, Streams(redis), draft, SETTINGS) for _ in range(100)]
    gevent.joinall(tasks, timeout=30, raise_error=True)
    assert [task.get() for task in tasks] == [read_state(Streams(redis), draft.ids.generation)] * 100
    assert len(log_of(redis, draft.ids.generation)) == 1


def test_new_ids_are_valid_and_keep_the_given_conversation() -> None:
    ids = new_ids("c" * 32)
    assert is_id(ids.generation)
    assert is_id(ids.message)
    assert ids.conversation == "c" * 32
    assert len(set(vars(new_ids()).values())) == 4
    assert (new_ids(question="q" * 32).question, new_ids(question="").question) == ("q" * 32, "")


def test_idempotency_key_is_bound_once_and_returns_the_same_ids(redis: Redis) -> None:
    first, second = new_ids(), new_ids()
    assert bind_idempotency_key(redis, "owner", "key", first, "hash") == (first, True)
    assert bind_idempotency_key(redis, "owner", "key", second, "hash") == (first, True)
    assert bind_idempotency_key(redis, "owner", "key", second, "other") == (first, False)
    assert bind_idempotency_key(redis, "another", "key", second, "hash") == (second, True)
    assert all(redis.ttl(key) > 23 * 3600 for key in names_of(redis))
    release_idempotency_key(redis, "owner", "key")
    assert bind_idempotency_key(redis, "owner", "key", second, "hash") == (second, True)


def test_twenty_concurrent_binds_of_one_key_return_one_generation(redis: Redis) -> None:
    tasks = [gevent.spawn(bind_idempotency_key, redis, "owner", "key", new_ids(), "hash") for _ in range(20)]
    gevent.joinall(tasks, timeout=30, raise_error=True)
    assert len({task.get()[0] for task in tasks}) == 1


def test_body_hash_depends_on_values_and_not_on_spelling() -> None:
    assert body_hash({"a": 1, "b": [1, "\ud83d"]}) == body_hash({"b": [1, "\ud83d"], "a": 1})
    assert body_hash({"a": 1}) != body_hash({"a": "1"})
    assert body_hash([1, 2]) != body_hash([2, 1])


def test_withdrawn_generation_leaves_no_keys(redis: Redis) -> None:
    draft = new_draft()
    create(Streams(redis), draft, SETTINGS)
    assert withdraw(Streams(redis), draft.ids.generation) == "withdrawn"
    assert redis.keys("*") == []
    assert withdraw(Streams(redis), draft.ids.generation) == "withdrawn"


def test_withdrawal_frees_the_conversation(redis: Redis) -> None:
    first = new_draft()
    acquire(Streams(redis), first.owner, first.ids.conversation, first.ids.generation, is_known=True)
    create(Streams(redis), first, SETTINGS)
    assert withdraw(Streams(redis), first.ids.generation) == "withdrawn"
    assert redis.keys("*") == [], "the withdrawn generation had created the conversation, and no client has its id"
    second = type(first)(new_ids(first.ids.conversation), first.owner, first.request, "continue", 60.0)
    acquire(Streams(redis), first.owner, first.ids.conversation, first.ids.generation, is_known=True)
    append_event(redis, claim_generation(redis, create_from(redis, first)).claim, 2, COMPLETE)
    acquire(Streams(redis), first.owner, first.ids.conversation, second.ids.generation, is_known=False)
    create(Streams(redis), second, SETTINGS)
    assert withdraw(Streams(redis), second.ids.generation) == "withdrawn"
    third = acquire(Streams(redis), first.owner, first.ids.conversation, new_id(), is_known=False)
    assert third.verdict == "acquired"


def create_from(redis: Redis, draft: Draft) -> str:
    create(Streams(redis), draft, SETTINGS)
    return draft.ids.generation


def test_generation_created_twice_is_kept_until_both_withdraw(redis: Redis) -> None:
    draft = new_draft()
    create(Streams(redis), draft, SETTINGS)
    create(Streams(redis), draft, SETTINGS)
    assert withdraw(Streams(redis), draft.ids.generation) == "kept"
    assert is_leased(redis, draft.ids.generation)
    assert withdraw(Streams(redis), draft.ids.generation) == "withdrawn"
    assert redis.keys("*") == []


def test_create_or_withdrawal_with_lost_reply_counts_once(redis: Redis) -> None:
    draft = new_draft()
    create(Streams(redis), draft, SETTINGS)
    keys = keys_of(draft.ids.generation)
    for _ in range(2):
        CREATE(redis, keys, draft.ids.generation, "one ask", b"{}", 1000, 1000)
    assert field(redis, draft.ids.generation, "asks") == "2"
    for _ in range(2):
        assert WITHDRAW(redis, keys, draft.ids.generation, "one withdrawal") == b"kept"
    assert field(redis, draft.ids.generation, "asks") == "1"


@pytest.mark.parametrize("is_held", [True, False])
def test_claimed_or_ended_generation_is_not_withdrawn(redis: Redis, is_held: bool) -> None:
    draft = new_draft()
    generation = draft.ids.generation
    create(Streams(redis), draft, SETTINGS)
    if is_held:
        claim_generation(redis, generation)
    else:
        cancel(Streams(redis), generation, "user", SETTINGS)
    assert withdraw(Streams(redis), generation) == "claimed"
    assert kinds_of(redis, generation)
