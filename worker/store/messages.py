"""Messages: the questions of a conversation in order, each followed by its answers."""

import json
from dataclasses import dataclass
from typing import Any, Literal, cast

import msgspec
from sqlalchemy import Executable, bindparam, delete, func, select, tuple_
from sqlalchemy.dialects.sqlite import Insert
from sqlalchemy.orm import Session, aliased

from millrace.worker.contract.events import ImageReference, Link, Outcome, decode
from millrace.worker.store.columns import clock_ms
from millrace.worker.store.conversations import create_or_touch
from millrace.worker.store.pagination import Page, decode_cursor, make_page
from millrace.worker.store.prepared import PreparedInsert
from millrace.worker.store.tables import ConversationRow, MessageRow

_MAX_INTEGER = 2**31 - 1  # PostgreSQL rejects a larger number in a comparison with a turn or a rank
_MAX_PAGE_BYTES = 1 << 20
_FETCHED_ROWS = 4
_NO_SYNC = {"synchronize_session": False}  # the session holds no objects of the deleted rows


@dataclass(frozen=True)
class StoredQuestion:
    """A question of a user; the ids are the protocol's."""

    id: str
    owner: str
    conversation: str
    content: str


@dataclass(frozen=True)
class MessageRecord:
    """A question or an answer. `parent` is an answer's question; it and the fields below it are empty in a question.

    `suggestions` are questions to ask next. `created_ms` is the database's clock, in milliseconds since 1970.
    """

    id: str
    conversation: str
    role: Literal["user", "assistant"]
    content: str
    created_ms: int
    parent: str | None = None
    generation: str | None = None
    outcome: Outcome | None = None
    model: str | None = None
    provider: str | None = None
    reasoning: str = ""
    citations: tuple[Any, ...] = ()
    tools: tuple[Any, ...] = ()
    suggestions: tuple[str, ...] = ()
    images: tuple[ImageReference, ...] = ()
    sources: tuple[Link, ...] = ()


def _add_question(row: Insert) -> Executable:
    next_turn = select(func.coalesce(func.max(MessageRow.turn), 0) + 1).where(
        MessageRow.conversation == bindparam("of_conversation")
    )
    row = row.values(turn=next_turn.scalar_subquery(), rank=0, role="user", created_ms=clock_ms())
    return row.on_conflict_do_nothing(index_elements=["id"])


_ADD_QUESTION = PreparedInsert(MessageRow, _add_question)


def save_question(session: Session, question: StoredQuestion) -> bool:
    """Append a question to its conversation, which is created if absent. Saving it again changes nothing.

    Returns False, and saves nothing, if the conversation is another user's or has been deleted.
    """
    if not create_or_touch(session, question.owner, question.conversation):
        return False
    add_question(session, question)
    return True


def add_question(session: Session, question: StoredQuestion) -> None:
    """Append a question to a conversation that the transaction has locked by `create_or_touch`."""
    given = {"id": question.id, "conversation": question.conversation, "content": question.content}
    _ADD_QUESTION.run(session, **given, of_conversation=question.conversation)


def page(
    session: Session,
    owner: str,
    conversation: str,
    cursor: str | None,
    count: int,
    *,
    max_bytes: int = _MAX_PAGE_BYTES,
) -> Page[MessageRecord]:
    """Return the newest messages before the cursor, the oldest of them first.

    They are `count` messages, or as many as have `max_bytes` together, but at least one. The page's `next_cursor` leads
    to older messages. The page is empty if the conversation is absent or another user's. Raises ValueError if the
    cursor is malformed.
    """
    query = select(MessageRow).join(ConversationRow, ConversationRow.id == MessageRow.conversation)
    query = query.where(ConversationRow.id == conversation, ConversationRow.owner == owner)
    if cursor is not None:
        query = query.where(tuple_(MessageRow.turn, MessageRow.rank) < tuple_(*_turn_and_rank(cursor)))
    newest = query.order_by(MessageRow.turn.desc(), MessageRow.rank.desc()).limit(count + 1)
    rows: list[MessageRow] = []
    size = 0
    # Fetched in small batches: a whole page of large answers would be in memory before the first one is measured.
    with session.scalars(newest.execution_options(yield_per=_FETCHED_ROWS)) as result:
        for row in result:
            rows.append(row)
            size += _bytes(row)
            if size > max_bytes and len(rows) > 1:
                count = min(count, len(rows) - 1)
                break
    found = make_page(rows, count, lambda row: (row.turn, row.rank), _record)
    return Page(found.items[::-1], found.next_cursor)


def page_forward(
    session: Session, owner: str, conversation: str, cursor: str | None, count: int
) -> Page[MessageRecord]:
    """Return the oldest messages after the cursor, the oldest first; otherwise as `page`."""
    query = select(MessageRow).join(ConversationRow, ConversationRow.id == MessageRow.conversation)
    query = query.where(ConversationRow.id == conversation, ConversationRow.owner == owner)
    if cursor is not None:
        query = query.where(tuple_(MessageRow.turn, MessageRow.rank) > tuple_(*_turn_and_rank(cursor)))
    rows = session.scalars(query.order_by(MessageRow.turn, MessageRow.rank).limit(count + 1)).all()
    return make_page(rows, count, lambda row: (row.turn, row.rank), _record)


