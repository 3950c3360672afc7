"""The command `millrace-migrate`: its output and its exit codes."""

import subprocess
import sys
from pathlib import Path

from tests.worker.celery_worker import ROOT


def migrate(database_url: str, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "millrace.worker.store", *arguments],
        cwd=ROOT,
        env={"MILLRACE_DATABASE_URL": database_url} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_first_run_migrates_an_empty_database_and_the_second_changes_nothing(tmp_path: Path) -> None:
    address = f"sqlite:///{tmp_path}/new/millrace.db"
    first, second = migrate(address), migrate(address)
    assert (first.returncode, first.stderr) == (0, "")
    assert first.stdout == "the database is at revision 0006 (was empty)\n"
    assert (second.returncode, second.stderr) == (0, "")
    assert second.stdout == "the database is at revision 0006 (unchanged)\n"


def test_unreachable_database_exits_with_1_and_a_reason() -> None:
    run = migrate("postgresql://nobody@127.0.0.1:1/nothing")
    assert run.returncode == 1
    assert run.stdout == ""
    assert "the database could not be migrated: " in run.stderr
    assert "Traceback" not in run.stderr


def test_bad_setting_exits_with_1_and_names_the_variable() -> None:
    run = migrate("mysql://localhost/millrace")
    assert run.returncode == 1
    assert "MILLRACE_DATABASE_URL" in run.stderr
    assert "Traceback" not in run.stderr


def test_help_and_unknown_arguments_do_not_touch_the_database(tmp_path: Path) -> None:
    address = f"sqlite:///{tmp_path}/millrace.db"
    assert migrate(address, "--help").stdout.startswith("usage: millrace-migrate")
    assert migrate(address, "--unknown").returncode == 2
    assert list(tmp_path.iterdir()) == []
