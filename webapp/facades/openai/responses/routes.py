"""The routes of `/v1/responses`: create, retrieve, stream again, cancel, delete, and list the input."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace

import msgspec
from flask import Blueprint, Response, request

from millrace.webapp import problems
from millrace.webapp.facades.dialect import problems_in
from millrace.webapp.facades.openai import sdk_headers
from millrace.webapp.facades.openai.errors import ErrorBody, invalid_parameter, render
from millrace.webapp.facades.openai.ids import RESPONSE, id_of, own_id
from millrace.webapp.facades.openai.parameters import flag_of
from millrace.webapp.facades.openai.responses.dialect import ResponsesDialect
from millrace.webapp.facades.openai.responses.input_items import input_items
from millrace.webapp.facades.openai.responses.kept_history import keep_history
from millrace.webapp.facades.openai.responses.objects import DeletedResponse, InputItemList, ResponseObject
from millrace.webapp.facades.openai.responses.parameters import (
    FIELDS,
    ResponseFields,
    ResponseRequest,
    parse_parameters,
)
from millrace.webapp.facades.openai.responses.previous import find_previous
from millrace.webapp.facades.openai.responses.stream_events import AnyResponseEvent
from millrace.webapp.facades.openai.responses.views import ECHO, ResponseDescription, describe, response_of
from millrace.webapp.facades.stream import MakeDialect, check_number, follow_answer, stream_answer
from millrace.webapp.generation import creation
from millrace.webapp.generation.removal import remove_generation, wait_for_end
from millrace.webapp.generation.responses import create_and_collect, idempotency_key, read_question
from millrace.webapp.generation.validation import MAX_ECHO_CHARS, ParsedRequest, parse
from millrace.webapp.generation.views import current_transcript
from millrace.webapp.guard.auth import ensure_owner
from millrace.webapp.guard.limits import limited
from millrace.webapp.guard.ownership import generation_not_found, owned_generation, owned_generation_with_retry
from millrace.webapp.openapi.document import IDEMPOTENCY_KEY, Description, described
from millrace.webapp.problems import Problem
from millrace.webapp.request_input import Json
from millrace.webapp.schemas import json_response
from millrace.webapp.services import services
from millrace.worker.contract.state import GenerationState, read_summary
from millrace.worker.contract.transcript import Transcript

_STREAM = ("query", "stream", "`true` streams the events of the response.")
_STARTING_AFTER = ("query", "starting_after", "With `stream`: the number of the last event that the client has.")
_PAGE = (
    ("query", "order", "`asc`, or `desc`, the default."),
    ("query", "limit", "The maximum number of messages, 1 to 100."),
    ("query", "after", "The id of the last message of the page before."),
)

routes = Blueprint("openai_responses", __name__, url_prefix="/v1/responses")
problems.install(routes, render)
sdk_headers.install(routes)


@routes.post("")
@described(
    Description(
        body=ResponseFields,
        answers={200: ResponseObject},
        stream=(AnyResponseEvent,),
        parameters=(IDEMPOTENCY_KEY,),
        problem=ErrorBody,
    )
)
@limited("create")
def create_response() -> Response:
    """Create a response: whole, as a stream, or in the background."""
    key = idempotency_key()
    asked = parse_parameters(read_question(key), services().settings)
    with problems_in({"input": "message"}), problems_in(FIELDS):
        parsed = _to_ours(asked)
        owner = ensure_owner()
        if asked.is_streamed:
            return stream_answer(owner, parsed, _dialects())
        if asked.is_in_background:
            return _respond(creation.create_generation(services(), owner, parsed, key, is_streamed=False))
        state, transcript = create_and_collect(owner, parsed, key)
    return _respond(owned_generation(state.generation)) if transcript is None else _render(state, transcript)


@routes.get("/<response>")
@described(
    Description(
        answers={200: ResponseObject},
        stream=(AnyResponseEvent,),
        parameters=(_STREAM, _STARTING_AFTER),
        problem=ErrorBody,
    )
)
@limited("follow")
def get_response(response: str) -> Response:
    """Return a response as it is now, or stream its events after a number."""
    if not flag_of(request.args, "stream"):
        with _as_theirs(response):
            return _respond(owned_generation(own_id(RESPONSE, response)))
    given = request.args.get("starting_after", "")
    try:
        after = check_number(given) + 1 if given else 0
    except Problem as problem:
        detail = "starting_after is the sequence_number of an event of this response."
        raise invalid_parameter("starting_after", detail) from problem
    with _as_theirs(response):
        state = owned_generation_with_retry(own_id(RESPONSE, response))
    return follow_answer(state, _dialects(), after)


@routes.post("/<response>/cancel")
@described(Description(answers={200: ResponseObject}, problem=ErrorBody))
@limited("write")
def cancel_response(response: str) -> Response:
    """Cancel a response and return it; one that has ended is returned as it is."""
    with _as_theirs(response):
        state = owned_generation(own_id(RESPONSE, response))
        if creation.cancel_generation(services(), state) is None:
            raise generation_not_found()
    wait_for_end(state)
    return _respond(owned_generation(state.generation))


@routes.delete("/<response>")
@described(Description(answers={200: DeletedResponse}, problem=ErrorBody))
@limited("write")
def delete_response(response: str) -> Response:
    """Delete a response with its input; one that runs is cancelled first. The other turns of a conversation stay."""
    with _as_theirs(response):
        state = owned_generation(own_id(RESPONSE, response))
    remove_generation(state)
    return json_response(DeletedResponse(id_of(RESPONSE, state.generation)))


@routes.get("/<response>/input_items")
@described(Description(answers={200: InputItemList}, parameters=_PAGE, problem=ErrorBody))
@limited("read")
def list_input_items(response: str) -> Response:
    """Return the messages of the input, page by page."""
    with _as_theirs(response):
        state = owned_generation(own_id(RESPONSE, response))
    return json_response(input_items(state))


def _to_ours(asked: ResponseRequest) -> ParsedRequest:
    """Return the request for a turn of a conversation, or for an answer to a whole history."""
    body: Json = dict(asked.options)
    previous = None if asked.previous is None else find_previous(asked.previous)
    is_turn = asked.is_stored and asked.input.is_question and (previous is None or previous.is_newest)
    if is_turn:
        body["message"] = asked.input.messages[0]["content"]
        body["conversation_id"] = None if previous is None else previous.state.conversation
    else:
        body["messages"] = [*(previous.history() if previous else []), *asked.input.messages]
    parsed = parse(body, services().settings, merges_neighbours=True)
    echo: Json = {ECHO: msgspec.to_builtins(asked.echo)}
    if asked.is_stored and not is_turn:
        echo |= keep_history(parsed.request)
    return replace(parsed, request=msgspec.structs.replace(parsed.request, echo=echo), given=asked.question)


def _dialects() -> MakeDialect:
    """Return a function that makes the dialects of one generation; the first one reads its request, in the view."""
    described: dict[str, ResponseDescription] = {}

    def make(state: GenerationState) -> ResponsesDialect:
        if state.generation not in described:
            described[state.generation] = _describe(state)
        return ResponsesDialect(described[state.generation])

    return make


def _describe(state: GenerationState) -> ResponseDescription:
    summary = read_summary(services().streams, state.generation)
    model = None if summary else current_transcript(services(), state.generation)[0].model
    return describe(state, summary, model)


def _respond(state: GenerationState) -> Response:
    transcript, _ = current_transcript(services(), state.generation)
    return _render(state, transcript)


def _render(state: GenerationState, transcript: Transcript) -> Response:
    response = json_response(response_of(state, read_summary(services().streams, state.generation), transcript))
    response.headers["Millrace-Generation-Id"] = state.generation
    return response


@contextmanager
def _as_theirs(response: str) -> Generator[None]:
    """Word the 404 of a generation as that of a response."""
    try:
        yield
    except Problem as problem:
        if problem.status != 404:
            raise
        raise Problem(404, "not_found", f"Response with id '{response[:MAX_ECHO_CHARS]}' not found.") from problem
