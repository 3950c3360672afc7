"""The cost of an event in each protocol beside our own, with 500 readers: each of a chat of its own, or an audience."""

import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from tests.bench.scenario import OURS, Row, ScenarioContext, scenario
from tests.bench.streaming import Load, stream
from tests.bench.systems import MeasuredSystem, RunningSystem, millrace

_READERS = 500
_SECONDS = 4.0
_RATE = 20  # events a second on each stream
_OWN_PATH = re.compile(r"/api/generations/(\w+)/events")
_PATHS = {
    OURS: r"\g<0>",
    "OpenAI chat": r"/v1/chat/completions/chatcmpl-\1?stream=true",
}
"""The address at which a reader of each protocol follows a generation."""


def _in_protocol(name: str) -> MeasuredSystem:
    """Return the real web whose readers all speak this protocol."""

    @contextmanager
    def start(directory: Path, streams: int, processes: int) -> Generator[RunningSystem]:
        with millrace(directory, streams, processes) as running:
            yield replace(running, requests=[_OWN_PATH.sub(_PATHS[name], each, count=1) for each in running.requests])

    return MeasuredSystem(name, start)


@scenario("dialects", "500 readers of each protocol, 20 events/s on each stream", compared="CPU µs/event")
def dialects(ground: ScenarioContext) -> Iterator[Row]:
    """Run the same load in each protocol, one after the other."""
    for streams in (_READERS, _READERS // 50):
        load = Load(streams, _READERS, _RATE, _SECONDS)
        if ground.is_quick:
            load = Load(streams // 10, _READERS // 10, _RATE, 0.5)
        place = ground.directory / str(streams)
        place.mkdir()
        for system in map(_in_protocol, _PATHS):
            if ground.wants(system.name):
                yield Row(system.name, stream(system, load, place), f"{streams} streams")
