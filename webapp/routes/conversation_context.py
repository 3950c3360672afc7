"""The routes of a conversation's JSON context: what is known of it, and put before the model with each question."""

import json
from typing import Any

from flask import Blueprint, Response, request

from millrace.webapp.generation.validation import no_conversation
from millrace.webapp.guard.auth import current_owner
from millrace.webapp.openapi.describing import Description, described
from millrace.webapp.problems import Problem
from millrace.webapp.request_body import read_object
from millrace.webapp.services import services
from millrace.worker.contract.ids import is_id
from millrace.worker.store import conversations

Context = dict[str, Any]

routes = Blueprint("conversation_context", __name__, url_prefix="/api/conversations/<conversation>/context")


@routes.get("")
@described(Description(answers={200: Context}))
def get_context(conversation: str) -> Response:
    """Return the context, a JSON object."""
    owner = _owner(conversation)
    found = services().database.run(lambda session: conversations.find(session, owner, conversation))
    return _reply(None if found is None else found.context)


@routes.patch("")
@described(Description(body=Context, answers={200: Context}))
def merge_context(conversation: str) -> Response:
    """Merge an object into the context and return the whole; a key whose value is null is taken out.

    Raises Problem 413 where the whole would be too large.
    """
    owner = _owner(conversation)
    changes = read_object(request, services().settings.limits.max_body_bytes)
    try:
        merged = services().database.run(
            lambda session: conversations.merge_context(session, owner, conversation, changes)
        )
    except conversations.ContextFull as full:
        raise Problem(413, "too_large", str(full)) from full
    return _reply(merged)


def _owner(conversation: str) -> str:
    owner = current_owner()
    if owner is None or not is_id(conversation):
        raise no_conversation()
    return owner


def _reply(context: Context | None) -> Response:
    if context is None:
        raise no_conversation()
    return Response(json.dumps(context), content_type="application/json")
