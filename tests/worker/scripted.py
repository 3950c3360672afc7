"""A worker whose model says what a test has it say."""

from collections.abc import Sequence

from millrace.worker.contract.log import read_transcript
from millrace.worker.contract.state import GenerationState, read_state
from millrace.worker.process import WorkerProcess
from millrace.worker.providers.stub import Reply, Step, Stub
from millrace.worker.store import answers
from millrace.worker.store.answers import AnswerRecord
from millrace.worker.store.database import Database
from tests.worker.desk import Desk


class Worker:
    """One worker process's insides, in this one, with a scripted model."""

    def __init__(self, desk: Desk, scripts: Sequence[Sequence[Step]], replies: dict[str, Reply] | None = None) -> None:
        self.desk = desk
        self.stub = Stub(scripts, replies=replies or {})
        self.process = WorkerProcess(desk.settings, self.stub)
        self.process.start()

    @property
    def database(self) -> Database:
        return self.process.database

    def state(self, generation: str) -> GenerationState:
        state = read_state(self.desk.redis, generation)
        assert state is not None
        return state

    def kept(self, generation: str) -> AnswerRecord | None:
        return self.database.run(lambda session: answers.find_answer_of_generation(session, generation), 20)

    def check_kept(self, generation: str) -> AnswerRecord:
        """Assert that the database has just what the log tells, and return it."""
        told, last = read_transcript(self.desk.redis, generation)
        kept = self.kept(generation)
        assert kept
        assert (kept.answer.content, kept.answer.reasoning) == (told.content, told.reasoning)
        assert (list(kept.answer.citations), list(kept.answer.tools)) == (told.citations, told.tools)
        assert (kept.answer.outcome, kept.answer.last_event) == (told.outcome, last)
        assert kept.question.content == "Why?"
        assert kept.question.id == self.state(generation).question
        return kept
