"""Processes of both tiers without the second of processor time that their imports take.

`fork` starts one as a fork of a server that has imported the modules of both tiers, under gevent's monkey patches as
both have them first of all. From its command line on the process is real: it reads its own settings, configuration and
application, and has its own output, environment and exit code. The server ends with the test process.
"""

import atexit
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
_START_SECONDS = 60.0
_END_SECONDS = 120.0
_POLL_SECONDS = 0.01


class ForkedProcess:
    """A fork of the server; of the same use as a `subprocess.Popen`, with the same exit codes."""

    def __init__(self, server: "ForkServer", pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._server = server

    def poll(self) -> int | None:
        """Return the exit code, None while it runs."""
        if self.returncode is None:
            self.returncode = self._server.ask(poll=self.pid)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code as soon as it has ended; raises TimeoutExpired."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if deadline is not None and time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
            time.sleep(_POLL_SECONDS)
        return code

    def send_signal(self, which: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, which)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)


class ForkServer:
    """The server's process; it answers one question at a time, each a line of JSON."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("MILLRACE_", "AWS_"))}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.fork_server"],
            cwd=ROOT,
            env={**clean, "PYTHONPATH": str(ROOT / ".package")},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        atexit.register(self._stop)

    def ask(self, **question: Any) -> Any:
        """Send a question and return the answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._lock:
            self._process.stdin.write(json.dumps(question).encode() + b"\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        assert answer, "the server of forks has ended"
        return json.loads(answer)

    def _stop(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


@cache
def _server() -> ForkServer:
    return ForkServer()


def fork(
    arguments: Sequence[str], environment: Mapping[str, str], log: Path, *, has_own_session: bool = False
) -> ForkedProcess:
    """Start a process as `python -m` with the arguments does, in the checkout; its output is appended to the file."""
    log.touch()  # it is there when this returns, as that of a `Popen`
    started = {
        "arguments": list(arguments),
        "environment": dict(environment),
        "log": str(log),
        "has_own_session": has_own_session,
    }
    return ForkedProcess(_server(), _server().ask(start=started))


def outputs_of(arguments: Sequence[str], *environments: Mapping[str, str]) -> list[tuple[int, str]]:
    """Return the exit code and the output of a process in each environment; all run at once, as `fork` starts them."""
    with tempfile.TemporaryDirectory() as directory:
        logs = [Path(directory) / str(number) for number in range(len(environments))]
        processes = [fork(arguments, each, log) for each, log in zip(environments, logs, strict=True)]
        return [(each.wait(_END_SECONDS), log.read_text("utf-8")) for each, log in zip(processes, logs, strict=True)]
