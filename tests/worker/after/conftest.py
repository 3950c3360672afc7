"""The fixture `make_harness`; `harness.py` documents what it returns."""

from collections.abc import Iterator, Mapping

import pytest

from millrace.worker.providers.stub import Reply, Step
from tests.valkey import ValkeyProcess
from tests.worker.after.harness import ANSWER, REPLIES, HookHarness, MakeHarness


@pytest.fixture
def make_harness(valkey: ValkeyProcess) -> Iterator[MakeHarness]:
    made: list[HookHarness] = []

    def make(replies: Mapping[str, Reply] = REPLIES, script: tuple[Step, ...] = ANSWER, **given: object) -> HookHarness:
        defaults: dict[str, object] = {"titles": 1, "suggestions": 1, "shutdown_grace_seconds": 0}
        made.append(HookHarness(valkey.url, script, replies, **(defaults | given)))
        return made[-1]

    yield make
    for harness in made:
        harness.close()
