"""The routes of memories, the facts learned about a user: list and delete."""

import msgspec
from flask import Blueprint, Response

from millrace.webapp.guard.auth import current_owner
from millrace.webapp.guard.limits import limited
from millrace.webapp.openapi.document import CURSOR, LIMIT, Description, described
from millrace.webapp.problems import Problem
from millrace.webapp.request_input import read_page
from millrace.webapp.schemas import json_response, timestamp
from millrace.webapp.services import services
from millrace.worker.contract.ids import is_id
from millrace.worker.store import memories
from millrace.worker.store.pagination import Page

DEFAULT_LIMIT = 50

routes = Blueprint("memories", __name__, url_prefix="/api/memories")


class MemorySchema(msgspec.Struct, frozen=True):
    """A fact, and the conversation in which it was learned."""

    id: str
    content: str
    conversation_id: str | None
    created_at: str


class MemoryPage(msgspec.Struct, frozen=True):
    """A page of memories, newest first; `next` is the cursor of the following page."""

    memories: list[MemorySchema]
    next: str | None


@routes.get("")
@limited("read")
@described(Description(answers={200: MemoryPage}, parameters=(CURSOR, LIMIT)))
def list_memories() -> Response:
    """Return the memories, newest first, page by page."""
    owner = current_owner()
    if owner is None:
        return json_response(MemoryPage([], None))

    def read(cursor: str | None, limit: int) -> Page[memories.MemoryRecord]:
        return services().database.run(lambda session: memories.page(session, owner, cursor, limit))

    page = read_page(read, DEFAULT_LIMIT)
    return json_response(MemoryPage([render_memory(each) for each in page.items], page.next_cursor))


@routes.delete("")
@limited("write")
@described(Description(answers={204: None}))
def delete_all_memories() -> Response:
    """Delete all memories."""
    owner = current_owner()
    if owner is not None:
        services().database.run(lambda session: memories.delete_all(session, owner))
    return Response(status=204)


@routes.delete("/<memory>")
@limited("write")
@described(Description(answers={204: None}))
def delete_memory(memory: str) -> Response:
    """Delete one memory."""
    owner = current_owner() if is_id(memory) else None
    if owner is None or not services().database.run(lambda session: memories.delete(session, owner, memory)):
        raise Problem(404, "not_found", "Memory not found.")
    return Response(status=204)


def render_memory(record: memories.MemoryRecord) -> MemorySchema:
    """Return a memory as clients get it."""
    return MemorySchema(record.id, record.content, record.conversation, timestamp(record.created_ms))
