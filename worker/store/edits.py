"""Edits: a new question replaces a stored one, its answers and every later turn, in one transaction.

An answer to a replaced question may still be on its way to the database. The question's id therefore stays in a table,
for as long as a generation can live, and `save_answer` refuses an answer to it.
"""

from dataclasses import dataclass

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from millrace.worker.store.columns import clock_ms
from millrace.worker.store.conversations import TOMBSTONE_MS, create_or_touch
from millrace.worker.store.messages import StoredQuestion, add_question
from millrace.worker.store.prepared import PreparedInsert
from millrace.worker.store.tables import ConversationRow, MessageRow, RemovedQuestionRow

_NO_SYNC = {"synchronize_session": False}  # the session holds no objects of the deleted rows

_MARK_REMOVED = PreparedInsert(
    RemovedQuestionRow,
    lambda row: row.values(removed_ms=clock_ms()).on_conflict_do_nothing(index_elements=["id"]),
)


@dataclass(frozen=True)
class Replaced:
    """The questions that an edit has removed, and the generations of their stored answers."""

    questions: frozenset[str]
    generations: frozenset[str]


def find_turn(session: Session, owner: str, conversation: str, message: str) -> int | None:
    """Return the number of a message's turn; None if it or the conversation is absent or another user's."""
    query = select(MessageRow.turn).join(ConversationRow, ConversationRow.id == MessageRow.conversation)
    return session.scalar(
        query.where(
            MessageRow.id == message,
            ConversationRow.id == conversation,
            ConversationRow.owner == owner,
            ConversationRow.deleted_ms.is_(None),
        )
    )


def replace_turns(session: Session, question: StoredQuestion, message: str, latest: str = "") -> Replaced | None:
    """Put a new question in the place of a message's turn and of all later ones; repeating it changes nothing.

    `message` is a question or an answer. `latest` is the id of the conversation's latest question, which may not be
    stored yet; it is then removed all the same. Returns None, and changes nothing, if neither is known, or if the
    conversation has been deleted or is another user's.
    """
    place = question.owner, question.conversation
    turn = find_turn(session, *place, message)
    if turn is None and message != latest:
        is_done = find_turn(session, *place, question.id) is not None
        return Replaced(frozenset(), frozenset()) if is_done else None
    if not create_or_touch(session, *place):  # locks the conversation
        return None
    own = find_turn(session, *place, question.id)  # stored by a worker, if this edit was interrupted before
    replaced = _remove(session, question.conversation, turn, own)
    if latest and latest != question.id and find_turn(session, *place, latest) is None:
        replaced = Replaced(replaced.questions | {latest}, replaced.generations)
    for each in replaced.questions:
        _MARK_REMOVED.run(session, id=each, conversation=question.conversation)
    session.execute(delete(RemovedQuestionRow).where(RemovedQuestionRow.removed_ms < clock_ms() - TOMBSTONE_MS))
    add_question(session, question)
    return replaced


def _remove(session: Session, conversation: str, turn: int | None, own: int | None) -> Replaced:
    """Delete the turns from this one on, except the new question's own; None deletes nothing."""
    if turn is None:
        return Replaced(frozenset(), frozenset())
    is_removed = [MessageRow.conversation == conversation, MessageRow.turn >= turn]
    if own is not None:
        is_removed.append(MessageRow.turn != own)
    rows = session.execute(select(MessageRow.id, MessageRow.rank, MessageRow.generation).where(*is_removed)).all()
    session.execute(delete(MessageRow).where(*is_removed), execution_options=_NO_SYNC)
    questions = frozenset(row.id for row in rows if row.rank == 0)
    return Replaced(questions, frozenset(row.generation for row in rows if row.generation is not None))
