"""Responses to a request for a generation: 202 with URLs, the event stream itself, or the whole answer in JSON."""

from flask import Response, request

from millrace.webapp.generation.creation import check_idempotency_key, create_generation
from millrace.webapp.generation.stored_log import resume_cursor
from millrace.webapp.generation.validation import ParsedRequest
from millrace.webapp.generation.views import receipt, whole_answer
from millrace.webapp.problems import Problem
from millrace.webapp.relay import event_stream, refuse_when_full
from millrace.webapp.schemas import WholeAnswerView, generation_url, json_response
from millrace.webapp.services import services
from millrace.worker.contract.ids import START, Cursor, parse_cursor
from millrace.worker.contract.state import GenerationState
from millrace.worker.errors import RedisKeyInvalid, RedisUnavailable

_STREAM = "text/event-stream"


def idempotency_key() -> str | None:
    """Return the request's Idempotency-Key, None where it has none; raises Problem 400."""
    return check_idempotency_key(request.headers.get("Idempotency-Key"))


def check_cursor(text: str) -> Cursor:
    """Return the cursor of a text, the start of the log for an empty one; raises Problem 400."""
    cursor = parse_cursor(text) if text else START
    if cursor is None:
        raise Problem(400, "bad_cursor", "Invalid cursor. Use the id of an event of this stream, such as 1-5.")
    return cursor


def respond_with_generation(owner: str, parsed: ParsedRequest, key: str | None) -> Response:
    """Create the generation and return the response in the requested form; raises as `create_generation` does.

    A client that repeats its request with the same key and a `Last-Event-ID` gets the stream after that event. A full
    relay refuses a stream with Problem 503 before anything is created.
    """
    is_streamed = parsed.stream if parsed.stream is not None else _accepts_stream()
    after = START if key is None else check_cursor(request.headers.get("Last-Event-ID", ""))
    if is_streamed:
        refuse_when_full(services().hub)
    state = create_generation(services(), owner, parsed, key, is_streamed=is_streamed)
    if is_streamed:
        after = resume_cursor(services().redis, state, after)
        response = event_stream(services().hub, request.environ, state, after)
        response.headers["Millrace-Generation-Id"] = state.generation
        return response
    if parsed.stream is False:
        answer = wait_for_answer(state)
        return _receipt(state) if answer is None else json_response(answer)
    return _receipt(state)


def _accepts_stream() -> bool:
    return any(kind.lower() == _STREAM and quality > 0 for kind, quality in request.accept_mimetypes)


def wait_for_answer(state: GenerationState) -> WholeAnswerView | None:
    """Return the whole answer of a generation that was just created; None if it has not ended in time.

    None as well while Redis is unavailable: the generation exists, and the client can follow it by its URL.
    """
    wait_seconds = services().settings.relay.wait_seconds
    try:
        return whole_answer(state, services().hub.entries(state.generation, START, wait_seconds))
    except (RedisUnavailable, RedisKeyInvalid):
        return None


def _receipt(state: GenerationState) -> Response:
    response = json_response(receipt(state), 202)
    response.headers["Location"] = generation_url(state.generation)
    return response
