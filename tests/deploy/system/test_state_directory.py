"""A state directory holds one system."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.errors import StartError
from deploy.system.state_directory import StateDirectory, SystemRecord, open_log
from tests.deploy.system.supervised import ROOT

CLAIM = """
import sys
from pathlib import Path
from deploy.system.state_directory import StateDirectory
StateDirectory(Path(sys.argv[1])).claim()
"""


def claimed_elsewhere(directory: Path, end: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", f"{CLAIM}print('claimed', flush=True); {end}", str(directory)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    assert process.stdout.readline() == "claimed\n"
    return process


def test_second_system_in_a_directory_is_rejected_with_the_first_ones_process_id(tmp_path: Path) -> None:
    with claimed_elsewhere(tmp_path, "sys.stdin.read()") as other:
        with pytest.raises(StartError, match=rf"already runs in {tmp_path} \(process {other.pid}\).*--state DIR"):
            StateDirectory(tmp_path).claim()
        running = StateDirectory(tmp_path).running()
        assert running
        assert running.pid == other.pid
        other.communicate()


def test_directory_of_a_killed_system_can_be_claimed(tmp_path: Path) -> None:
    with claimed_elsewhere(tmp_path, "sys.stdin.read()") as other:
        other.kill()
        other.communicate()
    state = StateDirectory(tmp_path)
    assert state.running() is None
    os.close(state.claim())


def test_claim_waits_for_the_last_process_of_a_killed_system(tmp_path: Path) -> None:
    """The killed system's reaper holds the lock for a while: here a process that outlives the one that claimed."""
    outlive = (
        "import os, time; os.fork() and os._exit(0); os.close(1); time.sleep(0.6); open(sys.argv[1] + '/gone', 'w')"
    )
    with claimed_elsewhere(tmp_path, outlive) as other:
        other.wait()
        state = StateDirectory(tmp_path)
        assert state.running() is None
        os.close(state.claim())
        assert (tmp_path / "gone").exists()


def test_new_directory_has_no_running_system(tmp_path: Path) -> None:
    assert StateDirectory(tmp_path / "none").running() is None


def test_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path)
    lock = state.claim()
    record = SystemRecord(
        os.getpid(), "http://127.0.0.1:1", "redis://x", "http://y", is_ready=True, roles={"web": [1, 2]}
    )
    state.write(record)
    assert state.running() == record
    state.remove_record()
    assert state.running() is None
    os.close(lock)


def test_secret_key_is_made_once_and_readable_by_its_owner_only(tmp_path: Path) -> None:
    key = StateDirectory(tmp_path).secret_key()
    assert len(key) >= 43
    assert StateDirectory(tmp_path).secret_key() == key
    assert stat.S_IMODE((tmp_path / "secret_key").stat().st_mode) == 0o600


def test_last_lines_of_a_log_begin_at_the_offset(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path)
    os.close(state.claim())
    state.log_path("web").write_bytes(b"before\n" + b"\n".join(b"%d" % number for number in range(40)) + b"\xff\n")
    assert state.last_lines("web").split("\n")[0] == "  | 25"
    assert state.last_lines("web", offset=-7).split("\n") == ["  | 38", "  | 39\ufffd"]
    assert state.last_lines("none") == ""


def test_directory_of_another_user_is_refused_and_left_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "secret_key").write_text("planted")
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(StartError, match=r"belongs to another user.*--state DIR"):
        StateDirectory(tmp_path).claim()
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755
    assert sorted(each.name for each in tmp_path.iterdir()) == ["secret_key"]
    with pytest.raises(StartError, match="not a file of this user"):
        StateDirectory(tmp_path).secret_key()


@pytest.mark.parametrize("name", ["secret_key", "redis_password"])
def test_secret_that_is_a_link_is_refused(tmp_path: Path, name: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("planted")
    state = StateDirectory(tmp_path / "state")
    os.close(state.claim())
    (state.path / name).symlink_to(elsewhere)
    with pytest.raises(StartError, match="symbolic link"):
        getattr(state, name)()


def test_log_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("untouched")
    state = StateDirectory(tmp_path / "state")
    os.close(state.claim())
    state.log_path("web").symlink_to(elsewhere)
    with pytest.raises(StartError, match="it is a symbolic link; remove it"):
        open_log(state.log_path("web"))
    state.log_path("redis").mkdir()
    with pytest.raises(StartError, match="can't be written: Is a directory"):
        open_log(state.log_path("redis"))
    with open_log(state.log_path("worker1")) as log:
        log.write(b"a line")
    assert stat.S_IMODE(state.log_path("worker1").stat().st_mode) == 0o600
    assert elsewhere.read_text() == "untouched"


def test_log_is_opened_again_after_its_directory_was_removed(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path / "state")
    os.close(state.claim())
    (state.path / "logs").rmdir()
    with open_log(state.log_path("worker1")) as log:
        log.write(b"again")
    assert stat.S_IMODE((state.path / "logs").stat().st_mode) == 0o700


def test_lock_that_is_a_link_is_refused(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path / "state")
    state.path.mkdir()
    (state.path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StartError, match="can't be used"):
        state.claim()
    assert not (tmp_path / "elsewhere").exists()
