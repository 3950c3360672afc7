"""Responses to a request for a generation: 202 with URLs, the event stream itself, or the whole answer in JSON."""

from flask import Response, request

from millrace.webapp.generation.creation import check_idempotency_key, create_generation, refuse_when_active_full
from millrace.webapp.generation.validation import ParsedRequest
from millrace.webapp.generation.views import receipt, whole_answer
from millrace.webapp.guard.auth import current_owner
from millrace.webapp.guard.client import current_client
from millrace.webapp.guard.ownership import resume_cursor_with_retry
from millrace.webapp.guard.permits import release_permit
from millrace.webapp.problems import Problem
from millrace.webapp.relay import event_stream, refuse_when_full
from millrace.webapp.request_input import Json, read_object
from millrace.webapp.schemas import WholeAnswerView, generation_url, json_response
from millrace.webapp.services import services
from millrace.worker.contract.ids import START, Cursor, parse_cursor
from millrace.worker.contract.log import decode_entries
from millrace.worker.contract.state import GenerationState
from millrace.worker.contract.transcript import Transcript, fold
from millrace.worker.errors import RedisKeyInvalid, RedisUnavailable

LARGE_BYTES = 256 << 10  # the longest message is smaller; a request of this size takes as long as several others

_STREAM = "text/event-stream"


def idempotency_key() -> str | None:
    """Return the request's Idempotency-Key, None where it has none; raises Problem 400."""
    return check_idempotency_key(request.headers.get("Idempotency-Key"))


def read_question(key: str | None) -> Json:
    """Return the JSON object of a request that creates a generation; raises as `read_object` does.

    A large one is not read where a new generation would be rejected for the answers that run: Problem 429. Only a key
    may stand for a generation that exists.
    """
    if key is None and (request.content_length is None or request.content_length > LARGE_BYTES):
        refuse_when_active_full(services(), current_owner())
    return read_object(request, services().settings.limits.max_body_bytes)


def check_cursor(text: str) -> Cursor:
    """Return the cursor of a text, the start of the log for an empty one; raises Problem 400."""
    cursor = parse_cursor(text) if text else START
    if cursor is None:
        raise Problem(400, "bad_cursor", "Invalid cursor. Use the id of an event of this stream, such as 1-5.")
    return cursor


def respond_with_generation(owner: str, parsed: ParsedRequest, key: str | None) -> Response:
    """Create the generation and return the response in the requested form; raises as `create_generation` does.

    A client that repeats its request with the same key and a `Last-Event-ID` gets the stream after that event. Where
    there is no room for a stream or for a request that waits, Problem 429 or 503 is raised before anything is created.
    """
    is_streamed = parsed.stream if parsed.stream is not None else _accepts_stream()
    after = START if key is None else check_cursor(request.headers.get("Last-Event-ID", ""))
    if is_streamed:
        refuse_when_full(services().hub, current_client())
        state = create_generation(services(), owner, parsed, key, is_streamed=True)
        after = resume_cursor_with_retry(state, after)
        response = event_stream(services().hub, request.environ, state, after, is_admitted=True)
        response.headers["Millrace-Generation-Id"] = state.generation
        return response
    if parsed.stream is False:
        state, answer = create_and_wait(owner, parsed, key)
        return _receipt(state) if answer is None else json_response(answer)
    return _receipt(create_generation(services(), owner, parsed, key, is_streamed=False))


def create_and_wait(
    owner: str, parsed: ParsedRequest, key: str | None
) -> tuple[GenerationState, WholeAnswerView | None]:
    """Create the generation and wait for its whole answer; None and errors as `create_and_collect`."""
    state, transcript = create_and_collect(owner, parsed, key)
    return state, None if transcript is None else whole_answer(state, transcript)


def create_and_collect(owner: str, parsed: ParsedRequest, key: str | None) -> tuple[GenerationState, Transcript | None]:
    """Create the generation and wait for all of its events; None if that takes longer than requests wait.

    Raises Problem 503 `too_many_waiting` before anything is created, and as `create_generation` does.
    """
    with services().hub.waiting.hold(current_client()):
        state = create_generation(services(), owner, parsed, key, is_streamed=False)
        release_permit()
        return state, _wait_for_end(state)


def _accepts_stream() -> bool:
    return any(kind.lower() == _STREAM and quality > 0 for kind, quality in request.accept_mimetypes)


def _wait_for_end(state: GenerationState) -> Transcript | None:
    """Return the transcript of a generation that was just created; None if it has not ended in time.

    None as well while Redis is unavailable: the generation exists, and the client can follow it by its URL.
    """
    wait_seconds = services().settings.relay.wait_seconds
    try:
        transcript = fold(decode_entries(services().hub.entries(state.generation, START, wait_seconds)))
    except (RedisUnavailable, RedisKeyInvalid):
        return None
    return transcript if transcript.is_done and transcript.outcome is not None else None


def _receipt(state: GenerationState) -> Response:
    response = json_response(receipt(state), 202)
    response.headers["Location"] = generation_url(state.generation)
    return response
