"""Running the Lua scripts: lost script caches, lost replies, a full Redis."""

from collections.abc import Sequence
from contextlib import nullcontext
from importlib import resources
from typing import Any

import pytest
from redis import exceptions as redis_errors
from redis.exceptions import ResponseError

from millrace.worker.contract import scripts
from millrace.worker.contract.cancellation import cancel
from millrace.worker.contract.creation import create
from millrace.worker.contract.events import Chunk, encode
from millrace.worker.contract.keys import keys_of
from millrace.worker.contract.lease import claim, release, renew_all
from millrace.worker.contract.log import Append, AppendResult, append_all
from millrace.worker.contract.presence import count_live_workers
from millrace.worker.contract.redis.connection import Redis, connect, is_unavailable
from millrace.worker.contract.redis.streams import Streams
from millrace.worker.contract.scripts import Script
from millrace.worker.contract.sweep import sweep
from millrace.worker.errors import RedisKeyInvalid, RedisUnavailable
from tests.valkey import ValkeyProcess
from tests.worker.contract.generations import (
    LOG_TTL_MS,
    RUNNING,
    SETTINGS,
    append_event,
    claim_generation,
    create_completed,
    create_queued,
    kinds_of,
    new_draft,
)

LOADED = [each for each in vars(scripts).values() if isinstance(each, Script)]


def test_every_lua_file_is_a_script_that_the_server_accepts(redis: Redis) -> None:
    files = {path.name.removesuffix(".lua") for path in (resources.files("millrace.worker.contract") / "lua").iterdir()}
    assert {script.name for script in LOADED} | {"prelude"} == files
    for script in LOADED:
        assert redis.script_load(script.source) in (script.digest, script.digest.encode())


def test_script_missing_from_redis_is_loaded_again(redis: Redis) -> None:
    redis.script_flush()
    generation = create_queued(redis)
    redis.script_flush()
    claimed = claim_generation(redis, generation).claim
    redis.script_flush()
    append_event(redis, claimed, 2, RUNNING)
    assert kinds_of(redis, generation) == ["status", "status"]


def test_pipeline_with_missing_scripts_leaves_one_entry_each(redis: Redis) -> None:
    claims = [claim_generation(redis).claim for _ in range(3)]
    redis.script_flush()
    answers = append_all(redis, [Append(each, 2, "chunk", encode(Chunk("a"))) for each in claims], LOG_TTL_MS)
    assert [isinstance(each, AppendResult) and each.verdict for each in answers] == ["appended"] * 3
    redis.script_flush()
    redis.script_load(scripts.RENEW.source)
    replies = scripts.run_all(
        redis,
        [
            (scripts.RENEW, keys_of(claims[0].generation), (claims[0].generation, claims[0].token, 0, 8000, 15_000)),
            (scripts.RELEASE, keys_of(claims[1].generation), (claims[1].generation, claims[1].token, 3000, 9000)),
        ],
    )
    assert [replies[0][0], replies[1]] == [b"held", b"released"]


@pytest.mark.parametrize(("times", "is_served"), [(2, True), (99, False)])
def test_redis_that_loses_its_scripts_repeatedly_is_unavailable(
    redis: Redis, monkeypatch: pytest.MonkeyPatch, times: int, is_served: bool
) -> None:
    claimed, load, forgotten = claim_generation(redis).claim, redis.script_load, 0
    redis.script_flush()

    def forget(source: str) -> None:
        nonlocal forgotten
        load(source)
        if forgotten < times:
            redis.script_flush()
        forgotten += 1

    monkeypatch.setattr(redis, "script_load", forget)
    with nullcontext() if is_served else pytest.raises(RedisUnavailable):
        assert append_event(redis, claimed, 2, RUNNING).verdict == "appended"
    assert kinds_of(redis, claimed.generation) == ["status"] * (1 + is_served)


def test_redis_out_of_memory_rejects_every_writing_script_before_any_write(redis: Redis) -> None:
    waiting, running, ended = create_queued(redis), claim_generation(redis).claim, create_completed(redis).claim
    before = {key: redis.dump(key) for key in redis.keys("*")}
    redis.config_set("maxmemory", 1)
    try:
        for call in (
            lambda: create(Streams(redis), new_draft(), SETTINGS),
            lambda: claim(Streams(redis), waiting, SETTINGS),
            lambda: cancel(Streams(redis), running.generation, "user", SETTINGS),
            lambda: release(Streams(redis), running, SETTINGS),
        ):
            with pytest.raises(RedisUnavailable):
                call()
        answers = append_all(redis, [Append(running, seq, "chunk", encode(Chunk("a"))) for seq in (2, 3)], LOG_TTL_MS)
        assert all(isinstance(answer, ResponseError) and is_unavailable(answer) for answer in answers)
        with pytest.raises(RedisUnavailable):
            renew_all(redis, [running, ended], SETTINGS)
        assert count_live_workers(redis) == 0, "a script that only reads still works"
        assert sweep(Streams(redis), SETTINGS).to_enqueue == []
    finally:
        redis.config_set("maxmemory", 0)
    assert {key: redis.dump(key) for key in redis.keys("*")} == before
    assert append_event(redis, running, 2, RUNNING).verdict == "appended"


def test_retried_append_leaves_one_entry(valkey: ValkeyProcess, redis: Redis) -> None:
    claimed = claim_generation(redis).claim
    with connect(valkey.url) as client:
        append_event(client, claimed, 2, RUNNING)
        for connection in redis.client_list():
            redis.client_kill_filter(_id=connection["id"], skipme=True)
        assert append_event(client, claimed, 3, Chunk("a")).verdict == "appended"
    assert kinds_of(redis, claimed.generation) == ["status", "status", "chunk"]


@pytest.mark.parametrize("retries", [0, 1])
def test_lost_reply_is_retried_as_often_as_the_client_allows(
    valkey: ValkeyProcess, redis: Redis, monkeypatch: pytest.MonkeyPatch, retries: int
) -> None:
    claimed, real, losses = claim_generation(redis).claim, scripts._exchange, 1

    def lossy(connection: Any, commands: Sequence[bytes], label: str) -> list[Any]:
        nonlocal losses
        replies = real(connection, commands, label)
        if losses and scripts.APPEND.digest.encode() in commands[0]:
            losses -= 1
            raise redis_errors.ConnectionError("the reply is lost")
        return replies

    monkeypatch.setattr(scripts, "_exchange", lossy)
    with connect(valkey.url, retries=retries) as client:
        if retries:
            assert append_event(client, claimed, 2, RUNNING).verdict == "dup"
        else:
            with pytest.raises(RedisUnavailable):
                append_event(client, claimed, 2, RUNNING)
    assert kinds_of(redis, claimed.generation) == ["status", "status"]


def test_script_error_does_not_mean_unavailable(redis: Redis) -> None:
    generation = create_queued(redis)
    redis.delete(keys_of(generation).state)
    redis.set(keys_of(generation).state, "no hash")
    with pytest.raises(RedisKeyInvalid, match="WRONGTYPE"):
        claim(Streams(redis), generation, SETTINGS)
