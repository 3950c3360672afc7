"""Profiles: saved per owner, replaced by compare-and-set, and ignored when damaged."""

import logging

import pytest
from sqlalchemy import update

from millrace.worker.store import profiles
from millrace.worker.store.database import Database
from millrace.worker.store.tables import ProfileRow


def test_profile_is_saved_per_owner_and_replaced(database: Database) -> None:
    assert database.run(lambda session: profiles.find(session, "ada")) is None
    for text in ("old", "new \0 \ud800"):
        database.run(lambda session, text=text: profiles.save(session, "ada", {"text": text, "facts": {"a": "b"}}))
    assert database.run(lambda session: profiles.find(session, "ada")) == {"text": "new \0 \ud800", "facts": {"a": "b"}}
    assert database.run(lambda session: profiles.find(session, "eve")) is None


def test_compare_and_set_replaces_only_the_expected_profile(database: Database) -> None:
    before, after = {"text": "old", "facts": {"a": 1}}, {"text": "old", "assistant_name": "Miller \ud800"}

    def compare_and_set() -> bool:
        return database.run(lambda session: profiles.compare_and_set(session, "ada", before, after))

    assert not compare_and_set()
    database.run(lambda session: profiles.save(session, "ada", before))
    database.run(lambda session: profiles.save(session, "eve", before))
    assert compare_and_set()
    assert not compare_and_set()
    assert database.run(lambda session: profiles.find(session, "ada")) == after
    assert database.run(lambda session: profiles.find(session, "eve")) == before


@pytest.mark.parametrize("damaged", ["", "{", "[1]", '"x"', "null"])
def test_damaged_profile_is_ignored_and_logged(
    database: Database, damaged: str, caplog: pytest.LogCaptureFixture
) -> None:
    database.run(lambda session: profiles.save(session, "ada", {}))
    database.run(lambda session: session.execute(update(ProfileRow).values(content=damaged)))
    with caplog.at_level(logging.WARNING):
        assert database.run(lambda session: profiles.find(session, "ada")) is None
    assert "profile_damaged" in caplog.text
