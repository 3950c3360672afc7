"""A small process that ends the programs' process groups when the supervisor is gone, however it ended.

It holds the read end of a pipe. While the supervisor lives it writes into the pipe which groups exist. At the pipe's
end, which comes even after SIGKILL, the reaper ends the groups that are left. It has a session of its own, out of reach
of the terminal's Ctrl-C.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

TERM_SECONDS = 2.0  # for the groups to end by themselves
KILL_SECONDS = 1.5  # to wait for their end after SIGKILL, so that the lock is held until they are gone


class OrphanReaper:
    """The supervisor's side: `watch` a group after its start, `forget` it after its end.

    `held_descriptors` stay open in the reaper until all groups are gone, such as a lock's.
    """

    def __init__(self, held_descriptors: Sequence[int] = ()) -> None:
        self._held_descriptors = tuple(held_descriptors)
        self._groups: set[int] = set()
        self._process = self._start()

    def watch(self, group: int) -> None:
        """End this process group when the supervisor is gone."""
        self._groups.add(group)
        self._send(f"+{group}\n")

    def forget(self, group: int) -> None:
        """Leave this process group alone: it has ended."""
        self._groups.discard(group)
        self._send(f"-{group}\n")

    def ensure_running(self) -> None:
        """Start another reaper where this one was killed."""
        if self._process.poll() is not None:
            self._process = self._start()

    def close(self) -> None:
        """End the reaper; it ends the groups that it still watches."""
        _pipe(self._process).close()
        self._process.wait()

    def _start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            # With the groups on its command line it knows them even when the supervisor is killed the next moment.
            [sys.executable, "-I", Path(__file__).resolve(), *map(str, self._groups)],
            stdin=subprocess.PIPE,
            text=True,
            start_new_session=True,
            pass_fds=self._held_descriptors,
        )

    def _send(self, line: str) -> None:
        try:
            _write(self._process, line)
        except BrokenPipeError:  # its successor gets all groups on its command line
            self._process.wait()
            self.ensure_running()


def _pipe(process: subprocess.Popen[str]) -> IO[str]:
    assert process.stdin
    return process.stdin


def _write(process: subprocess.Popen[str], line: str) -> None:
    _pipe(process).write(line)
    _pipe(process).flush()


def signal_group(group: int, number: int) -> bool:
    """Send a signal to a process group; returns whether the group exists."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):  # macOS answers EPERM for a group of zombies
        return False
    return True


def end_groups(groups: set[int]) -> None:
    """End the groups: SIGTERM, a short grace, SIGKILL, and wait until they are gone."""
    for group in groups:
        signal_group(group, signal.SIGTERM)
        signal_group(group, signal.SIGCONT)  # a stopped process does not handle SIGTERM
    left = _wait(groups, TERM_SECONDS)
    for group in left:
        signal_group(group, signal.SIGKILL)
    _wait(left, KILL_SECONDS)


def _wait(groups: set[int], seconds: float) -> set[int]:
    deadline = time.monotonic() + seconds
    while (groups := {each for each in groups if signal_group(each, 0)}) and time.monotonic() < deadline:
        time.sleep(0.02)
    return groups


def main() -> None:
    """Take groups as arguments, read `+group` and `-group` lines until the pipe's end, then end what is left."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups = {int(argument) for argument in sys.argv[1:]}
    for line in sys.stdin:
        (groups.add if line[0] == "+" else groups.discard)(int(line[1:]))
    end_groups(groups)


if __name__ == "__main__":
    main()
