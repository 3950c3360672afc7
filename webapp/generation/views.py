"""A generation as JSON: the receipt of a 202, the whole answer, and the current state for pollers."""

from typing import assert_never

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
from millrace.webapp.services import Services
from millrace.worker.contract.events import Cancelled, Complete, Error, decode, status_after
from millrace.worker.contract.ids import START, Cursor
from millrace.worker.contract.log import read_transcript
from millrace.worker.contract.request import RequestSummary
from millrace.worker.contract.state import GenerationState
from millrace.worker.contract.transcript import Transcript, fold


def receipt(state: GenerationState) -> Receipt:
    """Return the body of a 202, with the URLs to follow and to cancel the generation."""
    url = generation_url(state.generation)
    ids = state.conversation, state.message, state.question
    return Receipt(state.generation, "queued", *ids, f"{url}/events", f"{url}/cancel")


def whole_answer(state: GenerationState, transcript: Transcript) -> WholeAnswerView:
    """Return the whole answer of a generation that has ended."""
    outcome = transcript.outcome
    assert outcome is not None, "no log ends without an outcome"
    complete = outcome if isinstance(outcome, Complete) else None
    return WholeAnswerView(
        id=state.generation,
        conversation_id=state.conversation,
        message_id=state.message,
        question_id=state.question,
        message=transcript.content,
        title=transcript.title,
        suggestions=transcript.suggestions or [],
        outcome=_outcome_name(outcome),
        mode=complete and complete.mode,
        stop_reason=complete and complete.stop_reason,
        usage=None if isinstance(outcome, Error) else outcome.usage,
        model=complete.model if complete else transcript.model,
        provider=complete.provider if complete else transcript.provider,
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
        done=state.is_done or transcript.is_done,
        content=transcript.content if has_log else None,
        reasoning=transcript.reasoning if has_log else None,
        citations=transcript.citations if has_log else None,
        tools=transcript.tools if has_log else None,
        images=transcript.images if has_log else None,
        sources=transcript.sources if has_log else None,
        last_event_id=str(cursor) if has_log else str(state.top),
        outcome=outcome,
        usage=None if outcome is None or isinstance(outcome, Error) else outcome.usage,
        title=transcript.title,
        suggestions=transcript.suggestions or [],
        conversation_id=state.conversation,
        message_id=state.message,
        question_id=state.question,
        attempt=state.attempt,
        model=summary.model if summary else transcript.model,
        metadata=(summary.metadata if summary else None) or {},
        on_disconnect=state.on_disconnect,
        created_at=timestamp(state.created_ms),
    )


def current_transcript(services: Services, generation: str) -> tuple[Transcript, Cursor]:
    """Return the answer so far and the id of its last event: from the log or, after its expiry, as it was stored.

    The cursor is `START` if there is neither. Raises RedisUnavailable, RedisKeyInvalid, DatabaseUnavailable.
    """
    transcript, cursor = read_transcript(services.streams, generation)
    stored = services.stored_logs.answer(generation) if cursor == START else None
    if stored is None:
        return transcript, cursor
    answer = stored.answer
    transcript = fold(decode(entry.data) for entry in entries_of(answer))
    transcript.title, transcript.suggestions, transcript.model = stored.title, list(answer.suggestions), answer.model
    transcript.sources = list(answer.sources)
    return transcript, answer.last_event


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
