"""The routes of conversations: make, list, read, rename, delete, and an answer once more."""

from typing import Annotated

import msgspec
from flask import Blueprint, Response, request
from msgspec import UNSET, Meta, UnsetType
from sqlalchemy.orm import Session

from millrace.webapp.addresses import conversation_url
from millrace.webapp.asking import ask_and_answer
from millrace.webapp.auth import known_owner, owner_or_new
from millrace.webapp.body import Json, read_object
from millrace.webapp.creating import idempotency_key
from millrace.webapp.limits import limited
from millrace.webapp.openapi.describing import IDEMPOTENCY_KEY, Description, described
from millrace.webapp.paging import CURSOR, LIMIT, read_page
from millrace.webapp.problems import invalid
from millrace.webapp.services import services
from millrace.webapp.shapes import (
    Conversation,
    Conversations,
    Message,
    Messages,
    Receipt,
    WholeAnswer,
    reply,
    timestamp,
)
from millrace.webapp.validation import AnswerFields, convert, no_conversation, parse_again
from millrace.worker.contract.control import cancel
from millrace.worker.contract.events import AnyEvent
from millrace.worker.contract.feed import ConversationChanged, tell
from millrace.worker.contract.ids import is_id, new_id
from millrace.worker.contract.occupation import bury, running_in, whose
from millrace.worker.store import conversations, messages
from millrace.worker.store.messages import Question
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
@described(Description(body=NewFields, answers={201: Conversation}))
def make() -> Response:
    """Make an empty conversation."""
    owner, identity = owner_or_new(), new_id()
    fields = convert(_body(), NewFields)
    title = None if isinstance(fields.title, UnsetType) else _checked(fields.title)

    def work(session: Session) -> conversations.Conversation | None:
        conversations.ensure(session, owner, identity)
        if title is not None:
            conversations.rename(session, owner, identity, title)
        return conversations.find(session, owner, identity)

    response = reply(_told(services().database.run(work)), 201)
    response.headers["Location"] = conversation_url(identity)
    return response


@routes.get("")
@described(Description(answers={200: Conversations}, parameters=(CURSOR, LIMIT)))
def show_all() -> Response:
    """Return the conversations, the last changed first, page by page."""
    owner = known_owner()
    if owner is None:
        return reply(Conversations([], None))

    def read(cursor: str | None, limit: int) -> Page[conversations.Conversation]:
        return services().database.run(lambda session: conversations.page(session, owner, cursor, limit))

    page = read_page(read, CONVERSATIONS)
    running = running_in(services().redis, [each.id for each in page.items]) if page.items else {}
    return reply(Conversations([_shape(each, running) for each in page.items], page.more))


@routes.get("/<conversation>")
@described(Description(answers={200: Conversation}))
def show(conversation: str) -> Response:
    """Return one conversation."""
    owner = _owner(conversation)
    return reply(_told(services().database.run(lambda session: conversations.find(session, owner, conversation))))


@routes.patch("/<conversation>")
@described(Description(body=TitleFields, answers={200: Conversation}))
def rename(conversation: str) -> Response:
    """Call a conversation by another title."""
    owner = _owner(conversation)
    title = _checked(convert(_body(), TitleFields).title)

    def work(session: Session) -> conversations.Conversation | None:
        conversations.rename(session, owner, conversation, title)
        return conversations.find(session, owner, conversation)

    renamed = _told(services().database.run(work))
    tell(services().redis, owner, ConversationChanged(conversation))
    return reply(renamed)


@routes.delete("/<conversation>")
@described(Description(answers={204: None}))
def delete(conversation: str) -> Response:
    """Delete a conversation with all that is in it, and stop what runs in it."""
    owner, redis, database = _owner(conversation), services().redis, services().database
    is_kept = database.run(lambda session: conversations.find(session, owner, conversation)) is not None
    if not is_kept and whose(redis, owner, conversation) != "own":
        raise no_conversation()
    running = bury(redis, owner, conversation)  # first of all, so that nothing begins in it any more
    if running is not None:
        cancel(redis, running, "deleted", services().settings)

    def work(session: Session) -> None:
        # What runs in it may not be stored yet: then it is made here, so that it can't come up later.
        conversations.ensure(session, owner, conversation)
        conversations.forget(session, owner, conversation)

    database.run(work)
    tell(redis, owner, ConversationChanged(conversation))
    return Response(status=204)


@routes.get("/<conversation>/messages")
@described(Description(answers={200: Messages}, parameters=(CURSOR, LIMIT)))
def show_messages(conversation: str) -> Response:
    """Return the messages, the newest page first and the oldest message of a page first."""
    owner = _owner(conversation)

    def read(cursor: str | None, limit: int) -> Page[messages.Message] | None:
        def work(session: Session) -> Page[messages.Message] | None:
            if conversations.find(session, owner, conversation) is None:
                return None
            return messages.page(session, owner, conversation, cursor, limit)

        return services().database.run(work)

    page = read_page(read, MESSAGES)
    if page is None:
        raise no_conversation()
    running = running_in(services().redis, [conversation])
    return reply(Messages([_message(each) for each in page.items], page.more, running.get(conversation)))


@routes.post("/<conversation>/messages/<message>/retry")
@limited("create")
@described(
    Description(
        body=AnswerFields,
        answers={200: WholeAnswer, 202: Receipt},
        stream=(AnyEvent,),
        parameters=(IDEMPOTENCY_KEY,),
    )
)
def retry(conversation: str, message: str) -> Response:
    """Answer a question once more, as a new generation: `message` is the question, or an answer to it."""
    owner, key = _owner(conversation), idempotency_key(request)
    body = _body()

    def work(session: Session) -> Question | None:
        found = messages.find(session, owner, conversation, message) if is_id(message) else None
        if found is not None and found.role == "user":
            return Question(found.id, owner, conversation, found.content)
        return found and messages.question_of(session, owner, conversation, message)

    question = services().database.run(work)
    if question is None:
        raise no_conversation()
    return ask_and_answer(owner, parse_again(body, question, services().settings), key)


def _owner(conversation: str) -> str:
    """Return the asker; raises Problem 404 where that is nobody, or this is no conversation's id."""
    owner = known_owner()
    if owner is None or not is_id(conversation):
        raise no_conversation()
    return owner


def _body() -> Json:
    """Return the body's object; no body at all is an empty one."""
    if not request.content_length and "Transfer-Encoding" not in request.headers:
        return {}
    return read_object(request, services().settings.max_body_bytes)


def _checked(title: str) -> str:
    if not title.strip():
        raise invalid("title", "A title must not be empty.")
    return title


def _told(found: conversations.Conversation | None) -> Conversation:
    if found is None:
        raise no_conversation()
    return _shape(found, running_in(services().redis, [found.id]))


def _shape(found: conversations.Conversation, running: dict[str, str]) -> Conversation:
    times = timestamp(found.created_ms), timestamp(found.updated_ms)
    return Conversation(found.id, found.title, *times, running.get(found.id))


def _message(found: messages.Message) -> Message:
    return Message(
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
