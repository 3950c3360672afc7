"""The file of API keys in a state directory, which `run.py` passes to the web processes.

It holds the hash of each key, never the key itself. `worker/settings/api_keys.py` reads it in the web tier.
"""

import fcntl
import hashlib
import json
import os
import secrets
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from deploy.errors import StartError
from deploy.system.state_directory import StateDirectory

PREFIX = "mr-"
KEY_BYTES = 32
MAX_OWNER_CHARACTERS = 255  # as in worker/settings/parsers.py
_LAST_CHARACTERS = 4


@dataclass(frozen=True)
class KeyRecord:
    """A key as the file holds it; `created` is a time in UTC, `last4` are the key's last characters."""

    id: str
    owner: str
    name: str
    created: str
    last4: str
    sha256: str


class KeyFile:
    """The keys of a state directory; two commands at once change it one after the other."""

    def __init__(self, state: StateDirectory) -> None:
        self._state = state
        self.path = state.path / "api_keys.json"

    def make(self) -> None:
        """Make an empty file where there is none; raises StartError where the file holds something else."""
        with self._locked():
            if not os.path.lexists(self.path):
                self._write([])
            self.read()

    def read(self) -> list[KeyRecord]:
        """Return the keys, in the order in which they were added; raises StartError."""
        try:
            return [KeyRecord(**each) for each in json.loads(self._state.read_private(self.path))]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, TypeError) as error:
            raise StartError(f"{self.path} can't be read as a file of API keys: {error}") from error

    def add(self, owner: str, name: str) -> tuple[str, KeyRecord]:
        """Make a key for an owner; returns the key, which is stored nowhere, and its record. Raises StartError."""
        if not _is_owner(owner):
            raise StartError(
                f"an owner has 1 to {MAX_OWNER_CHARACTERS} printable characters without surrounding spaces; "
                f"{owner!r} is not one"
            )
        if not name.isprintable():
            raise StartError(f"a name has printable characters only, not {name!r}")
        key = PREFIX + secrets.token_urlsafe(KEY_BYTES)
        with self._locked():
            records = self.read()
            created = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            record = KeyRecord(_new_id(records), owner, name, created, key[-_LAST_CHARACTERS:], _hash(key))
            self._write([*records, record])
        return key, record

    def revoke(self, given: str) -> KeyRecord:
        """Remove the key with this id, or this very key, and return its record; raises StartError if unknown."""
        with self._locked():
            records = self.read()
            found = next((each for each in records if given == each.id or _hash(given) == each.sha256), None)
            if found is None:
                named = "this key" if given.startswith(PREFIX) else f"a key with the id {given}"
                raise StartError(f"{self.path} does not hold {named}; `python3 deploy/keys.py list` lists the ids")
            self._write([each for each in records if each != found])
        return found

    def revoke_all(self, owner: str) -> int:
        """Remove all keys of an owner and return how many they were; raises StartError."""
        with self._locked():
            records = self.read()
            kept = [each for each in records if each.owner != owner]
            if len(kept) < len(records):
                self._write(kept)
        return len(records) - len(kept)

    def _write(self, records: list[KeyRecord]) -> None:
        self._state.write_private(self.path, json.dumps([asdict(each) for each in records], indent=1) + "\n")

    @contextmanager
    def _locked(self) -> Generator[None]:
        """Lock the directory itself, so that no lock file is left behind; a running system locks a file in it."""
        try:
            self._state.directory(".")
            descriptor = os.open(self._state.path, os.O_RDONLY)
        except OSError as error:
            raise StartError(f"the state directory {self._state.path} can't be used: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _is_owner(name: str) -> bool:
    return 1 <= len(name) <= MAX_OWNER_CHARACTERS and name.isprintable() and name == name.strip()


def _new_id(records: list[KeyRecord]) -> str:
    taken = {each.id for each in records}
    while (new := secrets.token_hex(4)) in taken:
        pass
    return new


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()
