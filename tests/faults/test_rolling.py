"""Rows 8, 17, 26, 50 and 52: everything is replaced, process by process, while sixty answers stream."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from millrace.worker.settings.schema import load
from millrace.worker.store.migration import migrate
from tests.faults.rig import Rig
from tests.faults.rolling import ALIVE_MS, roll
from tests.postgres import PostgresProcess, absent
from tests.sentinels import SentinelService

RUNNING = 60


@pytest.fixture
def postgres() -> Iterator[PostgresProcess | None]:
    """PostgreSQL where it is installed; the test does without where it is not."""
    if absent():
        yield None
        return
    with PostgresProcess() as running:
        migrate(load({"MILLRACE_DATABASE_URL": running.url()}))
        yield running


def test_rows_17_and_26_a_rolling_restart_of_every_part_loses_no_character_and_shows_no_error(
    tmp_path: Path, postgres: PostgresProcess | None
) -> None:
    (tmp_path / "sentinels").mkdir()
    with (
        SentinelService(tmp_path / "sentinels", down_after_ms=ALIVE_MS) as sentinels,
        Rig(
            tmp_path,
            workers=2,
            webs=2,
            shutdown_grace_seconds=1,
            max_attempts=5,
            database_url=postgres.url() if postgres else None,
            redis_url=sentinels.url,
        ) as rig,
    ):
        old, first = [*rig.workers, *rig.webs], sentinels.master
        rolled = roll(rig, postgres, RUNNING, seconds=25, rate=2, sentinels=sentinels)
        assert not any(child.is_alive for child in old)
        assert sentinels.master is not first
        assert rolled.model_calls > RUNNING, "answers were handed over"
        assert rolled.reconnects > RUNNING / 2, "readers were moved"
        assert rolled.questions > 10
        assert set(rolled.steps) >= {"worker 1", "worker 2", "web 1", "web 2", "Redis", "Redis promotion"}
