"""The one place of a process for a generation that has its last chance."""


class LastAttemptSlot:
    """Those that have their last chance wait here and go one at a time: what kills its worker takes only itself.

    Who waits is known to this process alone; where it dies, or is slow, the leases have them rung again elsewhere.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, None] = {}
        self._is_taken = False

    def wait(self, generation: str) -> None:
        """Let a generation wait, behind those who do; once, however often it is rung."""
        self._waiting[generation] = None

    def take(self) -> str | None:
        """Take the seat for the one that has waited longest, and return that; None where it is taken or none waits."""
        if self._is_taken or not self._waiting:
            return None
        self._is_taken = True
        generation = next(iter(self._waiting))
        del self._waiting[generation]
        return generation

    def leave(self) -> None:
        """Give the seat back; for those who took it."""
        self._is_taken = False
