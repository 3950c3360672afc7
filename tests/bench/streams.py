"""The two typical loads of streaming: one reader per stream, as in chats, and many readers of few streams."""

from collections.abc import Iterator

from tests.bench.scenario import Row, ScenarioContext, scenario
from tests.bench.streaming import Load, stream
from tests.bench.systems import SYSTEMS

_SECONDS = 4.0


def _each(ground: ScenarioContext, load: Load, case: str = "") -> Iterator[Row]:
    tiny = Load(load.streams // 50 or 1, load.readers // 50, load.rate, 0.5)
    for system in SYSTEMS:
        if ground.wants(system.name) and system.is_there():
            yield Row(system.name, stream(system, tiny if ground.is_quick else load, ground.directory), case)


@scenario("streams", "500 streams × 1 reader × 20 events/s", compared="CPU µs/event")
def streams(ground: ScenarioContext) -> Iterator[Row]:
    """Run the load of chats: each reader has a stream of its own."""
    yield from _each(ground, Load(500, 500, 20, _SECONDS))


@scenario("fanout", "10 streams × 1,000 readers in all × 20 events/s", compared="CPU µs/event")
def fanout(ground: ScenarioContext) -> Iterator[Row]:
    """Run the load of an audience: each event goes to a hundred readers."""
    yield from _each(ground, Load(10, 1000, 20, _SECONDS))


@scenario("half", "latency at half the load of `streams`", compared="p99 ms")
def half(ground: ScenarioContext) -> Iterator[Row]:
    """Run half the streams, so that most contestants are not saturated."""
    yield from _each(ground, Load(250, 250, 20, _SECONDS))
