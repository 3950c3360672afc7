"""Earlier turns of a user's conversations, for tests that need a history."""

from typing import Any

from millrace.worker.contract.ids import Cursor, new_id
from millrace.worker.store.answers import StoredAnswer, save_answer
from millrace.worker.store.messages import StoredQuestion
from tests.webapp.harness import COMPLETE, WebHarness, json_of

API = "/api/conversations"


def begin(site: WebHarness, message: str = "hello", **fields: Any) -> dict[str, Any]:
    """Create a generation and return the receipt."""
    answer = site.post({"message": message, **fields})
    assert answer.status_code == 202, answer.text
    return json_of(answer)


def messages_of(site: WebHarness, conversation: str, query: str = "") -> dict[str, Any]:
    answer = site.user.get(f"{API}/{conversation}/messages{query}")
    assert answer.status_code == 200, answer.text
    return json_of(answer)


def turn(site: WebHarness, conversation: str, question: str, answer: str) -> tuple[str, str]:
    """Store a question of the user and its answer, and return the ids of both."""
    owner = site.owner()
    asked = StoredQuestion(new_id(), owner, conversation, question)
    said = StoredAnswer(
        new_id(), new_id(), 1, Cursor(1, 9), answer, COMPLETE, "model", "bedrock", suggestions=("more?",)
    )
    assert site.services.database.run(lambda session: save_answer(session, asked, said))
    return asked.id, said.id
