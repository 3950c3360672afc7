"""The cost of idle readers: memory, and connections to Redis."""

import resource
from collections.abc import Iterator

import redis

from tests.bench.processes import cost
from tests.bench.scenario import Row, ScenarioContext, scenario
from tests.bench.streaming import ControlledProcess
from tests.bench.systems import SYSTEMS, MeasuredSystem, RunningSystem
from tests.client import wait_for

_STREAMS = 100
_QUICK = ("Millrace", "Nchan")  # the others take a minute to connect: one round does


@scenario("idle", "idle readers, ten thousand and half as many again", compared="KB/reader")
def idle(ground: ScenarioContext) -> Iterator[Row]:
    """Connect readers to streams on which nothing happens."""
    few, many = (100, 150) if ground.is_quick else (10_000, 15_000)
    for system in SYSTEMS:
        is_due = ground.number == 1 or system.name in _QUICK
        if is_due and system.name != "bare send" and ground.wants(system.name) and system.is_there():
            yield from _connected(system, few, many, ground)


def _connected(system: MeasuredSystem, few: int, many: int, ground: ScenarioContext) -> Iterator[Row]:
    place = ground.directory / system.name.replace(" ", "")
    place.mkdir()
    # A reader of most peers needs two descriptors, and a process may have only so many.
    processes = 1 if system.name in _QUICK else -(-3 * many // resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    with system.start(place, _STREAMS, processes) as running:
        plan = {"port": running.port, "requests": running.requests, "is_mute": running.is_mute}
        before = cost(running.pid)
        with ControlledProcess("readers", plan | {"count": few}, place) as first:
            first.ask(do="open")
            _settle(running, few)
            yield _row(system, running, before.resident_kb, few, processes)
            with ControlledProcess("readers", plan | {"count": many - few}, place) as second:
                second.ask(do="open")
                _settle(running, many)
                yield _row(system, running, before.resident_kb, many, processes)


def _settle(running: RunningSystem, readers: int) -> None:
    """Wait for peers that subscribe only after their headers, or say nothing at all."""
    if running.publisher["kind"] == "channels":
        wait_for(lambda: _connections(running) >= readers, 120, "a connection to Redis for every reader")


def _row(system: MeasuredSystem, running: RunningSystem, before_kb: int, readers: int, processes: int) -> Row:
    now = cost(running.pid)
    figures = {
        "KB/reader": (now.resident_kb - before_kb) / readers,
        "Redis connections": float(_connections(running)),
        "descriptors": now.descriptors,
        "processes": processes,
    }
    return Row(system.name, figures, f"{readers:,} readers")


def _connections(running: RunningSystem) -> int:
    if not running.redis_port:
        return 0
    with redis.Redis(port=running.redis_port) as client:
        return len(client.client_list()) - 1  # this one
