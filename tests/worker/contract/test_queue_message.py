"""A message in the queue equals the one that Celery sends."""

import base64
import json
from typing import Any

import pytest

from millrace.worker.contract.queue import CANARY, TASK, TaskMessage, make_celery
from millrace.worker.contract.redis.connection import Redis
from millrace.worker.settings.schema import Settings
from tests.valkey import ValkeyProcess

CASES = [(TASK, ["0123"]), (CANARY, list[str]())]


@pytest.mark.parametrize(("task", "arguments"), CASES)
def test_message_is_the_one_that_celery_sends(
    valkey: ValkeyProcess, redis: Redis, task: str, arguments: list[str]
) -> None:
    with make_celery(Settings.of(redis_url=valkey.url)) as celery:
        celery.send_task(task, args=arguments, queue="some.queue", ignore_result=True)
    (sent,) = redis.lrange("some.queue", 0, -1)
    theirs, ours = json.loads(sent), json.loads(TaskMessage(task).encode("some.queue", arguments))
    assert comparable(ours) == comparable(theirs)


def comparable(message: Any) -> Any:
    """Return a message with its body decoded and without its unique ids; assert that equal ids are equal."""
    headers, properties = message["headers"], message["properties"]
    assert headers.pop("id") == headers.pop("root_id") == properties.pop("correlation_id")
    assert properties.pop("delivery_tag")
    headers.pop("origin")
    properties.pop("reply_to")
    return message | {"body": json.loads(base64.b64decode(message["body"]))}


def test_messages_have_distinct_ids() -> None:
    template = TaskMessage(TASK)
    messages = [json.loads(template.encode("some.queue", ["0123"])) for _ in range(3)]
    assert len({message["headers"]["id"] for message in messages}) == 3
    assert len({message["properties"]["delivery_tag"] for message in messages}) == 3


def test_templates_are_independent() -> None:
    first, second = TaskMessage("first"), TaskMessage("second")
    assert json.loads(first.encode("q", []))["headers"]["task"] == "first"
    assert json.loads(second.encode("q", []))["headers"]["task"] == "second"
