"""The JSON context that is kept with a conversation, whoever has put it there."""

from worker.context.source import Piece, Question
from worker.contract.settings import Settings
from worker.store import conversations
from worker.store.database import Database


class Slots:
    """The context as it is kept."""

    name = "slots"

    def __init__(self, settings: Settings, database: Database) -> None:
        self.seconds = settings.context_seconds
        self._database = database

    def gather(self, question: Question) -> Piece | None:
        """Return the context, None where there is none; raises StoreAway."""
        found = self._database.run(
            lambda session: conversations.find(session, question.owner, question.conversation), self.seconds
        )
        return Piece(slots=found.context) if found and found.context else None