def generations(session: Session, owner: str, conversation: str) -> list[str]:
    """Return the generations of the conversation's answers; none if it is absent or another user's."""
    query = select(MessageRow.generation).join(ConversationRow, ConversationRow.id == MessageRow.conversation)
    query = query.where(ConversationRow.id == conversation, ConversationRow.owner == owner)
    return [each for each in session.scalars(query) if each is not None]


def find_stored_generations(session: Session, generations: list[str]) -> set[str]:
    """Return those of the generations, of any owner, whose answers are stored."""
    query = select(MessageRow.generation).where(MessageRow.generation.in_(generations))
    return {each for each in session.scalars(query) if each is not None}


def find(session: Session, owner: str, conversation: str, message: str) -> MessageRecord | None:
    """Return a message; None if it or the conversation is absent or another user's."""
    query = select(MessageRow).join(ConversationRow, ConversationRow.id == MessageRow.conversation)
    query = query.where(ConversationRow.id == conversation, ConversationRow.owner == owner)
    row = session.scalar(query.where(MessageRow.id == message))
    return None if row is None else _record(row)


def find_question(session: Session, owner: str, conversation: str, answer: str) -> StoredQuestion | None:
    """Return the question of the answer with this id, for a regeneration.

    Returns None if there is no such answer, or if the conversation is absent or another user's. The turns before the
    question are `answers.read_history(session, conversation, question.id, …)`.
    """
    found = find(session, owner, conversation, answer)
    question = found and found.parent and find(session, owner, conversation, found.parent)
    return StoredQuestion(question.id, owner, conversation, question.content) if question else None


def delete_unanswered(session: Session, owner: str, conversation: str, question: str, *, is_opening: bool) -> None:
    """Delete a question without answers; with `is_opening` also its conversation, if it holds no other message.

    Undoes `save_question` for a request that was rejected after it.
    """
    answer = aliased(MessageRow)
    owned = select(ConversationRow.id).where(ConversationRow.id == conversation, ConversationRow.owner == owner)
    is_answered = select(answer.id).where(answer.parent == question).exists()
    unanswered = delete(MessageRow).where(MessageRow.id == question, MessageRow.conversation.in_(owned), ~is_answered)
    session.execute(unanswered, execution_options=_NO_SYNC)
    if is_opening:
        is_used = select(MessageRow.id).where(MessageRow.conversation == conversation).exists()
        unused = delete(ConversationRow).where(ConversationRow.id.in_(owned), ConversationRow.deleted_ms.is_(None))
        session.execute(unused.where(~is_used), execution_options=_NO_SYNC)


def delete_answer(session: Session, owner: str, conversation: str, generation: str, question: str) -> None:
    """Delete a generation's answer, and its question where no other answer is left; idempotent.

    A conversation that holds no other message is deleted with them. `question` is the id of the question of a
    generation whose answer may not be stored; it may be empty.
    """
    owned = select(ConversationRow.id).where(ConversationRow.id == conversation, ConversationRow.owner == owner)
    is_answer = MessageRow.generation == generation, MessageRow.conversation.in_(owned)
    parent = session.scalar(select(MessageRow.parent).where(*is_answer)) or question
    session.execute(delete(MessageRow).where(*is_answer), execution_options=_NO_SYNC)
    if parent:
        delete_unanswered(session, owner, conversation, parent, is_opening=True)


def _bytes(row: MessageRow) -> int:
    """Return about as many bytes as the message has in a response."""
    texts = (
        row.content,
        row.reasoning or "",
        json.dumps((row.citations, row.tools, row.images, row.suggestions, row.sources)),
    )
    return sum(len(each.encode("utf-8", "surrogatepass")) for each in texts)


def _turn_and_rank(cursor: str) -> tuple[int, int]:
    turn, rank = decode_cursor(cursor)
    if not rank.isdecimal() or len(rank) > len(str(_MAX_INTEGER)) or max(turn, int(rank)) > _MAX_INTEGER:
        raise ValueError("Malformed cursor. Use the one that the previous page returned.")
    return turn, int(rank)


def _record(row: MessageRow) -> MessageRecord:
    return MessageRecord(
        row.id,
        row.conversation,
        cast("Literal['user', 'assistant']", row.role),
        row.content,
        row.created_ms,
        row.parent,
        row.generation,
        None if row.outcome is None else cast("Outcome", decode(row.outcome)),
        row.model,
        row.provider,
        row.reasoning or "",
        tuple(row.citations or ()),
        tuple(row.tools or ()),
        tuple(row.suggestions or ()),
        images_of(row),
        sources_of(row),
    )


def images_of(row: MessageRow) -> tuple[ImageReference, ...]:
    """Return the images of an answer."""
    return msgspec.convert(row.images or (), tuple[ImageReference, ...])


def sources_of(row: MessageRow) -> tuple[Link, ...]:
    """Return the web pages that an answer is built on."""
    return msgspec.convert(row.sources or (), tuple[Link, ...])
