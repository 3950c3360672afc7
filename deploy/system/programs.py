"""The description of a program that the supervisor keeps running: its command, its restarts, its sign of life."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Role = Literal["web", "worker", "redis", "emulator"]
ROLES: tuple[Role, ...] = ("web", "worker", "redis", "emulator")
# Web and worker end first and at once; Redis last, so that they can hand over their generations.
STOP_ORDER: tuple[tuple[Role, ...], ...] = (("web", "worker"), ("emulator",), ("redis",))


@dataclass(frozen=True)
class HeartbeatFile:
    """The file that a program rewrites again and again while it does its work.

    It holds the seconds of the monotonic clock, which is the same for all processes of a machine and never jumps.
    """

    path: Path
    max_silence_seconds: float = 75.0  # as in worker/upkeep/heartbeat_file.py

    def is_overdue(self, started_at: float) -> bool:
        """Return whether the last heartbeat is too old; `started_at` is the program's start, in monotonic seconds."""
        now = time.monotonic()
        try:
            beat = float(self.path.read_text("ascii"))
        except (OSError, ValueError):
            beat = started_at
        # A heartbeat in the future was written before the machine's last boot.
        return now - max(started_at, beat if beat <= now else started_at) > self.max_silence_seconds


@dataclass(frozen=True)
class Program:
    """A program to keep running; `grace_seconds` is the time between SIGTERM and SIGKILL.

    A program with a `heartbeat_file` is also restarted where its process lives but does no work.
    """

    name: str
    role: Role
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)  # it holds secrets
    grace_seconds: float = 10.0
    heartbeat_file: HeartbeatFile | None = None


@dataclass
class Backoff:
    """The wait before the next start: doubles up to a bound, and begins again after a process that lived long."""

    first_seconds: float = 0.2
    max_seconds: float = 5.0
    healthy_seconds: float = 30.0
    _next: float = 0.0

    def next_wait(self, lifetime_seconds: float) -> float:
        """Return the seconds to wait after a process that lived for so long."""
        if not self._next or lifetime_seconds >= self.healthy_seconds:
            self._next = self.first_seconds
        wait, self._next = self._next, min(self._next * 2, self.max_seconds)
        return wait
