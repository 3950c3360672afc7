"""Asking, in whichever way the answer is wanted: 202 and followed elsewhere, on this very response, or in one piece."""

from flask import Response, request

from millrace.webapp.generation.creation import create_generation
from millrace.webapp.generation.validation import ParsedRequest
from millrace.webapp.generation.views import receipt, whole_answer
from millrace.webapp.guard.ownership import generation_not_found, read_state_with_retry
from millrace.webapp.relay import event_stream, refuse_when_full
from millrace.webapp.schemas import generation_url, json_response
from millrace.webapp.services import services
from millrace.worker.contract.creation import Ids
from millrace.worker.contract.ids import START
from millrace.worker.errors import RedisUnavailable

_STREAM = "text/event-stream"


def ask_and_answer(owner: str, asked: ParsedRequest, key: str | None) -> Response:
    """Make the generation and return the answer; raises what `make` raises."""
    is_streamed = asked.stream if asked.stream is not None else _accepts_stream()
    if is_streamed:
        refuse_when_full(services().hub)
    ids = create_generation(services(), owner, asked, key, is_streamed=is_streamed)
    if is_streamed:
        return _stream(ids)
    if asked.stream is False:
        return _wait(ids)
    return _receipt(ids)


def _accepts_stream() -> bool:
    return any(kind.lower() == _STREAM and quality > 0 for kind, quality in request.accept_mimetypes)


def _stream(ids: Ids) -> Response:
    state = read_state_with_retry(ids.generation)
    if state is None:
        raise generation_not_found()
    response = event_stream(services().hub, request.environ, state, START)
    response.headers["Millrace-Generation-Id"] = ids.generation
    return response


def _wait(ids: Ids) -> Response:
    try:
        answer = whole_answer(
            ids, services().hub.entries(ids.generation, START, services().settings.relay.wait_seconds)
        )
    except RedisUnavailable:  # the generation is made: nothing is lost
        answer = None
    return _receipt(ids) if answer is None else json_response(answer)


def _receipt(ids: Ids) -> Response:
    response = json_response(receipt(ids), 202)
    response.headers["Location"] = generation_url(ids.generation)
    return response
