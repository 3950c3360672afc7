"""A generation in JSON: as one whole answer, and as it stands."""

from collections.abc import Iterable

import msgspec
from msgspec import UNSET

from millrace.webapp.generation.stored_log import retold
from millrace.webapp.schemas import (
    FailureSchema,
    GenerationView,
    Outcome,
    Receipt,
    WholeAnswerView,
    generation_url,
    timestamp,
)
from millrace.worker.contract.creation import Ids
from millrace.worker.contract.events import Cancelled, Complete, Error, StatusEvent, decode, status_after
from millrace.worker.contract.ids import Cursor
from millrace.worker.contract.log import LogEntry
from millrace.worker.contract.request import ModelRequest
from millrace.worker.contract.state import GenerationState
from millrace.worker.contract.transcript import Transcript, fold
from millrace.worker.store.answers import AnswerRecord

_OUTCOME: dict[type, Outcome] = {Complete: "complete", Cancelled: "cancelled", Error: "error"}


def receipt(ids: Ids) -> Receipt:
    """Return the body of a 202: where to follow and stop the answer."""
    url = generation_url(ids.generation)
    return Receipt(ids.generation, "queued", ids.conversation, ids.message, f"{url}/events", f"{url}/cancel")


def whole_answer(ids: Ids, entries: Iterable[LogEntry]) -> WholeAnswerView | None:
    """Return the answer in one piece, once `done` has come; None where the entries end before it."""
    transcript, model, provider = Transcript(), None, None
    for entry in entries:
        event = decode(entry.data)
        transcript.apply(event)
        if isinstance(event, StatusEvent):
            model, provider = event.model or model, event.provider or provider
    outcome = transcript.outcome
    if not transcript.is_done or outcome is None:
        return None
    complete = outcome if isinstance(outcome, Complete) else None
    return WholeAnswerView(
        id=ids.generation,
        conversation_id=ids.conversation,
        message_id=ids.message,
        message=transcript.content,
        title=transcript.title,
        suggestions=transcript.suggestions or [],
        outcome=_OUTCOME[type(outcome)],
        mode=complete and complete.mode,
        stop_reason=complete and complete.stop_reason,
        usage=None if isinstance(outcome, Error) else outcome.usage,
        model=complete.model if complete else model,
        provider=complete.provider if complete else provider,
        error=FailureSchema(outcome.code, outcome.message, outcome.retryable) if isinstance(outcome, Error) else UNSET,
    )


def view_of(
    state: GenerationState, request: ModelRequest | None, transcript: Transcript, cursor: Cursor
) -> GenerationView:
    """Return a generation as it stands; `content` and its like are None where the log has expired."""
    is_there = cursor.seq > 0
    outcome = transcript.outcome
    return GenerationView(
        id=state.generation,
        status=state.status if outcome is None else status_after(outcome),
        content=transcript.content if is_there else None,
        reasoning=transcript.reasoning if is_there else None,
        citations=transcript.citations if is_there else None,
        tools=transcript.tools if is_there else None,
        last_event_id=str(cursor) if is_there else str(state.top),
        outcome=outcome,
        usage=None if outcome is None or isinstance(outcome, Error) else outcome.usage,
        title=transcript.title,
        suggestions=transcript.suggestions or [],
        conversation_id=state.conversation,
        message_id=state.message,
        attempt=state.attempt,
        model=request.model if request else None,
        metadata=(request.metadata if request else None) or {},
        on_disconnect=state.on_disconnect,
        created_at=timestamp(state.created_ms),
    )


def view_of_stored(state: GenerationState, request: ModelRequest | None, kept: AnswerRecord) -> GenerationView:
    """Return a generation whose log has expired as its stored answer tells it."""
    answer = kept.answer
    transcript = fold(decode(entry.data) for entry in retold(answer))
    transcript.title, transcript.suggestions = kept.title, list(answer.suggestions)
    told = view_of(state, request, transcript, answer.last_event)
    return msgspec.structs.replace(told, model=told.model or answer.model)
