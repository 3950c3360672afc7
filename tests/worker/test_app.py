"""The Celery app refuses to start with bad settings and names each of them in one line."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_bad_settings_stop_the_start_with_their_names() -> None:
    celery = str(Path(sys.executable).parent / "celery")
    run = subprocess.run(
        [celery, "-A", "millrace.worker.app", "worker", "--pool", "gevent"],
        cwd=ROOT,
        env={**os.environ, "MILLRACE_FLUSH_MS": "soon", "MILLRACE_NO_SUCH": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 2
    (line,) = run.stderr.splitlines()
    assert "MILLRACE_FLUSH_MS: takes a whole number" in line
    assert "MILLRACE_NO_SUCH: unknown setting" in line
