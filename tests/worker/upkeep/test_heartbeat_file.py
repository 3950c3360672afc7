"""The heartbeat file: written by a worker, checked by other processes of the machine."""

import os
import subprocess
import sys
import time
from pathlib import Path

from millrace.worker.upkeep.heartbeat_file import MAX_AGE_SECONDS, heartbeat_age, write_heartbeat

ROOT = Path(__file__).resolve().parents[2]


def probe(file: str) -> subprocess.CompletedProcess[str]:
    """Check the file as a liveness probe does."""
    return subprocess.run(
        [sys.executable, "-m", "millrace.worker.upkeep.heartbeat_file"],
        cwd=ROOT,
        env={**os.environ, "MILLRACE_PULSE_FILE": file},
        capture_output=True,
        text=True,
        check=False,
    )


def test_another_process_sees_a_fresh_heartbeat(tmp_path: Path) -> None:
    path = tmp_path / "heartbeat"
    write_heartbeat(path)
    assert heartbeat_age(path) < MAX_AGE_SECONDS
    result = probe(str(path))
    assert (result.returncode, result.stderr) == (0, "")
    assert [each.name for each in tmp_path.iterdir()] == ["heartbeat"]


def test_a_stale_file_is_reported_with_its_age_and_path(tmp_path: Path) -> None:
    path = tmp_path / "heartbeat"
    path.write_text(f"{time.monotonic() - MAX_AGE_SECONDS - 1:.3f}\n")
    result = probe(str(path))
    assert result.returncode == 1
    assert f"no heartbeat in {path} for 7" in result.stderr
    assert "MILLRACE_PULSE_FILE, which is not set" in probe("").stderr


def test_a_missing_malformed_or_future_heartbeat_is_infinitely_old(tmp_path: Path) -> None:
    path = tmp_path / "heartbeat"
    for content in (None, "", "soon", f"{time.monotonic() + 1000}"):
        if content is not None:
            path.write_text(content)
        assert heartbeat_age(path) == float("inf")
