"""The routes of a conversation's messages: list them, answer a question again, and edit a question."""

from flask import Blueprint, Response, request
from sqlalchemy.orm import Session

from millrace.webapp.generation.responses import idempotency_key, read_question, respond_with_generation
from millrace.webapp.generation.validation import (
    AnswerFields,
    EditFields,
    no_conversation,
    parse_again,
    parse_edit,
)
from millrace.webapp.guard.limits import limited
from millrace.webapp.openapi.document import CURSOR, IDEMPOTENCY_KEY, LAST_EVENT_ID, LIMIT, Description, described
from millrace.webapp.request_input import read_optional_object, read_page
from millrace.webapp.routes.conversations import conversation_owner
from millrace.webapp.schemas import MessagePage, MessageSchema, Receipt, WholeAnswerView, json_response, timestamp
from millrace.webapp.services import services
from millrace.worker.contract.conversation_lock import running_generations
from millrace.worker.contract.events import AnyEvent
from millrace.worker.contract.ids import is_id
from millrace.worker.store import conversations, messages
from millrace.worker.store.messages import StoredQuestion
from millrace.worker.store.pagination import Page

DEFAULT_LIMIT = 50

routes = Blueprint("messages", __name__, url_prefix="/api/conversations/<conversation>/messages")


@routes.get("")
@limited("read")
@described(Description(answers={200: MessagePage}, parameters=(CURSOR, LIMIT)))
def list_messages(conversation: str) -> Response:
    """Return the messages, newest page first; within a page, oldest message first.

    A page ends early where its messages exceed `MILLRACE_MAX_PAGE_BYTES`.
    """
    owner = conversation_owner(conversation)
    max_bytes = services().settings.limits.max_page_bytes

    def read(cursor: str | None, limit: int) -> Page[messages.MessageRecord] | None:
        def find_page(session: Session) -> Page[messages.MessageRecord] | None:
            if conversations.find(session, owner, conversation) is None:
                return None
            return messages.page(session, owner, conversation, cursor, limit, max_bytes=max_bytes)

        return services().database.run(find_page)

    page = read_page(read, DEFAULT_LIMIT)
    if page is None:
        raise no_conversation()
    running = running_generations(services().streams, [conversation])
    return json_response(
        MessagePage([render_message(each) for each in page.items], page.next_cursor, running.get(conversation))
    )


@routes.post("/<message>/retry")
@limited("create")
@described(
    Description(
        body=AnswerFields,
        answers={200: WholeAnswerView, 202: Receipt, 204: None},
        stream=(AnyEvent,),
        parameters=(IDEMPOTENCY_KEY, LAST_EVENT_ID),
    )
)
def retry_message(conversation: str, message: str) -> Response:
    """Answer a question again, as a new generation; `message` is the question or an answer to it."""
    owner, key = conversation_owner(conversation), idempotency_key()
    body = read_optional_object(request, services().settings.limits.max_body_bytes)

    def find_question(session: Session) -> StoredQuestion | None:
        found = messages.find(session, owner, conversation, message) if is_id(message) else None
        if found is not None and found.role == "user":
            return StoredQuestion(found.id, owner, conversation, found.content)
        return found and messages.find_question(session, owner, conversation, message)

    question = services().database.run(find_question)
    if question is None:
        raise no_conversation()
    return respond_with_generation(owner, parse_again(body, question, services().settings), key)


@routes.post("/<message>/edit")
@limited("create")
@described(
    Description(
        body=EditFields,
        answers={200: WholeAnswerView, 202: Receipt, 204: None},
        stream=(AnyEvent,),
        parameters=(IDEMPOTENCY_KEY, LAST_EVENT_ID),
    )
)
def edit_message(conversation: str, message: str) -> Response:
    """Replace a question, its answers and all later messages by a new question, and answer it.

    `message` is the question or an answer to it.
    """
    owner, key = conversation_owner(conversation), idempotency_key()
    parsed = parse_edit(read_question(key), conversation, message, services().settings)
    return respond_with_generation(owner, parsed, key)


def render_message(record: messages.MessageRecord) -> MessageSchema:
    """Return a message as clients get it."""
    return MessageSchema(
        id=record.id,
        role=record.role,
        content=record.content,
        created_at=timestamp(record.created_ms),
        parent_id=record.parent,
        generation=record.generation,
        outcome=record.outcome,
        model=record.model,
        provider=record.provider,
        reasoning=record.reasoning,
        citations=list(record.citations),
        tools=list(record.tools),
        images=list(record.images),
        suggestions=list(record.suggestions),
        sources=list(record.sources),
        latency=record.outcome.latency if record.outcome is not None else None,
    )
