"""A worker process with production's command line, forked as `forks.py` says, that a test may signal or kill."""

import os
import signal
from pathlib import Path
from types import TracebackType
from typing import Self

from millrace.worker.command import arguments_for
from tests.forks import fork
from tests.worker.harness import WorkerHarness, wait_until

ROOT = Path(__file__).resolve().parents[2]


class CeleryWorker:
    """A worker process that runs for the length of a `with` block."""

    def __init__(self, harness: WorkerHarness, directory: Path, name: str, *options: str, **environment: str) -> None:
        self._name = name
        self._options = options
        self._log = directory / f"{name}.log"
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("MILLRACE_", "AWS_"))}
        local = {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"}
        self._environment = clean | local | harness.environment | environment

    def __enter__(self) -> Self:
        _, *arguments = arguments_for(["-n", f"{self._name}@%h", *self._options])
        self._log.unlink(missing_ok=True)
        self.process = fork(arguments, {**self._environment, "PYTHONPATH": str(ROOT / ".package")}, self._log)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        if error is not None:
            print(f"--- {self._name}\n{self.log()[-6000:]}")

    def log(self) -> str:
        """Return the process's output so far."""
        return self._log.read_text("utf-8", "replace")

    def wait_until_ready(self) -> None:
        """Wait until the process takes tasks."""
        wait_until(lambda: "ready" in self.log(), f"{self._name} to be ready\n{self.log()}", 90)

    def send(self, which: signal.Signals) -> None:
        """Send the process a signal."""
        self.process.send_signal(which)
