"""What is written comes back, in any text, and the clock is the database's."""

import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from millrace.worker.contract.ids import new_id
from millrace.worker.store import conversations, messages
from millrace.worker.store.columns import clock_ms
from millrace.worker.store.database import Database
from tests.worker.store.samples import question

ANY = st.text(st.characters())  # lone surrogates and NUL included


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(ANY, ANY, st.dictionaries(ANY, ANY))
def test_any_text_comes_back_as_it_was(database: Database, text: str, owner: str, context: dict[str, str]) -> None:
    asked = question(text, new_id(), owner)

    def there_and_back(session: object) -> tuple[object, object]:
        assert messages.save_question(session, asked)  # pyright: ignore[reportArgumentType]
        assert conversations.replace_context(session, owner, asked.conversation, context)  # pyright: ignore[reportArgumentType]
        message = messages.find(session, owner, asked.conversation, asked.id)  # pyright: ignore[reportArgumentType]
        found = conversations.find(session, owner, asked.conversation)  # pyright: ignore[reportArgumentType]
        return message and message.content, found and (found.owner, found.context)

    assert database.run(there_and_back) == (text, (owner, context))


def test_the_clock_is_in_milliseconds_since_1970(database: Database) -> None:
    now = database.run(lambda session: session.scalar(select(clock_ms())))
    assert now is not None
    assert abs(now - time.time() * 1000) < 60_000


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_no_json_is_refused(database: Database, value: float) -> None:
    made = new_id()
    database.run(lambda session: conversations.create_or_touch(session, "ada", made))
    with pytest.raises(Exception, match="JSON"):
        database.run(lambda session: conversations.replace_context(session, "ada", made, {"x": value}))
