"""Harness for the supervisor: run it in a process of its own on tiny programs, and inspect them."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.client import wait_for

ROOT = Path(__file__).resolve().parents[3]
SLEEPS = "import time\nwhile True: time.sleep(60)"
IGNORES_SIGTERM = f"import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('ignores')\n{SLEEPS}"
NOTES_ITS_END = f"""
import signal, sys, time
def end(*_):
    with open("ends", "a") as file: file.write({{name!r}} + " ")
    sys.exit()
signal.signal(signal.SIGTERM, end)
print("started")
{SLEEPS}
"""
BEATS_UNTIL_STUCK = """
import pathlib, time
draft = pathlib.Path("a.draft")
while not pathlib.Path("stuck").exists():
    draft.write_text(str(time.monotonic()))
    draft.replace("a.pulse")
    time.sleep(0.05)
print("stuck")
while True: time.sleep(60)
"""
HAS_A_CHILD = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {IGNORES_SIGTERM!r}])
print(child.pid)
{SLEEPS}
"""


def is_alive(pid: int) -> bool:
    """Return whether the process exists and is not a zombie."""
    answer = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return answer.stdout.strip()[:1] not in ("", "Z")


class SupervisedPrograms:
    """A supervisor at work on programs, from `with` to the end of its block, which leaves no process behind."""

    def __init__(self, directory: Path, *flags: str) -> None:
        self.directory = directory
        self._flags = flags
        self._programs: dict[str, dict[str, Any]] = {}
        self._seen: set[int] = set()

    def program(
        self, name: str, script: str, role: str = "worker", grace: float = 5.0, heartbeat: float | None = None
    ) -> Self:
        """Add a program; before `with`."""
        self._programs[name] = {"role": role, "script": script, "grace": grace, "heartbeat": heartbeat}
        return self

    def __enter__(self) -> Self:
        (self.directory / "programs.json").write_text(json.dumps(self._programs))
        with (self.directory / "output").open("w") as output:
            command = [sys.executable, "-u", "-m", "tests.deploy.system.supervisor_process"]
            self.process = subprocess.Popen(
                [*command, str(self.directory), *self._flags],
                cwd=ROOT,
                stdout=output,
            )
        # One that cannot start has a process for moments only.
        wait_for(lambda: len(self.pids()) == len(self._programs) or "; restarting it in " in self.output())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait()
        wait_for(lambda: not any(is_alive(pid) for pid in self._seen))

    def pids(self) -> dict[str, int]:
        """Return the process ids that the supervisor has written last."""
        try:
            found: dict[str, int] = json.loads((self.directory / "pids.json").read_text())
        except OSError:
            return {}
        self._seen |= set(found.values())
        return found

    def log(self, name: str) -> str:
        """Return a program's output."""
        return (self.directory / f"{name}.log").read_text()

    def output(self) -> str:
        """Return the supervisor's own output."""
        return (self.directory / "output").read_text()

    def send(self, number: signal.Signals) -> None:
        """Send the supervisor a signal."""
        os.kill(self.process.pid, number)
