"""Keep programs running: restart those that exit or stop working, and stop all of them in order.

Each program leads a session and process group of its own: the terminal's Ctrl-C reaches only the supervisor, and any
processes that a program leaves behind can be killed with it. The orphan reaper is given every group, so that it can
kill them if the supervisor is killed.
"""

import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

from deploy.environment import PrintLine
from deploy.errors import ProgramExited, StopRequested
from deploy.system.orphan_reaper import OrphanReaper, signal_group
from deploy.system.programs import STOP_ORDER, Backoff, Program, Role
from deploy.system.state_directory import open_log

IDLE_SECONDS = 5.0  # a signal ends the wait early; this bounds the delay if one is missed
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class SignalWakeup:
    """Makes `wait` return on a signal: a child has exited, or a stop is requested.

    It replaces the signal handlers for the duration of its `with` block, which must be in the main thread.
    """

    def __init__(self) -> None:
        self.stop_requests = 0
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)

    def __enter__(self) -> Self:
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        self._before = {number: signal.getsignal(number) for number in (*STOP_SIGNALS, signal.SIGCHLD)}
        for number in self._before:
            if (number, self._before[number]) != (signal.SIGHUP, signal.SIG_IGN):  # under nohup it stays ignored
                signal.signal(number, self._count)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.set_wakeup_fd(-1)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        os.close(self._read)
        os.close(self._write)

    def wake(self) -> None:
        """Make `wait` return; may be called from any thread."""
        os.write(self._write, b"\0")

    def wait(self, seconds: float) -> None:
        """Return on the next signal, on `wake`, or after this many seconds."""
        if select.select([self._read], [], [], max(0.0, seconds))[0]:
            os.read(self._read, 4096)

    def _count(self, number: int, frame: FrameType | None) -> None:
        if number != signal.SIGCHLD:
            self.stop_requests += 1


@dataclass
class Child:
    """One program and its current process.

    `start_at` is the time of its restart, `kill_at` the end of its grace period after SIGTERM; in monotonic seconds.
    """

    program: Program
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    start_at: float = 0.0
    kill_at: float | None = None
    log_offset: int = 0
    backoff: Backoff = field(default_factory=Backoff)


class Supervisor:
    """Runs programs from one thread, which calls `step` in a loop.

    `on_change` is called after each start and each exit of a process, `print_line` with messages for the operator.
    """

    def __init__(
        self,
        wakeup: SignalWakeup,
        reaper: OrphanReaper,
        directory: Path,
        log_path: Callable[[str], Path],
        print_line: PrintLine,
    ) -> None:
        self._wakeup = wakeup
        self._reaper = reaper
        self._directory = directory
        self._log_path = log_path
        self._print_line = print_line
        self._children: list[Child] = []
        self.on_change: Callable[[], None] = lambda: None
        self.restarts = False  # set once the system is ready; before that an exit is an error

    def start(self, program: Program) -> None:
        """Start a program now and keep it running."""
        self._children.append(child := Child(program))
        self._spawn(child)

    def processes(self) -> list[tuple[Program, int]]:
        """Return each running program with its process id."""
        return [(child.program, child.process.pid) for child in self._children if child.process]

    def step(self, seconds: float = IDLE_SECONDS) -> None:
        """Wait up to this many seconds for an event and handle it.

        Raises StopRequested, and ProgramExited while `restarts` is false.
        """
        now = time.monotonic()
        waits = [child.start_at - now for child in self._children if not child.process]
        waits += [child.kill_at - now for child in self._children if child.kill_at is not None]
        self._wakeup.wait(min([seconds, *waits]))
        if self._wakeup.stop_requests:
            raise StopRequested
        self._reaper.ensure_running()
        for child in self._children:
            self._collect_exit(child)
            self._check_heartbeat(child)
        for child in self._children:
            if not child.process and child.start_at <= time.monotonic():
                self._spawn(child)

    def stop(self) -> None:
        """Stop all, role by role: SIGTERM, each program's grace period, SIGKILL; another stop request kills at once."""
        requests = self._wakeup.stop_requests
        for roles in STOP_ORDER:
            ending = [child for child in self._children if child.process and child.program.role in roles]
            self._end(ending, requests)
        self.on_change()

    def _end(self, ending: list[Child], requests: int) -> None:
        for child in ending:
            _terminate(child)
        started = time.monotonic()
        while left := [child for child in ending if child.process and child.process.poll() is None]:
            waits = [started + child.program.grace_seconds - time.monotonic() for child in left]
            if min(waits) <= 0 or self._wakeup.stop_requests > requests:
                break
            self._wakeup.wait(min(waits))
        for child in ending:
            self._clear(child)

    def _spawn(self, child: Child) -> None:
        with open_log(self._log_path(child.program.name)) as log:
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
        child.started_at = time.monotonic()
        self._reaper.watch(child.process.pid)
        self.on_change()

    def _collect_exit(self, child: Child) -> None:
        if not child.process or (code := child.process.poll()) is None:
            return
        self._clear(child)
        how = f"ended by signal {-code}" if code < 0 else f"exited with code {code}"
        if not self.restarts:
            raise ProgramExited(child.program, how, child.log_offset)
        wait = child.backoff.next_wait(time.monotonic() - child.started_at)
        child.start_at = time.monotonic() + wait
        self._print_line(f"{child.program.name} {how}; restarting it in {wait:g} s")
        self.on_change()

    def _check_heartbeat(self, child: Child) -> None:
        """Stop a process that runs but does no work: SIGTERM, so that it hands over its generations; later SIGKILL."""
        if not child.process or not self.restarts or not child.program.heartbeat_file:
            return
        if child.kill_at is None:
            if child.program.heartbeat_file.is_overdue(child.started_at):
                self._print_line(f"{child.program.name} is running but does no work; ending it")
                _terminate(child)
                child.kill_at = time.monotonic() + child.program.grace_seconds
        elif time.monotonic() >= child.kill_at:
            signal_group(child.process.pid, signal.SIGKILL)

    def _clear(self, child: Child) -> None:
        """Kill the rest of a program's group, which could still hold its port or data, and forget its process."""
        if child.process:
            signal_group(child.process.pid, signal.SIGKILL)
            child.process.wait()
            self._reaper.forget(child.process.pid)
            child.process, child.kill_at = None, None


def _terminate(child: Child) -> None:
    assert child.process
    child.process.terminate()
    child.process.send_signal(signal.SIGCONT)  # a suspended process does not handle SIGTERM


def pids_by_role(processes: Iterable[tuple[Program, int]]) -> dict[Role, list[int]]:
    """Return the process ids of each role."""
    found: dict[Role, list[int]] = {}
    for program, pid in processes:
        found.setdefault(program.role, []).append(pid)
    return found
