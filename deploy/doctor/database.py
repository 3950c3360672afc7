"""Checks of the database: reachable, migrated, writable, fast, and not a file that several hosts would share."""

import statistics
import time
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.orm import Session

from deploy.doctor.report import Finding, failed, ok, warning
from millrace.worker.errors import DatabaseUnavailable
from millrace.worker.settings.schema import Settings
from millrace.worker.store.database import Database, engine_url
from millrace.worker.store.migration import read_revisions

SUBJECT = "database"
QUERIES = 11
SLOW_MS = 20.0
MIGRATE = "Run `python3 deploy/migrate.py` (installed: `millrace-migrate`); it is safe while processes run."
# Changes nothing, and is rejected by a read-only server, file or role all the same.
_WRITE = text("UPDATE conversations SET owner = owner WHERE 1 = 0")


def check_database(settings: Settings, hosts: set[str]) -> Iterator[Finding]:
    """Yield the findings about the database; `hosts` are those on which processes of Millrace run."""
    url = engine_url(settings.database.url)
    is_sqlite = url.get_backend_name() == "sqlite"
    place = url.render_as_string(hide_password=True)
    if is_sqlite and url.database and ":" not in url.database and not Path(url.database).exists():
        yield failed(SUBJECT, f"{place}: the file does not exist", MIGRATE)
        return
    try:
        current, latest, is_known = read_revisions(settings)
    except DatabaseUnavailable as error:
        advice = "Start it, or correct MILLRACE_DATABASE_URL. Answers still stream without it, and are stored later."
        yield failed(SUBJECT, f"{place}: {error}", advice)
        return
    if current is not None and not is_known:
        yield failed(SUBJECT, f"{place}: its revision {current} is newer than this version's", "Update Millrace.")
        return
    if current != latest:
        yield failed(SUBJECT, f"{place}: not migrated, at {current or 'no revision'} instead of {latest}", MIGRATE)
        return
    yield ok(SUBJECT, f"{place} is migrated to {latest}")
    database = Database(settings)
    try:
        yield from _check_use(database)
    finally:
        database.close()
    if is_sqlite and len(hosts) > 1:
        advice = "Each host has a file of its own: conversations appear on one of them only. Use PostgreSQL."
        yield warning(SUBJECT, f"SQLite, and processes on {len(hosts)} hosts ({', '.join(sorted(hosts))})", advice)


def _check_use(database: Database) -> Iterator[Finding]:
    def read(session: Session) -> None:
        session.execute(text("SELECT 1 FROM conversations LIMIT 1"))

    def write(session: Session) -> None:
        session.execute(_WRITE)

    try:
        database.run(write)
    except DatabaseUnavailable as error:
        advice = "Answers are not stored. Check the rights of the role or file, and that this is not a replica."
        yield failed(SUBJECT, f"it does not take writes: {error}", advice)
        return
    times: list[float] = []
    for _ in range(QUERIES):
        began = time.perf_counter()
        database.run(read)
        times.append((time.perf_counter() - began) * 1000)
    shown = f"writable; a transaction takes {statistics.median(times):.1f} ms (median, longest {max(times):.1f} ms)"
    if statistics.median(times) > SLOW_MS:
        yield warning(SUBJECT, shown, "Each question waits for several. Move the database nearer, or look at its load.")
    else:
        yield ok(SUBJECT, shown)
