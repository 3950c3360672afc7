"""The pulse: a file that one worker process writes while it does its work, for whoever restarts those that do not.

`python -m millrace.worker.upkeep.heartbeat_file` exits with 0 where the pulse in `MILLRACE_PULSE_FILE` beats, else with 1.
The file holds the monotonic clock's seconds, which are the same for all processes of a machine and never jump.
"""

import sys
import time
from pathlib import Path

from millrace.worker.settings.schema import load

MOST_SECONDS = 75.0  # a half-open connection is found out within 25 s, and Celery waits up to 30 s to connect again


def beat(path: Path) -> None:
    """Note that the process does its work; raises OSError."""
    draft = path.with_name(f"{path.name}.draft")
    draft.write_text(f"{time.monotonic()}\n", "ascii")  # not rounded: what lies ahead would be no pulse
    draft.replace(path)


def silent_seconds(path: Path) -> float:
    """Return the seconds since the last beat; infinite where there was none since the machine started."""
    try:
        silence = time.monotonic() - float(path.read_text("ascii"))
    except (OSError, ValueError):
        return float("inf")
    return silence if silence >= 0 else float("inf")


def main() -> int:
    """Look at the pulse of this environment's worker."""
    path = load().worker.pulse_file
    silence = silent_seconds(Path(path)) if path else float("inf")
    if silence <= MOST_SECONDS:
        return 0
    sys.stderr.write(f"millrace: no pulse in {path or 'MILLRACE_PULSE_FILE, which is not set'} for {silence:.0f} s\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
