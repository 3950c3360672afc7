"""Backoff between restarts, and heartbeat files that are overdue."""

import time
from pathlib import Path

import pytest

from deploy.system.programs import Backoff, HeartbeatFile
from millrace.worker.upkeep import heartbeat_file as worker_heartbeat


def test_backoff_doubles_up_to_its_bound_and_begins_again_after_a_long_life() -> None:
    backoff = Backoff()
    waits = [backoff.next_wait(lifetime_seconds=1) for _ in range(7)]
    assert waits == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    assert backoff.next_wait(lifetime_seconds=31) == 0.2
    assert backoff.next_wait(lifetime_seconds=1) == 0.4


@pytest.mark.parametrize(
    ("beat", "started", "is_overdue"),
    [
        (-10, -100, False),
        (-31, -100, True),
        (-100, -10, False),  # written by the process before this one
        (None, -10, False),
        (None, -31, True),
        (1000, -10, False),  # written before the machine's last boot
        (1000, -31, True),
    ],
)
def test_heartbeat_is_overdue_after_a_silence(
    tmp_path: Path, beat: float | None, started: float, is_overdue: bool
) -> None:
    heartbeat, now = HeartbeatFile(tmp_path / "pulse", max_silence_seconds=30), time.monotonic()
    if beat is not None:
        heartbeat.path.write_text(f"{now + beat}\n")
    assert heartbeat.is_overdue(now + started) == is_overdue


def test_content_that_is_no_number_is_no_heartbeat(tmp_path: Path) -> None:
    heartbeat = HeartbeatFile(tmp_path / "pulse", max_silence_seconds=30)
    heartbeat.path.write_text("")
    assert heartbeat.is_overdue(time.monotonic() - 31)
    assert not heartbeat.is_overdue(time.monotonic() - 29)


def test_heartbeat_file_is_the_one_that_a_worker_writes(tmp_path: Path) -> None:
    heartbeat = HeartbeatFile(tmp_path / "pulse")
    assert heartbeat.is_overdue(started_at=time.monotonic() - 100)
    worker_heartbeat.write_heartbeat(heartbeat.path)
    assert not heartbeat.is_overdue(started_at=time.monotonic() - 100)
    assert heartbeat.max_silence_seconds == worker_heartbeat.MAX_AGE_SECONDS
