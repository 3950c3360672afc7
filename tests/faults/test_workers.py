"""Rows 12 to 18 and 44: workers that die, stop, exit, or are killed by the generation that they run."""

import os
import signal
import time
from pathlib import Path

from millrace.worker.contract.queue import TaskQueue
from millrace.worker.settings.schema import load
from millrace.worker.upkeep.canary import EXIT_CODE
from tests.client import outcomes_of, wait_for
from tests.faults.conftest import ask, end_without_workers
from tests.faults.follower import check
from tests.faults.rig import Rig
from tests.faults.tcp_proxy import TcpProxy

LONG_LEASE_SECONDS = 60


def test_row_12_a_worker_killed_before_the_first_delta_is_taken_over_once_within_15_seconds(tmp_path: Path) -> None:
    with Rig(tmp_path, workers=2) as rig:
        asked = ask(rig, 1, first_delay=4)
        wait_for(lambda: rig.calls(asked.message), 30, "the call")
        rig.workers[_holder(rig, asked.generation)].signal(signal.SIGKILL)
        killed = time.monotonic()
        wait_for(lambda: len(rig.calls(asked.message)) == 2, 60, "the takeover")
        assert time.monotonic() - killed <= 30  # the law says 15 s; the rest is for a busy machine
        assert check(asked.follower, asked.client)["type"] == "complete"
        assert asked.follower.text == asked.text
        assert len(rig.calls(asked.message)) == 2


def test_row_13_a_worker_killed_mid_answer_is_taken_over_with_a_snapshot(tmp_path: Path) -> None:
    with Rig(tmp_path, workers=2) as rig:
        asked = ask(rig, 5)
        wait_for(lambda: len(asked.follower.text) > 100, 30, "some text")
        holder = _holder(rig, asked.generation)
        rig.workers[holder].signal(signal.SIGKILL)
        assert check(asked.follower, asked.client)["type"] == "complete"
        assert [each["reason"] for each in asked.follower.of_type("snapshot")] == ["takeover"]
        assert asked.follower.text == asked.text


def test_row_14_without_workers_the_web_ends_running_and_queued_generations(tmp_path: Path) -> None:
    with Rig(tmp_path, queue_seconds=4, lease_seconds=2) as rig:
        end_without_workers(rig)


def test_row_15_a_worker_resumed_after_its_lease_is_fenced_and_closes_its_model_stream(tmp_path: Path) -> None:
    with Rig(tmp_path, workers=2) as rig:
        asked = ask(rig, 30)
        wait_for(lambda: len(asked.follower.text) > 50, 30, "some text")
        holder = rig.workers[_holder(rig, asked.generation)]
        holder.signal(signal.SIGSTOP)
        wait_for(lambda: asked.follower.of_type("snapshot"), 40, "the successor's snapshot")
        holder.signal(signal.SIGCONT)
        first = wait_for(lambda: [each for each in rig.calls(asked.message)[:1] if each["ended"]], 30, "its close")
        assert first[0]["ended"] == "closed_by_client"
        assert check(asked.follower, asked.client, 60)["type"] == "complete"
        assert len(asked.follower.of_type("snapshot")) == 1
        assert len(rig.calls(asked.message)) == 2


def test_row_16_a_task_delivered_repeatedly_runs_once(tmp_path: Path) -> None:
    with Rig(tmp_path, workers=2) as rig:
        asked = ask(rig, 2)
        task_queue = TaskQueue(load({"MILLRACE_REDIS_URL": rig.valkey.url}))
        for _ in range(20):
            task_queue.enqueue(asked.generation)
        assert check(asked.follower, asked.client)["type"] == "complete"
        assert len(rig.calls(asked.message)) == 1


def test_row_17_a_terminated_worker_hands_over_a_hundred_generations(tmp_path: Path) -> None:
    with Rig(tmp_path, shutdown_grace_seconds=1, lease_seconds=LONG_LEASE_SECONDS) as rig:
        client = rig.client()
        # The first call of each stalls, so that none has ended when the second worker is ready.
        script = {"first_delay": 0.05, "fault": "stall", "at": 8, "times": 1}
        running = [ask(rig, 8, rate=10, name=f"{n:02d}x", client=client, **script) for n in range(100)]
        wait_for(lambda: all(each.follower.text for each in running), 30, "every first text")
        rig.start_worker()
        wait_for(lambda: "ready" in rig.workers[1].log.read_text(), 40, "the second worker")
        rig.workers[0].signal(signal.SIGTERM)
        asked_to_end = time.monotonic()
        assert rig.workers[0].wait(30) == 0
        wait_for(lambda: all(each.follower.of_type("snapshot") for each in running), 60, "every takeover")
        assert time.monotonic() - asked_to_end < LONG_LEASE_SECONDS  # a takeover by lease would take longer
        for each in running:
            assert check(each.follower, client, 60)["type"] == "complete"
            assert each.follower.text == each.text


