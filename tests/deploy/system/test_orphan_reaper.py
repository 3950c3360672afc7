"""The orphan reaper leaves no process behind when the supervisor is killed."""

import os
import signal
import subprocess
from pathlib import Path

from deploy.system.probes import children_of
from tests.client import wait_for
from tests.deploy.system.supervised import HAS_A_CHILD, IGNORES_SIGTERM, SLEEPS, SupervisedPrograms, is_alive


def test_all_programs_end_within_five_seconds_when_the_supervisor_is_killed(tmp_path: Path) -> None:
    with (
        SupervisedPrograms(tmp_path)
        .program("a", SLEEPS)
        .program("b", IGNORES_SIGTERM)
        .program("c", HAS_A_CHILD) as programs
    ):
        wait_for(lambda: "ignores" in programs.log("b") and "ignores" in programs.log("c"))
        pids = [*programs.pids().values(), int(programs.log("c").split("\n")[0])]
        assert all(is_alive(pid) for pid in pids)
        programs.send(signal.SIGKILL)
        programs.process.wait()
        wait_for(lambda: not any(is_alive(pid) for pid in pids), 30)


def test_restarted_program_is_known_to_the_reaper(tmp_path: Path) -> None:
    with SupervisedPrograms(tmp_path).program("a", IGNORES_SIGTERM) as programs:
        first = programs.pids()["a"]
        os.kill(first, signal.SIGKILL)
        second = wait_for(lambda: programs.pids().get("a") not in (None, first) and programs.pids()["a"])
        programs.send(signal.SIGKILL)
        programs.process.wait()
        wait_for(lambda: not is_alive(second), 30)


def test_killed_reaper_is_replaced(tmp_path: Path) -> None:
    with SupervisedPrograms(tmp_path).program("a", SLEEPS).program("b", SLEEPS) as programs:
        pids = programs.pids().values()
        (reaper,) = set(children_of([programs.process.pid])) - set(pids)
        os.kill(reaper, signal.SIGKILL)
        wait_for(lambda: set(children_of([programs.process.pid])) - {reaper, *pids})
        programs.send(signal.SIGKILL)
        programs.process.wait()
        wait_for(lambda: not any(is_alive(pid) for pid in pids), 30)


def test_reaper_has_a_process_group_of_its_own(tmp_path: Path) -> None:
    with SupervisedPrograms(tmp_path).program("a", SLEEPS) as programs:
        (reaper,) = set(children_of([programs.process.pid])) - set(programs.pids().values())
        answer = subprocess.run(["ps", "-o", "pgid=", "-p", str(reaper)], capture_output=True, text=True, check=True)
        assert int(answer.stdout) == reaper
