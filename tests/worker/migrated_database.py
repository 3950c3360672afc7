"""Fresh migrated SQLite databases: each a copy of one that is migrated once per test process."""

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

from millrace.worker.settings.schema import load
from millrace.worker.store.migration import migrate


def database_url(file: Path) -> str:
    """Return a SQLite file's URL, as the setting takes it."""
    return f"sqlite:///{file}"


def new_database(directory: Path | None = None) -> str:
    """Return the URL of a fresh migrated database in the directory.

    By default it lies in one of its own, deleted at the end of the test process.
    """
    directory = directory or Path(tempfile.mkdtemp(dir=_directory()))
    directory.mkdir(parents=True, exist_ok=True)
    fresh = directory / "millrace.db"
    shutil.copy(_migrated(), fresh)
    return database_url(fresh)


@cache
def _directory() -> Path:
    directory = Path(tempfile.mkdtemp(prefix="millrace-databases-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return directory


@cache
def _migrated() -> Path:
    file = _directory() / "migrated.db"
    migrate(load({"MILLRACE_DATABASE_URL": database_url(file)}))
    return file
