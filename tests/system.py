"""The whole system as a user starts it: `deploy/run.py` in a process of its own, in a directory of the test.

Its Python processes are forks of one that has imported the modules of both tiers (`tests/forked_run.py`), which spares
each system five seconds of processor time, but for those of an `ExecutedSystem`.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

from tests.bare import ANY_ADDRESS
from tests.forks import ForkedProcess, fork

ROOT = Path(__file__).resolve().parent.parent
RUN = ROOT / "deploy" / "run.py"
START_SECONDS = 90.0
STOP_SECONDS = 60.0
ANY_ADDRESS_VARIABLES = {f"MILLRACE_{name.upper()}": str(value) for name, value in ANY_ADDRESS.items()}


class System:
    """A running system, from `with` to the end of its block; `flags` and `environment` are the command's.

    All users of a test come from one address, whose limits are off unless `environment` sets them. The state lies below
    the directory, so a second `with` on the same directory finds the first one's data.
    """

    is_forked: ClassVar[bool] = True
    url: str

    def __init__(self, directory: Path, *flags: str, **environment: str) -> None:
        self.state = directory / "state"
        self._output = directory / "run.log"
        self._flags = ["--port", "0", "--state", str(self.state), *flags]
        self._environment = {**ANY_ADDRESS_VARIABLES, **environment}
        self._process: subprocess.Popen[bytes] | ForkedProcess | None = None

    def __enter__(self) -> Self:
        """Start it and wait until it is ready; raises RuntimeError with all that it said where it is not."""
        self._process = self._start()
        try:
            self.url = self._wait_until_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it."""
        self.stop()

    @property
    def pid(self) -> int:
        """The command's own process id."""
        assert self._process is not None
        return self._process.pid

    @property
    def emulator_url(self) -> str:
        """The local endpoint's address."""
        return str(self._record()["emulator_url"])

    @property
    def redis_url(self) -> str:
        """The address of its Valkey."""
        return str(self._record()["redis_url"])

    def pids(self) -> dict[str, list[int]]:
        """Return what `--pids` prints: process ids by role."""
        command = [sys.executable, str(RUN), "--pids", "--state", str(self.state)]
        return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    def output(self) -> str:
        """Return what the command has printed."""
        return self._output.read_text("utf-8", "replace")

    def logs(self) -> dict[str, str]:
        """Return each program's log by its name: web, worker1, redis, emulator."""
        return {path.stem: path.read_text("utf-8", "replace") for path in (self.state / "logs").glob("*.log")}

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to stop and return its exit code; one that doesn't is killed, and its reaper ends the rest."""
        assert self._process is not None
        self._process.send_signal(how)
        try:
            return self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def _start(self) -> subprocess.Popen[bytes] | ForkedProcess:
        environment = {**os.environ, **self._environment}
        self._output.write_bytes(b"")  # of an earlier start in the same directory
        if self.is_forked:
            return fork(["tests.forked_run", *self._flags], environment, self._output)
        with self._output.open("ab") as output:
            return subprocess.Popen(
                [sys.executable, str(RUN), *self._flags],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
            )

    def _wait_until_ready(self) -> str:
        assert self._process is not None
        deadline = time.monotonic() + START_SECONDS
        while not (ready := re.search(r"^Millrace is ready: (\S+) \(MILLRACE_AUTH=.+\)$", self.output(), re.MULTILINE)):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the system did not start:\n{self.output()}")
            time.sleep(0.02)
        return ready[1]

    def _record(self) -> dict[str, Any]:
        return json.loads((self.state / "run.json").read_text("ascii"))


class ExecutedSystem(System):
    """A system each of whose processes imports its modules itself, as that of a user does."""

    is_forked = False
