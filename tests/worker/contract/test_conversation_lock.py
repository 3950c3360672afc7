"""At most one generation runs in a conversation."""

from dataclasses import replace

import gevent
import pytest

from millrace.worker.contract import state
from millrace.worker.contract.cancellation import cancel
from millrace.worker.contract.conversation_lock import LockResult, acquire, mark_deleted, release, running_generations
from millrace.worker.contract.creation import Draft, create, new_ids
from millrace.worker.contract.ids import new_id
from millrace.worker.contract.keys import conversation_key, keys_of
from millrace.worker.contract.redis.connection import Redis
from millrace.worker.contract.redis.streams import Streams
from tests.worker.contract.generations import COMPLETE, SETTINGS, append_event, claim_generation, new_draft

OWNER = "owner"
TAKEN = LockResult("acquired")


def draft_in(conversation: str) -> Draft:
    return replace(new_draft(), ids=new_ids(conversation))


def begin(redis: Redis, conversation: str) -> str:
    """Create a generation in the conversation."""
    draft = draft_in(conversation)
    assert acquire(Streams(redis), OWNER, conversation, draft.ids.generation, is_known=True) == TAKEN
    create(Streams(redis), draft, SETTINGS)
    return draft.ids.generation


def test_conversation_is_acquired_by_one_generation_and_repeatedly_by_the_same(redis: Redis) -> None:
    conversation, first, second = new_id(), new_id(), new_id()
    assert acquire(Streams(redis), OWNER, conversation, first, is_known=True) == TAKEN
    assert acquire(Streams(redis), OWNER, conversation, first, is_known=True) == TAKEN
    assert acquire(Streams(redis), OWNER, conversation, second, is_known=True) == LockResult("busy", first)
    assert acquire(Streams(redis), "another", conversation, second, is_known=True) == LockResult("foreign")
    assert redis.ttl(conversation_key(conversation)) > 24 * 3600


def test_conversation_unknown_to_redis_is_acquired_only_if_the_caller_knows_it(redis: Redis) -> None:
    assert acquire(Streams(redis), OWNER, new_id(), new_id(), is_known=False) == LockResult("unknown")
    assert redis.keys("*") == []


def test_one_of_many_concurrent_acquires_succeeds(redis: Redis) -> None:
    conversation = new_id()
    previous = begin(redis, conversation)
    cancel(Streams(redis), previous, "user", SETTINGS)
    tasks = [gevent.spawn(acquire, Streams(redis), OWNER, conversation, new_id(), is_known=False) for _ in range(50)]
    gevent.joinall(tasks, timeout=30, raise_error=True)
    assert sorted(task.get().verdict for task in tasks) == ["acquired"] + ["busy"] * 49
    assert len({task.get().active for task in tasks}) == 2


@pytest.mark.parametrize("is_held", [True, False])
def test_conversation_is_busy_until_the_outcome_and_free_afterwards(redis: Redis, is_held: bool) -> None:
    conversation = new_id()
    first = begin(redis, conversation)
    claimed = claim_generation(redis, first).claim if is_held else None
    assert acquire(Streams(redis), OWNER, conversation, new_id(), is_known=False) == LockResult("busy", first)
    assert running_generations(Streams(redis), [conversation]) == {conversation: first}
    if claimed:
        append_event(redis, claimed, 2, COMPLETE)
    else:
        cancel(Streams(redis), first, "user", SETTINGS)
    assert running_generations(Streams(redis), [conversation]) == {}
    assert acquire(Streams(redis), OWNER, conversation, new_id(), is_known=False) == TAKEN


def test_conversation_of_lost_generation_is_free_once_creation_cannot_be_in_progress(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    conversation, first = new_id(), new_id()
    acquire(Streams(redis), OWNER, conversation, first, is_known=True)
    assert acquire(Streams(redis), OWNER, conversation, new_id(), is_known=False) == LockResult("busy", first)
    monkeypatch.setattr(state, "CREATION_MS", 0)
    assert acquire(Streams(redis), OWNER, conversation, new_id(), is_known=False) == TAKEN
    second = begin(redis, new_id())
    redis.delete(keys_of(second).state)


def test_repeated_acquire_keeps_the_time_of_the_first(redis: Redis) -> None:
    conversation, first = new_id(), new_id()
    acquire(Streams(redis), OWNER, conversation, first, is_known=True)
    since = redis.hget(conversation_key(conversation), "since")
    acquire(Streams(redis), OWNER, conversation, first, is_known=True)
    assert redis.hget(conversation_key(conversation), "since") == since


def test_release_frees_only_the_conversation_of_its_generation(redis: Redis) -> None:
    conversation, first, second = new_id(), new_id(), new_id()
    acquire(Streams(redis), OWNER, conversation, first, is_known=True)
    release(redis, conversation, second)
    assert acquire(Streams(redis), OWNER, conversation, second, is_known=False) == LockResult("busy", first)
    release(redis, conversation, first)
    assert redis.keys("*") == [], "the released generation had created the conversation"
    ended = begin(redis, conversation)
    cancel(Streams(redis), ended, "user", SETTINGS)
    acquire(Streams(redis), OWNER, conversation, second, is_known=False)
    release(redis, conversation, second)
    assert acquire(Streams(redis), OWNER, conversation, first, is_known=False) == TAKEN


def test_no_generation_starts_in_a_deleted_conversation(redis: Redis) -> None:
    conversation = new_id()
    running = begin(redis, conversation)
    assert mark_deleted(redis, OWNER, conversation) == (running, running)
    assert mark_deleted(redis, OWNER, conversation) == (running, running)
    assert acquire(Streams(redis), OWNER, conversation, new_id(), is_known=True) == LockResult("foreign")
    never_seen = new_id()
    assert mark_deleted(redis, OWNER, never_seen) == (None, None)
    assert acquire(Streams(redis), OWNER, never_seen, new_id(), is_known=True) == LockResult("foreign")
    assert 24 * 3600 < redis.ttl(conversation_key(never_seen)) <= 25 * 3600


def test_running_generations_of_many_conversations_are_returned(redis: Redis) -> None:
    conversations = [new_id() for _ in range(20)]
    running = {each: begin(redis, each) for each in conversations[::2]}
    assert running_generations(Streams(redis), conversations) == running
    assert running_generations(Streams(redis), []) == {}
