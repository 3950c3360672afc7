"""Keep programs running: start again what dies or does no work any more, and end all of them in order.

Each program leads a session and process group of its own: the terminal's Ctrl-C reaches only the supervisor, and what
a program leaves behind can be ended with it. The reaper knows every group, for the case that the supervisor is killed.
"""

import signal
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from deploy.programs import STOP_ORDER, Backoff, Program, Role
from deploy.reaper import Reaper, signal_group
from deploy.wakeup import Wakeup

IDLE_SECONDS = 5.0  # a signal ends the wait; this only bounds the harm of one that got lost


class Died(Exception):
    """A program ended during the start, when that means that it can't start at all.

    `log_offset` is where in its log, in bytes, this life begins.
    """

    def __init__(self, program: Program, ended: str, log_offset: int) -> None:
        super().__init__(f"{program.name} {ended}")
        self.program = program
        self.log_offset = log_offset


class StopWanted(Exception):
    """Somebody asked for the end: Ctrl-C, SIGTERM, or a closed terminal."""


@dataclass
class Child:
    """One program and its present process.

    `due` is when it is started (again), `kill_at` when its grace ends after it was told to end, in monotonic seconds.
    """

    program: Program
    process: subprocess.Popen[bytes] | None = None
    born: float = 0.0
    due: float = 0.0
    kill_at: float | None = None
    log_offset: int = 0
    backoff: Backoff = field(default_factory=Backoff)


class Supervisor:
    """Runs programs from one thread: whoever uses it calls `step` again and again.

    `changed` is called after each start and each end of a process, `say` with lines for people.
    """

    def __init__(
        self, wakeup: Wakeup, reaper: Reaper, directory: Path, log: Callable[[str], Path], say: Callable[[str], None]
    ) -> None:
        self._wakeup = wakeup
        self._reaper = reaper
        self._directory = directory
        self._log = log
        self._say = say
        self._children: list[Child] = []
        self.changed: Callable[[], None] = lambda: None
        self.restarts = False  # before the system is ready a death is an error, after it a thing to repair

    def start(self, program: Program) -> None:
        """Start a program now and keep it running."""
        self._children.append(child := Child(program))
        self._spawn(child)

    def processes(self) -> list[tuple[Program, int]]:
        """Return each living program with its process id."""
        return [(child.program, child.process.pid) for child in self._children if child.process]

    def step(self, seconds: float = IDLE_SECONDS) -> None:
        """Wait up to the seconds for something to happen and deal with it; raises StopWanted, and Died at the start."""
        now = time.monotonic()
        waits = [child.due - now for child in self._children if not child.process]
        waits += [child.kill_at - now for child in self._children if child.kill_at is not None]
        self._wakeup.wait(min([seconds, *waits]))
        if self._wakeup.stops:
            raise StopWanted
        self._reaper.keep()
        for child in self._children:
            self._bury(child)
            self._look_after(child)
        for child in self._children:
            if not child.process and child.due <= time.monotonic():
                self._spawn(child)

    def stop(self) -> None:
        """End all, role by role: SIGTERM, each program's grace, SIGKILL; a further wish to stop kills at once."""
        patience = self._wakeup.stops
        for roles in STOP_ORDER:
            ending = [child for child in self._children if child.process and child.program.role in roles]
            self._end(ending, patience)
        self.changed()

    def _end(self, ending: list[Child], patience: int) -> None:
        for child in ending:
            _tell_to_end(child)
        started = time.monotonic()
        while left := [child for child in ending if child.process and child.process.poll() is None]:
            waits = [started + child.program.grace_seconds - time.monotonic() for child in left]
            if min(waits) <= 0 or self._wakeup.stops > patience:
                break
            self._wakeup.wait(min(waits))
        for child in ending:
            self._clear(child)

    def _spawn(self, child: Child) -> None:
        with self._log(child.program.name).open("ab") as log:
            child.log_offset = log.tell()
            child.process = subprocess.Popen(
                child.program.command,
                cwd=self._directory,
                env=dict(child.program.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        child.born = time.monotonic()
        self._reaper.watch(child.process.pid)
        self.changed()

    def _bury(self, child: Child) -> None:
        if not child.process or (code := child.process.poll()) is None:
            return
        self._clear(child)
        ended = f"ended by signal {-code}" if code < 0 else f"ended with code {code}"
        if not self.restarts:
            raise Died(child.program, ended, child.log_offset)
        wait = child.backoff.after(time.monotonic() - child.born)
        child.due = time.monotonic() + wait
        self._say(f"{child.program.name} {ended}; starting it again in {wait:g} s")
        self.changed()

    def _look_after(self, child: Child) -> None:
        """End one that lives but does no work: SIGTERM, so that it hands over what it has; after its grace SIGKILL."""
        if not child.process or not self.restarts or not child.program.pulse:
            return
        if child.kill_at is None:
            if child.program.pulse.is_missed(child.born):
                self._say(f"{child.program.name} lives but does no work; ending it")
                _tell_to_end(child)
                child.kill_at = time.monotonic() + child.program.grace_seconds
        elif time.monotonic() >= child.kill_at:
            signal_group(child.process.pid, signal.SIGKILL)

    def _clear(self, child: Child) -> None:
        """End what is left of a program's group, which would hold its port or data, and forget it."""
        if child.process:
            signal_group(child.process.pid, signal.SIGKILL)
            child.process.wait()
            self._reaper.forget(child.process.pid)
            child.process, child.kill_at = None, None


def _tell_to_end(child: Child) -> None:
    assert child.process
    child.process.terminate()
    child.process.send_signal(signal.SIGCONT)  # a stopped process does not see the first


def roles_of(processes: Iterable[tuple[Program, int]]) -> dict[Role, list[int]]:
    """Return the process ids by role."""
    found: dict[Role, list[int]] = {}
    for program, pid in processes:
        found.setdefault(program.role, []).append(pid)
    return found
