"""What a conversation holds, in order: questions, each followed by its answers."""

from dataclasses import dataclass
from typing import Any, Literal, cast

from sqlalchemy import func, select, tuple_
from sqlalchemy.orm import Session

from millrace.worker.contract.events import Outcome, decode
from millrace.worker.store.columns import clock_ms
from millrace.worker.store.conversations import ensure
from millrace.worker.store.inserting import insert
from millrace.worker.store.pages import Page, mark, unmark
from millrace.worker.store.tables import ConversationRow, MessageRow

_MOST = 2**31 - 1  # PostgreSQL takes no larger number to compare with a turn or a rank


@dataclass(frozen=True)
class StoredQuestion:
    """What somebody has asked, and where; ids are the protocol's."""

    id: str
    owner: str
    conversation: str
    content: str


@dataclass(frozen=True)
class MessageRecord:
    """A question, or an answer; what stands below `created_ms` is an answer's alone, `parent` being its question.

    `suggestions` are the questions to ask next; `created_ms` is the database's clock, in milliseconds since 1970.
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


def save_question(session: Session, question: StoredQuestion) -> bool:
    """Keep a question as its conversation's last, once, and make the conversation where there is none.

    Returns False where the conversation is somebody else's or has been deleted; nothing is kept then.
    """
    if not ensure(session, question.owner, question.conversation):
        return False
    if session.scalar(select(MessageRow.id).where(MessageRow.id == question.id)) is None:
        turns = select(func.coalesce(func.max(MessageRow.turn), 0) + 1).where(
            MessageRow.conversation == question.conversation
        )
        session.execute(
            insert(session, MessageRow).values(
                id=question.id,
                conversation=question.conversation,
                turn=turns.scalar_subquery(),
                rank=0,
                role="user",
                content=question.content,
                created_ms=clock_ms(),
            )
        )
    return True


def page(session: Session, owner: str, conversation: str, before: str | None, count: int) -> Page[MessageRecord]:
    """Return the newest messages of a conversation that stand before the cursor, the oldest of them first.

    `more` of the page is the cursor of the page of older ones. An absent or foreign conversation holds nothing. Raises
    ValueError where `before` is no cursor.
    """
    query = select(MessageRow).join(ConversationRow, ConversationRow.id == MessageRow.conversation)
    query = query.where(ConversationRow.id == conversation, ConversationRow.owner == owner)
    if before is not None:
        query = query.where(tuple_(MessageRow.turn, MessageRow.rank) < tuple_(*_place(before)))
    rows = session.scalars(query.order_by(MessageRow.turn.desc(), MessageRow.rank.desc()).limit(count + 1)).all()
    more = mark(rows[count - 1].turn, rows[count - 1].rank) if len(rows) > count else None
    return Page([message_of(row) for row in reversed(rows[:count])], more)


def find(session: Session, owner: str, conversation: str, message: str) -> MessageRecord | None:
    """Return a message; None where it, or the conversation, is absent or somebody else's."""
    query = select(MessageRow).join(ConversationRow, ConversationRow.id == MessageRow.conversation)
    query = query.where(ConversationRow.id == conversation, ConversationRow.owner == owner)
    row = session.scalar(query.where(MessageRow.id == message))
    return None if row is None else message_of(row)


def question_of(session: Session, owner: str, conversation: str, answer: str) -> StoredQuestion | None:
    """Return the question that a message of this id answers, to ask it once more.

    None where there is no such answer, or the conversation is absent or somebody else's. What came before the question
    is `answers.history(session, conversation, question.id)`.
    """
    found = find(session, owner, conversation, answer)
    asked = found and found.parent and find(session, owner, conversation, found.parent)
    return StoredQuestion(asked.id, owner, conversation, asked.content) if asked else None


def _place(cursor: str) -> tuple[int, int]:
    turn, rank = unmark(cursor)
    if not rank.isdecimal() or len(rank) > len(str(_MOST)) or max(turn, int(rank)) > _MOST:
        raise ValueError("a cursor is what a page before gave as its own")
    return turn, int(rank)


def message_of(row: MessageRow) -> MessageRecord:
    """Return the message that a row holds."""
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
    )
