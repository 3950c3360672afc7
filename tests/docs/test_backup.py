"""The backups of the documentation: their commands, as pasted, while answers are stored, and back again."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread

import pytest
from sqlalchemy.orm import Session

from millrace.webapp.owner_data.export import export
from millrace.worker.settings.schema import Settings
from millrace.worker.store import memories, messages, profiles
from millrace.worker.store.answers import save_answer
from millrace.worker.store.conversation_search import index_pending, search
from millrace.worker.store.database import Database
from millrace.worker.store.migration import migrate
from tests.client import wait_for
from tests.docs.pages import Block, run_by
from tests.postgres import PostgresProcess, absent
from tests.worker.store.samples import answer, question


@pytest.fixture(params=["sqlite", "postgresql"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Settings]:
    """Settings of a migrated database; SQLite's lies in the working directory of the commands."""
    if request.param == "sqlite":
        given = Settings.of(database_url=f"sqlite:///{tmp_path}/millrace.db", database_seconds=20.0)
        migrate(given)
        yield given
        return
    if reason := absent():
        pytest.skip(reason)
    with PostgresProcess() as server:
        server.query("CREATE DATABASE chat")
        given = Settings.of(database_url=server.url("chat"), database_seconds=20.0)
        migrate(given)
        yield given


def blocks_of(settings: Settings) -> tuple[Block, Block]:
    """Return the blocks that back up and restore this kind of database."""
    word = "millrace.db" if settings.database.url.startswith("sqlite") else "backup.dump"
    backup, restore = (each for each in run_by("test_backup_commands_of_the_docs_run_as_pasted") if word in each.code)
    return backup, restore


def run(block: Block, directory: Path, settings: Settings) -> None:
    code = block.code.replace("python3 ", f"{sys.executable} ")
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "MILLRACE_DATABASE_URL": settings.database.url}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", code],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def store(session: Session, owner: str) -> None:
    asked = question("What do otters eat? \ud800 🙂", owner=owner)
    messages.save_question(session, asked)
    save_answer(session, asked, answer("Fish."))


def exported(database: Database, owner: str) -> dict[str, object]:
    whole = json.loads(b"".join(export(database, (), owner)))
    return {**whole, "exported_at": ""}


def test_backup_commands_of_the_docs_run_as_pasted(settings: Settings, tmp_path: Path) -> None:
    database, stop, stored = Database(settings), Event(), list[int]()

    def go_on() -> None:
        """Store answers until the backup is made."""
        other = Database(settings)
        while not stop.is_set():
            other.run(lambda session: store(session, "eve"))
            stored.append(1)
        other.close()

    database.run(lambda session: store(session, "ada"))
    database.run(lambda session: memories.add(session, "ada", "likes otters"))
    database.run(lambda session: profiles.save(session, "ada", {"text": "I am Ada"}))
    while index_pending(database):
        pass
    before = exported(database, "ada")
    writer = Thread(target=go_on)
    writer.start()
    try:
        wait_for(lambda: len(stored) > 3, 20, "some answers")
        backup, restore = blocks_of(settings)
        run(backup, tmp_path, settings)
        during = len(stored)
        wait_for(lambda: len(stored) > during + 3, 20, "answers after the backup: it holds up nobody")
    finally:
        stop.set()
        writer.join()
    database.run(lambda session: store(session, "ada"))
    database.run(lambda session: profiles.save(session, "ada", {"text": "damaged"}))
    database.close()
    run(restore, tmp_path, settings)
    migrate(settings)
    restored = Database(settings)
    assert exported(restored, "ada") == before
    found = restored.run(lambda session: search(session, "ada", "otters", None, 9)).items
    assert len(found) == 1
    conversations = exported(restored, "eve")["conversations"]
    assert isinstance(conversations, list)
    assert 3 < len(conversations) <= during + 1  # those that were stored when the backup began, each one whole
    assert all(len(each["messages"]) == 2 for each in conversations)
    restored.run(lambda session: store(session, "ada"))
    while index_pending(restored):
        pass
    assert len(restored.run(lambda session: search(session, "ada", "otters", None, 9)).items) == 2
    restored.close()
    if settings.database.url.startswith("sqlite"):
        assert (tmp_path / "backup.db").stat().st_mode & 0o077 == 0
