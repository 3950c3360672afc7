"""The source that reads the database: history, profile and memory, by one load.

A round trip to the database costs as much as the read itself, so all that one question needs shares one load.
"""

from dataclasses import dataclass
from itertools import chain
from typing import Any, cast

from gevent.event import AsyncResult

from millrace.worker.context.assistant_name import AssistantNamer
from millrace.worker.context.budget import CHARS_PER_TOKEN
from millrace.worker.context.source import ContextPart, ContextQuestion, Material
from millrace.worker.contract.profile import Profile, parse_profile
from millrace.worker.contract.request import PromptMessage
from millrace.worker.errors import DatabaseUnavailable
from millrace.worker.observability.logs import get_logger
from millrace.worker.settings.schema import Settings
from millrace.worker.store import answers, conversations, memories, profiles
from millrace.worker.store.answers import HistoryTurn
from millrace.worker.store.database import Database
from millrace.worker.store.prepared import Reader

MAX_MEMORIES = 8

_log = get_logger(__name__)


@dataclass(frozen=True)
class StoredContext:
    """The owner's profile, the conversation's context and turns before the question, and the matching memories."""

    profile: dict[str, Any] | None
    slots: dict[str, Any]
    turns: list[HistoryTurn]
    facts: list[str]


class ContextLoader:
    """Loads the stored context of a question; concurrent calls for one question share one load."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self.seconds = settings.context.seconds
        self._max_turns = settings.limits.max_messages // 2
        # Text beyond the token budget need not be read.
        self._max_chars = settings.context.tokens * CHARS_PER_TOKEN
        self._database = database
        self._loading: dict[str, AsyncResult[StoredContext]] = {}

    def load(self, question: ContextQuestion) -> StoredContext:
        """Return the stored context; raises DatabaseUnavailable, in every greenlet that shares the load."""
        loading = self._loading.get(question.generation)
        if loading is not None:
            return cast("StoredContext", loading.get())
        loading = self._loading[question.generation] = AsyncResult()
        try:
            stored = self._database.read(lambda reader: self._read(reader, question), self.seconds)
        except BaseException as error:
            loading.set_exception(error)
            raise
        finally:
            del self._loading[question.generation]
        loading.set(stored)
        return stored

    def warm_up(self) -> None:
        """Read the context of nobody: to connect and to compile the statements would cost a first answer 12 ms."""

        def read(reader: Reader) -> None:
            profiles.find(reader, "")
            memories.search(reader, "", "nothing", MAX_MEMORIES)
            conversations.find(reader, "", "")
            answers.read_history(reader, "", None, self._max_turns, self._max_chars)

        try:
            self._database.read(read, self.seconds)
        except DatabaseUnavailable as error:  # the start goes on: each answer says so itself
            _log.warning("context_warm_up_failed", error=error)

    def _read(self, reader: Reader, question: ContextQuestion) -> StoredContext:
        profile = profiles.find(reader, question.owner)
        found = memories.search(reader, question.owner, question.text, MAX_MEMORIES)
        facts = [memory.content for memory in found]
        has_none = question.is_standalone or question.request.opens_conversation
        conversation = None if has_none else conversations.find(reader, question.owner, question.conversation)
        if conversation is None:
            return StoredContext(profile, {}, [], facts)
        turns = answers.read_history(reader, conversation.id, question.question_id, self._max_turns, self._max_chars)
        return StoredContext(profile, conversation.context, turns, facts)


class StoredContextSource:
    """The stored context of a question: the turns before it, the conversation's JSON context, profile and memories.

    The memories are facts learned about the user in any conversation that match the question, by full-text search. The
    token budget decides how many turns are used. If the profile has no name for the assistant, one is made up in the
    background for later answers.
    """

    name = "database"

    def __init__(self, loader: ContextLoader, namer: AssistantNamer) -> None:
        self.seconds = loader.seconds
        self._loader = loader
        self._namer = namer

    def gather(self, question: ContextQuestion) -> ContextPart | None:
        """Return what there is, None if there is nothing; raises DatabaseUnavailable within the time limit."""
        stored = self._loader.load(question)
        profile = self._profile(question, stored)
        part = ContextPart(
            history=tuple(chain.from_iterable(map(_messages, stored.turns))),
            materials=tuple(Material("memory", fact) for fact in stored.facts),
            about_user=profile.as_text() if profile is not None else "",
            assistant_name=profile.assistant_name or "" if profile is not None else "",
            slots=stored.slots or None,
        )
        return None if part == ContextPart() else part

    def _profile(self, question: ContextQuestion, stored: StoredContext) -> Profile | None:
        if stored.profile is None:
            return None
        profile = parse_profile(stored.profile)
        if profile is None:
            _log.warning("profile_ignored", generation=question.generation)
        elif profile.assistant_name is None:
            self._namer.start(question.owner, stored.profile, profile, question.on_paid_call)
        return profile


def _messages(turn: HistoryTurn) -> tuple[PromptMessage, PromptMessage]:
    return PromptMessage("user", turn.question), PromptMessage("assistant", turn.answer, turn.reasoning_state)
