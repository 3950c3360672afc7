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
from deploy.migration import migrate
from deploy.state_directory import StateDirectory

ROOT = Path(__file__).parent.parent.parent


def run(state: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    given = {name: value for name, value in os.environ.items() if not name.startswith("MILLRACE_")}
    return subprocess.run(
        [sys.executable, "deploy/data.py", "export", "--state", str(state), *arguments],
        cwd=ROOT,
        env=given,
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


def test_export_goes_to_standard_output_or_to_a_private_file(state: Path, tmp_path: Path) -> None:
    shown = run(state, "ada")
    assert shown.returncode == 0, shown.stderr
    assert [each["name"] for each in json.loads(shown.stdout)["api_keys"]] == ["laptop"]
    target = tmp_path / "ada.json"
    assert run(state, "-o", str(target), "ada").returncode == 0
    assert json.loads(target.read_text("utf-8"))["owner"] == "ada"
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a state", "ada.json"]


def test_unknown_owner_is_reported_and_leaves_no_file(state: Path, tmp_path: Path) -> None:
    target = tmp_path / "bob.json"
    done = run(state, "-o", str(target), "bob")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "Nothing is stored of an owner 'bob'.\n"
    assert not target.exists()


def test_missing_database_is_reported_and_not_made(tmp_path: Path) -> None:
    done = run(tmp_path, "ada")
    assert (done.returncode, done.stdout) == (1, "")
    assert "the database, does not exist; name it with --state or MILLRACE_DATABASE_URL" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_database_of_the_environment_comes_first(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path)
    given = {"MILLRACE_DATABASE_URL": "postgresql://db/chat"}
    assert environment_of(given, state) == given
    assert environment_of({"A": "b"}, state) == {"A": "b", "MILLRACE_DATABASE_URL": f"sqlite:///{tmp_path}/millrace.db"}
