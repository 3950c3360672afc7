"""Workers that die or stop are taken over with a snapshot, and queued generations can still be cancelled."""

import os
import signal

from tests.client import Client, assert_complete, emulate, outcomes_of, text_of, wait_for
from tests.system import System


def test_a_killed_worker_is_taken_over_with_a_snapshot_and_no_mixed_text(free_system: System) -> None:
    with Client(free_system.url) as client:
        generation = client.ask(emulate(tokens=400, chars=6, rate=40))
        reader = client.follow(generation)
        received = [each for _, each in zip(range(10), reader, strict=False)]
        for pid in free_system.pids()["worker"]:  # whichever has it: both die, and are started again
            os.kill(pid, signal.SIGKILL)
        received += list(reader)
        assert_complete(received)
        snapshots = [each.event for each in received if each.event["type"] == "snapshot"]
        assert [each["reason"] for each in snapshots] == ["takeover"]
        assert {each.event["attempt"] for each in received if "attempt" in each.event} == {1, 2}
        assert outcomes_of(received)[0]["type"] == "complete"
        assert text_of(received) == client.snapshot(generation)["content"]
        assert len(text_of(received)) == 2400


def test_cancelling_a_queued_generation_ends_it_before_the_reply(free_system: System) -> None:
    with Client(free_system.url) as client:
        stopped = free_system.pids()["worker"]
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        generation = client.ask(emulate(tokens=10))
        answer = client.cancel(generation)
        assert (answer.status_code, answer.json()["status"]) == (202, "cancelled")
        received = client.whole(generation)
        assert [each.event["type"] for each in received] == ["status", "cancelled", "done"]
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
        wait_for(lambda: client.http.get("/readyz").status_code == 200, 40, "the worker")
        assert client.cancel(generation).status_code == 200
