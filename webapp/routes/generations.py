"""The routes of a generation: ask, follow, look, stop."""

from flask import Blueprint, Response, request

from millrace.webapp.generation.creation import idempotency_key
from millrace.webapp.generation.responses import ask_and_answer
from millrace.webapp.generation.resuming import resumed
from millrace.webapp.generation.validation import GenerationFields, parse
from millrace.webapp.generation.views import view_of, view_of_stored
from millrace.webapp.guard.auth import ensure_owner
from millrace.webapp.guard.limits import limited
from millrace.webapp.guard.ownership import generation_not_found, owned_generation, owned_generation_with_retry
from millrace.webapp.openapi.describing import AFTER, IDEMPOTENCY_KEY, LAST_EVENT_ID, Description, described
from millrace.webapp.problems import Problem
from millrace.webapp.relay import event_stream
from millrace.webapp.request_body import read_object
from millrace.webapp.schemas import CancelReceipt, GenerationView, Receipt, WholeAnswerView, json_response
from millrace.webapp.services import services
from millrace.worker.contract.control import cancel
from millrace.worker.contract.events import AnyEvent
from millrace.worker.contract.ids import START, Cursor, parse_cursor
from millrace.worker.contract.log import read_transcript
from millrace.worker.contract.state import read_request

routes = Blueprint("generations", __name__, url_prefix="/api/generations")


@routes.post("")
@described(
    Description(
        body=GenerationFields,
        answers={200: WholeAnswerView, 202: Receipt},
        stream=(AnyEvent,),
        parameters=(IDEMPOTENCY_KEY,),
    )
)
@limited("create")
def create_generation() -> Response:
    """Make a generation and answer in the way that was asked for: 202, the events themselves, or all in one piece."""
    owner = ensure_owner()
    key = idempotency_key(request)
    asked = parse(read_object(request, services().settings.limits.max_body_bytes), services().settings)
    return ask_and_answer(owner, asked, key)


@routes.get("/<generation>")
@described(Description(answers={200: GenerationView}))
def get_generation(generation: str) -> Response:
    """Return the generation as it stands, for those who poll."""
    state = owned_generation(generation)
    transcript, cursor = read_transcript(services().redis, generation)
    asked = read_request(services().redis, generation)
    kept = services().archive.kept(generation) if cursor == START else None
    return json_response(view_of_stored(state, asked, kept) if kept else view_of(state, asked, transcript, cursor))


@routes.get("/<generation>/events")
@described(Description(answers={204: None}, stream=(AnyEvent,), parameters=(LAST_EVENT_ID, AFTER)))
@limited("follow")
def stream_events(generation: str) -> Response:
    """Return the event stream after the client's cursor."""
    after = _cursor()
    state = owned_generation_with_retry(generation)
    return event_stream(services().hub, request.environ, state, resumed(state, after))


@routes.post("/<generation>/cancel")
@routes.delete("/<generation>")
@described(Description(answers={200: CancelReceipt, 202: CancelReceipt}))
def cancel_generation(generation: str) -> Response:
    """Ask for the end: 202, or 200 where it had ended before."""
    state = owned_generation(generation)
    stopped = cancel(services().redis, generation, "user", services().settings)
    if stopped is None and not state.is_done:
        raise generation_not_found()
    if stopped is None:  # Redis has forgotten it long since
        return json_response(CancelReceipt(state.status))
    return json_response(CancelReceipt(stopped.status), 200 if stopped.had_ended_before else 202)


def _cursor() -> Cursor:
    """Return the client's cursor; raises Problem 400."""
    text = request.headers.get("Last-Event-ID") or request.args.get("after") or ""
    cursor = parse_cursor(text) if text else START
    if cursor is None:
        raise Problem(400, "bad_cursor", "A cursor is the id of an event of this stream, such as 1-5.")
    return cursor
