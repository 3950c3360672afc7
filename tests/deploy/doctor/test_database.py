"""A database that is missing, not migrated, too new, read-only, or a file of one host among several."""

import sqlite3
from pathlib import Path

from deploy.doctor.database import check_database
from millrace.worker.settings.schema import Settings
from millrace.worker.store.migration import VERSION_TABLE, migrate
from tests.deploy.doctor.findings import all_ok, the


def settings_for(path: Path, query: str = "") -> Settings:
    return Settings.of(database_url=f"sqlite:///{path}{query}")


def test_missing_or_unmigrated_database_fails_with_the_command_and_is_not_made(tmp_path: Path) -> None:
    path = tmp_path / "millrace.db"
    missing = the(check_database(settings_for(path), set()), "failed")
    assert "the file does not exist" in missing.found
    assert "deploy/migrate.py" in missing.advice
    assert not path.exists()
    path.touch()
    assert "not migrated, at no revision instead of 0" in the(check_database(settings_for(path), set()), "failed").found


def test_older_and_newer_revisions_fail_and_the_newest_is_ok(tmp_path: Path) -> None:
    path = tmp_path / "millrace.db"
    _, latest = migrate(settings_for(path))
    found = all_ok(check_database(settings_for(path), {"a"}))
    assert f"is migrated to {latest}" in found
    assert "writable; a transaction takes" in found
    for revision, expected in (("0001", f"not migrated, at 0001 instead of {latest}"), ("9999", "9999 is newer")):
        with sqlite3.connect(path) as database:
            database.execute(f"UPDATE {VERSION_TABLE} SET version_num = ?", (revision,))
        database.close()
        assert expected in the(check_database(settings_for(path), set()), "failed").found


def test_database_that_takes_no_writes_fails(tmp_path: Path) -> None:
    path = tmp_path / "millrace.db"
    migrate(settings_for(path))
    read_only = Settings.of(database_url=f"sqlite:///file:{path}?mode=ro&uri=true")
    assert "does not take writes: attempt to write a readonly" in the(check_database(read_only, set()), "failed").found


def test_sqlite_with_processes_on_several_hosts_is_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "millrace.db"
    migrate(settings_for(path))
    found = the(check_database(settings_for(path), {"web-1", "web-2"}), "warning")
    assert "2 hosts (web-1, web-2)" in found.found
    assert "PostgreSQL" in found.advice


def test_server_that_is_away_fails_without_its_password() -> None:
    away = Settings.of(database_url="postgresql://u:hidden@127.0.0.1:1/x")
    found = the(check_database(away, set()), "failed")
    assert "postgresql+psycopg://u:***@127.0.0.1:1/x" in found.found
    assert "hidden" not in found.found
