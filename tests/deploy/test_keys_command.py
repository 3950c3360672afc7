"""The command `deploy/keys.py`: what it prints, and where."""

import subprocess
import sys
from pathlib import Path

from millrace.worker.settings.api_keys import hash_of_key, read_keys
from tests.deploy.system.supervised import ROOT


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "deploy/keys.py", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_key_is_printed_alone_listed_without_itself_and_revoked(tmp_path: Path) -> None:
    state = ("--state", str(tmp_path / "state"))
    added = run("add", "ada", "--name", "my laptop", *state)
    key = added.stdout.strip()
    assert added.stdout == f"{key}\n"
    (stored,) = read_keys(str(tmp_path / "state" / "api_keys.json"))
    assert stored.sha256 == hash_of_key(key)
    assert f"The key {stored.id} of ada." in added.stderr
    listed = run("list", *state)
    head, row = listed.stdout.splitlines()
    assert head.split() == ["id", "owner", "name", "created", "last4"]
    assert row.split() == [stored.id, "ada", "my", "laptop", stored.created, key[-4:]]
    assert key not in listed.stdout
    assert f"{stored.id} of ada is revoked" in run("revoke", key, *state).stderr
    again = run("revoke", stored.id, *state)
    assert (again.returncode, again.stdout) == (1, "")
    assert "does not hold a key with the id" in again.stderr
    assert run("list", *state).stdout.splitlines() == ["id  owner  name  created  last4"]


def test_wrong_commands_change_nothing(tmp_path: Path) -> None:
    state = ("--state", str(tmp_path / "state"))
    for arguments, code, says in (
        ((), 2, "COMMAND"),
        (("add",), 2, "OWNER"),
        (("remove", "x"), 2, "invalid choice"),
        (("add", " ada", *state), 1, "an owner has"),
        (("revoke", "x", *state), 1, "does not hold"),
        (("--help",), 0, "API keys for programs"),
    ):
        done = run(*arguments)
        assert done.returncode == code, done
        assert says in done.stdout + done.stderr, done
    assert not (tmp_path / "state" / "api_keys.json").exists()
