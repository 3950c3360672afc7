"""The routes of conversations: create, list, get, rename, delete, and the JSON context of each."""

import json
from typing import Annotated, Any

import msgspec
from flask import Blueprint, Response, request
from msgspec import UNSET, Meta, UnsetType
from sqlalchemy.orm import Session

from millrace.webapp.generation.validation import convert, no_conversation
from millrace.webapp.guard.auth import current_owner, ensure_owner
from millrace.webapp.guard.limits import limited
from millrace.webapp.openapi.document import CURSOR, LIMIT, Description, described
from millrace.webapp.problems import Problem, invalid
from millrace.webapp.request_input import read_object, read_optional_object, read_page
from millrace.webapp.schemas import (
    ConversationPage,
    ConversationSchema,
    ExcerptSchema,
    MatchSchema,
    conversation_url,
    json_response,
    timestamp,
)
from millrace.webapp.services import services
from millrace.worker.contract.conversation_lock import read_owner, running_generations
from millrace.worker.contract.feed import ConversationChanged, publish
from millrace.worker.contract.ids import is_id, new_id
from millrace.worker.store import conversations, messages
from millrace.worker.store.conversation_search import ConversationMatch, search
from millrace.worker.store.pagination import Page

DEFAULT_LIMIT = 20
MAX_TITLE_CHARACTERS = 200
MAX_QUERY_CHARACTERS = 200

_QUERY = ("query", "q", "Words that a message or the title has; each finds the words that begin with it.")

Context = dict[str, Any]

routes = Blueprint("conversations", __name__, url_prefix="/api/conversations")


