"""The routes of conversations: make, list, read, rename, delete, and an answer once more."""

from typing import Annotated

import msgspec
from flask import Blueprint, Response, request
from msgspec import UNSET, Meta, UnsetType
from sqlalchemy.orm import Session

from millrace.webapp.generation.creation import idempotency_key
from millrace.webapp.generation.responses import ask_and_answer
from millrace.webapp.generation.validation import AnswerFields, convert, no_conversation, parse_again
from millrace.webapp.guard.auth import current_owner, ensure_owner
from millrace.webapp.guard.limits import limited
from millrace.webapp.openapi.describing import IDEMPOTENCY_KEY, Description, described
from millrace.webapp.problems import invalid
from millrace.webapp.request_body import Json, read_object
from millrace.webapp.routes.paging import CURSOR, LIMIT, read_page
from millrace.webapp.schemas import (
    ConversationPage,
    ConversationSchema,
    MessagePage,
    MessageSchema,
    Receipt,
    WholeAnswerView,
    json_response,
    timestamp,
)
from millrace.webapp.services import services
from millrace.webapp.urls import conversation_url
from millrace.worker.contract.control import cancel
from millrace.worker.contract.conversation_lock import mark_deleted, read_owner, running_generations
from millrace.worker.contract.events import AnyEvent
from millrace.worker.contract.feed import ConversationChanged, publish
from millrace.worker.contract.ids import is_id, new_id
from millrace.worker.store import conversations, messages
from millrace.worker.store.messages import StoredQuestion
from millrace.worker.store.pages import Page

CONVERSATIONS, MESSAGES = 20, 50  # in a page, where the request names no number
TITLE_CHARACTERS = 200

routes = Blueprint("conversations", __name__, url_prefix="/api/conversations")


