"""One system a state directory."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.refusal import Refusal
from deploy.state import Record, State
from tests.deploy.kept import ROOT

CLAIM = "import sys; from pathlib import Path; from deploy.state import State; State(Path(sys.argv[1])).claim(); "


def claimed_elsewhere(directory: Path, end: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", f"{CLAIM} print('claimed', flush=True); {end}", str(directory)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    assert process.stdout.readline() == "claimed\n"
    return process


def test_the_second_system_is_refused_by_name(tmp_path: Path) -> None:
    with claimed_elsewhere(tmp_path, "sys.stdin.read()") as other:
        with pytest.raises(Refusal, match=rf"already runs in {tmp_path} \(process {other.pid}\).*--state DIR"):
            State(tmp_path).claim()
        running = State(tmp_path).running()
        assert running
        assert running.pid == other.pid
        other.communicate()


def test_a_killed_system_does_not_run_and_its_directory_can_be_claimed(tmp_path: Path) -> None:
    with claimed_elsewhere(tmp_path, "sys.stdin.read()") as other:
        other.kill()
        other.communicate()
    state = State(tmp_path)
    assert state.running() is None
    os.close(state.claim())


def test_the_claim_waits_while_the_killed_ones_processes_still_end(tmp_path: Path) -> None:
    """Its reaper holds the lock for a while: here a process that outlives the one that claimed."""
    outlive = (
        "import os, time; os.fork() and os._exit(0); os.close(1); time.sleep(0.6); open(sys.argv[1] + '/gone', 'w')"
    )
    with claimed_elsewhere(tmp_path, outlive) as other:
        other.wait()
        state = State(tmp_path)
        assert state.running() is None
        os.close(state.claim())
        assert (tmp_path / "gone").exists()


def test_nothing_runs_where_nothing_ever_ran(tmp_path: Path) -> None:
    assert State(tmp_path / "none").running() is None


def test_the_record_comes_back_as_it_was_written(tmp_path: Path) -> None:
    state = State(tmp_path)
    lock = state.claim()
    record = Record(os.getpid(), "http://127.0.0.1:1", "redis://x", "http://y", is_ready=True, roles={"web": [1, 2]})
    state.write(record)
    assert state.running() == record
    state.forget()
    assert state.running() is None
    os.close(lock)


def test_the_secret_key_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    key = State(tmp_path).secret_key()
    assert len(key) >= 43
    assert State(tmp_path).secret_key() == key
    assert stat.S_IMODE((tmp_path / "secret_key").stat().st_mode) == 0o600


def test_a_logs_last_lines_begin_where_this_life_does(tmp_path: Path) -> None:
    state = State(tmp_path)
    os.close(state.claim())
    state.log("web").write_bytes(b"before\n" + b"\n".join(b"%d" % number for number in range(40)) + b"\xff\n")
    assert state.last_lines("web").split("\n")[0] == "  | 25"
    assert state.last_lines("web", offset=-7).split("\n") == ["  | 38", "  | 39\ufffd"]
    assert state.last_lines("none") == ""
