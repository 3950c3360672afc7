"""The learning task in a real worker process, with the emulated Bedrock endpoint and a database."""

from pathlib import Path

from millrace.worker.contract.ids import Cursor, new_id
from millrace.worker.store import answers, memories
from millrace.worker.store.answers import StoredAnswer
from millrace.worker.store.database import Database
from millrace.worker.store.messages import StoredQuestion
from tests.emulator_process import EmulatorProcess
from tests.valkey import ValkeyProcess
from tests.worker.after.harness import COMPLETE
from tests.worker.celery_worker import CeleryWorker
from tests.worker.harness import WorkerHarness, emulate, wait_until


def stored_memories(database: Database) -> list[str]:
    page = database.run(lambda session: memories.page(session, "ann", None, 10))
    return [memory.content for memory in reversed(page.items)]


def test_worker_learns_once_from_each_enqueued_generation(
    valkey: ValkeyProcess, emulator: EmulatorProcess, tmp_path: Path
) -> None:
    harness = WorkerHarness(valkey.url, bedrock_endpoint_url=emulator.url, learning=1)
    database = Database(harness.settings)
    generations = [new_id(), new_id()]
    scripted = emulate(
        forced={"remember_facts": {"fault": "throttle", "times": 1, "tool": {"input": {"facts": ["x"]}}}}
    )
    for generation, content in zip(generations, ["My name is Ann. What is a mill?", scripted], strict=True):
        question = StoredQuestion(new_id(), "ann", new_id(), content)
        answer = StoredAnswer(new_id(), generation, 1, Cursor(1, 9), "It grinds grain.", COMPLETE)
        assert database.run(lambda session, q=question, a=answer: answers.save_answer(session, q, a))
    with CeleryWorker(harness, tmp_path, "worker") as worker:
        worker.wait_until_ready()
        for generation in generations * 3:
            harness.task_queue.enqueue_learning(generation)
        wait_until(lambda: sorted(stored_memories(database)) == ["My name is Ann.", "x"], "both facts", 20)
        assert [call["tool"] for call in emulator.calls()] == ["remember_facts"] * 3  # one call was throttled
    database.close()
