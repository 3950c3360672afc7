"""Learning as a task: rung, heard by a real worker, asked of the local Bedrock endpoint, kept in the database."""

from pathlib import Path

from millrace.worker.contract.events import Complete, Latency, Usage
from millrace.worker.contract.ids import Cursor, new_id
from millrace.worker.store import answers, memories
from millrace.worker.store.answers import StoredAnswer
from millrace.worker.store.database import Database
from millrace.worker.store.messages import StoredQuestion
from tests.emulator_process import EmulatorProcess
from tests.valkey import ValkeyProcess
from tests.worker.desk import Desk, WorkerProcess, emulate, wait_until

WHOLE = Complete("live", "end_turn", Usage(3, 4), Latency(5, 6), "a-model", "stub", "m", stored=True)


def known(database: Database) -> list[str]:
    page = database.run(lambda session: memories.page(session, "ann", None, 10))
    return [memory.content for memory in reversed(page.items)]


def test_a_ring_is_heard_and_what_the_user_said_of_himself_is_known(
    valkey: ValkeyProcess, emulator: EmulatorProcess, tmp_path: Path
) -> None:
    desk = Desk(valkey.url, bedrock_endpoint_url=emulator.url, learning=1)
    database = Database(desk.settings)
    generations = [new_id(), new_id()]
    scripted = emulate(
        forced={"remember_facts": {"fault": "throttle", "times": 1, "tool": {"input": {"facts": ["x"]}}}}
    )
    for generation, question in zip(generations, ["My name is Ann. What is a mill?", scripted], strict=True):
        asked = StoredQuestion(new_id(), "ann", new_id(), question)
        answer = StoredAnswer(new_id(), generation, 1, Cursor(1, 9), "It grinds grain.", WHOLE)
        assert database.run(lambda session, a=asked, b=answer: answers.save_answer(session, a, b))
    with WorkerProcess(desk, tmp_path, "worker") as worker:
        worker.wait_until_ready()
        for generation in generations * 3:
            desk.task_queue.enqueue_learning(generation)
        wait_until(lambda: sorted(known(database)) == ["My name is Ann.", "x"], "what there is to learn", 20)
        assert [call["tool"] for call in emulator.calls()] == ["remember_facts"] * 3  # one of them was refused
    database.close()
