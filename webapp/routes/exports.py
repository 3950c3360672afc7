"""The route that exports a conversation as a file."""

from collections.abc import Iterable, Iterator
from itertools import chain

from flask import Blueprint, Response, request
from sqlalchemy.orm import Session

from millrace.webapp.conversation_export import ConversationExport, disposition, json_pieces, markdown_pieces
from millrace.webapp.generation.validation import no_conversation
from millrace.webapp.guard.limits import limited
from millrace.webapp.openapi.document import Description, described
from millrace.webapp.problems import invalid
from millrace.webapp.routes.conversations import conversation_owner
from millrace.webapp.routes.messages import render_message
from millrace.webapp.services import services
from millrace.worker.store import conversations, messages
from millrace.worker.store.database import Database
from millrace.worker.store.messages import MessageRecord
from millrace.worker.store.pagination import Page

MESSAGES = 10  # read at once: an answer may be large

_FORMAT = ("query", "format", "json, the default, or markdown.")

routes = Blueprint("exports", __name__, url_prefix="/api/conversations/<conversation>/export")


@routes.get("")
@limited("read")
@described(Description(answers={200: ConversationExport}, parameters=(_FORMAT,), text_media="text/markdown"))
def export_conversation(conversation: str) -> Response:
    """Return the conversation with all of its messages as a file, in JSON or in markdown.

    The file is sent page by page. Where the database fails in between, the response ends without its last chunk.
    """
    owner = conversation_owner(conversation)
    chosen = request.args.get("format") or "json"
    if chosen not in ("json", "markdown"):
        raise invalid("format", "format must be json or markdown.")
    database = services().database
    record = database.read(lambda reader: conversations.find(reader, owner, conversation))
    if record is None:
        raise no_conversation()
    found = _read(database, owner, conversation)
    first = next(found, None)  # before the headers, so that a failure is an error
    rows: Iterable[MessageRecord] = () if first is None else chain([first], found)
    if chosen == "json":
        response = Response(json_pieces(record, map(render_message, rows)), content_type="application/json")
    else:
        response = Response(markdown_pieces(record, rows), content_type="text/markdown; charset=utf-8")
    response.headers["Content-Disposition"] = disposition(record.title, "json" if chosen == "json" else "md")
    response.headers["Cache-Control"] = "no-store"
    return response


def _read(database: Database, owner: str, conversation: str) -> Iterator[MessageRecord]:
    """Yield the messages, the oldest first, each page read in a transaction of its own; raises DatabaseUnavailable."""
    cursor: str | None = None
    while True:

        def read(session: Session, cursor: str | None = cursor) -> Page[MessageRecord]:
            return messages.page_forward(session, owner, conversation, cursor, MESSAGES)

        page = database.run(read)
        yield from page.items
        cursor = page.next_cursor
        if cursor is None:
            return
