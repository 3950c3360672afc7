"""What is kept of an answer, made of what its log tells: pure."""

from msgspec.structs import replace

from millrace.worker.contract.events import Complete, Outcome
from millrace.worker.contract.ids import Cursor
from millrace.worker.contract.request import ModelRequest
from millrace.worker.contract.transcript import Transcript
from millrace.worker.store.answers import StoredAnswer


def record(
    told: Transcript,
    outcome: Outcome,
    done: Cursor,
    request: ModelRequest,
    *,
    message: str,
    generation: str,
    provider: str | None = None,
) -> StoredAnswer:
    """Return the answer as it is kept: what has been told of it, how it ended, and the id of its `done`."""
    is_complete = isinstance(outcome, Complete)
    return StoredAnswer(
        id=message,
        generation=generation,
        epoch=done.epoch,
        last_event=done,
        content=told.content,
        outcome=replace(outcome, stored=True) if is_complete else outcome,
        model=outcome.model if is_complete else request.model,
        provider=outcome.provider if is_complete else provider,
        reasoning=told.reasoning,
        citations=tuple(told.citations),
        tools=tuple(told.tools),
        suggestions=tuple(told.suggestions or ()),
    )
