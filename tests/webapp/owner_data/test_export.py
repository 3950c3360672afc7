"""The export of one owner, from both databases."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.orm import Session

from millrace.webapp.owner_data.export import CONVERSATIONS, MESSAGES, export
from millrace.webapp.owner_data.owned_keys import ExportedKey
from millrace.worker.contract.events import ImageReference
from millrace.worker.settings.schema import Settings
from millrace.worker.store import conversations, memories, profiles
from millrace.worker.store.answers import save_answer
from millrace.worker.store.database import Database
from millrace.worker.store.messages import save_question
from millrace.worker.store.migration import migrate
from tests.postgres import PostgresProcess, absent
from tests.worker.store.samples import answer, question

KEY = ExportedKey("0a1b2c3d", "laptop", "2026-01-02T03:04:05Z", "wxyz")
EMOJI, SURROGATE = "naïve 🙂", "\ud800"


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    if request.param == "sqlite":
        yield from opened(f"sqlite:///{tmp_path}/millrace.db")
        return
    if reason := absent():
        pytest.skip(reason)
    with PostgresProcess() as server:
        server.query("CREATE DATABASE exported")
        yield from opened(server.url("exported"))


def opened(url: str) -> Iterator[Database]:
    settings = Settings.of(database_url=url)
    migrate(settings)
    database = Database(settings)
    yield database
    database.close()


def exported(database: Database, *keys: ExportedKey, owner: str = "ada") -> dict[str, Any] | None:
    whole = b"".join(export(database, keys, owner))
    return json.loads(whole) if whole else None


def fill(session: Session, owner: str, turns: int) -> str:
    """Store a conversation of so many questions, each with an answer; return its id."""
    conversation = question().conversation
    for turn in range(turns):
        asked = question(f"{owner} {turn} {EMOJI}", conversation, owner)
        save_question(session, asked)
        save_answer(session, asked, answer(f"because {turn}", images=(ImageReference("a" * 32, "png", 5),)))
    return conversation


def test_export_holds_all_of_one_owner_in_order_and_nothing_of_another(database: Database) -> None:
    def store(session: Session) -> str:
        fill(session, "bob", 1)
        memories.add(session, "bob", "bob likes tea")
        profiles.save(session, "bob", {"text": "bob"})
        for _ in range(CONVERSATIONS + 1):
            conversations.create_or_touch(session, "ada", question().conversation)
        memories.add(session, "ada", f"ada likes {SURROGATE} coffee")
        profiles.save(session, "ada", {"text": "I am Ada", "facts": {"town": "Rome"}})
        return fill(session, "ada", MESSAGES + 2)

    conversation = database.run(store)
    found = exported(database, KEY)
    assert found is not None
    assert (found["format"], found["version"], found["owner"]) == ("millrace-export", 1, "ada")
    assert found["profile"] == {"assistant_name": None, "text": "I am Ada", "facts": {"town": "Rome"}}
    assert found["api_keys"] == [
        {"id": "0a1b2c3d", "name": "laptop", "created": "2026-01-02T03:04:05Z", "last4": "wxyz"}
    ]
    assert [each["content"] for each in found["memories"]] == [f"ada likes {SURROGATE} coffee"]
    by_id = {each["id"]: each for each in found["conversations"]}
    assert len(by_id) == len(found["conversations"]) == CONVERSATIONS + 2
    messages = by_id[conversation]["messages"]
    turns = range(MESSAGES + 2)
    wanted = [text for turn in turns for text in (f"ada {turn} {EMOJI}", f"because {turn}")]
    assert [each["content"] for each in messages] == wanted
    assert messages[1]["parent_id"] == messages[0]["id"]
    assert messages[1]["outcome"]["type"] == "complete"
    assert messages[1]["images"] == [{"id": "a" * 32, "format": "png", "bytes": 5}]
    assert "bob" not in json.dumps(found)


def test_owner_without_anything_has_no_export_and_one_thing_is_enough(database: Database) -> None:
    assert exported(database) is None
    found = exported(database, KEY)
    assert found is not None
    assert (found["profile"], found["memories"], found["conversations"]) == (None, [], [])
    database.run(lambda session: memories.add(session, "ada", "ada likes tea"))
    assert exported(database) is not None
    assert exported(database, owner="Ada") is None


def test_deleted_conversation_is_not_exported(database: Database) -> None:
    conversation = database.run(lambda session: fill(session, "ada", 1))
    assert exported(database) is not None
    database.run(lambda session: conversations.delete(session, "ada", conversation))
    assert exported(database) is None
