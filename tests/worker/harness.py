"""The harness of the worker's tests.

- `WorkerHarness` stands for the web tier: it creates generations, enqueues and cancels them, and reads their logs.
- `make_worker` (a fixture in `conftest.py`) returns an `InProcessWorker`: a worker process's objects in the test's own
  process, with a scripted model.
- `claim_attempt` returns an `Attempt`: a claimed generation with its outbox, as a generation's greenlet holds it.
- `emulate` scripts the local endpoint; `wait_until` waits for a condition with a deadline.

A real worker process is a `CeleryWorker` of `tests/worker/celery_worker.py`.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from millrace.worker.answer_meter import AnswerMeter
from millrace.worker.contract.breaker import Breaker
from millrace.worker.contract.cancellation import cancel
from millrace.worker.contract.creation import Draft, create, new_ids
from millrace.worker.contract.events import AnyEvent, Complete, Done, Latency, Usage, decode
from millrace.worker.contract.ids import START
from millrace.worker.contract.lease import ClaimedGeneration, claim
from millrace.worker.contract.log import read, read_transcript
from millrace.worker.contract.queue import TaskQueue
from millrace.worker.contract.redis.connection import Redis, connect
from millrace.worker.contract.redis.streams import Streams
from millrace.worker.contract.request import ModelRequest, PromptMessage
from millrace.worker.contract.state import GenerationState, read_state
from millrace.worker.contract.transcript import Transcript, fold
from millrace.worker.generation import generate
from millrace.worker.interrupt import Interrupt
from millrace.worker.process import WorkerProcess
from millrace.worker.providers.router import Router
from millrace.worker.providers.stub import Reply, Step, Stub
from millrace.worker.publishing.batching import Batcher
from millrace.worker.publishing.outbox import Outbox
from millrace.worker.publishing.writer import LogWriter
from millrace.worker.settings.schema import Settings, load
from millrace.worker.store import answers
from millrace.worker.store.answers import AnswerRecord
from millrace.worker.store.database import Database
from millrace.worker.upkeep.watcher import RunningGeneration
from tests.bare import BARE
from tests.worker.migrated_database import new_database

COMPLETE = Complete("live", "end_turn", Usage(1, 1), Latency(1, 1), "model", "stub", "message", stored=False)

T = TypeVar("T")


def emulate(**script: Any) -> str:
    """Return a message that scripts the local endpoint's answer."""
    return "/emulate " + json.dumps(script)


def wait_until(condition: Callable[[], T], description: str, seconds: float = 30.0) -> T:
    """Return the condition's value as soon as it is true; raises AssertionError after `seconds`."""
    deadline, pause = time.monotonic() + seconds, 0.002
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited {seconds} s for {description}"
        time.sleep(pause)
        pause = min(pause * 1.2, 0.05)  # what takes long is asked for less often: many conditions read a whole log
    return value


class WorkerHarness:
    """The web tier's part, on one Redis and one fresh database.

    Settings are given in lower case without their prefix and added to `BARE`. The fixture `_close_harnesses` closes
    every harness that a test has opened.
    """

    opened: ClassVar[list["WorkerHarness"]] = []

    def __init__(self, redis_url: str, **settings: object) -> None:
        own = {"MILLRACE_REDIS_URL": redis_url, "MILLRACE_DATABASE_URL": new_database()}
        self.environment = own | {f"MILLRACE_{name.upper()}": str(value) for name, value in (BARE | settings).items()}
        self.settings: Settings = load(self.environment)
        self._clients: list[Redis] = []
        self.redis = self.connect()
        WorkerHarness.opened.append(self)
        self.task_queue = TaskQueue(self.settings)

    def connect(self, **options: Any) -> Redis:
        """Return another client of the same Redis, closed with the harness."""
        self._clients.append(connect(self.settings.redis.url, **options))
        return self._clients[-1]

    def close(self) -> None:
        """Close the connections."""
        for client in self._clients:
            client.close()
        self.task_queue.close()

    def create_generation(self, message: str, on_disconnect: str = "continue", *, is_turn: bool = True) -> str:
        """Create a generation without enqueueing it, and return its id."""
        ids = new_ids(question=None if is_turn else "")
        request = ModelRequest([PromptMessage("user", message)], self.settings.default_model, 4096)
        create(Streams(self.redis), Draft(ids, "somebody", request, on_disconnect, 1), self.settings)  # pyright: ignore[reportArgumentType]
        return ids.generation

    def ask(self, message: str) -> str:
        """Create a generation, enqueue it, and return its id."""
        generation = self.create_generation(message)
        self.task_queue.enqueue(generation)
        return generation

    def cancel(self, generation: str) -> None:
        """Request a cancel, as the user does."""
        cancel(Streams(self.redis), generation, "user", self.settings)

    def state(self, generation: str) -> GenerationState:
        """Return the generation's state."""
        state = read_state(Streams(self.redis), generation)
        assert state is not None
        return state

    def events(self, generation: str) -> list[AnyEvent]:
        """Return the log so far; asserts that ids increase and sequence numbers increase by one."""
        entries = read(Streams(self.redis), generation, START, 1_000_000).entries
        assert [entry.cursor.seq for entry in entries] == list(range(1, len(entries) + 1))
        assert entries == sorted(entries, key=lambda entry: entry.cursor)
        return [decode(entry.data) for entry in entries]

    def text(self, generation: str) -> str:
        """Return the text so far."""
        return fold(self.events(generation)).content

    def wait_for_end(self, generation: str, seconds: float = 60.0) -> list[AnyEvent]:
        """Return the log once it has ended; asserts one outcome, then one `done`, last."""
        wait_until(lambda: isinstance(self.events(generation)[-1], Done), f"the end of {generation}", seconds)
        events = self.events(generation)
        kinds = [type(event).__name__ for event in events]
        assert kinds.count("Done") == 1
        assert sum(kinds.count(kind) for kind in ("Complete", "Cancelled", "Error")) == 1
        assert kinds[-2] in ("Complete", "Cancelled", "Error")
        return events

    def transcript(self, generation: str, seconds: float = 60.0) -> Transcript:
        """Return what a reader has assembled once the generation has ended."""
        return fold(self.wait_for_end(generation, seconds))


