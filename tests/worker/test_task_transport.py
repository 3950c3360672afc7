"""Whatever the lists of the queues hold, a worker goes on and the tasks among it run."""

import base64
import json
import time
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest

from millrace.worker.contract.ids import new_id
from millrace.worker.contract.keys import LEARNING_QUEUE, QUEUE
from millrace.worker.contract.queue import CANARY, LEARN, TASK, TaskMessage
from millrace.worker.observability.shared_metrics import collect
from millrace.worker.task_transport import check_message
from tests.emulator_process import EmulatorProcess
from tests.valkey import ValkeyProcess
from tests.worker.celery_worker import CeleryWorker
from tests.worker.harness import WorkerHarness, emulate, wait_until


def encoded(body: Any) -> str:
    return base64.b64encode(body if isinstance(body, bytes) else json.dumps(body).encode()).decode()


def altered(**changes: Any) -> Any:
    """Return a message for a new generation with changes to its envelope, `headers` and `properties` merged."""
    message = json.loads(TaskMessage(TASK).encode(QUEUE, [new_id()]))
    for name, value in changes.items():
        both_are_objects = isinstance(value, dict) and isinstance(message.get(name), dict)
        message[name.replace("_", "-")] = message[name] | value if both_are_objects else value
    return message


def without(name: str) -> Any:
    return {key: value for key, value in altered().items() if key != name}


WRONG: list[Any] = [
    *(None, 5, "text", [], {}, [1], {"properties": {}}, {"properties": None}),
    *(without(name) for name in ("body", "headers", "properties", "content-type", "content-encoding")),
    *(
        altered(body=body)
        for body in ("!!!", "=", "\ud800", None, 5, encoded(b"\xff"), encoded(b"junk"), encoded(None))
    ),
    *(
        altered(body=encoded(body))
        for body in ([], {}, [[], {}], [["x"], {}, {}], [[5], {}, {}], [[new_id()], {"a": 1}, {}])
    ),
    *(altered(body=encoded(body)) for body in ([[], {}, {}], [[new_id(), new_id()], {}, {}], [None, None, None])),
    *(altered(headers=headers) for headers in (None, [], {"task": None}, {"task": "no.such.task"}, {"id": 5})),
    *(altered(headers=headers) for headers in ({"timelimit": 5}, {"eta": "soon"}, {"expires": []}, {"retries": "x"})),
    *(altered(properties=each) for each in ({"delivery_tag": []}, {"delivery_info": None}, {"body_encoding": "x"})),
    *(altered(content_type=kind) for kind in ("application/x-python-serialize", None, 5)),
    altered(content_encoding="no-such-encoding"),
]
UNREADABLE = (b"", b"junk", b"\xff\xfe", b"[" * 100_000, b'{"__type__":"decimal","__value__":"x"}', b"1" * 5000)


def test_every_wrong_message_is_rejected_and_every_message_of_ours_is_accepted() -> None:
    accepted = [message for message in WRONG if not _is_rejected(message)]
    assert not accepted
    for task, arguments in ((TASK, [new_id()]), (LEARN, [new_id()]), (CANARY, [])):
        check_message(json.loads(TaskMessage(task).encode(QUEUE, list[str](arguments))))


def _is_rejected(message: Any) -> bool:
    try:
        check_message(message)
    except ValueError:
        return True
    return False


def test_a_worker_discards_junk_and_runs_the_tasks_among_it(
    valkey: ValkeyProcess, emulator: EmulatorProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness = WorkerHarness(valkey.url, bedrock_endpoint_url=emulator.url, shutdown_grace_seconds=0.5)
    with CeleryWorker(harness, tmp_path, "worker1") as worker:
        worker.wait_until_ready()
        junk = [*UNREADABLE, *(json.dumps(message).encode() for message in WRONG)]
        for queue in (QUEUE, LEARNING_QUEUE):
            harness.redis.lpush(queue, *junk)
        generation = harness.ask(emulate(text="still here"))
        assert harness.transcript(generation).content == "still here"
        wait_until(lambda: not harness.redis.exists(QUEUE, LEARNING_QUEUE), "the last message to be taken")
        wait_until(lambda: worker.log().count("message_discarded") == 2 * len(junk), "the log lines")
        assert worker.process.poll() is None
        assert "Traceback" not in worker.log()
        assert not harness.redis.keys("unacked*")
        wait_until(lambda: _discarded(harness) == 2 * len(junk), "the metric")


def test_a_full_worker_takes_the_next_task_as_soon_as_a_slot_is_free(
    valkey: ValkeyProcess, emulator: EmulatorProcess, tmp_path: Path
) -> None:
    """Were a free slot noticed only when kombu's poll of 2 s ends, each of the waiting ones would take so long."""
    harness = WorkerHarness(valkey.url, bedrock_endpoint_url=emulator.url, shutdown_grace_seconds=0.5)
    with CeleryWorker(harness, tmp_path, "worker1", "--concurrency", "1") as worker:
        worker.wait_until_ready()
        first = harness.ask(emulate(text="0", first_delay=0.5))
        waiting = [harness.ask(emulate(text=str(each))) for each in range(1, 11)]
        harness.wait_for_end(first)
        began = time.monotonic()
        assert [harness.transcript(each).content for each in waiting] == [str(each) for each in range(1, 11)]
        assert time.monotonic() - began < 2.0 * len(waiting) / 2


def test_a_message_is_not_written_to_redis_again_before_its_answer_begins(
    valkey: ValkeyProcess, emulator: EmulatorProcess, tmp_path: Path
) -> None:
    """kombu keeps unacknowledged messages in a hash, from before a task begins until it is accepted."""
    harness = WorkerHarness(valkey.url, bedrock_endpoint_url=emulator.url, shutdown_grace_seconds=0.5)
    with CeleryWorker(harness, tmp_path, "worker1") as worker, harness.redis.monitor() as monitor:
        worker.wait_until_ready()
        assert harness.transcript(harness.ask(emulate(text="once"))).content == "once"
        harness.redis.echo("the end")
        listened: Any = monitor.listen()
        seen = (str(each["command"]) for each in listened)
        commands = list(takewhile(lambda command: "the end" not in command, seen))
        assert any(command.startswith("BRPOP") for command in commands)
        assert not [command for command in commands if command.startswith(("HSET unacked", "HDEL unacked"))]


def _discarded(harness: WorkerHarness) -> float:
    families = [family for families in collect(harness.redis).values() for family in families]
    return sum(
        sample.value
        for each in families
        for sample in each.samples
        if sample.name == "millrace_discarded_messages_total"
    )
