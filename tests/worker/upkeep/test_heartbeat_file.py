"""The pulse of a worker: written by it, looked at by others, by a clock that they share."""

import os
import subprocess
import sys
import time
from pathlib import Path

from millrace.worker.upkeep.heartbeat_file import MOST_SECONDS, beat, silent_seconds

ROOT = Path(__file__).resolve().parents[2]


def look(pulse_file: str) -> subprocess.CompletedProcess[str]:
    """Look at a pulse as a probe does."""
    return subprocess.run(
        [sys.executable, "-m", "millrace.worker.upkeep.heartbeat_file"],
        cwd=ROOT,
        env={**os.environ, "MILLRACE_PULSE_FILE": pulse_file},
        capture_output=True,
        text=True,
        check=False,
    )


def test_another_process_sees_that_it_beats(tmp_path: Path) -> None:
    path = tmp_path / "pulse"
    beat(path)
    assert silent_seconds(path) < MOST_SECONDS
    probe = look(str(path))
    assert (probe.returncode, probe.stderr) == (0, "")
    assert [each.name for each in tmp_path.iterdir()] == ["pulse"]


def test_silence_is_told_with_its_length_and_its_place(tmp_path: Path) -> None:
    path = tmp_path / "pulse"
    path.write_text(f"{time.monotonic() - MOST_SECONDS - 1:.3f}\n")
    probe = look(str(path))
    assert probe.returncode == 1
    assert f"no pulse in {path} for 7" in probe.stderr
    assert "MILLRACE_PULSE_FILE, which is not set" in look("").stderr


def test_what_is_no_pulse_of_this_machine_since_its_start_counts_for_nothing(tmp_path: Path) -> None:
    path = tmp_path / "pulse"
    for content in (None, "", "soon", f"{time.monotonic() + 1000}"):
        if content is not None:
            path.write_text(content)
        assert silent_seconds(path) == float("inf")
