"""Profiles in the database."""

import logging

import pytest
from sqlalchemy import update

from millrace.worker.store import profiles
from millrace.worker.store.database import Database
from millrace.worker.store.tables import ProfileRow


def test_a_profile_is_kept_by_owner_and_replaced(database: Database) -> None:
    assert database.run(lambda session: profiles.find(session, "ada")) is None
    for text in ("old", "new \0 \ud800"):
        database.run(lambda session, text=text: profiles.save(session, "ada", {"text": text, "facts": {"a": "b"}}))
    assert database.run(lambda session: profiles.find(session, "ada")) == {"text": "new \0 \ud800", "facts": {"a": "b"}}
    assert database.run(lambda session: profiles.find(session, "eve")) is None


def test_a_profile_is_exchanged_only_for_the_one_that_was_seen(database: Database) -> None:
    before, after = {"text": "old", "facts": {"a": 1}}, {"text": "old", "assistant_name": "Miller \ud800"}

    def exchange() -> bool:
        return database.run(lambda session: profiles.compare_and_set(session, "ada", before, after))

    assert not exchange()
    database.run(lambda session: profiles.save(session, "ada", before))
    database.run(lambda session: profiles.save(session, "eve", before))
    assert exchange()
    assert not exchange()
    assert database.run(lambda session: profiles.find(session, "ada")) == after
    assert database.run(lambda session: profiles.find(session, "eve")) == before


@pytest.mark.parametrize("damaged", ["", "{", "[1]", '"x"', "null"])
def test_a_damaged_profile_is_ignored_and_the_log_says_so(
    database: Database, damaged: str, caplog: pytest.LogCaptureFixture
) -> None:
    database.run(lambda session: profiles.save(session, "ada", {}))
    database.run(lambda session: session.execute(update(ProfileRow).values(content=damaged)))
    with caplog.at_level(logging.WARNING):
        assert database.run(lambda session: profiles.find(session, "ada")) is None
    assert "profile_damaged" in caplog.text
