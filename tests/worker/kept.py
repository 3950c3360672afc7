"""A database of its own for each of a test's desks: a copy of one that has been migrated once."""

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

from millrace.worker.settings.schema import load
from millrace.worker.store.migration import migrate


def address_of(file: Path) -> str:
    """Return a SQLite file's address, as the setting takes it."""
    return f"sqlite:///{file}"


def new_database() -> str:
    """Return the address of a fresh database, which goes with the test process."""
    fresh = Path(tempfile.mkdtemp(dir=_directory())) / "millrace.db"
    shutil.copyfile(_migrated(), fresh)
    return address_of(fresh)


@cache
def _directory() -> Path:
    directory = Path(tempfile.mkdtemp(prefix="millrace-kept-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return directory


@cache
def _migrated() -> Path:
    file = _directory() / "migrated.db"
    migrate(load({"MILLRACE_DATABASE_URL": address_of(file)}))
    return file
