"""What was said before, in the conversation that the question belongs to."""

from itertools import chain

from worker.context.source import Piece, Question
from worker.contract.request import Message
from worker.contract.settings import Settings
from worker.store import answers
from worker.store.database import Database


class History:
    """The newest turns; how many of them the prompt has is for the budget to say."""

    name = "history"

    def __init__(self, settings: Settings, database: Database) -> None:
        self.seconds = settings.context_seconds
        self._turns = settings.max_messages // 2
        self._database = database

    def gather(self, question: Question) -> Piece | None:
        """Return the turns before the question; None where the request brings its own, or there are none.

        Raises StoreAway.
        """
        if len(question.request.messages) > 1:
            return None
        turns = self._database.run(
            lambda session: answers.history(session, question.conversation, question.asked, self._turns), self.seconds
        )
        said = ((Message("user", turn.question), Message("assistant", turn.answer)) for turn in turns)
        return Piece(history=tuple(chain.from_iterable(said))) if turns else None
