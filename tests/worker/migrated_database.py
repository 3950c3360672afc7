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


def new_database() -> str:
    """Return the URL of a fresh migrated database, deleted at the end of the test process."""
    fresh = Path(tempfile.mkdtemp(dir=_directory())) / "millrace.db"
    shutil.copyfile(_migrated(), fresh)
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
