"""The text of an error says which Redis it is about, and the code of its reply, and no password."""

import signal
from pathlib import Path

import pytest
import redis

from millrace.worker.contract.keys import keys_of
from millrace.worker.contract.queue import TaskQueue
from millrace.worker.contract.redis.connection import Redis, connect, run_each, translate_redis_errors
from millrace.worker.contract.redis.named_client import describe, label_of
from millrace.worker.contract.scripts import REMOVE_UNREADABLE
from millrace.worker.errors import QueueUnavailable, RedisUnavailable
from millrace.worker.settings.schema import Settings
from tests.valkey import ValkeyProcess

PASSWORD = "of-the-server"


def failures(client: Redis) -> list[str]:
    """Return the text of the error of a command, of a pipeline and of a script."""
    texts: list[str] = []
    for call in (
        lambda: client.set("mr:check:x", 1),
        lambda: run_each(client.pipeline().set("mr:check:x", 1)),
        lambda: REMOVE_UNREADABLE(client, keys_of("a" * 32), "a" * 32, 1),
    ):
        with pytest.raises(RedisUnavailable) as raised, translate_redis_errors():
            call()
        texts.append(str(raised.value))
    return texts


def test_errors_name_the_redis_and_the_code_of_its_reply(tmp_path: Path) -> None:
    with ValkeyProcess(tmp_path, "--requirepass", PASSWORD, password=PASSWORD) as valkey:
        place = f"127.0.0.1:{valkey.port}"
        client = connect(valkey.url, "stream node a", timeout_seconds=1.0, retries=0)
        assert label_of(client) == f"stream node a Redis at {place}"
        assert label_of(redis.Redis()) == ""
        with valkey.client() as admin:
            admin.replicaof("127.0.0.1", "1")
        for text in failures(client):
            assert text.startswith(f"stream node a Redis at {place}: READONLY ")
        with valkey.client() as admin:
            admin.replicaof("NO", "ONE")
        valkey.signal(signal.SIGSTOP)
        try:
            for text in failures(client):
                assert text.startswith(f"stream node a Redis at {place}: Timeout reading from ")
            queue = TaskQueue(Settings.of(broker_url=valkey.url))
            with pytest.raises(QueueUnavailable, match=f"^broker Redis at {place}: Timeout") as raised:
                queue.enqueue("a" * 32)
        finally:
            valkey.signal(signal.SIGCONT)
        assert PASSWORD not in str(raised.value)
        queue.close()
        client.close()


def test_text_without_a_server_or_a_code_stays_as_it_is() -> None:
    assert describe(ValueError("so")) == "so"
    assert describe(redis.ResponseError("ERR so", status_code="ERR")) == "ERR so"
    assert describe(redis.ResponseError("so", status_code="OOM")) == "OOM so"
