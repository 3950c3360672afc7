"""The owner's feed shows the end of an answer."""

import json
from typing import Any

import pytest

from millrace.worker.contract.events import Chunk, Usage
from millrace.worker.contract.feed import FEED_START, read_feeds
from millrace.worker.contract.lease import claim
from millrace.worker.contract.redis.streams import Streams
from millrace.worker.generation import generate
from millrace.worker.process import WorkerProcess
from millrace.worker.providers.protocol import Stopped
from millrace.worker.providers.stub import Step, Stub
from tests.valkey import ValkeyProcess
from tests.worker.harness import WorkerHarness


def feed_of(harness: WorkerHarness) -> list[dict[str, Any]]:
    (entries,) = read_feeds(harness.redis, [("somebody", FEED_START)], 100)
    return [json.loads(entry.data) for entry in entries]


@pytest.mark.parametrize(
    ("script", "status"),
    [([Chunk("Yes."), Stopped("end_turn"), Usage(1, 1)], "completed"), ([Chunk("half")], "failed")],
)
def test_the_end_of_an_answer_is_published_to_the_feed(valkey: ValkeyProcess, script: list[Step], status: str) -> None:
    harness = WorkerHarness(valkey.url)
    process = WorkerProcess(harness.settings, {"bedrock": Stub([script])})
    process.start()
    generation = harness.create_generation("Why?")
    generate(process, generation)
    process.stop()
    (event,) = feed_of(harness)
    assert (event["type"], event["generation"], event["status"]) == ("generation_ended", generation, status)


def test_a_generation_that_another_worker_holds_is_not_published_to_the_feed(valkey: ValkeyProcess) -> None:
    harness = WorkerHarness(valkey.url)
    process = WorkerProcess(harness.settings, {"bedrock": Stub([])})
    generation = harness.create_generation("Why?")
    assert claim(Streams(harness.redis), generation, harness.settings) is not None
    generate(process, generation)
    process.stop()
    assert feed_of(harness) == []
