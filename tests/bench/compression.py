"""The cost of compressed streams, beside the same ones as they are: CPU, delay, bytes and memory."""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from tests.bench.scenario import OURS, Row, ScenarioContext, scenario
from tests.bench.streaming import Load, stream
from tests.bench.systems import MeasuredSystem, RunningSystem, millrace

_SECONDS = 4.0
_LOADS = {
    "500 streams, a reader each": Load(500, 500, 20, _SECONDS),
    "10 streams, 1,000 readers": Load(10, 1000, 20, _SECONDS),
    "10 streams, 5,000 readers": Load(10, 5000, 2, _SECONDS),
}


@contextmanager
def _compressed(directory: Path, streams: int, processes: int) -> Generator[RunningSystem]:
    with millrace(directory, streams, processes, MILLRACE_COMPRESSION="gzip") as running:
        asking = [each.replace("\r\n\r\n", "\r\nAccept-Encoding: gzip\r\n\r\n") for each in running.requests]
        yield replace(running, requests=asking, is_compressed=True)


@scenario("compression", "streams as they are and with MILLRACE_COMPRESSION=gzip", compared="CPU µs/event")
def compression(ground: ScenarioContext) -> Iterator[Row]:
    """Run each load both ways."""
    for case, load in _LOADS.items():
        used = Load(load.streams // 10, load.readers // 50, 20, 0.5) if ground.is_quick else load
        place = ground.directory / case
        place.mkdir()
        for system in (MeasuredSystem(OURS, millrace), MeasuredSystem("gzip", _compressed)):
            if ground.wants(system.name):
                yield Row(system.name, stream(system, used, place), case)
