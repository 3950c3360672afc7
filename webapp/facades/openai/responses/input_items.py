"""The messages of a response's input, from the request or from the stored question."""

from flask import request

from millrace.webapp.facades.openai.errors import invalid_parameter
from millrace.webapp.facades.openai.ids import MESSAGE, id_of
from millrace.webapp.facades.openai.responses.kept_history import read_history
from millrace.webapp.facades.openai.responses.objects import InputItem, InputItemList, InputText, OutputText
from millrace.webapp.services import services
from millrace.worker.contract.request import PromptMessage
from millrace.worker.contract.state import GenerationState
from millrace.worker.store import messages

DEFAULT_LIMIT = 20
MAX_LIMIT = 100


def input_items(state: GenerationState) -> InputItemList:
    """Return the page that the request asks for; empty where the input is no longer stored. Raises Problem 400."""
    limit, order, after = request.args.get("limit"), request.args.get("order") or "desc", request.args.get("after")
    if limit and not (limit.isdecimal() and limit.isascii() and len(limit) <= 3 and 1 <= int(limit) <= MAX_LIMIT):
        raise invalid_parameter("limit", f"limit must be between 1 and {MAX_LIMIT}.")
    if order not in ("asc", "desc"):
        raise invalid_parameter("order", "order must be asc or desc.")
    return page_of(_items(state), int(limit or DEFAULT_LIMIT), order == "asc", after)


def page_of(items: list[InputItem], limit: int, is_ascending: bool, after: str | None) -> InputItemList:
    """Return a page of the items, which are oldest first; raises Problem 400 where none of them is `after`."""
    rest = items if is_ascending else [*reversed(items)]
    if after:
        places = [place for place, each in enumerate(rest, 1) if each.id == after]
        if not places:
            raise invalid_parameter("after", "after is the id of a message of this input.")
        rest = rest[places[0] :]
    page = rest[:limit]
    return InputItemList(page, page[0].id if page else None, page[-1].id if page else None, len(rest) > limit)


def _items(state: GenerationState) -> list[InputItem]:
    """Return the messages, oldest first. Each has an id of its own, which stays the same."""
    given = read_history(state)
    given = _stored_question(state) if given is None else given
    return [
        InputItem(id_of(MESSAGE, state.generation, number), each.role, [_part(each)])
        for number, each in enumerate(given)
    ]


def _stored_question(state: GenerationState) -> list[PromptMessage]:
    stored = services().stored_logs.answer(state.generation, state.owner)
    if stored is not None:
        return [PromptMessage("user", stored.question.content)]
    found = services().database.run(
        lambda session: messages.find(session, state.owner, state.conversation, state.question)
    )
    return [PromptMessage("user", found.content)] if found else []


def _part(message: PromptMessage) -> InputText | OutputText:
    return InputText(message.content) if message.role == "user" else OutputText(message.content)
