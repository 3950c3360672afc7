"""A generation in JSON: as one whole answer, and as it stands."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import msgspec

from worker.contract.creation import Ids
from worker.contract.events import Cancelled, Complete, Error, Status, StatusEvent, decode
from worker.contract.ids import Cursor
from worker.contract.log import Entry
from worker.contract.request import Request
from worker.contract.state import State
from worker.contract.transcript import Transcript

Json = dict[str, Any]

_STATUS_AFTER: dict[type, Status] = {Complete: "completed", Cancelled: "cancelled", Error: "failed"}


def receipt(ids: Ids) -> Json:
    """Return the body of a 202: where to follow and stop the answer."""
    url = f"/api/generations/{ids.generation}"
    return {
        "id": ids.generation,
        "status": "queued",
        "conversation_id": ids.conversation,
        "message_id": ids.message,
        "events_url": f"{url}/events",
        "cancel_url": f"{url}/cancel",
    }


def whole_answer(ids: Ids, entries: Iterable[Entry]) -> Json | None:
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
    answer: Json = {
        "id": ids.generation,
        "conversation_id": ids.conversation,
        "message_id": ids.message,
        "message": transcript.content,
        "title": transcript.title,
        "suggestions": transcript.suggestions or [],
        "outcome": outcome.__struct_config__.tag,
        "mode": None,
        "stop_reason": None,
        "usage": None if isinstance(outcome, Error) else msgspec.to_builtins(outcome.usage),
        "model": model,
        "provider": provider,
    }
    match outcome:
        case Complete():
            answer |= {name: getattr(outcome, name) for name in ("mode", "stop_reason", "model", "provider")}
        case Error(code, message, retryable):
            answer["error"] = {"code": code, "message": message, "retryable": retryable}
        case Cancelled():
            pass
    return answer


def standing(state: State, request: Request | None, transcript: Transcript, cursor: Cursor) -> Json:
    """Return a generation as it stands; `content` and its like are None where the log has expired."""
    is_there = cursor.seq > 0
    outcome = transcript.outcome
    return {
        "id": state.generation,
        "status": state.status if outcome is None else _STATUS_AFTER[type(outcome)],
        "content": transcript.content if is_there else None,
        "reasoning": transcript.reasoning if is_there else None,
        "citations": transcript.citations if is_there else None,
        "tools": transcript.tools if is_there else None,
        "last_event_id": str(cursor) if is_there else str(state.top),
        "outcome": None if outcome is None else msgspec.to_builtins(outcome),
        "usage": msgspec.to_builtins(getattr(outcome, "usage", None)),
        "title": transcript.title,
        "suggestions": transcript.suggestions or [],
        "conversation_id": state.conversation,
        "message_id": state.message,
        "attempt": state.attempt,
        "model": request.model if request else None,
        "metadata": (request.metadata if request else None) or {},
        "on_disconnect": state.on_disconnect,
        "created_at": datetime.fromtimestamp(state.created_ms / 1000, UTC).isoformat(timespec="milliseconds"),
    }
