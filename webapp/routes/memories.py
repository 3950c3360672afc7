"""The routes of what was learned of the user: look, and have it forgotten."""

import msgspec
from flask import Blueprint, Response

from millrace.webapp.guard.auth import current_owner
from millrace.webapp.openapi.describing import Description, described
from millrace.webapp.problems import Problem
from millrace.webapp.routes.paging import CURSOR, LIMIT, read_page
from millrace.webapp.schemas import json_response, timestamp
from millrace.webapp.services import services
from millrace.worker.contract.ids import is_id
from millrace.worker.store import memories
from millrace.worker.store.pages import Page

MEMORIES = 50  # in a page, where the request names no number

routes = Blueprint("memories", __name__, url_prefix="/api/memories")


class MemorySchema(msgspec.Struct, frozen=True):
    """A fact, and the conversation that it was learned in."""

    id: str
    content: str
    conversation_id: str | None
    created_at: str


class MemoryPage(msgspec.Struct, frozen=True):
    """A page of memories, the newest first; `next` is the cursor of the page after it."""

    memories: list[MemorySchema]
    next: str | None


@routes.get("")
@described(Description(answers={200: MemoryPage}, parameters=(CURSOR, LIMIT)))
def list_memories() -> Response:
    """Return what is remembered, page by page."""
    owner = current_owner()
    if owner is None:
        return json_response(MemoryPage([], None))

    def read(cursor: str | None, limit: int) -> Page[memories.MemoryRecord]:
        return services().database.run(lambda session: memories.page(session, owner, cursor, limit))

    page = read_page(read, MEMORIES)
    return json_response(MemoryPage([_shape(each) for each in page.items], page.more))


@routes.delete("")
@described(Description(answers={204: None}))
def delete_all_memories() -> Response:
    """Forget everything."""
    owner = current_owner()
    if owner is not None:
        services().database.run(lambda session: memories.forget_all(session, owner))
    return Response(status=204)


@routes.delete("/<memory>")
@described(Description(answers={204: None}))
def delete_memory(memory: str) -> Response:
    """Forget one memory."""
    owner = current_owner() if is_id(memory) else None
    if owner is None or not services().database.run(lambda session: memories.forget(session, owner, memory)):
        raise Problem(404, "not_found", "There is no such memory of yours.")
    return Response(status=204)


def _shape(found: memories.MemoryRecord) -> MemorySchema:
    return MemorySchema(found.id, found.content, found.conversation, timestamp(found.created_ms))
