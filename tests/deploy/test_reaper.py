"""The starter is killed outright, and nothing of what it started is left."""

import os
import signal
import subprocess
from pathlib import Path

from deploy.genealogy import children_of
from tests.client import wait_for
from tests.deploy.kept import DEAF, HAS_A_CHILD, SLEEPS, Kept, lives


def test_all_are_gone_within_five_seconds_when_the_starter_is_killed(tmp_path: Path) -> None:
    with Kept(tmp_path).program("a", SLEEPS).program("b", DEAF).program("c", HAS_A_CHILD) as kept:
        wait_for(lambda: "deaf" in kept.log("b") and "deaf" in kept.log("c"))
        pids = [*kept.pids().values(), int(kept.log("c").split("\n")[0])]
        assert all(lives(pid) for pid in pids)
        kept.send(signal.SIGKILL)
        kept.process.wait()
        wait_for(lambda: not any(lives(pid) for pid in pids), 5)


def test_a_program_started_again_is_known_to_the_reaper(tmp_path: Path) -> None:
    with Kept(tmp_path).program("a", DEAF) as kept:
        first = kept.pids()["a"]
        os.kill(first, signal.SIGKILL)
        second = wait_for(lambda: kept.pids().get("a") not in (None, first) and kept.pids()["a"])
        kept.send(signal.SIGKILL)
        kept.process.wait()
        wait_for(lambda: not lives(second), 5)


def test_the_reaper_itself_can_be_killed_and_another_takes_over(tmp_path: Path) -> None:
    with Kept(tmp_path).program("a", SLEEPS).program("b", SLEEPS) as kept:
        pids = kept.pids().values()
        (reaper,) = set(children_of([kept.process.pid])) - set(pids)
        os.kill(reaper, signal.SIGKILL)
        wait_for(lambda: set(children_of([kept.process.pid])) - {reaper, *pids})
        kept.send(signal.SIGKILL)
        kept.process.wait()
        wait_for(lambda: not any(lives(pid) for pid in pids), 5)


def test_the_reaper_does_not_hear_the_terminal(tmp_path: Path) -> None:
    with Kept(tmp_path).program("a", SLEEPS) as kept:
        (reaper,) = set(children_of([kept.process.pid])) - set(kept.pids().values())
        answer = subprocess.run(["ps", "-o", "pgid=", "-p", str(reaper)], capture_output=True, text=True, check=True)
        assert int(answer.stdout) == reaper
