"""A learner in a process of its own, and answers for it to learn from."""

from typing import Any

from millrace.worker.after.learning import Learner
from millrace.worker.contract.events import Cancelled, Complete, Error, Latency, Usage
from millrace.worker.contract.ids import Cursor, new_id
from millrace.worker.contract.keys import LEARNING_QUEUE
from millrace.worker.store import answers, memories
from millrace.worker.store.answers import StoredAnswer
from millrace.worker.store.messages import StoredQuestion
from tests.worker.after.conftest import Hired, told
from tests.worker.desk import wait_until

WHOLE = Complete("live", "end_turn", Usage(3, 4), Latency(5, 6), "a-model", "stub", "m", stored=True)
FACTS = told(facts=["The user is called Ann.", "The user lives in Leeds."])
ON = {"titles": 0, "suggestions": 0, "learning": 1}


class School:
    """A learner in a process, and answers to learn from."""

    def __init__(self, hired: Hired) -> None:
        self.hired = hired
        self.database = hired.process.database
        self.learner = Learner(hired.process)
        self.learner.start()

    def answered(
        self, outcome: Complete | Cancelled | Error = WHOLE, content: str = "Hello Ann.", question: str = "I am Ann."
    ) -> str:
        """Keep a turn, and return its generation."""
        generation = self.hired.desk.make(question)
        asked = self.hired.keep_question(generation, question)
        self.keep(generation, asked, outcome, content)
        return generation

    def keep(self, generation: str, asked: StoredQuestion, outcome: Any = WHOLE, content: str = "Hello Ann.") -> None:
        """Keep an answer."""
        answer = StoredAnswer(new_id(), generation, 1, Cursor(1, 9), content, outcome)
        assert self.database.run(lambda session: answers.save_answer(session, asked, answer))

    def learn(self, generation: str) -> None:
        """Learn from a generation, to the end of it."""
        self.learner.enqueue(generation)
        self.wait()

    def wait(self) -> None:
        """Wait until nothing is to be done."""
        wait_until(lambda: self.learner.is_idle, "the learning to be done")

    def known(self, owner: str = "somebody") -> list[str]:
        """Return what is remembered of an owner, the oldest first."""
        page = self.database.run(lambda session: memories.page(session, owner, None, 100))
        return [memory.content for memory in reversed(page.items)]

    def calls(self) -> int:
        return len(self.hired.stub.questions)

    def rung(self) -> int:
        """Return how many rings to learn lie in the queue."""
        return int(self.hired.desk.redis.llen(LEARNING_QUEUE))  # pyright: ignore[reportArgumentType]
