"""Columns: any text and any JSON value is read back unchanged, and the clock is the database's."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.orm import Session

from millrace.worker.contract.ids import new_id
from millrace.worker.store import conversations, messages
from millrace.worker.store.columns import clock_ms
from millrace.worker.store.database import Database
from tests.worker.store.samples import question

ANY = st.text(st.characters())  # includes lone surrogates and NUL


@settings(max_examples=30)
@given(ANY, ANY, st.dictionaries(ANY, ANY))
def test_any_text_is_read_back_unchanged(database: Database, text: str, owner: str, context: dict[str, str]) -> None:
    asked = question(text, new_id(), owner)

    def write_and_read(session: Session) -> tuple[object, object]:
        assert messages.save_question(session, asked)
        assert conversations.replace_context(session, owner, asked.conversation, context)
        message = messages.find(session, owner, asked.conversation, asked.id)
        found = conversations.find(session, owner, asked.conversation)
        return message and message.content, found and (found.owner, found.context)

    assert database.run(write_and_read) == (text, (owner, context))


def test_clock_is_in_milliseconds_since_1970(database: Database) -> None:
    now = database.run(lambda session: session.scalar(select(clock_ms())))
    assert now is not None
    assert abs(now - time.time() * 1000) < 60_000


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_value_that_is_not_valid_json_is_rejected(database: Database, value: float) -> None:
    conversation = new_id()
    database.run(lambda session: conversations.create_or_touch(session, "ada", conversation))
    with pytest.raises(Exception, match="JSON"):
        database.run(lambda session: conversations.replace_context(session, "ada", conversation, {"x": value}))
