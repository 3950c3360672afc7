"""The growth of the cost of an event with the number of readers, at ten thousand deliveries a second."""

from collections.abc import Iterator

from tests.bench.scenario import Row, ScenarioContext, scenario
from tests.bench.streaming import Load, stream
from tests.bench.systems import SYSTEMS

_SYSTEMS = ("Millrace", "Nchan", "bare send")
_READERS_A_STREAM = 10
_DELIVERIES = 10_000  # a second
_SECONDS = 3.0


@scenario("growth", "10,000 deliveries/s to 100, 1,000 and 10,000 readers, ten a stream", compared="CPU µs/event")
def growth(ground: ScenarioContext) -> Iterator[Row]:
    """Deliver the same number of events to ever more readers."""
    for readers in (10, 100) if ground.is_quick else (100, 1000, 10_000):
        streams = readers // _READERS_A_STREAM
        deliveries, seconds = (500, 0.5) if ground.is_quick else (_DELIVERIES, _SECONDS)
        load = Load(streams, readers, deliveries / readers, seconds)
        place = ground.directory / str(readers)
        place.mkdir()
        for system in SYSTEMS:
            if system.name in _SYSTEMS and ground.wants(system.name) and system.is_there():
                yield Row(system.name, stream(system, load, place), f"{readers:,} readers")
