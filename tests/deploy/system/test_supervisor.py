"""The supervisor with real processes: restarts, heartbeats, and the order of the end."""

import os
import signal
import time
from pathlib import Path

import pytest

from tests.client import wait_for
from tests.deploy.system.supervised import (
    BEATS_UNTIL_STUCK,
    HAS_A_CHILD,
    IGNORES_SIGTERM,
    NOTES_ITS_END,
    SLEEPS,
    SupervisedPrograms,
    is_alive,
)


def test_killed_program_is_restarted_and_the_others_keep_running(tmp_path: Path) -> None:
    with SupervisedPrograms(tmp_path).program("a", SLEEPS).program("b", SLEEPS) as programs:
        before = programs.pids()
        os.kill(before["a"], signal.SIGKILL)
        after = wait_for(lambda: (now := programs.pids()) and now.get("a") not in (None, before["a"]) and now)
        assert after["b"] == before["b"]
        assert is_alive(after["a"])
        assert "a ended by signal 9; restarting it in 0.2 s" in programs.output()


def test_program_that_can_not_start_is_restarted_with_growing_waits(tmp_path: Path) -> None:
    with SupervisedPrograms(tmp_path).program("a", "print('no'); raise SystemExit(3)") as programs:
        wait_for(lambda: "0.8 s" in programs.output())
        waits = [line.rsplit(" ", 2)[1] for line in programs.output().splitlines()]
        assert waits[:3] == ["0.2", "0.4", "0.8"]
        assert programs.log("a").splitlines()[:3] == ["no"] * 3


def test_children_of_a_killed_program_are_ended_before_its_next_start(tmp_path: Path) -> None:
    with SupervisedPrograms(tmp_path).program("a", HAS_A_CHILD) as programs:
        orphan = int(wait_for(lambda: programs.log("a").split("\n")[0]))
        os.kill(programs.pids()["a"], signal.SIGKILL)
        wait_for(lambda: not is_alive(orphan))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_stop_ends_web_and_worker_first_then_the_emulator_then_redis(tmp_path: Path, number: signal.Signals) -> None:
    programs = SupervisedPrograms(tmp_path)
    for role in ("redis", "emulator", "web", "worker"):
        programs.program(role, NOTES_ITS_END.replace("{name!r}", repr(role)), role)
    with programs:
        pids = wait_for(lambda: all("started" in programs.log(name) for name in programs.pids()) and programs.pids())
        programs.send(number)
        assert programs.process.wait(30) == 0
        *first, third, fourth = (tmp_path / "ends").read_text().split()
        assert (set(first), third, fourth) == ({"web", "worker"}, "emulator", "redis")
        assert not any(is_alive(pid) for pid in pids.values())


def test_hangup_is_ignored_under_nohup_and_sigterm_is_not(tmp_path: Path) -> None:
    with SupervisedPrograms(tmp_path, "nohup").program("a", SLEEPS) as programs:
        before = programs.pids()["a"]
        programs.send(signal.SIGHUP)
        os.kill(before, signal.SIGKILL)
        wait_for(lambda: programs.pids().get("a") not in (None, before))
        assert programs.process.poll() is None
        programs.send(signal.SIGTERM)
        assert programs.process.wait(30) == 0


def test_program_that_ignores_sigterm_is_killed_after_its_grace(tmp_path: Path) -> None:
    with SupervisedPrograms(tmp_path).program("a", IGNORES_SIGTERM, grace=0.5) as programs:
        pid = wait_for(lambda: "ignores" in programs.log("a") and programs.pids()["a"])
        started = time.monotonic()
        programs.send(signal.SIGTERM)
        assert programs.process.wait(30) == 0
        assert not is_alive(pid)
        assert time.monotonic() - started >= 0.5


def test_second_stop_request_kills_at_once(tmp_path: Path) -> None:
    with (
        SupervisedPrograms(tmp_path)
        .program("a", IGNORES_SIGTERM, grace=60)
        .program("b", SLEEPS, "redis", grace=60) as programs
    ):
        pids = wait_for(lambda: "ignores" in programs.log("a") and programs.pids())
        programs.send(signal.SIGINT)
        with pytest.raises(Exception, match="timed out"):
            programs.process.wait(0.3)
        programs.send(signal.SIGINT)
        assert programs.process.wait(30) == 0
        assert not any(is_alive(pid) for pid in pids.values())


def test_program_stopped_by_sigstop_ends_with_the_others(tmp_path: Path) -> None:
    with SupervisedPrograms(tmp_path).program("a", SLEEPS, grace=60) as programs:
        os.kill(pid := programs.pids()["a"], signal.SIGSTOP)
        programs.send(signal.SIGTERM)
        assert programs.process.wait(30) == 0
        assert not is_alive(pid)


def test_program_without_heartbeats_is_restarted(tmp_path: Path) -> None:
    with SupervisedPrograms(tmp_path).program("a", BEATS_UNTIL_STUCK, heartbeat=6).program("b", SLEEPS) as programs:
        before = programs.pids()
        wait_for((tmp_path / "a.pulse").exists)
        with pytest.raises(AssertionError):
            wait_for(programs.output, 8)
        (tmp_path / "stuck").touch()
        wait_for(lambda: not is_alive(before["a"]))
        (tmp_path / "stuck").unlink()
        after = wait_for(lambda: (now := programs.pids()).get("a") not in (None, before["a"]) and now)
        assert after["b"] == before["b"]
        assert programs.output().splitlines() == [
            "a is running but does no work; ending it",
            "a ended by signal 15; restarting it in 0.2 s",
        ]


def test_program_without_heartbeats_that_ignores_sigterm_is_killed_after_its_grace(tmp_path: Path) -> None:
    with SupervisedPrograms(tmp_path).program("a", IGNORES_SIGTERM, grace=0.5, heartbeat=1) as programs:
        pid = programs.pids()["a"]
        wait_for(lambda: not is_alive(pid))
        wait_for(lambda: "a ended by signal 9; restarting it in 0.2 s" in programs.output())
