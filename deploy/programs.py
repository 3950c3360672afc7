"""What a program is to the supervisor: a name, a command, and how long it may take to end."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from deploy.pulse import Pulse

Role = Literal["web", "worker", "redis", "emulator"]
ROLES: tuple[Role, ...] = ("web", "worker", "redis", "emulator")
# Web and worker end first and at once; Redis last, so that they can hand over what they have.
STOP_ORDER: tuple[tuple[Role, ...], ...] = (("web", "worker"), ("emulator",), ("redis",))


@dataclass(frozen=True)
class Program:
    """A program to keep running; `grace_seconds` is what it has between SIGTERM and SIGKILL.

    One with a `pulse` is started anew where it lives but does no work.
    """

    name: str
    role: Role
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)  # it holds secrets
    grace_seconds: float = 10.0
    pulse: Pulse | None = None


@dataclass
class Backoff:
    """How long to wait before the next start: doubling up to a bound, from the first again after a long life."""

    first_seconds: float = 0.2
    most_seconds: float = 5.0
    healthy_seconds: float = 30.0
    _next: float = 0.0

    def after(self, lifetime_seconds: float) -> float:
        """Return the seconds to wait after a life of this length."""
        if not self._next or lifetime_seconds >= self.healthy_seconds:
            self._next = self.first_seconds
        wait, self._next = self._next, min(self._next * 2, self.most_seconds)
        return wait
