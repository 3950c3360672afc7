"""The flags of `deploy/run.py`, and the three entry files under an old Python."""

import ast
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.deploy.system.supervised import ROOT

COMMANDS = [ROOT / "deploy" / name for name in ("run.py", "test.py", "migrate.py")]


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, ROOT / "deploy" / "run.py", *arguments], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("path", COMMANDS, ids=lambda path: path.name)
def test_old_python_can_parse_the_entry_file_and_is_rejected(path: Path) -> None:
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


def test_pids_without_a_running_system_name_the_directory(tmp_path: Path) -> None:
    answer = command("--pids", "--state", str(tmp_path))
    assert (answer.returncode, answer.stdout) == (1, "")
    assert answer.stderr == f"nothing runs in {tmp_path}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ("--web", "0"),
        ("--worker", "many"),
        ("--port", "http"),
        ("--por", "1"),
        ("--provider", "azure"),
        ("--provider", ""),
        ("--aws", "--rlm"),
    ],
)
def test_bad_flag_is_rejected_by_name(arguments: tuple[str, str]) -> None:
    answer = command(*arguments)
    assert answer.returncode == 2
    assert arguments[0] in answer.stderr


def test_redis_or_database_that_is_away_stops_the_start_with_one_sentence_within_seconds(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        place = f"127.0.0.1:{silent.getsockname()[1]}"
        away = "MILLRACE_REDIS_URL: Redis at 127.0.0.1:1 does not serve: Connection refused."
        mute = f"MILLRACE_BROKER_URL: Redis at {place} does not serve: no reply within"
        wrong = (
            ("MILLRACE_REDIS_URL", "redis://:hidden@127.0.0.1:1/0", away),
            ("MILLRACE_BROKER_URL", f"redis://:hidden@{place}", mute),
            ("MILLRACE_DATABASE_URL", f"postgresql://u:hidden@{place}/x", "the database could not be migrated: "),
        )
        started = time.monotonic()
        runs = [
            subprocess.Popen(
                [sys.executable, ROOT / "deploy" / "run.py", "--port", "0", "--state", tmp_path / name],
                env={**os.environ, name: url},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for name, url, _ in wrong
        ]
        for run, (_, _, sentence) in zip(runs, wrong, strict=True):
            output = run.communicate(timeout=30)[0]
            assert run.returncode == 1
            assert output.startswith(f"Millrace does not start: {sentence}"), output
            assert output.count("\n") == 1
            assert "hidden" not in output
        assert time.monotonic() - started < 30, "on a busy machine; alone it takes five seconds"
