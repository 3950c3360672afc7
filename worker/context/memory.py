"""Facts learned of the user in any conversation, found again for this question by full-text search."""

from worker.context.source import Material, Piece, Question
from worker.contract.settings import Settings
from worker.store import memories
from worker.store.database import Database

MOST_MEMORIES = 8


class Memory:
    """The owner's memories that have to do with the question."""

    name = "memory"

    def __init__(self, settings: Settings, database: Database) -> None:
        self.seconds = settings.context_seconds
        self._database = database

    def gather(self, question: Question) -> Piece | None:
        """Return the best of them, None where none has a word of the question's; raises StoreAway."""
        found = self._database.run(
            lambda session: memories.search(session, question.owner, question.text, MOST_MEMORIES), self.seconds
        )
        return Piece(materials=tuple(Material("memory", each.content) for each in found)) if found else None
