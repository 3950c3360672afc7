"""What the store keeps for a question: read in one transaction for all the sources that ask for it at once."""

from dataclasses import dataclass
from typing import Any, cast

from gevent.event import AsyncResult
from sqlalchemy.orm import Session

from millrace.worker.context.source import ContextQuestion
from millrace.worker.settings.schema import Settings
from millrace.worker.store import answers, conversations, memories, profiles
from millrace.worker.store.answers import HistoryTurn
from millrace.worker.store.database import Database

CHARS_PER_TOKEN = 6  # at most: more than the budget takes need not be read
MOST_MEMORIES = 8


@dataclass(frozen=True)
class StoredContext:
    """The owner's profile, the conversation's context and turns before the question, the memories that go with it."""

    profile: dict[str, Any] | None
    slots: dict[str, Any]
    turns: list[HistoryTurn]
    facts: list[str]


class ContextLoader:
    """Reads once for a question, however many sources ask meanwhile: a hop to the database costs as much as a read."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self.seconds = settings.context.seconds
        self._turns = settings.limits.max_messages // 2
        self._chars = settings.context.tokens * CHARS_PER_TOKEN
        self._database = database
        self._reading: dict[str, AsyncResult[StoredContext]] = {}

    def kept(self, question: ContextQuestion) -> StoredContext:
        """Return what is kept; raises DatabaseUnavailable."""
        reading = self._reading.get(question.generation)
        if reading is not None:
            return cast("StoredContext", reading.get())
        reading = self._reading[question.generation] = AsyncResult()
        try:
            kept = self._database.run(lambda session: self._read(session, question), self.seconds)
        except BaseException as error:
            reading.set_exception(error)
            raise
        finally:
            del self._reading[question.generation]
        reading.set(kept)
        return kept

    def _read(self, session: Session, question: ContextQuestion) -> StoredContext:
        profile = profiles.find(session, question.owner)
        found = memories.search(session, question.owner, question.text, MOST_MEMORIES)
        facts = [each.content for each in found]
        conversation = None if question.is_alone else conversations.find(session, question.owner, question.conversation)
        if conversation is None:
            return StoredContext(profile, {}, [], facts)
        turns = answers.read_history(session, conversation.id, question.asked, self._turns, self._chars)
        return StoredContext(profile, conversation.context, turns, facts)
