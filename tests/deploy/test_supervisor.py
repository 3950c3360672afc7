"""Real processes: what dies is started again, and all end in order."""

import os
import signal
import time
from pathlib import Path

import pytest

from deploy.programs import Backoff
from tests.client import wait_for
from tests.deploy.kept import BEATS_UNTIL_TOLD, DEAF, HAS_A_CHILD, SLEEPS, TELLS_ITS_END, Kept, lives


def test_a_killed_program_is_started_again_and_the_others_go_on(tmp_path: Path) -> None:
    with Kept(tmp_path).program("a", SLEEPS).program("b", SLEEPS) as kept:
        before = kept.pids()
        os.kill(before["a"], signal.SIGKILL)
        after = wait_for(lambda: (now := kept.pids()) and now.get("a") not in (None, before["a"]) and now)
        assert after["b"] == before["b"]
        assert lives(after["a"])
        assert "a ended by signal 9; starting it again in 0.2 s" in kept.said()


def test_a_program_that_can_not_start_is_tried_again_ever_more_rarely(tmp_path: Path) -> None:
    with Kept(tmp_path).program("a", "print('no'); raise SystemExit(3)") as kept:
        wait_for(lambda: "0.8 s" in kept.said())
        waits = [line.rsplit(" ", 2)[1] for line in kept.said().splitlines()]
        assert waits == ["0.2", "0.4", "0.8"]
        assert kept.log("a").splitlines() == ["no"] * 3


def test_backoff_doubles_up_to_its_bound_and_begins_anew_after_a_long_life() -> None:
    backoff = Backoff()
    waits = [backoff.after(lifetime_seconds=1) for _ in range(7)]
    assert waits == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    assert backoff.after(lifetime_seconds=31) == 0.2
    assert backoff.after(lifetime_seconds=1) == 0.4


def test_what_a_dead_program_leaves_behind_is_ended_before_its_next_start(tmp_path: Path) -> None:
    with Kept(tmp_path).program("a", HAS_A_CHILD) as kept:
        orphan = int(wait_for(lambda: kept.log("a").split("\n")[0]))
        os.kill(kept.pids()["a"], signal.SIGKILL)
        wait_for(lambda: not lives(orphan))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_redis_ends_after_all_others_when_asked_to_stop(tmp_path: Path, number: signal.Signals) -> None:
    kept = Kept(tmp_path)
    for role in ("redis", "emulator", "web", "worker"):
        kept.program(role, TELLS_ITS_END.replace("{name!r}", repr(role)), role)
    with kept:
        pids = wait_for(lambda: all("listens" in kept.log(name) for name in kept.pids()) and kept.pids())
        kept.send(number)
        assert kept.process.wait(10) == 0
        *first, third, fourth = (tmp_path / "ends").read_text().split()
        assert (set(first), third, fourth) == ({"web", "worker"}, "emulator", "redis")
        assert not any(lives(pid) for pid in pids.values())


def test_a_program_deaf_to_the_wish_is_killed_after_its_grace(tmp_path: Path) -> None:
    with Kept(tmp_path).program("a", DEAF, grace=0.5) as kept:
        pid = wait_for(lambda: "deaf" in kept.log("a") and kept.pids()["a"])
        started = time.monotonic()
        kept.send(signal.SIGTERM)
        assert kept.process.wait(10) == 0
        assert not lives(pid)
        assert time.monotonic() - started >= 0.5


def test_a_second_wish_to_stop_kills_at_once(tmp_path: Path) -> None:
    with Kept(tmp_path).program("a", DEAF, grace=60).program("b", SLEEPS, "redis", grace=60) as kept:
        pids = wait_for(lambda: "deaf" in kept.log("a") and kept.pids())
        kept.send(signal.SIGINT)
        with pytest.raises(Exception, match="timed out"):
            kept.process.wait(0.3)
        kept.send(signal.SIGINT)
        assert kept.process.wait(10) == 0
        assert not any(lives(pid) for pid in pids.values())


def test_a_stopped_program_ends_with_the_others(tmp_path: Path) -> None:
    with Kept(tmp_path).program("a", SLEEPS, grace=60) as kept:
        os.kill(pid := kept.pids()["a"], signal.SIGSTOP)
        kept.send(signal.SIGTERM)
        assert kept.process.wait(10) == 0
        assert not lives(pid)


def test_a_program_that_lives_but_has_no_pulse_any_more_is_started_anew(tmp_path: Path) -> None:
    with Kept(tmp_path).program("a", BEATS_UNTIL_TOLD, pulse=3).program("b", SLEEPS) as kept:
        before = kept.pids()
        wait_for((tmp_path / "a.pulse").exists)
        with pytest.raises(AssertionError):
            wait_for(kept.said, 5)
        (tmp_path / "stuck").touch()
        wait_for(lambda: not lives(before["a"]))
        (tmp_path / "stuck").unlink()
        after = wait_for(lambda: (now := kept.pids()).get("a") not in (None, before["a"]) and now)
        assert after["b"] == before["b"]
        assert kept.said().splitlines() == [
            "a lives but does no work; ending it",
            "a ended by signal 15; starting it again in 0.2 s",
        ]


def test_one_that_has_no_pulse_and_is_deaf_to_the_wish_is_killed_after_its_grace(tmp_path: Path) -> None:
    with Kept(tmp_path).program("a", DEAF, grace=0.5, pulse=1) as kept:
        pid = kept.pids()["a"]
        wait_for(lambda: not lives(pid))
        wait_for(lambda: "a ended by signal 9; starting it again in 0.2 s" in kept.said())
