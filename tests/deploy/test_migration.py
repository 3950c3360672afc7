"""The migration of the database, as a function and as a command."""

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.errors import StartError
from deploy.migration import migrate

ROOT = Path(__file__).parent.parent.parent


def test_database_is_made_and_a_second_migration_changes_nothing(tmp_path: Path) -> None:
    environment = {**os.environ, "MILLRACE_DATABASE_URL": f"sqlite:///{tmp_path}/new/millrace.db"}
    assert "was empty" in migrate(ROOT, Path(sys.executable), environment)
    with sqlite3.connect(tmp_path / "new" / "millrace.db") as database:
        assert database.execute("SELECT count(*) FROM conversations").fetchone() == (0,)
    database.close()
    assert "unchanged" in migrate(ROOT, Path(sys.executable), environment)


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("MILLRACE_DATABASE_URL", "mysql://127.0.0.1/millrace", "MILLRACE_DATABASE_URL"),
        ("MILLRACE_DATABASE_URL", "postgresql://someone@127.0.0.1:1/millrace", "could not be migrated"),
        ("MILLRACE_UNKNOWN", "1", "MILLRACE_UNKNOWN"),
    ],
)
def test_bad_setting_or_database_is_reported_by_name(name: str, value: str, why: str) -> None:
    with pytest.raises(StartError, match=why):
        migrate(ROOT, Path(sys.executable), {**os.environ, name: value})


def test_command_prints_the_revision(tmp_path: Path) -> None:
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
