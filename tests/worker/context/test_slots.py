"""The conversation's own context is put before the model, whoever has put it there."""

from tests.worker.context.asked import Asking
from worker.context.slots import Slots
from worker.context.source import Piece
from worker.contract.settings import Settings
from worker.store import conversations


def test_the_context_is_the_conversations_own(settings: Settings, asking: Asking) -> None:
    question, source = asking.ask("Why?"), Slots(settings, asking.database)
    assert source.gather(question) is None
    kept = {"to": "Oslo", "people": 4}
    asking.database.run(lambda session: conversations.put_context(session, "ada", asking.conversation, kept))
    assert source.gather(question) == Piece(slots=kept)
    assert source.gather(Asking(asking.database).ask("Why?")) is None


def test_a_foreign_conversations_context_is_not_told(settings: Settings, asking: Asking) -> None:
    asking.ask("Why?")
    asking.database.run(lambda session: conversations.put_context(session, "ada", asking.conversation, {"a": 1}))
    asking.owner = "bob"
    assert Slots(settings, asking.database).gather(asking.question("Why?")) is None
