"""Row 18: a worker that cannot even exit is detected by its heartbeat file, and restarted."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.client import Client, wait_for
from tests.deploy.system.supervised import SupervisedPrograms
from tests.faults.conftest import ask
from tests.faults.follower import check
from tests.faults.rig import ROOT, Rig, worker_command

PULSE_SECONDS = 15.0  # a start must not take longer
NAME = "supervised"


def test_row_18_a_stopped_worker_is_replaced_by_its_supervisor(tmp_path: Path) -> None:
    with (
        Rig(tmp_path) as rig,
        SupervisedPrograms(tmp_path).program(NAME, _script(rig, tmp_path), heartbeat=PULSE_SECONDS) as programs,
    ):
        client = rig.client()
        wait_for(lambda: _workers(client) == "2 alive", 30, "the supervised worker")
        rig.workers[0].signal(signal.SIGKILL)
        asked = ask(rig, 25, client=client)  # it still runs when the worker is stopped
        wait_for(lambda: asked.follower.text, 40, "some text")
        before = programs.pids()[NAME]
        assert _probe(tmp_path) == 0

        os.kill(before, signal.SIGSTOP)
        wait_for(lambda: _workers(client) == "none", 30, "the refusal")
        wait_for(
            lambda: f"{NAME} is running but does no work; ending it" in programs.output(), 30, "the supervisor's word"
        )
        wait_for(lambda: _workers(client) == "1 alive", 30, "its replacement")
        assert programs.pids()[NAME] != before
        assert check(asked.follower, client, 90)["type"] == "complete"
        assert asked.follower.text == asked.text
        assert [each["reason"] for each in asked.follower.of_type("snapshot")] == ["takeover"]


def _script(rig: Rig, directory: Path) -> str:
    """Return a program for the keeper that becomes a worker, its pulse where the keeper looks for it."""
    environment = rig.environment("worker") | _pulse(directory)
    command = [sys.executable, "-m", *worker_command(NAME)]
    return f"import os; os.chdir({str(ROOT)!r}); os.execve({command[0]!r}, {command!r}, {environment!r})"


def _pulse(directory: Path) -> dict[str, str]:
    return {"MILLRACE_PULSE_FILE": str(directory / f"{NAME}.pulse")}


def _probe(directory: Path) -> int:
    """Return the exit code of the liveness check that any supervisor may run."""
    return subprocess.call(
        [sys.executable, "-m", "millrace.worker.upkeep.heartbeat_file"], cwd=ROOT, env=os.environ | _pulse(directory)
    )


def _workers(client: Client) -> str:
    """Return what `/readyz` says of the workers; asserts that it is ready where one consumes."""
    answer = client.http.get("/readyz")
    workers = str(answer.json()["checks"]["workers"])
    assert answer.status_code == (503 if workers == "none" else 200)
    return workers
