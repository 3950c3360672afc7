"""A generation as JSON: the receipt of a 202, the whole answer, and the current state for pollers."""

from collections.abc import Iterable
from typing import assert_never

import msgspec
from msgspec import UNSET

from millrace.webapp.generation.stored_log import entries_of
from millrace.webapp.schemas import (
    FailureSchema,
    GenerationView,
    Outcome,
    Receipt,
    WholeAnswerView,
    generation_url,
    timestamp,
)
from millrace.worker.contract.events import Cancelled, Complete, Error, StatusEvent, decode, status_after
from millrace.worker.contract.ids import Cursor
from millrace.worker.contract.log import LogEntry, decode_entry
from millrace.worker.contract.request import RequestSummary
from millrace.worker.contract.state import GenerationState
from millrace.worker.contract.transcript import Transcript, fold
from millrace.worker.store.answers import AnswerRecord


def receipt(state: GenerationState) -> Receipt:
    """Return the body of a 202, with the URLs to follow and to cancel the generation."""
    url = generation_url(state.generation)
    return Receipt(state.generation, "queued", state.conversation, state.message, f"{url}/events", f"{url}/cancel")


def whole_answer(state: GenerationState, entries: Iterable[LogEntry]) -> WholeAnswerView | None:
    """Return the whole answer after reading the entries up to `done`; None where they end before it."""
    transcript, model, provider = Transcript(), None, None
    for entry in entries:
        event = decode_entry(entry)
        transcript.apply(event)
        if isinstance(event, StatusEvent):
            model, provider = event.model or model, event.provider or provider
    outcome = transcript.outcome
    if not transcript.is_done or outcome is None:
        return None
    complete = outcome if isinstance(outcome, Complete) else None
    return WholeAnswerView(
        id=state.generation,
        conversation_id=state.conversation,
        message_id=state.message,
        message=transcript.content,
        title=transcript.title,
        suggestions=transcript.suggestions or [],
        outcome=_outcome_name(outcome),
        mode=complete and complete.mode,
        stop_reason=complete and complete.stop_reason,
        usage=None if isinstance(outcome, Error) else outcome.usage,
        model=complete.model if complete else model,
        provider=complete.provider if complete else provider,
        error=FailureSchema(outcome.code, outcome.message, outcome.retryable) if isinstance(outcome, Error) else UNSET,
    )


def view_of(
    state: GenerationState, summary: RequestSummary | None, transcript: Transcript, cursor: Cursor
) -> GenerationView:
    """Return the current state of a generation; `content`, `reasoning` etc. are None where the log has expired."""
    has_log = cursor.seq > 0
    outcome = transcript.outcome
    return GenerationView(
        id=state.generation,
        status=state.status if outcome is None else status_after(outcome),
        content=transcript.content if has_log else None,
        reasoning=transcript.reasoning if has_log else None,
        citations=transcript.citations if has_log else None,
        tools=transcript.tools if has_log else None,
        images=transcript.images if has_log else None,
        last_event_id=str(cursor) if has_log else str(state.top),
        outcome=outcome,
        usage=None if outcome is None or isinstance(outcome, Error) else outcome.usage,
        title=transcript.title,
        suggestions=transcript.suggestions or [],
        conversation_id=state.conversation,
        message_id=state.message,
        attempt=state.attempt,
        model=summary.model if summary else None,
        metadata=(summary.metadata if summary else None) or {},
        on_disconnect=state.on_disconnect,
        created_at=timestamp(state.created_ms),
    )


def view_of_stored(state: GenerationState, summary: RequestSummary | None, stored: AnswerRecord) -> GenerationView:
    """Return a generation whose log has expired, from its stored answer."""
    answer = stored.answer
    transcript = fold(decode(entry.data) for entry in entries_of(answer))
    transcript.title, transcript.suggestions = stored.title, list(answer.suggestions)
    view = view_of(state, summary, transcript, answer.last_event)
    return msgspec.structs.replace(view, model=view.model or answer.model)


def _outcome_name(outcome: Complete | Cancelled | Error) -> Outcome:
    match outcome:
        case Complete():
            return "complete"
        case Cancelled():
            return "cancelled"
        case Error():
            return "error"
        case _:
            assert_never(outcome)
