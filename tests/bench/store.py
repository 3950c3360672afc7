"""The delays that the database causes: to the event loop while answers are stored, and to a memory search."""

from collections.abc import Iterator

from tests.bench.scenario import Row, ScenarioContext, scenario
from tests.bench.streaming import ControlledProcess
from tests.postgres import PostgresProcess, absent

_SQLITE, _POSTGRES = "SQLite", "PostgreSQL"


@scenario(
    "store", "50 answers written a second; 10,000 memories searched", compared="hub blocked p99 ms", against=_SQLITE
)
def store(ground: ScenarioContext) -> Iterator[Row]:
    """Write and search in a process as both tiers are: one event loop, with all else waiting in it."""
    if ground.wants(_SQLITE):
        yield Row(_SQLITE, _measured(ground, f"sqlite:///{ground.directory}/store.db"))
    if ground.wants(_POSTGRES) and not absent():
        with PostgresProcess() as postgres:
            yield Row(_POSTGRES, _measured(ground, postgres.url()))


def _measured(ground: ScenarioContext, database_url: str) -> dict[str, float]:
    memories, searches, seconds = (50, 5, 0.5) if ground.is_quick else (10_000, 200, 10)
    plan = {"database_url": database_url, "memories": memories, "searches": searches, "writes_a_second": 50}
    with ControlledProcess("peers.store_load", plan, ground.directory) as load:
        return load.ask(seconds=seconds)
