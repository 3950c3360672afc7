"""Sample questions and answers; `COMPLETE` is the default outcome and "ada" the default owner."""

from typing import Any

from millrace.worker.contract.events import Complete, Latency, Usage
from millrace.worker.contract.ids import Cursor, new_id
from millrace.worker.store.answers import StoredAnswer
from millrace.worker.store.messages import StoredQuestion

COMPLETE = Complete("live", "end_turn", Usage(3, 4), Latency(5, 6), "a-model", "bedrock", "m", stored=True)


def question(content: str = "why?", conversation: str | None = None, owner: str = "ada") -> StoredQuestion:
    return StoredQuestion(new_id(), owner, conversation or new_id(), content)


def answer(content: str = "because", epoch: int = 1, **fields: Any) -> StoredAnswer:
    given: dict[str, Any] = {
        "id": new_id(),
        "generation": new_id(),
        "outcome": COMPLETE,
        "last_event": Cursor(epoch, 9),
    }
    return StoredAnswer(content=content, epoch=epoch, **(given | fields))
