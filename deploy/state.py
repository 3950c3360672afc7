"""The state directory: who runs in it, its secret key, its logs.

A lock on it is held by the running system, and by its reaper until the last process is gone: after a SIGKILL the next
start waits for that, rather than let two Valkeys write to the same data.
"""

import fcntl
import json
import os
import secrets
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from deploy.refusal import Refusal

ENDING_SECONDS = 8.0  # a killed system's processes are gone by then
LAST_LINES = 15


@dataclass(frozen=True)
class Record:
    """The running system, as run.json tells it; `roles` has the processes that the supervisor started."""

    pid: int
    url: str = ""
    redis_url: str = ""
    emulator_url: str = ""
    is_ready: bool = False
    roles: dict[str, list[int]] = field(default_factory=dict[str, list[int]])


class State:
    """A state directory; it is made when it is claimed."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory.absolute()
        self._record = self.directory / "run.json"

    def claim(self) -> int:
        """Return the descriptor of the lock that makes this process the directory's only system; raises Refusal."""
        try:
            (self.directory / "logs").mkdir(parents=True, exist_ok=True)
            self.directory.chmod(0o700)
            descriptor = os.open(self.directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise Refusal(f"the state directory {self.directory} can't be used: {error.strerror}") from error
        deadline = time.monotonic() + ENDING_SECONDS
        while not _lock(descriptor):
            if running := self.running():
                where = f"Millrace already runs in {self.directory} (process {running.pid} {running.url}".rstrip()
                raise Refusal(f"{where}); stop it, or name another directory with --state DIR")
            if time.monotonic() > deadline:
                raise Refusal(f"another Millrace is just starting or ending in {self.directory}; try again")
            time.sleep(0.05)
        self.write(Record(os.getpid()))
        return descriptor

    def write(self, record: Record) -> None:
        """Replace run.json as a whole."""
        _replace(self._record, json.dumps(asdict(record)))

    def forget(self) -> None:
        """Remove run.json: nothing runs here any more."""
        self._record.unlink(missing_ok=True)

    def running(self) -> Record | None:
        """Return the system that runs here, or None; a record left by a killed one doesn't count."""
        try:
            record = Record(**json.loads(self._record.read_text("ascii")))
            os.kill(record.pid, 0)
            descriptor = os.open(self.directory / "lock", os.O_RDONLY)
        except (OSError, ValueError, TypeError):
            return None
        try:
            # Shared, so that two who ask don't see each other.
            return None if _lock(descriptor, fcntl.LOCK_SH) else record
        finally:
            os.close(descriptor)

    def secret_key(self) -> str:
        """Return the key that signs cookies; made once, readable by its owner only."""
        path = self.directory / "secret_key"
        if not path.exists():
            _replace(path, secrets.token_urlsafe(48))
        return path.read_text("ascii").strip()

    def log(self, name: str) -> Path:
        """Return the log's path of a program."""
        return self.directory / "logs" / f"{name}.log"

    def last_lines(self, name: str, offset: int = 0) -> str:
        """Return the end of what a program's log holds from the offset on, in bytes; indented."""
        try:
            content = self.log(name).read_bytes()[offset:].decode("utf-8", "replace")
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
