"""The heartbeat file: a worker writes it while it consumes, so that a supervisor can restart one that does not.

`python -m millrace.worker.upkeep.heartbeat_file` exits with 0 if the file that `MILLRACE_PULSE_FILE` names is fresh,
else with 1. The file holds the monotonic clock's seconds, which all processes of a machine share and which never jump.
"""

import sys
import time
from pathlib import Path

from millrace.worker.settings.schema import load

MAX_AGE_SECONDS = 75.0  # a half-open connection is detected within 25 s, and Celery waits up to 30 s to reconnect


def write_heartbeat(path: Path) -> None:
    """Write the current time; raises OSError."""
    draft = path.with_name(f"{path.name}.draft")
    draft.write_text(f"{time.monotonic()}\n", "ascii")  # not rounded: a time in the future is no valid heartbeat
    draft.replace(path)


def heartbeat_age(path: Path) -> float:
    """Return the seconds since the last heartbeat; infinite if there was none since the machine started."""
    try:
        age = time.monotonic() - float(path.read_text("ascii"))
    except (OSError, ValueError):
        return float("inf")
    return age if age >= 0 else float("inf")


def main() -> int:
    """Check the heartbeat file of this environment's worker and return the exit code."""
    path = load().worker.pulse_file
    age = heartbeat_age(Path(path)) if path else float("inf")
    if age <= MAX_AGE_SECONDS:
        return 0
    file = path or "MILLRACE_PULSE_FILE, which is not set"
    sys.stderr.write(f"millrace: no heartbeat in {file} for {age:.0f} s\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
