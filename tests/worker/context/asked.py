"""Conversations in the store, and questions in them."""

from collections.abc import Iterable

from sqlalchemy.orm import Session

from millrace.worker.context.source import ContextQuestion
from millrace.worker.contract.events import Cancelled, Complete, Latency, Usage
from millrace.worker.contract.ids import Cursor, new_id
from millrace.worker.contract.request import ModelRequest, PromptMessage
from millrace.worker.store import answers, messages
from millrace.worker.store.database import Database

WHOLE = Complete("live", "end_turn", Usage(3, 4), Latency(5, 6), "a-model", "stub", "m", stored=True)
CUT = Cancelled("user", Usage(3, 4, exact=False))


class Asking:
    """One owner's conversation."""

    def __init__(self, database: Database, owner: str = "ada") -> None:
        self.database = database
        self.owner = owner
        self.conversation = new_id()

    def turn(self, question: str, answer: str, outcome: Complete | Cancelled = WHOLE) -> messages.StoredQuestion:
        """Keep a question with its answer."""
        return self.turns([(question, answer)], outcome)[0]

    def turns(
        self, said: Iterable[tuple[str, str]], outcome: Complete | Cancelled = WHOLE
    ) -> list[messages.StoredQuestion]:
        """Keep questions with their answers, in one transaction."""
        asked = [
            (messages.StoredQuestion(new_id(), self.owner, self.conversation, question), answer)
            for question, answer in said
        ]

        def work(session: Session) -> None:
            for question, answer in asked:
                given = answers.StoredAnswer(new_id(), new_id(), 1, Cursor(1, 9), answer, outcome)
                answers.save_answer(session, question, given)

        self.database.run(work, 30)
        return [question for question, _ in asked]

    def ask(self, text: str, *before: PromptMessage) -> ContextQuestion:
        """Keep a question, and return it as the sources are asked."""
        asked = messages.StoredQuestion(new_id(), self.owner, self.conversation, text)
        self.database.run(lambda session: messages.save_question(session, asked))
        return self.question(text, *before, asked=asked.id)

    def question(self, text: str, *before: PromptMessage, asked: str | None = None) -> ContextQuestion:
        """Return a question that is not kept."""
        request = ModelRequest([*before, PromptMessage("user", text)], "model", 100)
        return ContextQuestion(new_id(), self.owner, self.conversation, new_id(), request, asked)