def test_row_17_a_terminated_worker_exits_in_bounded_time_when_its_queue_is_silent(tmp_path: Path) -> None:
    rig = Rig(tmp_path, shutdown_grace_seconds=1)
    rig.valkey.start()
    with TcpProxy(rig.valkey.port) as proxy:
        rig.redis_ports["worker"] = proxy.port
        with rig:
            asked = ask(rig, 10)
            wait_for(lambda: asked.follower.text, 40, "some text")
            proxy.swallow()
            rig.workers[0].signal(signal.SIGTERM)
            rig.start_worker()
            assert rig.workers[0].wait(40) == 1  # Celery would take longer
            assert proxy.swallowed > 0
            assert "Timeout (0:00:08" in rig.workers[0].log.read_text()
            assert check(asked.follower, asked.client)["type"] == "complete"
            assert asked.follower.text == asked.text


def test_row_18_a_worker_that_does_not_consume_fails_readiness(tmp_path: Path) -> None:
    with Rig(tmp_path) as rig:
        rig.workers[0].signal(signal.SIGSTOP)
        client = rig.client()
        answer = wait_for(lambda: (got := client.http.get("/readyz")).status_code == 503 and got, 40, "the refusal")
        assert answer.json()


def test_row_18_a_worker_that_does_not_consume_hands_over_its_generations_and_exits(tmp_path: Path) -> None:
    with Rig(
        tmp_path, worker_modules=("tests.faults.stop_consuming",), consume_seconds=15, shutdown_grace_seconds=1
    ) as rig:
        asked = ask(rig, 30)
        wait_for(lambda: asked.follower.text, 30, "some text")
        deaf = rig.workers[0]
        os.kill(deaf.process.pid, signal.SIGUSR1)
        client = rig.client()
        wait_for(lambda: client.http.get("/readyz").status_code == 503, 40, "the refusal")
        unheard = client.ask("Is anybody there?")
        assert deaf.wait(30) == EXIT_CODE
        assert rig.calls("Is anybody there?") == []
        rig.workers[0] = deaf.again()
        rig.await_ready(rig.urls[0])
        assert check(asked.follower, asked.client)["type"] == "complete"
        assert [each["reason"] for each in asked.follower.of_type("snapshot")] == ["takeover"]
        assert outcomes_of(client.whole(unheard))[0]["type"] == "complete"


def test_row_44_a_generation_that_kills_every_worker_does_not_affect_the_others(tmp_path: Path) -> None:
    with Rig(tmp_path, lease_seconds=4) as rig:
        client = rig.client()
        # Each stalls, so that it runs when its worker is killed, but the third time.
        healthy = [ask(rig, 0.1, client=client, first_delay=n / 1000, fault="stall", at=1, times=2) for n in range(50)]
        poison = ask(rig, 60, client=client)
        for death in (1, 2):
            everyone = 51 * death
            wait_for(lambda everyone=everyone: len(rig.emulator.calls()) == everyone, 30, "everyone's call")
            _kill(rig)
        wait_for(lambda: len(rig.calls(poison.message)) == 3, 60, "its last chance")
        ended = len(rig.emulator.calls())
        wait_for(lambda: len(poison.follower.of_type("chunk")) > 60, 30, "a second and a half of it")
        assert len(rig.emulator.calls()) == ended  # it runs alone
        _kill(rig)
        assert check(poison.follower, client)["code"] == "worker_lost"
        assert {check(each.follower, client, 60)["type"] for each in healthy} == {"complete"}
        assert len(rig.emulator.calls()) == 51 * 3


def _kill(rig: Rig) -> None:
    """Kill the worker and start another."""
    rig.workers[-1].signal(signal.SIGKILL)
    rig.start_worker()


def _holder(rig: Rig, generation: str) -> int:
    """Return the index of the worker that has claimed this generation: it says so in its log."""

    def found() -> list[int]:
        return [number for number, each in enumerate(rig.workers) if generation in each.log.read_text()]

    return int(wait_for(lambda: found() and str(found()[-1]), 30, "the claim in some worker's log"))