class NewFields(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A new conversation; without a title it is named after its first answer."""

    title: Annotated[str, Meta(max_length=TITLE_CHARACTERS)] | UnsetType = UNSET


class TitleFields(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a conversation is to be called."""

    title: Annotated[str, Meta(max_length=TITLE_CHARACTERS)]


@routes.post("")
@limited("create")
@described(Description(body=NewFields, answers={201: ConversationSchema}))
def create_conversation() -> Response:
    """Make an empty conversation."""
    owner, identity = ensure_owner(), new_id()
    fields = convert(_body(), NewFields)
    title = None if isinstance(fields.title, UnsetType) else _checked(fields.title)

    def work(session: Session) -> conversations.ConversationRecord | None:
        conversations.ensure(session, owner, identity)
        if title is not None:
            conversations.rename(session, owner, identity, title)
        return conversations.find(session, owner, identity)

    response = json_response(_told(services().database.run(work)), 201)
    response.headers["Location"] = conversation_url(identity)
    return response


@routes.get("")
@described(Description(answers={200: ConversationPage}, parameters=(CURSOR, LIMIT)))
def list_conversations() -> Response:
    """Return the conversations, the last changed first, page by page."""
    owner = current_owner()
    if owner is None:
        return json_response(ConversationPage([], None))

    def read(cursor: str | None, limit: int) -> Page[conversations.ConversationRecord]:
        return services().database.run(lambda session: conversations.page(session, owner, cursor, limit))

    page = read_page(read, CONVERSATIONS)
    running = running_generations(services().redis, [each.id for each in page.items]) if page.items else {}
    return json_response(ConversationPage([_shape(each, running) for each in page.items], page.more))


@routes.get("/<conversation>")
@described(Description(answers={200: ConversationSchema}))
def get_conversation(conversation: str) -> Response:
    """Return one conversation."""
    owner = _owner(conversation)
    return json_response(
        _told(services().database.run(lambda session: conversations.find(session, owner, conversation)))
    )


@routes.patch("/<conversation>")
@described(Description(body=TitleFields, answers={200: ConversationSchema}))
def rename_conversation(conversation: str) -> Response:
    """Call a conversation by another title."""
    owner = _owner(conversation)
    title = _checked(convert(_body(), TitleFields).title)

    def work(session: Session) -> conversations.ConversationRecord | None:
        conversations.rename(session, owner, conversation, title)
        return conversations.find(session, owner, conversation)

    renamed = _told(services().database.run(work))
    publish(services().redis, owner, ConversationChanged(conversation))
    return json_response(renamed)


@routes.delete("/<conversation>")
@described(Description(answers={204: None}))
def delete_conversation(conversation: str) -> Response:
    """Delete a conversation with all that is in it, and stop what runs in it."""
    owner, redis, database = _owner(conversation), services().redis, services().database
    is_kept = database.run(lambda session: conversations.find(session, owner, conversation)) is not None
    if not is_kept and read_owner(redis, owner, conversation) != "own":
        raise no_conversation()
    running = mark_deleted(redis, owner, conversation)  # first of all, so that nothing begins in it any more
    if running is not None:
        cancel(redis, running, "deleted", services().settings)

    def work(session: Session) -> None:
        # What runs in it may not be stored yet: then it is made here, so that it can't come up later.
        conversations.ensure(session, owner, conversation)
        conversations.forget(session, owner, conversation)

    database.run(work)
    publish(redis, owner, ConversationChanged(conversation))
    return Response(status=204)


@routes.get("/<conversation>/messages")
@described(Description(answers={200: MessagePage}, parameters=(CURSOR, LIMIT)))
def list_messages(conversation: str) -> Response:
    """Return the messages, the newest page first and the oldest message of a page first."""
    owner = _owner(conversation)

    def read(cursor: str | None, limit: int) -> Page[messages.MessageRecord] | None:
        def work(session: Session) -> Page[messages.MessageRecord] | None:
            if conversations.find(session, owner, conversation) is None:
                return None
            return messages.page(session, owner, conversation, cursor, limit)

        return services().database.run(work)

    page = read_page(read, MESSAGES)
    if page is None:
        raise no_conversation()
    running = running_generations(services().redis, [conversation])
    return json_response(MessagePage([_message(each) for each in page.items], page.more, running.get(conversation)))


@routes.post("/<conversation>/messages/<message>/retry")
@limited("create")
@described(
    Description(
        body=AnswerFields,
        answers={200: WholeAnswerView, 202: Receipt},
        stream=(AnyEvent,),
        parameters=(IDEMPOTENCY_KEY,),
    )
)
def retry_message(conversation: str, message: str) -> Response:
    """Answer a question once more, as a new generation: `message` is the question, or an answer to it."""
    owner, key = _owner(conversation), idempotency_key(request)
    body = _body()

    def work(session: Session) -> StoredQuestion | None:
        found = messages.find(session, owner, conversation, message) if is_id(message) else None
        if found is not None and found.role == "user":
            return StoredQuestion(found.id, owner, conversation, found.content)
        return found and messages.question_of(session, owner, conversation, message)

    question = services().database.run(work)
    if question is None:
        raise no_conversation()
    return ask_and_answer(owner, parse_again(body, question, services().settings), key)


def _owner(conversation: str) -> str:
    """Return the asker; raises Problem 404 where that is nobody, or this is no conversation's id."""
    owner = current_owner()
    if owner is None or not is_id(conversation):
        raise no_conversation()
    return owner


def _body() -> Json:
    """Return the body's object; no body at all is an empty one."""
    if not request.content_length and "Transfer-Encoding" not in request.headers:
        return {}
    return read_object(request, services().settings.limits.max_body_bytes)


def _checked(title: str) -> str:
    if not title.strip():
        raise invalid("title", "A title must not be empty.")
    return title


def _told(found: conversations.ConversationRecord | None) -> ConversationSchema:
    if found is None:
        raise no_conversation()
    return _shape(found, running_generations(services().redis, [found.id]))


def _shape(found: conversations.ConversationRecord, running: dict[str, str]) -> ConversationSchema:
    times = timestamp(found.created_ms), timestamp(found.updated_ms)
    return ConversationSchema(found.id, found.title, *times, running.get(found.id))


def _message(found: messages.MessageRecord) -> MessageSchema:
    return MessageSchema(
        id=found.id,
        role=found.role,
        content=found.content,
        created_at=timestamp(found.created_ms),
        parent_id=found.parent,
        generation=found.generation,
        outcome=found.outcome,
        model=found.model,
        provider=found.provider,
        reasoning=found.reasoning,
        citations=list(found.citations),
        tools=list(found.tools),
        suggestions=list(found.suggestions),
    )
