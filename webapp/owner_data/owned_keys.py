"""The API keys of an owner, as the commands of this room list and revoke them."""

from typing import Protocol

import msgspec

from millrace.worker.settings.api_keys import path_of, read_keys
from millrace.worker.settings.schema import Settings


class ExportedKey(msgspec.Struct, frozen=True):
    """An API key without its hash."""

    id: str
    name: str
    created: str
    last4: str


class OwnerKeys(Protocol):
    """A place that holds API keys."""

    def of(self, owner: str) -> list[ExportedKey]:
        """Return an owner's keys."""
        ...

    def revoke(self, owner: str) -> int:
        """Make all keys of an owner invalid and return how many they were."""
        ...

    def advice(self) -> str:
        """Return what to do about keys that `revoke` could not make invalid."""
        ...


class SettingKeys:
    """The keys that `MILLRACE_API_KEYS` names; this program does not change them, as another one manages them."""

    def __init__(self, settings: Settings) -> None:
        self._setting = settings.auth.api_keys

    def of(self, owner: str) -> list[ExportedKey]:
        """Return an owner's keys; raises ValueError where the file can't be read."""
        keys = read_keys(self._setting) if self._setting else ()
        return [ExportedKey(each.id, each.name, each.created, each.last4) for each in keys if each.owner == owner]

    def revoke(self, owner: str) -> int:
        """Return 0."""
        return 0

    def advice(self) -> str:
        """Return the place from which to remove them."""
        return f"Remove them from {path_of(self._setting) or 'MILLRACE_API_KEYS'}."
