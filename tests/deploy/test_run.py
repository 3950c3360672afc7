"""The command's words, before anything is started."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.topology import surroundings
from tests.deploy.kept import ROOT

COMMANDS = [ROOT / "deploy" / name for name in ("run.py", "test.py")]
ENDPOINT = "http://127.0.0.1:2"


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, ROOT / "deploy" / "run.py", *arguments], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("path", COMMANDS, ids=lambda path: path.name)
def test_an_old_python_can_read_the_file_far_enough_to_be_refused(path: Path) -> None:
    ast.parse(path.read_text(), feature_version=(3, 4))  # no annotations, no f-strings
    imported = {
        name.name
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import)
        for name in node.names
    }
    assert imported == {"runpy", "sys"}
    old = path.read_text().replace("OLDEST = (3, 11)", "OLDEST = (99, 0)")
    answer = subprocess.run([sys.executable, "-c", old], capture_output=True, text=True, check=False)
    assert answer.returncode == 1
    assert "needs Python 3.11 or newer; this is Python 3." in answer.stderr


def test_pids_of_nothing_are_refused_with_the_directorys_name(tmp_path: Path) -> None:
    answer = command("--pids", "--state", str(tmp_path))
    assert (answer.returncode, answer.stdout) == (1, "")
    assert answer.stderr == f"nothing runs in {tmp_path}\n"


@pytest.mark.parametrize("arguments", [("--web", "0"), ("--worker", "many"), ("--port", "http"), ("--por", "1")])
def test_a_bad_flag_is_refused_by_name(arguments: tuple[str, str]) -> None:
    answer = command(*arguments)
    assert answer.returncode == 2
    assert arguments[0] in answer.stderr


def test_the_given_environment_wins_over_ours() -> None:
    given = {"MILLRACE_REDIS_URL": "redis://theirs", "MILLRACE_SECRET_KEY": "", "LANG": "C"}
    ours = {"MILLRACE_REDIS_URL": "redis://ours", "MILLRACE_SECRET_KEY": "made"}
    made = surroundings(given, ours, "")
    assert made == {"MILLRACE_REDIS_URL": "redis://theirs", "MILLRACE_SECRET_KEY": "made", "LANG": "C"}


def test_with_the_local_endpoint_nobodys_own_credentials_are_used() -> None:
    made = surroundings({"AWS_PROFILE": "gone", "AWS_ACCESS_KEY_ID": "mine", "AWS_SESSION_TOKEN": "t"}, {}, ENDPOINT)
    assert made == {
        "MILLRACE_BEDROCK_ENDPOINT_URL": ENDPOINT,
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
    }


def test_without_the_local_endpoint_credentials_are_left_as_they_are() -> None:
    given = {"AWS_PROFILE": "mine", "MILLRACE_BEDROCK_ENDPOINT_URL": "https://vpce"}
    assert surroundings(given, {}, "") == given
    assert surroundings(given, {}, ENDPOINT) == given
