from dataclasses import replace
from typing import Any, cast

import pytest

from millrace.worker.contract.creation import bind_idempotency_key, create, new_ids
from millrace.worker.contract.feed import ConversationChanged, publish
from millrace.worker.contract.ids import new_id
from millrace.worker.contract.keys import LIMITS, active_key, feed_key, hash_of, idempotency_key, keys_of
from millrace.worker.contract.owner_keys import delete_counts, delete_owner_keys, find_generations
from millrace.worker.contract.redis.connection import Redis
from millrace.worker.contract.redis.streams import Streams
from tests.worker.contract.generations import SETTINGS, new_draft


def create_for(redis: Redis, owner: str) -> str:
    draft = replace(new_draft(), owner=owner)
    create(Streams(redis), draft, SETTINGS)
    return draft.ids.generation


def test_generations_of_an_owner_are_found_among_those_of_others_and_beside_junk(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan = Redis.scan

    def scan_twice(client: Redis, cursor: int, **options: Any) -> tuple[int, list[bytes]]:
        """Return each key twice, as SCAN may."""
        after, keys = cast("tuple[int, list[bytes]]", scan(client, cursor, **options))
        return after, keys * 2

    monkeypatch.setattr(Redis, "scan", scan_twice)
    own = {create_for(redis, "ada") for _ in range(20)}
    others = {create_for(redis, "adam") for _ in range(20)}
    redis.set(keys_of(new_id()).state, "not a hash")
    state = cast("bytes", redis.dump(keys_of(next(iter(own))).state))
    redis.restore(keys_of("A" * 32).state, 0, state)
    found = find_generations(Streams(redis), "ada")
    assert {each.generation for each in found} == own
    assert len(found) == len(own)
    assert {each.generation for each in find_generations(Streams(redis), "adam")} == others
    assert find_generations(Streams(redis), "eve") == []


def test_keys_of_an_owner_are_deleted_and_those_of_others_stay(redis: Redis) -> None:
    kept: set[str] = {"mr:idem:damaged"}
    redis.set("mr:idem:damaged", "{")
    for owner in ("ada", "eve"):
        ids = new_ids()
        bind_idempotency_key(redis, owner, "a key", ids, "a body")
        publish(redis, owner, ConversationChanged(ids.conversation))
        redis.zadd(active_key(owner), {ids.generation: 1})
        for window in ("", "/-1"):
            redis.set(f"{{{LIMITS}:LIMITER/create/{hash_of(owner)}/10/1/minute}}{window}", 1)
        if owner == "ada":
            assert delete_owner_keys(redis, owner, {ids.generation}) == 3
            assert delete_counts(redis, owner) == 2
            assert redis.dbsize() == 1
        else:
            kept |= {idempotency_key(owner, "a key"), feed_key(owner), active_key(owner)}
            assert delete_owner_keys(redis, "ada", {new_id()}) == delete_counts(redis, "ada") == 0
    assert {key.decode() for key in redis.keys("mr:*")} == kept  # type: ignore[union-attr]
    assert redis.dbsize() == len(kept) + 2
