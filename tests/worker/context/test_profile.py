"""The profile tells who is asking; a damaged one is ignored, and a nameless assistant gets its name meanwhile."""

import logging
from typing import Any

import pytest
from sqlalchemy import text

from millrace.worker.context.loader import ContextLoader
from millrace.worker.context.naming import Naming
from millrace.worker.context.profile import UserProfile
from millrace.worker.context.source import ContextPart
from millrace.worker.providers.stub import Stub
from millrace.worker.settings.schema import Settings
from millrace.worker.store import profiles
from millrace.worker.store.database import Database
from tests.worker.context.asked import Asking

NAMED = {"assistant_name": "Miller", "text": "I am Ada.", "facts": {"town": "Leeds", "age": 36, "vegan": True}}


def source(settings: Settings, database: Database) -> UserProfile:
    return UserProfile(ContextLoader(settings, database), Naming(settings, Stub([]), database))


def keep(database: Database, profile: dict[str, Any]) -> None:
    database.run(lambda session: profiles.save(session, "ada", profile))


def test_the_text_and_the_facts_are_told_and_what_the_assistant_is_called(settings: Settings, asking: Asking) -> None:
    keep(asking.database, NAMED)
    piece = source(settings, asking.database).gather(asking.ask("Who am I?"))
    assert piece == ContextPart(about_user="I am Ada.\ntown: Leeds\nage: 36\nvegan: True", assistant_name="Miller")


def test_who_has_no_profile_is_told_nothing_of(settings: Settings, asking: Asking) -> None:
    keep(asking.database, NAMED)
    assert source(settings, asking.database).gather(Asking(asking.database, "bob").ask("Who am I?")) is None


@pytest.mark.parametrize(
    "kept",
    [
        "{",
        "[]",
        "null",
        '{"text": 5}',
        '{"facts": {"a": []}}',
        '{"colour": "red"}',
        '{"text": "\\ud800", "\\ud800": 1}',
    ],
)
def test_a_damaged_profile_is_ignored_with_a_line_in_the_log(
    settings: Settings, asking: Asking, kept: str, caplog: pytest.LogCaptureFixture
) -> None:
    keep(asking.database, NAMED)
    damage = text("UPDATE profiles SET content = :kept")
    asking.database.run(lambda session: session.execute(damage, {"kept": kept}).close())
    with caplog.at_level(logging.WARNING):
        assert source(settings, asking.database).gather(asking.ask("Who am I?")) is None
    assert [record.levelname for record in caplog.records] == ["WARNING"]
