"""What an owner's feed is told of an answer."""

import json
from typing import Any

import pytest

from millrace.worker.contract.events import Chunk, Usage
from millrace.worker.contract.feed import FEED_START, read_feeds
from millrace.worker.contract.lease import claim
from millrace.worker.generation import generate
from millrace.worker.process import WorkerProcess
from millrace.worker.providers.protocol import Stopped
from millrace.worker.providers.stub import Step, Stub
from tests.valkey import ValkeyProcess
from tests.worker.desk import Desk


def told(desk: Desk) -> list[dict[str, Any]]:
    (entries,) = read_feeds(desk.redis, [("somebody", FEED_START)], 100)
    return [json.loads(entry.data) for entry in entries]


@pytest.mark.parametrize(
    ("script", "status"),
    [([Chunk("Yes."), Stopped("end_turn"), Usage(1, 1)], "completed"), ([Chunk("half")], "failed")],
)
def test_the_end_of_an_answer_is_told_after_its_done(valkey: ValkeyProcess, script: list[Step], status: str) -> None:
    desk = Desk(valkey.url)
    process = WorkerProcess(desk.settings, Stub([script]))
    process.start()
    generation = desk.make("Why?")
    generate(process, generation)
    process.stop()
    (event,) = told(desk)
    assert (event["type"], event["generation"], event["status"]) == ("generation_ended", generation, status)


def test_a_generation_that_another_holds_is_not_told_of(valkey: ValkeyProcess) -> None:
    desk = Desk(valkey.url)
    process = WorkerProcess(desk.settings, Stub([]))
    generation = desk.make("Why?")
    assert claim(desk.redis, generation, desk.settings) is not None
    generate(process, generation)
    process.stop()
    assert told(desk) == []
