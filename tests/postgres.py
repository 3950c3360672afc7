"""A real PostgreSQL server for tests: its own process, on a free port, in a directory of its own.

It is Debian's `postgresql`, found where Debian puts it or on the path. It refuses to run as root: then it runs as
`postgres`, the user that the package makes.
"""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psycopg

from tests.valkey import free_port

_DEBIAN = Path("/usr/lib/postgresql")


def binary(name: str) -> Path | None:
    """Return where a program of PostgreSQL's lies, of the newest version, or None."""
    found = sorted(_DEBIAN.glob(f"*/bin/{name}"), key=lambda path: int(path.parts[-3]))
    on_path = shutil.which(name)
    return found[-1] if found else Path(on_path) if on_path else None


def absent() -> str:
    """Return why there is no server to start, nothing where there is; where a change is checked, it must be there."""
    if binary("postgres") is not None and binary("initdb") is not None:
        return ""
    why = "PostgreSQL is not installed (apt-get install postgresql)"
    assert not os.environ.get("CI"), why
    return why


class PostgresProcess:
    """A PostgreSQL server, from `with` to the end of its block; `stop` and `start` keep the port and the data."""

    def __init__(self) -> None:
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._directory = Path(tempfile.mkdtemp(prefix="millrace-postgres-"))
        self._as = {}
        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres")
            os.chown(self._directory, user.pw_uid, user.pw_gid)
            self._as: dict[str, Any] = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": ()}
        made = subprocess.run(
            [str(binary("initdb")), "-D", str(self._data), "-U", "millrace", "-A", "trust", "-E", "UTF8", "--no-sync"],
            cwd=self._directory,
            capture_output=True,
            text=True,
            check=False,
            **self._as,
        )
        assert made.returncode == 0, made.stderr
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        shutil.rmtree(self._directory)

    @property
    def pid(self) -> int:
        """The server's process id; its children serve a connection each."""
        assert self.process is not None
        return self.process.pid

    @property
    def _data(self) -> Path:
        return self._directory / "data"

    def url(self, database: str = "postgres") -> str:
        """Return the address of one of its databases."""
        return f"postgresql://millrace@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start the server and wait until it answers; nothing where it runs already."""
        if self.process is not None:
            return
        with (self._directory / "log").open("ab") as log:
            process = subprocess.Popen[bytes](
                [
                    *(str(binary("postgres")), "-D", str(self._data), "-p", str(self.port)),
                    *("-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "fsync=off"),
                ],
                cwd=self._directory,
                stdout=log,
                stderr=log,
                **self._as,
            )
        self.process = process
        deadline = time.monotonic() + 60
        while True:
            try:
                psycopg.connect(self.url()).close()
            except psycopg.OperationalError:
                assert time.monotonic() < deadline, "PostgreSQL did not start"
                assert process.poll() is None, (self._directory / "log").read_text("utf-8", "replace")
                time.sleep(0.02)
            else:
                return

    def stop(self, how: signal.Signals = signal.SIGQUIT) -> None:
        """End the server by the signal, at once by default, and wait for its end."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait()
            self.process = None

    def query(self, statement: str, database: str = "postgres") -> None:
        """Do one statement outside of any transaction."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            connection.execute(statement.encode())