def route(stub: Stub, settings: Settings | None = None) -> Router:
    """Return a router whose only provider is the stub, without a breaker."""
    settings = (settings or load({})).replace(breaker_failures=0)
    return Router(settings, {"bedrock": stub}, Breaker(settings))


class InProcessWorker:
    """The objects of one worker process, in the test's process, with a scripted model."""

    def __init__(
        self,
        harness: WorkerHarness,
        scripts: Sequence[Sequence[Step]],
        replies: Mapping[str, Reply] | None = None,
    ) -> None:
        self.harness = harness
        self.stub = Stub(scripts, replies=replies or {})
        self.process = WorkerProcess(harness.settings, {"bedrock": self.stub})
        self.process.start()

    @property
    def database(self) -> Database:
        """The worker's database."""
        return self.process.database

    def answer(self, generation: str | None = None) -> list[AnyEvent]:
        """Answer a generation, by default a new one, and return its log."""
        generation = generation or self.harness.create_generation("Why?")
        generate(self.process, generation)
        assert not self.process.running
        return self.harness.wait_for_end(generation)

    def stored(self, generation: str) -> AnswerRecord | None:
        """Return the generation's answer from the database."""
        return self.database.run(lambda session: answers.find_answer_of_generation(session, generation), 20)

    def check_stored(self, generation: str) -> AnswerRecord:
        """Assert that the database has exactly the log's answer to "Why?", and return it."""
        transcript, last = read_transcript(Streams(self.harness.redis), generation)
        record = self.stored(generation)
        assert record
        assert (record.answer.content, record.answer.reasoning) == (transcript.content, transcript.reasoning)
        assert (list(record.answer.citations), list(record.answer.tools)) == (transcript.citations, transcript.tools)
        assert list(record.answer.images) == transcript.images
        assert (record.answer.outcome, record.answer.last_event) == (transcript.outcome, last)
        assert record.question.content == "Why?"
        assert record.question.id == self.harness.state(generation).question
        return record


@dataclass(frozen=True)
class Attempt:
    """A claimed generation with its outbox; `interrupt` is that of the greenlet that called `claim_attempt`."""

    generation: str
    claimed: ClaimedGeneration
    interrupt: Interrupt
    outbox: Outbox

    def to_run(self, settings: Settings) -> RunningGeneration:
        """Return the running generation as a process registers it, with a minute left."""
        now = time.monotonic()
        meter = AnswerMeter(self.claimed, now, settings)
        return RunningGeneration(self.claimed, self.interrupt, self.outbox, now + 60, meter)


def claim_attempt(harness: WorkerHarness, writer: LogWriter, flush_bytes: int = 1024) -> Attempt:
    """Create a generation and claim it."""
    generation = harness.create_generation("question")
    claimed = claim(Streams(harness.redis), generation, harness.settings)
    assert claimed is not None
    interrupt = Interrupt()
    batcher = Batcher(flush_bytes)
    outbox = Outbox(claimed, interrupt, batcher, writer.schedule, harness.settings.worker.buffer_bytes)
    return Attempt(generation, claimed, interrupt, outbox)
