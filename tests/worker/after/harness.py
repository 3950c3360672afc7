"""`HookHarness`: a worker process inside the test, with a scripted model, a database and all hooks enabled.

The fixture `make_harness` builds one, and stops it at the test's end:

    harness = make_harness({"name_conversation": TITLE}, suggestions=0, after_seconds=0.2)
    events = harness.answer("What is a mill?")     # runs a generation to its end and returns its log
    harness.small_prompts()["name_conversation"]   # the prompt that the small model got

`replies` maps the name of a forced tool to a reply, an error or a function (`providers/stub.py`). Keyword arguments are
settings. For learning, `start_learning` starts the learner; `learn` waits until a generation has been learned from.
All questions belong to the owner "somebody".
"""

from collections.abc import Callable, Mapping
from typing import Any

from millrace.worker.after.learning import Learner
from millrace.worker.contract.events import AnyEvent, Chunk, Complete, Latency, Outcome, Usage
from millrace.worker.contract.ids import Cursor, new_id
from millrace.worker.contract.keys import LEARNING_QUEUE
from millrace.worker.contract.redis.streams import Streams
from millrace.worker.contract.state import read_state
from millrace.worker.generation import generate
from millrace.worker.process import WorkerProcess
from millrace.worker.providers.protocol import Prompt, Stopped, WholeAnswer
from millrace.worker.providers.stub import Reply, Step, Stub
from millrace.worker.store import answers, memories
from millrace.worker.store.answers import StoredAnswer
from millrace.worker.store.messages import StoredQuestion, save_question
from tests.worker.harness import WorkerHarness, wait_until

QUESTION = "What is a mill?"
ANSWER: tuple[Step, ...] = (Chunk("It grinds "), Chunk("grain."), Stopped("end_turn"), Usage(3, 4))
COMPLETE = Complete("live", "end_turn", Usage(3, 4), Latency(5, 6), "a-model", "stub", "m", stored=True)

MakeHarness = Callable[..., "HookHarness"]


def tool_reply(**arguments: Any) -> WholeAnswer:
    """Return a reply of the small model: a call of the forced tool with these arguments."""
    return WholeAnswer("", arguments, Usage(1, 1))


TITLE = tool_reply(title="Mills")
SUGGESTIONS = tool_reply(suggestions=["Who built it?", "When?", "Why there?"])
FACTS = tool_reply(facts=["The user is called Ann.", "The user lives in Leeds."])
REPLIES: Mapping[str, Reply] = {"name_conversation": TITLE, "suggest_questions": SUGGESTIONS}


class HookHarness:
    """A worker process, the web tier's side of it, and a learner."""

    def __init__(self, redis_url: str, script: tuple[Step, ...], replies: Mapping[str, Reply], **given: object) -> None:
        self.worker = WorkerHarness(redis_url, **given)
        self.settings = self.worker.settings
        self.redis = self.worker.redis
        self.stub = Stub([script], replies=replies)
        self.process = WorkerProcess(self.settings, {"bedrock": self.stub})
        self.process.start()
        self.database = self.process.database
        self.learner = Learner(self.process)

    def close(self) -> None:
        """Stop the learner and the process."""
        self.learner.stop()
        self.process.stop()

    # Generations

    def create_generation(self, question: str = QUESTION) -> str:
        """Create a generation and save its question, as the web tier does; returns its id."""
        generation = self.worker.create_generation(question)
        self.save_question(generation, question)
        return generation

    def create_unstored_generation(self, question: str = QUESTION) -> str:
        """Create a generation outside any conversation."""
        return self.worker.create_generation(question, is_turn=False)

    def answer(self, question: str = QUESTION) -> list[AnyEvent]:
        """Answer a new generation and return its log."""
        generation = self.create_generation(question)
        generate(self.process, generation)
        assert not self.process.running
        return self.events(generation)

    def cancel(self, generation: str) -> None:
        """Request a cancel."""
        self.worker.cancel(generation)

    def events(self, generation: str) -> list[AnyEvent]:
        """Return the log so far."""
        return self.worker.events(generation)

    def wait_for_end(self, generation: str) -> list[AnyEvent]:
        """Wait for the end and return the log."""
        return self.worker.wait_for_end(generation)

    def text(self, generation: str) -> str:
        """Return the text so far."""
        return self.worker.text(generation)

    def small_prompts(self) -> dict[str, Prompt]:
        """Return the small model's prompts by the name of their tool."""
        return {prompt.tool.name: prompt for prompt in self.stub.questions if prompt.tool}

    def calls(self) -> int:
        """Return the number of calls of the small model."""
        return len(self.stub.questions)

    # Stored turns

    def save_question(self, generation: str, content: str) -> StoredQuestion:
        """Save a generation's question and return it."""
        state = read_state(Streams(self.redis), generation)
        assert state is not None
        question = StoredQuestion(state.question, state.owner, state.conversation, content)
        assert self.database.run(lambda session: save_question(session, question))
        return question

    def save_answer(
        self, generation: str, question: StoredQuestion, outcome: Outcome = COMPLETE, content: str = "Hello Ann."
    ) -> None:
        """Save a generation's answer."""
        answer = StoredAnswer(new_id(), generation, 1, Cursor(1, 9), content, outcome)
        assert self.database.run(lambda session: answers.save_answer(session, question, answer))

    def save_turn(self, outcome: Outcome = COMPLETE, content: str = "Hello Ann.", question: str = "I am Ann.") -> str:
        """Save a question and its answer without running a model; returns the generation."""
        generation = self.worker.create_generation(question)
        self.save_answer(generation, self.save_question(generation, question), outcome, content)
        return generation

    # Learning

    def start_learning(self) -> None:
        """Start the learner."""
        self.learner.start()

    def learn(self, generation: str) -> None:
        """Learn from a generation and wait until it is done."""
        self.learner.enqueue(generation)
        self.wait_until_learned()

    def wait_until_learned(self) -> None:
        """Wait until the learner is idle."""
        wait_until(lambda: self.learner.is_idle, "the learner to be idle")

    def memories(self, owner: str = "somebody") -> list[str]:
        """Return an owner's memories, the oldest first."""
        page = self.database.run(lambda session: memories.page(session, owner, None, 100))
        return [memory.content for memory in reversed(page.items)]

    def queued_learning(self) -> int:
        """Return the number of learning tasks in the broker's queue."""
        return int(self.redis.llen(LEARNING_QUEUE))  # pyright: ignore[reportArgumentType]
