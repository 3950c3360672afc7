"""Taking back a question whose asker was refused: nothing half-made stays."""

from sqlalchemy import delete, select
from sqlalchemy.orm import Session, aliased

from millrace.worker.store.tables import ConversationRow, MessageRow

_PLAIN = {"synchronize_session": False}  # no object of the session stands for these rows


def take_back(session: Session, owner: str, conversation: str, question: str, *, is_opening: bool) -> None:
    """Remove a question that has no answer, and its conversation where it opened that and nothing else is in it."""
    answer = aliased(MessageRow)
    owned = select(ConversationRow.id).where(ConversationRow.id == conversation, ConversationRow.owner == owner)
    is_answered = select(answer.id).where(answer.parent == question).exists()
    unanswered = delete(MessageRow).where(MessageRow.id == question, MessageRow.conversation.in_(owned), ~is_answered)
    session.execute(unanswered, execution_options=_PLAIN)
    if is_opening:
        is_used = select(MessageRow.id).where(MessageRow.conversation == conversation).exists()
        unused = delete(ConversationRow).where(ConversationRow.id.in_(owned), ConversationRow.deleted_ms.is_(None))
        session.execute(unused.where(~is_used), execution_options=_PLAIN)
