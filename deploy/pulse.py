"""The file in which a program says, again and again, that it does its work.

It holds the monotonic clock's seconds, which are the same for all processes of a machine and never jump.
"""

import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Pulse:
    """Where a program says so, and after how many seconds without it is started anew."""

    path: Path
    most_seconds: float = 75.0  # as in worker/pulse.py

    def is_missed(self, born: float) -> bool:
        """Tell whether it has been silent for too long; `born` is when the program began, in monotonic seconds."""
        now = time.monotonic()
        try:
            said = float(self.path.read_text("ascii"))
        except (OSError, ValueError):
            said = born
        # One that lies ahead was said before the machine's last start.
        return now - max(born, said if said <= now else born) > self.most_seconds
