"""The routes of a generation: ask, follow, look, stop."""

from flask import Blueprint, Response, request

from webapp.addresses import generation_url
from webapp.answering import receipt, standing, whole_answer
from webapp.auth import owner_or_new
from webapp.body import read_object
from webapp.creating import idempotency_key, make
from webapp.openapi.describing import AFTER, IDEMPOTENCY_KEY, LAST_EVENT_ID, Description, described
from webapp.ownership import no_generation, owned, owned_patiently, patient_state
from webapp.problems import Problem
from webapp.relay import event_stream, refuse_when_full
from webapp.services import services
from webapp.shapes import Receipt, Standing, Stopped, WholeAnswer, reply
from webapp.validation import GenerationFields, parse
from worker.contract.control import cancel
from worker.contract.creation import Ids
from worker.contract.errors import RedisAway
from worker.contract.events import AnyEvent
from worker.contract.ids import START, Cursor, parse_cursor
from worker.contract.log import read_transcript
from worker.contract.state import read_request

_STREAM = "text/event-stream"

routes = Blueprint("generations", __name__, url_prefix="/api/generations")


@routes.post("")
@described(
    Description(
        body=GenerationFields,
        answers={200: WholeAnswer, 202: Receipt},
        stream=(AnyEvent,),
        parameters=(IDEMPOTENCY_KEY,),
    )
)
def ask() -> Response:
    """Make a generation and answer in the way that was asked for: 202, the events themselves, or all in one piece."""
    owner = owner_or_new()
    key = idempotency_key(request)
    asked = parse(read_object(request, services().settings.max_body_bytes), services().settings)
    is_streamed = asked.stream if asked.stream is not None else _accepts_stream()
    if is_streamed:
        refuse_when_full(services().hub)
    ids = make(services(), owner, asked, key, is_streamed=is_streamed)
    if is_streamed:
        return _stream(ids)
    if asked.stream is False:
        return _wait(ids)
    return _receipt(ids)


@routes.get("/<generation>")
@described(Description(answers={200: Standing}))
def look(generation: str) -> Response:
    """Return the generation as it stands, for those who poll."""
    state = owned(generation)
    transcript, cursor = read_transcript(services().redis, generation)
    return reply(standing(state, read_request(services().redis, generation), transcript, cursor))


@routes.get("/<generation>/events")
@described(Description(answers={204: None}, stream=(AnyEvent,), parameters=(LAST_EVENT_ID, AFTER)))
def follow(generation: str) -> Response:
    """Return the event stream after the client's cursor."""
    after = _cursor()
    state = owned_patiently(generation)
    return event_stream(services().hub, request.environ, state, after)


@routes.post("/<generation>/cancel")
@routes.delete("/<generation>")
@described(Description(answers={200: Stopped, 202: Stopped}))
def stop(generation: str) -> Response:
    """Ask for the end: 202, or 200 where it had ended before."""
    owned(generation)
    stopped = cancel(services().redis, generation, "user", services().settings)
    if stopped is None:
        raise no_generation()
    return reply(Stopped(stopped.status), 200 if stopped.was_over else 202)


def _accepts_stream() -> bool:
    return any(kind.lower() == _STREAM and quality > 0 for kind, quality in request.accept_mimetypes)


def _stream(ids: Ids) -> Response:
    state = patient_state(ids.generation)
    if state is None:
        raise no_generation()
    response = event_stream(services().hub, request.environ, state, START)
    response.headers["Millrace-Generation-Id"] = ids.generation
    return response


def _wait(ids: Ids) -> Response:
    try:
        answer = whole_answer(ids, services().hub.entries(ids.generation, START, services().settings.wait_seconds))
    except RedisAway:  # the generation is made: nothing is lost
        answer = None
    return _receipt(ids) if answer is None else reply(answer)


def _receipt(ids: Ids) -> Response:
    response = reply(receipt(ids), 202)
    response.headers["Location"] = generation_url(ids.generation)
    return response


def _cursor() -> Cursor:
    """Return the client's cursor; raises Problem 400."""
    text = request.headers.get("Last-Event-ID") or request.args.get("after") or ""
    cursor = parse_cursor(text) if text else START
    if cursor is None:
        raise Problem(400, "bad_cursor", "A cursor is the id of an event of this stream, such as 1-5.")
    return cursor
