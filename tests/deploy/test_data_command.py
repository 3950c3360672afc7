"""The command that exports an owner's data."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.api_keys import KeyFile
from deploy.data_command import environment_of
from deploy.errors import StartError
from deploy.migration import migrate
from deploy.system.state_directory import StateDirectory, SystemRecord
from tests.valkey import ValkeyProcess

ROOT = Path(__file__).parent.parent.parent


def run(state: Path, command: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    given = {name: value for name, value in os.environ.items() if not name.startswith("MILLRACE_")}
    return subprocess.run(
        [sys.executable, ROOT / "deploy/data.py", command, "--state", str(state), *arguments],
        cwd=state.parent,
        env=given | environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state directory with spaces in its path, a migrated database, and a key of ada."""
    path = tmp_path / "a state"
    directory = StateDirectory(path)
    KeyFile(directory).add("ada", "laptop")
    migrate(ROOT, Path(sys.executable), environment_of(os.environ, directory))
    return path


def test_export_has_the_keys_of_the_state_directory_and_is_written_where_the_user_is(state: Path) -> None:
    shown = run(state, "export", "ada")
    assert shown.returncode == 0, shown.stderr
    assert [each["name"] for each in json.loads(shown.stdout)["api_keys"]] == ["laptop"]
    target = state.parent / "ada.json"
    assert run(state, "export", "-o", "ada.json", "--", "ada").returncode == 0
    assert json.loads(target.read_text("utf-8"))["owner"] == "ada"
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert sorted(each.name for each in state.parent.iterdir()) == ["a state", "ada.json"]


def test_deletion_needs_a_redis_and_revokes_the_keys_of_the_owner_only(state: Path) -> None:
    keys = KeyFile(StateDirectory(state))
    keys.add("eve", "server")
    refused = run(state, "delete", "--yes", "ada")
    assert refused.returncode == 1
    assert f"nothing runs in {state}" in refused.stderr
    assert len(keys.read()) == 2
    with ValkeyProcess(state) as valkey:
        for shown in ("Deleted: 0 conversations, ", "Nothing is stored of an owner 'ada'."):
            done = run(state, "delete", "--yes", "ada", MILLRACE_REDIS_URL=valkey.url)
            assert (done.returncode, done.stderr) == (0, "")
            assert done.stdout.startswith(shown)
    assert [each.owner for each in keys.read()] == ["eve"]


def test_unknown_command_is_refused_and_help_names_the_flag_of_this_command(tmp_path: Path) -> None:
    assert run(tmp_path, "drop", "ada").returncode == 2
    assert "--state DIR" in run(tmp_path, "--help").stdout


def test_missing_database_is_reported_and_not_made(tmp_path: Path) -> None:
    done = run(tmp_path, "export", "ada")
    assert (done.returncode, done.stdout) == (1, "")
    assert "the database, does not exist; name it with MILLRACE_DATABASE_URL" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_database_of_the_environment_comes_first(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path)
    given = {"MILLRACE_DATABASE_URL": "postgresql://db/chat"}
    assert environment_of(given, state) == given
    assert environment_of({"A": "b"}, state) == {"A": "b", "MILLRACE_DATABASE_URL": f"sqlite:///{tmp_path}/millrace.db"}


def test_redis_of_the_running_system_is_used_unless_another_is_named(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path)
    lock = state.claim()
    state.write(SystemRecord(os.getpid(), redis_url="redis://own"))
    try:
        assert environment_of({}, state, needs_redis=True)["MILLRACE_REDIS_URL"] == "redis://own"
        given = {"MILLRACE_REDIS_URL": "redis://other"}
        assert environment_of(given, state, needs_redis=True)["MILLRACE_REDIS_URL"] == "redis://other"
    finally:
        os.close(lock)
    with pytest.raises(StartError, match="nothing runs in"):
        environment_of({}, state, needs_redis=True)
