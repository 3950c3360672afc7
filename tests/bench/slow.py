"""The effect on other readers of one that takes 1 KB a second."""

from collections.abc import Iterator

from tests.bench.scenario import OURS, Row, ScenarioContext, scenario
from tests.bench.streaming import Load, stream
from tests.bench.systems import SYSTEMS

_SECONDS = 8.0


@scenario("slow", "10 streams × 1,000 readers × 20 events/s, one of them at 1 KB/s", compared="p99 ms", rounds=5)
def slow(ground: ScenarioContext) -> Iterator[Row]:
    """Run the same load without and with a slow reader; the figures are the others'."""
    (ours,) = (system for system in SYSTEMS if system.name == OURS)
    readers, seconds = (20, 0.5) if ground.is_quick else (1000, _SECONDS)
    for count, name in ((0, OURS), (1, f"{OURS}, one reader at 1 KB/s")):
        place = ground.directory / str(count)
        place.mkdir()
        # A stream has as many readers with the slow one as without it.
        yield Row(name, stream(ours, Load(10, readers, 20, seconds, slow=count), place))
