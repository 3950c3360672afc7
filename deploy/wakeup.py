"""Signals as something that can be waited for: a child that ended, a wish to stop."""

import os
import select
import signal
from types import FrameType, TracebackType
from typing import Self

STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Wakeup:
    """From `with` to the end of its block signals only wake `wait`; must be entered in the main thread."""

    def __init__(self) -> None:
        self.stops = 0  # how often it was asked to stop
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)

    def __enter__(self) -> Self:
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        self._before = {number: signal.getsignal(number) for number in (*STOPS, signal.SIGCHLD)}
        for number in self._before:
            if (number, self._before[number]) != (signal.SIGHUP, signal.SIG_IGN):  # under nohup it stays ignored
                signal.signal(number, self._note)
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
        """Let `wait` return; may be called from any thread."""
        os.write(self._write, b"\0")

    def wait(self, seconds: float) -> None:
        """Return at the next signal, at `wake`, or after the seconds."""
        if select.select([self._read], [], [], max(0.0, seconds))[0]:
            os.read(self._read, 4096)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number != signal.SIGCHLD:
            self.stops += 1
