"""The state directory: the record of the system that runs in it, its secrets, its logs.

It belongs to the user who runs the system, and so does every file that is read from it: another user's could hold a
planted key, or be a link to a file that a log would then be appended to.

The running system holds a lock on it, and so does its orphan reaper until the last process is gone. After a SIGKILL the
next start waits for that, because two Valkeys must never write to the same data.
"""

import errno
import fcntl
import json
import os
import secrets
import stat
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO

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
    providers: list[str] = field(default_factory=lambda: ["bedrock"])


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
            self._make(self.path)
            self.directory("logs")
            descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise StartError(
                f"the state directory {self.path} can't be used: {error.strerror}; name one with --state DIR"
            ) from error
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
            record = SystemRecord(**json.loads(_read_own(self._record)))
            os.kill(record.pid, 0)
            descriptor = os.open(self.path / "lock", os.O_RDONLY | os.O_NOFOLLOW)
        except (OSError, ValueError, TypeError, StartError):
            return None
        try:
            # A shared lock, so that two processes that look at once don't take each other for a system.
            return None if _lock(descriptor, fcntl.LOCK_SH) else record
        finally:
            os.close(descriptor)

    def secret_key(self) -> str:
        """Return the key that signs cookies; made once, readable by its owner only."""
        return self._secret("secret_key")

    def redis_password(self) -> str:
        """Return the password of the system's own Valkey; made once, readable by its owner only."""
        return self._secret("redis_password")

    def directory(self, name: str) -> Path:
        """Return a directory inside, made where it is missing; raises StartError where it is another user's."""
        self._make(self.path / name)
        return self.path / name

    def write_private(self, path: Path, content: str) -> None:
        """Replace a file inside by one that only its owner can read."""
        _replace(path, content)

    def read_private(self, path: Path) -> str:
        """Return the text of a file inside; raises StartError where it is another user's or a link, and OSError."""
        return _read_own(path)

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

    def _secret(self, name: str) -> str:
        path = self.path / name
        if not os.path.lexists(path):
            _replace(path, secrets.token_urlsafe(48))
        return _read_own(path).strip()

    def _make(self, path: Path) -> None:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = path.stat()
        if found.st_uid != os.geteuid():
            raise StartError(
                f"the directory {path} belongs to another user (uid {found.st_uid}, this one is {os.geteuid()}); "
                "name one of your own with --state DIR"
            )
        if stat.S_IMODE(found.st_mode) != 0o700:
            path.chmod(0o700)


def _read_own(path: Path) -> str:
    """Return a file's text; raises StartError unless it is a regular file of this user, and OSError."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise StartError(f"{path} is a symbolic link; remove it") from error
    with os.fdopen(descriptor, encoding="ascii") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
            raise StartError(f"{path} is not a file of this user; remove it")
        return file.read()


def open_log(path: Path) -> IO[bytes]:
    """Open a log for appending, readable by its owner only; raises StartError where it is a symbolic link.

    Its directory is made again if a user has removed it: that must not end a running system.
    """
    path.parent.mkdir(mode=0o700, exist_ok=True)
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
    try:
        descriptor = os.open(path, flags, 0o600)
    except OSError as error:
        why = "it is a symbolic link; remove it" if error.errno == errno.ELOOP else error.strerror
        raise StartError(f"the log {path} can't be written: {why}") from error
    return os.fdopen(descriptor, "ab")


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
