"""The state directory: the record of the system that runs in it, its secret key, its logs.

The running system holds a lock on it, and so does its orphan reaper until the last process is gone. After a SIGKILL the
next start waits for that, because two Valkeys must never write to the same data.
"""

import fcntl
import json
import os
import secrets
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from deploy.errors import StartError

ENDING_SECONDS = 8.0  # the processes of a killed system are gone by then
LAST_LINES = 15


@dataclass(frozen=True)
class SystemRecord:
    """The content of run.json: the running system; `roles` has the processes that the supervisor started."""

    pid: int
    url: str = ""
    redis_url: str = ""
    emulator_url: str = ""
    is_ready: bool = False
    roles: dict[str, list[int]] = field(default_factory=dict[str, list[int]])


class StateDirectory:
    """A state directory; it is made when it is claimed."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._record = self.path / "run.json"

    def claim(self) -> int:
        """Return the descriptor of the lock that makes this process the directory's only system.

        Raises StartError where another system runs in it or it can't be used.
        """
        try:
            (self.path / "logs").mkdir(parents=True, exist_ok=True)
            self.path.chmod(0o700)
            descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise StartError(f"the state directory {self.path} can't be used: {error.strerror}") from error
        deadline = time.monotonic() + ENDING_SECONDS
        while not _lock(descriptor):
            if running := self.running():
                where = f"Millrace already runs in {self.path} (process {running.pid} {running.url}".rstrip()
                raise StartError(f"{where}); stop it, or name another directory with --state DIR")
            if time.monotonic() > deadline:
                raise StartError(f"another Millrace is just starting or stopping in {self.path}; try again")
            time.sleep(0.05)
        self.write(SystemRecord(os.getpid()))
        return descriptor

    def write(self, record: SystemRecord) -> None:
        """Replace run.json as a whole."""
        _replace(self._record, json.dumps(asdict(record)))

    def remove_record(self) -> None:
        """Remove run.json: nothing runs here any more."""
        self._record.unlink(missing_ok=True)

    def running(self) -> SystemRecord | None:
        """Return the system that runs here, or None; the record of a killed system doesn't count."""
        try:
            record = SystemRecord(**json.loads(self._record.read_text("ascii")))
            os.kill(record.pid, 0)
            descriptor = os.open(self.path / "lock", os.O_RDONLY)
        except (OSError, ValueError, TypeError):
            return None
        try:
            # A shared lock, so that two processes that look at once don't take each other for a system.
            return None if _lock(descriptor, fcntl.LOCK_SH) else record
        finally:
            os.close(descriptor)

    def secret_key(self) -> str:
        """Return the key that signs cookies; made once, readable by its owner only."""
        path = self.path / "secret_key"
        if not path.exists():
            _replace(path, secrets.token_urlsafe(48))
        return path.read_text("ascii").strip()

    def log_path(self, name: str) -> Path:
        """Return the path of a program's log."""
        return self.path / "logs" / f"{name}.log"

    def last_lines(self, name: str, offset: int = 0) -> str:
        """Return the last lines of a program's log, indented; only those from the offset on, in bytes."""
        try:
            content = self.log_path(name).read_bytes()[offset:].decode("utf-8", "replace")
        except OSError:
            return ""
        lines = [line for line in content.split("\n") if line.strip()]
        return "\n".join(f"  | {line}" for line in lines[-LAST_LINES:])


def _lock(descriptor: int, how: int = fcntl.LOCK_EX) -> bool:
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _replace(path: Path, content: str) -> None:
    draft = path.with_name(f"{path.name}.draft")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(content)
    draft.replace(path)
