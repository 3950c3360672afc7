"""At most one generation runs in a conversation."""

from dataclasses import replace

import gevent
import pytest

from millrace.worker.contract import occupation
from millrace.worker.contract.connection import Redis
from millrace.worker.contract.control import cancel
from millrace.worker.contract.creation import Draft, create, new_ids
from millrace.worker.contract.ids import new_id
from millrace.worker.contract.keys import conversation_key, keys_of
from millrace.worker.contract.occupation import Occupied, bury, occupy, running_in, vacate
from tests.worker.contract.samples import COMPLETE, SETTINGS, held, new_draft, put

OWNER = "owner"
TAKEN = Occupied("taken")


def draft_in(conversation: str) -> Draft:
    return replace(new_draft(), ids=new_ids(conversation))


def begin(redis: Redis, conversation: str) -> str:
    """Make a generation in the conversation."""
    draft = draft_in(conversation)
    assert occupy(redis, OWNER, conversation, draft.ids.generation, is_known=True) == TAKEN
    create(redis, draft, SETTINGS)
    return draft.ids.generation


def test_a_conversation_is_taken_by_one_and_by_the_same_once_more(redis: Redis) -> None:
    conversation, first, second = new_id(), new_id(), new_id()
    assert occupy(redis, OWNER, conversation, first, is_known=True) == TAKEN
    assert occupy(redis, OWNER, conversation, first, is_known=True) == TAKEN
    assert occupy(redis, OWNER, conversation, second, is_known=True) == Occupied("busy", first)
    assert occupy(redis, "somebody", conversation, second, is_known=True) == Occupied("foreign")
    assert redis.ttl(conversation_key(conversation)) > 24 * 3600


def test_one_that_redis_does_not_know_is_taken_only_where_the_caller_does(redis: Redis) -> None:
    assert occupy(redis, OWNER, new_id(), new_id(), is_known=False) == Occupied("unknown")
    assert redis.keys("*") == []


def test_of_many_at_once_one_takes_it(redis: Redis) -> None:
    conversation = new_id()
    previous = begin(redis, conversation)
    cancel(redis, previous, "user", SETTINGS)
    tasks = [gevent.spawn(occupy, redis, OWNER, conversation, new_id(), is_known=False) for _ in range(50)]
    gevent.joinall(tasks, timeout=30, raise_error=True)
    assert sorted(task.get().verdict for task in tasks) == ["busy"] * 49 + ["taken"]
    assert len({task.get().by for task in tasks}) == 2


@pytest.mark.parametrize("is_held", [True, False])
def test_it_is_busy_until_the_outcome_and_free_from_then_on(redis: Redis, is_held: bool) -> None:
    conversation = new_id()
    first = begin(redis, conversation)
    claimed = held(redis, first).claim if is_held else None
    assert occupy(redis, OWNER, conversation, new_id(), is_known=False) == Occupied("busy", first)
    assert running_in(redis, [conversation]) == {conversation: first}
    if claimed:
        put(redis, claimed, 2, COMPLETE)
    else:
        cancel(redis, first, "user", SETTINGS)
    assert running_in(redis, [conversation]) == {}
    assert occupy(redis, OWNER, conversation, new_id(), is_known=False) == TAKEN


def test_one_whose_generation_is_gone_is_free_but_not_while_it_may_be_in_the_making(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    conversation, first = new_id(), new_id()
    occupy(redis, OWNER, conversation, first, is_known=True)
    assert occupy(redis, OWNER, conversation, new_id(), is_known=False) == Occupied("busy", first)
    monkeypatch.setattr(occupation, "MAKING_MS", 0)
    assert occupy(redis, OWNER, conversation, new_id(), is_known=False) == TAKEN
    second = begin(redis, new_id())
    redis.delete(keys_of(second).state)


def test_taking_it_again_does_not_make_it_younger(redis: Redis) -> None:
    conversation, first = new_id(), new_id()
    occupy(redis, OWNER, conversation, first, is_known=True)
    since = redis.hget(conversation_key(conversation), "since")
    occupy(redis, OWNER, conversation, first, is_known=True)
    assert redis.hget(conversation_key(conversation), "since") == since


def test_who_leaves_it_leaves_it_to_the_next_and_only_its_own(redis: Redis) -> None:
    conversation, first, second = new_id(), new_id(), new_id()
    occupy(redis, OWNER, conversation, first, is_known=True)
    vacate(redis, conversation, second)
    assert occupy(redis, OWNER, conversation, second, is_known=False) == Occupied("busy", first)
    vacate(redis, conversation, first)
    assert redis.keys("*") == [], "it was opened by the one that left"
    ended = begin(redis, conversation)
    cancel(redis, ended, "user", SETTINGS)
    occupy(redis, OWNER, conversation, second, is_known=False)
    vacate(redis, conversation, second)
    assert occupy(redis, OWNER, conversation, first, is_known=False) == TAKEN


def test_nothing_begins_in_one_that_is_deleted(redis: Redis) -> None:
    conversation = new_id()
    running = begin(redis, conversation)
    assert bury(redis, OWNER, conversation) == running
    assert bury(redis, OWNER, conversation) == running
    assert occupy(redis, OWNER, conversation, new_id(), is_known=True) == Occupied("foreign")
    never_seen = new_id()
    assert bury(redis, OWNER, never_seen) is None
    assert occupy(redis, OWNER, never_seen, new_id(), is_known=True) == Occupied("foreign")
    assert 24 * 3600 < redis.ttl(conversation_key(never_seen)) <= 25 * 3600


def test_what_runs_is_told_for_many_at_once(redis: Redis) -> None:
    conversations = [new_id() for _ in range(20)]
    running = {each: begin(redis, each) for each in conversations[::2]}
    assert running_in(redis, conversations) == running
    assert running_in(redis, []) == {}
