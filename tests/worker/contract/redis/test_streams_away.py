"""Generations on a node that does not answer: nothing waits for it, and nothing is created in its place."""

import time
from dataclasses import replace

from millrace.worker.contract.active_generations import acquire_slot
from millrace.worker.contract.conversation_lock import acquire, running_generations
from millrace.worker.contract.creation import create, new_ids
from millrace.worker.contract.ids import new_generation, new_id
from millrace.worker.contract.keys import active_key, keys_of
from millrace.worker.contract.redis.connection import Redis, connect
from millrace.worker.contract.redis.streams import Streams
from tests.valkey import ValkeyProcess
from tests.worker.contract.generations import SETTINGS, new_draft


def test_running_generations_are_not_looked_up_on_a_node_that_does_not_answer(redis: Redis) -> None:
    with connect("redis://127.0.0.1:1/0") as away:
        streams = Streams(redis, {"a": away})
        streams.statuses["a"].down_since = time.monotonic()
        generation, conversation, place = new_generation("a"), new_id(), active_key("ada")
        assert acquire(streams, "ada", conversation, generation, is_known=True).verdict == "acquired"
        second = acquire(streams, "ada", conversation, new_id(), is_known=True)
        assert (second.verdict, second.active) == ("busy", generation)
        assert running_generations(streams, [conversation]) == {}
        assert acquire_slot(streams, place, generation, 1)
        assert not acquire_slot(streams, place, new_id(), 1), "it counts as running"


def test_generation_of_a_lost_node_is_created_on_no_other(redis: Redis, valkey: ValkeyProcess) -> None:
    with connect(valkey.url.removesuffix("0") + "1") as other:
        streams = Streams(redis, {"a": other}, lost_seconds=1)
        streams.statuses["a"].down_since = time.monotonic() - 1000
        draft = replace(new_draft(), ids=new_ids(generation=new_generation("a")))
        assert streams.of(draft.ids.generation) is redis
        create(streams, draft, SETTINGS)
        state = keys_of(draft.ids.generation).state
        assert (redis.exists(state), other.exists(state)) == (0, 1)
