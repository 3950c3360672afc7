"""One worker process's insides with a scripted model, small answers and all."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from millrace.worker.contract.events import AnyEvent, Chunk, Usage
from millrace.worker.contract.state import read_state
from millrace.worker.generation import generate
from millrace.worker.process import WorkerProcess
from millrace.worker.providers.protocol import Prompt, Stopped, WholeAnswer
from millrace.worker.providers.stub import Reply, Step, Stub
from millrace.worker.store.messages import StoredQuestion, save_question
from tests.valkey import ValkeyProcess
from tests.worker.desk import Desk

ANSWER: tuple[Step, ...] = (Chunk("It grinds "), Chunk("grain."), Stopped("end_turn"), Usage(3, 4))
Hire = Callable[..., "Hired"]


def told(**given: Any) -> WholeAnswer:
    """Return a small answer by the tool that was forced."""
    return WholeAnswer("", given, Usage(1, 1))


TITLE = told(title="Mills")
SUGGESTIONS = told(suggestions=["Who built it?", "When?", "Why there?"])
REPLIES: Mapping[str, Reply] = {"name_conversation": TITLE, "suggest_questions": SUGGESTIONS}


class Hired:
    """A worker process, in this one; everything that follows an answer is on."""

    def __init__(self, desk: Desk, script: tuple[Step, ...], replies: Mapping[str, Reply]) -> None:
        self.desk = desk
        self.stub = Stub([script], replies=replies)
        self.process = WorkerProcess(desk.settings, self.stub)
        self.process.start()

    def answer(self, question: str = "What is a mill?") -> list[AnyEvent]:
        """Answer a new generation and return its log."""
        generation = self.make(question)
        generate(self.process, generation)
        assert not self.process.runs
        return self.desk.events(generation)

    def make(self, question: str = "What is a mill?") -> str:
        """Make a generation whose question is kept, as the web does."""
        generation = self.desk.make(question)
        self.keep_question(generation, question)
        return generation

    def keep_question(self, generation: str, question: str) -> StoredQuestion:
        """Keep a generation's question, and return it."""
        state = read_state(self.desk.redis, generation)
        assert state is not None
        asked = StoredQuestion(state.question, state.owner, state.conversation, question)
        assert self.process.database.run(lambda session: save_question(session, asked))
        return asked

    def asked(self) -> dict[str, Prompt]:
        """Return the small questions by the name of their tool."""
        return {prompt.tool.name: prompt for prompt in self.stub.questions if prompt.tool}


@pytest.fixture
def hire(valkey: ValkeyProcess) -> Iterator[Hire]:
    made: list[Hired] = []

    def run(replies: Mapping[str, Reply] = REPLIES, script: tuple[Step, ...] = ANSWER, **settings: object) -> Hired:
        on = {"titles": 1, "suggestions": 1, "shutdown_grace_seconds": 0}
        made.append(Hired(Desk(valkey.url, **(on | settings)), script, replies))
        return made[-1]

    yield run
    for each in made:
        each.process.stop()
