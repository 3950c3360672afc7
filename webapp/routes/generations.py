"""The routes of a generation: create, get, stream its events, cancel."""

from flask import Blueprint, Response, request

from millrace.webapp.generation import creation
from millrace.webapp.generation.responses import check_cursor, idempotency_key, read_question, respond_with_generation
from millrace.webapp.generation.validation import GenerationFields, parse
from millrace.webapp.generation.views import current_transcript, view_of
from millrace.webapp.guard.auth import ensure_owner
from millrace.webapp.guard.limits import limited
from millrace.webapp.guard.ownership import (
    generation_not_found,
    owned_generation,
    owned_generation_with_retry,
    resume_cursor_with_retry,
)
from millrace.webapp.guard.rejections import reconnects_event_sources
from millrace.webapp.openapi.document import (
    AFTER,
    IDEMPOTENCY_KEY,
    LAST_EVENT_ID,
    LAST_EVENT_ID_QUERY,
    Description,
    described,
)
from millrace.webapp.relay import event_stream
from millrace.webapp.schemas import CancelReceipt, GenerationView, Receipt, WholeAnswerView, json_response
from millrace.webapp.services import services
from millrace.worker.contract.events import AnyEvent
from millrace.worker.contract.ids import Cursor
from millrace.worker.contract.state import read_summary

routes = Blueprint("generations", __name__, url_prefix="/api/generations")


@routes.post("")
@described(
    Description(
        body=GenerationFields,
        answers={200: WholeAnswerView, 202: Receipt, 204: None},
        stream=(AnyEvent,),
        parameters=(IDEMPOTENCY_KEY, LAST_EVENT_ID),
    )
)
@limited("create")
def create_generation() -> Response:
    """Create a generation; answer 202, or 200 with its event stream or its whole answer, as the request chooses."""
    key = idempotency_key()
    parsed = parse(read_question(key), services().settings)
    return respond_with_generation(ensure_owner(), parsed, key)


@routes.get("/<generation>")
@limited("read")
@described(Description(answers={200: GenerationView}))
def get_generation(generation: str) -> Response:
    """Return the current state of a generation, for clients that poll."""
    state = owned_generation(generation)
    transcript, cursor = current_transcript(services(), generation)
    summary = read_summary(services().streams, generation)
    return json_response(view_of(state, summary, transcript, cursor))


@routes.get("/<generation>/events")
@described(Description(answers={204: None}, stream=(AnyEvent,), parameters=(LAST_EVENT_ID, AFTER, LAST_EVENT_ID_QUERY)))
@limited("follow")
@reconnects_event_sources
def stream_events(generation: str) -> Response:
    """Stream the events after the client's cursor."""
    after = _cursor()
    state = owned_generation_with_retry(generation)
    return event_stream(services().hub, request.environ, state, resume_cursor_with_retry(state, after))


@routes.post("/<generation>/cancel")
@routes.delete("/<generation>")
@limited("write")
@described(Description(answers={200: CancelReceipt, 202: CancelReceipt}))
def cancel_generation(generation: str) -> Response:
    """Cancel a generation: 202, or 200 if it had ended already."""
    cancelled = creation.cancel_generation(services(), owned_generation(generation))
    if cancelled is None:
        raise generation_not_found()
    status, had_ended_before = cancelled
    return json_response(CancelReceipt(status), 200 if had_ended_before else 202)


def _cursor() -> Cursor:
    """Return the client's cursor, from the first of the three places that has one; raises Problem 400."""
    return check_cursor(
        request.headers.get("Last-Event-ID") or request.args.get("after") or request.args.get("lastEventId") or ""
    )
