"""The API keys of a state directory, for the commands about an owner's data."""

from deploy.api_keys import KeyFile
from deploy.errors import StartError
from deploy.system.state_directory import StateDirectory
from millrace.webapp.owner_data.owned_keys import ExportedKey


class StateKeys:
    """The keys in a state directory; each method raises ValueError where their file can't be used."""

    def __init__(self, state: StateDirectory) -> None:
        self._file = KeyFile(state)

    def of(self, owner: str) -> list[ExportedKey]:
        """Return an owner's keys."""
        try:
            found = [each for each in self._file.read() if each.owner == owner]
        except StartError as error:
            raise ValueError(str(error)) from error
        return [ExportedKey(each.id, each.name, each.created, each.last4) for each in found]

    def revoke(self, owner: str) -> int:
        """Revoke an owner's keys, which a running system takes note of at once, and return how many they were."""
        try:
            return self._file.revoke_all(owner) if self.of(owner) else 0
        except StartError as error:
            raise ValueError(str(error)) from error

    def advice(self) -> str:
        """Return the command that revokes one."""
        return "`python3 deploy/keys.py revoke ID` revokes one."
