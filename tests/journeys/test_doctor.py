"""`deploy/run.py --check` on a running system."""

import subprocess
import sys

from tests.system import RUN, System


def test_doctor_finds_no_failure_in_a_running_system_and_prints_no_password(system: System) -> None:
    run = subprocess.run(
        [sys.executable, str(RUN), "--check", "--state", str(system.state)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert run.returncode == 0, run.stdout
    assert run.stdout.splitlines()[-1].startswith("0 failed, "), run.stdout
    assert f"checking the system in {system.state} ({system.url})" in run.stderr
    assert "the first text through it came after" in run.stdout
    assert (system.state / "redis_password").read_text() not in run.stdout