class NewFields(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A new conversation; without a title, the first answer gives it one."""

    title: Annotated[str, Meta(max_length=MAX_TITLE_CHARACTERS)] | UnsetType = UNSET


class TitleFields(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A conversation's new title."""

    title: Annotated[str, Meta(max_length=MAX_TITLE_CHARACTERS)]


@routes.post("")
@limited("create")
@described(Description(body=NewFields, answers={201: ConversationSchema}))
def create_conversation() -> Response:
    """Create an empty conversation."""
    fields = convert(_body(), NewFields)
    title = None if isinstance(fields.title, UnsetType) else _require_text(fields.title)
    owner, conversation = ensure_owner(), new_id()

    def create(session: Session) -> conversations.ConversationRecord | None:
        conversations.create_or_touch(session, owner, conversation)
        if title is not None:
            conversations.rename(session, owner, conversation, title)
        return conversations.find(session, owner, conversation)

    response = json_response(_render_found(services().database.run(create)), 201)
    response.headers["Location"] = conversation_url(conversation)
    return response


@routes.get("")
@limited("read")
@described(Description(answers={200: ConversationPage}, parameters=(CURSOR, LIMIT, _QUERY)))
def list_conversations() -> Response:
    """Return the conversations, last changed first, page by page; with `q`, those that a search finds."""
    owner, query = current_owner(), request.args.get("q", "")
    if len(query) > MAX_QUERY_CHARACTERS:
        raise invalid("q", f"A search has at most {MAX_QUERY_CHARACTERS} characters.")
    if owner is None:
        return json_response(ConversationPage([], None))
    if query.strip():
        return _search(owner, query)

    def read(cursor: str | None, limit: int) -> Page[conversations.ConversationRecord]:
        return services().database.run(lambda session: conversations.page(session, owner, cursor, limit))

    page = read_page(read, DEFAULT_LIMIT)
    running = running_generations(services().streams, [each.id for each in page.items]) if page.items else {}
    return json_response(ConversationPage([_render(each, running) for each in page.items], page.next_cursor))


def _search(owner: str, query: str) -> Response:
    def read(cursor: str | None, limit: int) -> Page[ConversationMatch]:
        return services().database.run(lambda session: search(session, owner, query, cursor, limit))

    page = read_page(read, DEFAULT_LIMIT)
    ids = [each.conversation.id for each in page.items]
    running = running_generations(services().streams, ids) if ids else {}
    return json_response(ConversationPage([_render_match(each, running) for each in page.items], page.next_cursor))


@routes.get("/<conversation>")
@limited("read")
@described(Description(answers={200: ConversationSchema}))
def get_conversation(conversation: str) -> Response:
    """Return one conversation."""
    return json_response(_render_found(_find(conversation_owner(conversation), conversation)))


@routes.patch("/<conversation>")
@limited("write")
@described(Description(body=TitleFields, answers={200: ConversationSchema}))
def rename_conversation(conversation: str) -> Response:
    """Change a conversation's title."""
    owner = conversation_owner(conversation)
    title = _require_text(convert(_body(), TitleFields).title)

    def rename(session: Session) -> conversations.ConversationRecord | None:
        conversations.rename(session, owner, conversation, title)
        return conversations.find(session, owner, conversation)

    renamed = _render_found(services().database.run(rename))
    publish(services().redis, owner, ConversationChanged(conversation))
    return json_response(renamed)


@routes.delete("/<conversation>")
@limited("write")
@described(Description(answers={204: None}))
def delete_conversation(conversation: str) -> Response:
    """Delete a conversation with all its messages, images and logs, and cancel the generation that runs in it."""
    owner, redis = conversation_owner(conversation), services().redis
    is_stored = _find(owner, conversation) is not None
    if not is_stored and read_owner(redis, owner, conversation) != "own":
        raise no_conversation()
    stores = services().stores
    unstored = stores.close_conversation(owner, conversation)
    # Before the messages, which name the generations: a delete that fails in between can be repeated.
    stored = services().database.run(lambda session: messages.generations(session, owner, conversation))
    stores.forget(unstored.union(stored))

    def delete(session: Session) -> None:
        # A conversation that is not stored yet is created here first, so that its answer cannot create it later.
        conversations.create_or_touch(session, owner, conversation)
        conversations.delete(session, owner, conversation)

    services().database.run(delete)
    publish(redis, owner, ConversationChanged(conversation))
    return Response(status=204)


@routes.get("/<conversation>/context")
@limited("read")
@described(Description(answers={200: Context}))
def get_context(conversation: str) -> Response:
    """Return the conversation's context, a JSON object that the model gets with each question."""
    found = _find(conversation_owner(conversation), conversation)
    return _context_response(None if found is None else found.context)


@routes.patch("/<conversation>/context")
@limited("write")
@described(Description(body=Context, answers={200: Context}))
def merge_context(conversation: str) -> Response:
    """Merge an object into the context and return the result; a key whose value is null is removed.

    Raises Problem 413 if the result is too large, 422 if a value is nested too deeply.
    """
    owner = conversation_owner(conversation)
    changes = read_object(request, services().settings.limits.max_body_bytes)
    try:
        merged = services().database.run(
            lambda session: conversations.merge_context(session, owner, conversation, changes)
        )
    except conversations.ContextFull as error:
        raise Problem(413, "too_large", str(error)) from error
    except conversations.ContextTooDeep as error:
        raise invalid(error.key[:MAX_TITLE_CHARACTERS], str(error)) from error
    return _context_response(merged)


def conversation_owner(conversation: str) -> str:
    """Return the current owner; raises Problem 404 if there is none, or this is not a conversation's id."""
    owner = current_owner()
    if owner is None or not is_id(conversation):
        raise no_conversation()
    return owner


def _body() -> dict[str, Any]:
    return read_optional_object(request, services().settings.limits.max_body_bytes)


def _find(owner: str, conversation: str) -> conversations.ConversationRecord | None:
    return services().database.read(lambda reader: conversations.find(reader, owner, conversation))


def _require_text(title: str) -> str:
    if not title.strip():
        raise invalid("title", "The title must not be empty.")
    return title


def _render_found(found: conversations.ConversationRecord | None) -> ConversationSchema:
    if found is None:
        raise no_conversation()
    return _render(found, running_generations(services().streams, [found.id]))


def _render(record: conversations.ConversationRecord, running: dict[str, str]) -> ConversationSchema:
    times = timestamp(record.created_ms), timestamp(record.updated_ms)
    return ConversationSchema(record.id, record.title, *times, running.get(record.id))


def _render_match(found: ConversationMatch, running: dict[str, str]) -> ConversationSchema:
    parts = [ExcerptSchema(each.text, each.is_hit) for each in found.excerpt]
    match = MatchSchema(found.message, found.role, parts)
    return msgspec.structs.replace(_render(found.conversation, running), match=match)


def _context_response(context: Context | None) -> Response:
    if context is None:
        raise no_conversation()
    return Response(json.dumps(context), content_type="application/json")
