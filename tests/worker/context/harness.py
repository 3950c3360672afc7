"""Shared by the tests of context: a conversation in a database, and a worker process that answers in it.

`StoredConversation` needs a database only. It stores turns and returns `ContextQuestion`s, for tests of
`stored_source`.
`ContextHarness` runs a `WorkerProcess` with real boto3, the local endpoint and a real database, for tests that
look at what the model receives and at the log. `context_events` picks the `context` events of a log.
"""

from collections.abc import Iterable
from typing import Any

from sqlalchemy.orm import Session

from millrace.worker.context.assistant_name import AssistantNamer
from millrace.worker.context.source import ContextQuestion
from millrace.worker.context.stored_context import ContextLoader, StoredContextSource
from millrace.worker.contract.creation import Draft, create, new_ids
from millrace.worker.contract.events import AnyEvent, Cancelled, Complete, ContextEvent, Latency, Usage
from millrace.worker.contract.ids import Cursor, new_id
from millrace.worker.contract.redis.streams import Streams
from millrace.worker.contract.request import ModelRequest, PromptMessage
from millrace.worker.generation import generate
from millrace.worker.process import make_process
from millrace.worker.providers.stub import Stub
from millrace.worker.settings.schema import Settings
from millrace.worker.store import answers, messages
from millrace.worker.store.database import Database
from tests.emulator_process import EmulatorProcess
from tests.worker.harness import WorkerHarness, route

COMPLETE = Complete("live", "end_turn", Usage(3, 4), Latency(5, 6), "a-model", "stub", "m", stored=True)
CANCELLED = Cancelled("user", Usage(3, 4, exact=False))


def stored_source(settings: Settings, database: Database) -> StoredContextSource:
    """Return the source that reads this database, whose small model names no assistant."""
    return StoredContextSource(ContextLoader(settings, database), AssistantNamer(settings, route(Stub([])), database))


class StoredConversation:
    """One owner's conversation; its row is created with the first turn or question."""

    def __init__(self, database: Database, owner: str = "ada") -> None:
        self.database = database
        self.owner = owner
        self.id = new_id()

    def store_turn(
        self, question: str, answer: str, outcome: Complete | Cancelled = COMPLETE
    ) -> messages.StoredQuestion:
        """Store a question with its answer."""
        return self.store_turns([(question, answer)], outcome)[0]

    def store_turns(
        self, turns: Iterable[tuple[str, str]], outcome: Complete | Cancelled = COMPLETE
    ) -> list[messages.StoredQuestion]:
        """Store questions with their answers, in one transaction."""
        stored = [
            (messages.StoredQuestion(new_id(), self.owner, self.id, question), answer) for question, answer in turns
        ]

        def store(session: Session) -> None:
            for question, answer in stored:
                stored_answer = answers.StoredAnswer(new_id(), new_id(), 1, Cursor(1, 9), answer, outcome)
                answers.save_answer(session, question, stored_answer)

        self.database.run(store, 30)
        return [question for question, _ in stored]

    def store_question(self, text: str, *history: PromptMessage) -> ContextQuestion:
        """Store a question, and return it as a source receives it."""
        question = messages.StoredQuestion(new_id(), self.owner, self.id, text)
        self.database.run(lambda session: messages.save_question(session, question))
        return self.question(text, *history, question_id=question.id)

    def question(self, text: str, *history: PromptMessage, question_id: str | None = None) -> ContextQuestion:
        """Return a question that is not stored."""
        request = ModelRequest([*history, PromptMessage("user", text)], "model", 100)
        return ContextQuestion(new_id(), self.owner, self.id, new_id(), request, question_id)


class ContextHarness:
    """A running worker process; settings are given as to a `WorkerHarness`."""

    def __init__(self, redis_url: str, emulator: EmulatorProcess, **settings: object) -> None:
        defaults = {"titles": "off", "suggestions": "off", "bedrock_endpoint_url": emulator.url}
        self.harness = WorkerHarness(redis_url, **(defaults | settings))
        self.emulator = emulator
        self.process = make_process(self.harness.settings, 10)
        self.process.start()

    @property
    def database(self) -> Database:
        """The process's database."""
        return self.process.database

    def answer(
        self, text: str, *history: PromptMessage, owner: str = "ada", conversation: str | None = None, **fields: Any
    ) -> list[AnyEvent]:
        """Create a generation, run it, and return its log."""
        ids = new_ids(conversation)
        parameters: dict[str, Any] = {"model": self.harness.settings.default_model, "max_tokens": 1000} | fields
        request = ModelRequest([*history, PromptMessage("user", text)], **parameters)
        create(Streams(self.harness.redis), Draft(ids, owner, request, "continue", 1), self.harness.settings)
        generate(self.process, ids.generation)
        return self.harness.wait_for_end(ids.generation)

    def last_call(self) -> dict[str, Any]:
        """Return the last call of ConverseStream as the endpoint received it."""
        return [call for call in self.emulator.calls() if call["operation"] == "ConverseStream"][-1]

    def last_texts(self) -> list[str]:
        """Return the text blocks of the last call's messages."""
        blocks = [block for message in self.last_call()["messages"] for block in message["content"]]
        return [block["text"] for block in blocks if "text" in block]

    def stop(self) -> None:
        """Stop the process."""
        self.process.stop()


def context_events(events: list[AnyEvent]) -> list[ContextEvent]:
    """Return the `context` events of a log."""
    return [event for event in events if isinstance(event, ContextEvent)]
