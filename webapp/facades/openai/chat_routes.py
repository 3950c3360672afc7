"""`/v1/chat/completions`: create, fetch, follow and cancel chat completions; nothing is stored as a conversation.

OpenAI's API has no way to follow or to cancel a completion; these are ours.
"""

from functools import partial

from flask import Blueprint, Response, request

from millrace.webapp import problems
from millrace.webapp.facades.openai import errors, sdk_headers
from millrace.webapp.facades.openai.chat_dialect import CompletionDialect
from millrace.webapp.facades.openai.chat_format import (
    CHAT_STREAM,
    ChatCompletion,
    CompletionStatus,
    completion_of,
    finish_reason_of,
)
from millrace.webapp.facades.openai.chat_request import CompletionFields, parse_completion
from millrace.webapp.facades.openai.ids import COMPLETION, id_of, own_id
from millrace.webapp.facades.openai.parameters import flag_of
from millrace.webapp.facades.stream import check_number, follow_answer, stream_answer
from millrace.webapp.generation import creation
from millrace.webapp.generation.responses import create_and_collect, idempotency_key, read_question
from millrace.webapp.generation.views import current_transcript
from millrace.webapp.guard.auth import ensure_owner
from millrace.webapp.guard.limits import limited
from millrace.webapp.guard.ownership import generation_not_found, owned_generation, owned_generation_with_retry
from millrace.webapp.mounts import url_of
from millrace.webapp.openapi.document import IDEMPOTENCY_KEY, LAST_EVENT_ID, Description, described
from millrace.webapp.problems import Problem
from millrace.webapp.schemas import json_response
from millrace.webapp.services import services
from millrace.worker.contract.events import Error
from millrace.worker.contract.state import GenerationState, read_summary
from millrace.worker.contract.transcript import Transcript

STREAM = ("query", "stream", "With `true`: stream the completion, also after its end.")
STARTING_AFTER = ("query", "starting_after", "The number of the last frame that the client has received, its SSE id.")
INCLUDE_USAGE = ("query", "include_usage", "With `true`: the stream has a last chunk with the usage.")

routes = Blueprint("openai_chat", __name__, url_prefix="/v1/chat/completions")
problems.install(routes, errors.render)
sdk_headers.install(routes)


@routes.post("")
@described(
    Description(
        body=CompletionFields,
        answers={200: ChatCompletion},
        stream=CHAT_STREAM,
        parameters=(IDEMPOTENCY_KEY, LAST_EVENT_ID),
        problem=errors.ErrorBody,
    )
)
@limited("create")
def create_completion() -> Response:
    """Create a chat completion: return it, or stream it.

    Raises the Problem of an answer that fails, and 504 where it takes longer than requests wait.
    """
    key = idempotency_key()
    wanted = parse_completion(read_question(key), services().settings)
    model = wanted.parsed.request.model
    if wanted.is_streamed:
        return stream_answer(ensure_owner(), wanted.parsed, partial(_dialect, model=model, has_usage=wanted.has_usage))
    state, transcript = create_and_collect(ensure_owner(), wanted.parsed, key)
    if transcript is None:
        theirs = id_of(COMPLETION, state.generation)
        raise errors.still_running(state.generation, theirs, url_of("openai_chat.get_completion", completion=theirs))
    return _answer(state, transcript, model, is_final=key is not None)


@routes.get("/<completion>")
@described(
    Description(
        answers={200: ChatCompletion, 202: ChatCompletion},
        stream=CHAT_STREAM,
        parameters=(STREAM, STARTING_AFTER, INCLUDE_USAGE, LAST_EVENT_ID),
        problem=errors.ErrorBody,
    )
)
@limited("follow", serves_event_sources=False)
def get_completion(completion: str) -> Response:
    """Return a completion, as far as it is written (202), or stream it; also one that another protocol has started.

    Raises the Problem of an answer that has failed.
    """
    state = owned_generation_with_retry(own_id(COMPLETION, completion))
    summary = read_summary(services().streams, state.generation)
    if flag_of(request.args, "stream"):
        after, has_usage = _after(), flag_of(request.args, "include_usage")
        model = summary.model if summary else current_transcript(services(), state.generation)[0].model or ""
        return follow_answer(state, partial(_dialect, model=model, has_usage=has_usage), after)
    transcript, _ = current_transcript(services(), state.generation)
    return _answer(state, transcript, summary.model if summary else transcript.model or "", is_final=True)


@routes.post("/<completion>/cancel")
@limited("write")
@described(Description(answers={200: CompletionStatus, 202: CompletionStatus}, problem=errors.ErrorBody))
def cancel_completion(completion: str) -> Response:
    """Cancel a completion: 202, or 200 if it had ended already."""
    state = owned_generation(own_id(COMPLETION, completion))
    cancelled = creation.cancel_generation(services(), state)
    if cancelled is None:
        raise generation_not_found()
    status, had_ended_before = cancelled
    return json_response(
        CompletionStatus(id_of(COMPLETION, state.generation), status), 200 if had_ended_before else 202
    )


def _after() -> int:
    header, given = request.headers.get("Last-Event-ID"), request.args.get("starting_after", "")
    if header:
        return check_number(header)
    try:
        return check_number(given)
    except Problem as problem:
        raise errors.invalid_parameter("starting_after", problem.detail, problem.code) from problem


def _dialect(state: GenerationState, *, model: str, has_usage: bool) -> CompletionDialect:
    theirs = id_of(COMPLETION, state.generation)
    return CompletionDialect(theirs, state.created_ms // 1000, model, has_usage=has_usage)


def _answer(state: GenerationState, transcript: Transcript, model: str, *, is_final: bool) -> Response:
    """Return a completion, or raise the Problem of one that has failed."""
    theirs, outcome = id_of(COMPLETION, state.generation), transcript.outcome
    if outcome is None and not state.is_running:  # its log has expired, and nothing is stored
        raise generation_not_found()
    if isinstance(outcome, Error) and finish_reason_of(outcome, has_text=bool(transcript.content)) is None:
        raise errors.failed_answer(outcome, state.generation, theirs, is_final=is_final)
    completion = completion_of(theirs, state.created_ms // 1000, model, transcript)
    response = json_response(completion, 202 if outcome is None else 200)
    response.headers["Millrace-Generation-Id"] = state.generation
    return response
