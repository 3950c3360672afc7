"""The profile has text, facts and the assistant's name; a damaged profile is ignored."""

import logging
from typing import Any

import pytest
from sqlalchemy import text

from millrace.worker.context.source import ContextPart
from millrace.worker.settings.schema import Settings
from millrace.worker.store import profiles
from millrace.worker.store.database import Database
from tests.worker.context.harness import StoredConversation, stored_source

NAMED = {"assistant_name": "Miller", "text": "I am Ada.", "facts": {"town": "Leeds", "age": 36, "vegan": True}}


def store(database: Database, profile: dict[str, Any]) -> None:
    database.run(lambda session: profiles.save(session, "ada", profile))


def test_text_facts_and_the_assistants_name_are_returned(settings: Settings, conversation: StoredConversation) -> None:
    store(conversation.database, NAMED)
    part = stored_source(settings, conversation.database).gather(conversation.store_question("Who am I?"))
    assert part == ContextPart(about_user="I am Ada.\ntown: Leeds\nage: 36\nvegan: True", assistant_name="Miller")


def test_an_owner_without_a_profile_has_no_part(settings: Settings, conversation: StoredConversation) -> None:
    store(conversation.database, NAMED)
    assert (
        stored_source(settings, conversation.database).gather(
            StoredConversation(conversation.database, "bob").store_question("Who am I?")
        )
        is None
    )


@pytest.mark.parametrize(
    "content",
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
def test_a_damaged_profile_is_ignored_and_logged(
    settings: Settings, conversation: StoredConversation, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    store(conversation.database, NAMED)
    damage = text("UPDATE profiles SET content = :content")
    conversation.database.run(lambda session: session.execute(damage, {"content": content}).close())
    with caplog.at_level(logging.WARNING):
        assert stored_source(settings, conversation.database).gather(conversation.store_question("Who am I?")) is None
    assert [record.levelname for record in caplog.records] == ["WARNING"]
