"""The local endpoint as a process, for tests."""

import json
import re
import selectors
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 20.0
STOP_SECONDS = 5.0
_open_directly = urllib.request.build_opener(urllib.request.ProxyHandler({})).open  # past a proxy of the environment


class EmulatorProcess:
    """An endpoint in its own process, on a free port; runs while its `with` block does."""

    url: str

    def __enter__(self) -> Self:
        """Start the process and wait until it listens; raises RuntimeError if it does not."""
        command = [sys.executable, "-m", "deploy.emulator", "--host", "127.0.0.1", "--port", "0"]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
        try:
            self.url = self._address()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the process."""
        self._stop()

    def calls(self) -> list[dict[str, Any]]:
        """Return the calls that it served, oldest first: the reply of `GET /_calls`."""
        with _open_directly(f"{self.url}/_calls", timeout=STOP_SECONDS) as response:
            return json.load(response)

    def clear_calls(self) -> None:
        """Clear its history of calls, and the counts behind the directive's `times`."""
        request = urllib.request.Request(f"{self.url}/_calls", method="DELETE")
        _open_directly(request, timeout=STOP_SECONDS).close()

    def wait_for(self, condition: Callable[[list[dict[str, Any]]], bool], seconds: float = 30) -> list[dict[str, Any]]:
        """Return the calls as soon as they meet a condition; raises TimeoutError with the latest calls."""
        deadline, pause = time.monotonic() + seconds, 0.005
        while not condition(calls := self.calls()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"after {seconds} s the calls are {calls}")
            time.sleep(pause)
            pause = min(pause * 1.2, 0.05)
        return calls

    def _address(self) -> str:
        assert self.process.stdout
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            line = self.process.stdout.readline().decode() if selector.select(START_SECONDS) else ""
        match = re.fullmatch(r"emulator listening on (http://\S+)\n", line)
        if not match:
            raise RuntimeError(f"the emulator did not start: {line!r}")
        return match[1]

    def _stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()
