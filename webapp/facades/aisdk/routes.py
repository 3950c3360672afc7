"""The routes of the AI SDK: answer a chat, resume its stream, stop its answer."""

from dataclasses import replace

from flask import Blueprint, Response, request

from millrace.webapp import problems
from millrace.webapp.facades.aisdk.chats import (
    find_asked_question,
    find_conversation,
    hashed_conversation,
    running_generation,
)
from millrace.webapp.facades.aisdk.dialect import SdkVersion, UiMessageDialect
from millrace.webapp.facades.aisdk.errors import SDK_PARAMETER, SDK_VERSION, expect_sdk, text_of_problem
from millrace.webapp.facades.aisdk.parts import UI_PARTS
from millrace.webapp.facades.aisdk.request import ChatRequest, parse_chat, parse_regeneration, read_chat
from millrace.webapp.facades.stream import MakeDialect, follow_answer, stream_answer
from millrace.webapp.generation.creation import cancel_generation
from millrace.webapp.generation.validation import ParsedRequest
from millrace.webapp.guard.auth import current_owner, ensure_owner
from millrace.webapp.guard.limits import limited
from millrace.webapp.guard.ownership import owned_generation, owned_generation_with_retry, with_redis_retry
from millrace.webapp.openapi.document import Description, described
from millrace.webapp.request_input import Json
from millrace.webapp.schemas import generation_url
from millrace.webapp.services import services

_GENERATION = ("query", "generation", "A generation to follow instead, also after its end.")
_STOPPED = ("query", "generation", "A generation to stop instead, whichever protocol has begun it.")
_ANY_GENERATION = "0" * 32
_HEADERS = {"x-vercel-ai-ui-message-stream": "v1"}

routes = Blueprint("aisdk", __name__, url_prefix="/api/chat")
problems.install(routes, text_of_problem)


def answer_chat(body: Json) -> Response:
    """Return the answer to a chat's last message as a UI message stream; raises Problem."""
    expect_sdk()
    asked = read_chat(body)
    parse_chat(asked, services().settings)  # a new owner counts only for a valid request
    owner = ensure_owner()
    return stream_answer(owner, _in_conversation(owner, asked), _dialect_maker(), _HEADERS)


@routes.get("/<path:chat>/stream")
@described(Description(answers={204: None}, stream=UI_PARTS, parameters=(_GENERATION, SDK_VERSION), problem=str))
@limited("follow")
def resume_stream(chat: str) -> Response:
    """Stream the answer that runs in a chat from its beginning; 204 if none does."""
    owner, named = current_owner(), request.args.get("generation")
    if named:
        state = owned_generation_with_retry(named)
    else:
        state = None if owner is None else with_redis_retry(lambda: running_generation(owner, chat))
    if state is None:
        return Response(status=204)
    return follow_answer(state, _dialect_maker(), headers=_HEADERS)


@routes.post("/<path:chat>/stop")
@described(Description(answers={204: None}, parameters=(_STOPPED,), problem=str))
@limited("write")
def stop_answer(chat: str) -> Response:
    """Cancel the answer that runs in a chat, if one does: the SDK's `stop()` only closes its connection."""
    owner, named = current_owner(), request.args.get("generation")
    running = None if named or owner is None else running_generation(owner, chat)
    state = owned_generation(named) if named else running
    if state is not None:
        cancel_generation(services(), state)
    return Response(status=204)


def _in_conversation(owner: str, asked: ChatRequest) -> ParsedRequest:
    """Return the request in the chat's conversation, which is created with it; as a retry where it is one."""
    settings = services().settings
    known = find_conversation(owner, asked.chat)
    conversation = known or hashed_conversation(owner, asked.chat)
    if asked.is_regeneration:
        question = find_asked_question(owner, conversation, asked.question, asked.message_id)
        if question is not None:
            return parse_regeneration(asked, question, settings)
    parsed = parse_chat(asked, settings)
    if known is not None:
        return replace(parsed, conversation=known)
    return replace(parsed, new_conversation=conversation)


def _dialect_maker() -> MakeDialect:
    version: SdkVersion = 7 if request.args.get(SDK_PARAMETER) == "7" else 6
    address = generation_url(_ANY_GENERATION).removesuffix(_ANY_GENERATION)
    return lambda state: UiMessageDialect(state, version, address)
