"""The database is brought up to date by a command, in the environment that the processes are given."""

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.migrating import migrate
from deploy.refusal import Refusal

ROOT = Path(__file__).parent.parent.parent


def test_the_database_of_the_environment_is_made_and_then_left_as_it_is(tmp_path: Path) -> None:
    environment = {**os.environ, "MILLRACE_DATABASE_URL": f"sqlite:///{tmp_path}/new/millrace.db"}
    assert "before: empty" in migrate(ROOT, Path(sys.executable), environment)
    with sqlite3.connect(tmp_path / "new" / "millrace.db") as database:
        assert database.execute("SELECT count(*) FROM conversations").fetchone() == (0,)
    database.close()
    assert "as before" in migrate(ROOT, Path(sys.executable), environment)


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("MILLRACE_DATABASE_URL", "mysql://127.0.0.1/millrace", "MILLRACE_DATABASE_URL"),
        ("MILLRACE_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/millrace", "can't be brought up to date"),
        ("MILLRACE_UNHEARD_OF", "1", "MILLRACE_UNHEARD_OF"),
    ],
)
def test_what_stands_in_the_way_is_said(name: str, value: str, why: str) -> None:
    with pytest.raises(Refusal, match=why):
        migrate(ROOT, Path(sys.executable), {**os.environ, name: value})


def test_the_command_tells_what_it_has_done(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "deploy/migrate.py"],
        cwd=ROOT,
        env={**os.environ, "MILLRACE_DATABASE_URL": f"sqlite:///{tmp_path}/millrace.db"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "the database is at" in done.stdout


def test_help_and_an_unknown_flag_migrate_nothing(tmp_path: Path) -> None:
    for flag, code in (("--help", 0), ("-h", 0), ("--now", 2)):
        done = subprocess.run(
            [sys.executable, "deploy/migrate.py", flag],
            cwd=ROOT,
            env={**os.environ, "MILLRACE_DATABASE_URL": f"sqlite:///{tmp_path}/millrace.db"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code
        assert "usage: deploy/migrate.py" in done.stdout + done.stderr
        assert not (tmp_path / "millrace.db").exists()
