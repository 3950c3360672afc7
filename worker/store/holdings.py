"""How much the database holds of one owner."""

from dataclasses import dataclass

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from millrace.worker.store.tables import ConversationRow, MemoryRow, MessageRow, OwnerRetentionRow, ProfileRow


@dataclass(frozen=True)
class Holdings:
    """The numbers of an owner's rows. `unremoved` are messages of conversations that are marked as deleted."""

    conversations: int
    messages: int
    memories: int
    profiles: int
    retention_days: int
    unremoved: int

    @property
    def is_empty(self) -> bool:
        """Whether nothing is stored of the owner, except the empty rows of deleted conversations."""
        return not any((self.conversations, self.messages, self.memories, self.profiles, self.retention_days)) and (
            not self.unremoved
        )


def count_holdings(session: Session, owner: str) -> Holdings:
    """Return how much is stored of an owner."""
    is_own = ConversationRow.owner == owner
    conversations = select(func.count()).select_from(ConversationRow).where(is_own)
    messages = select(func.count()).select_from(MessageRow)
    messages = messages.join(ConversationRow, ConversationRow.id == MessageRow.conversation).where(is_own)
    is_live = ConversationRow.deleted_ms.is_(None)

    def count(query: Select[int]) -> int:
        return session.scalar(query) or 0

    return Holdings(
        count(conversations.where(is_live)),
        count(messages.where(is_live)),
        count(select(func.count()).select_from(MemoryRow).where(MemoryRow.owner == owner)),
        count(select(func.count()).select_from(ProfileRow).where(ProfileRow.owner == owner)),
        count(select(func.count()).select_from(OwnerRetentionRow).where(OwnerRetentionRow.owner == owner)),
        count(messages.where(~is_live)),
    )


def find_owned_conversations(session: Session, owner: str) -> list[str]:
    """Return the conversations of an owner that are not deleted, or whose messages are still to be removed."""
    has_messages = select(MessageRow.id).where(MessageRow.conversation == ConversationRow.id).exists()
    is_left = ConversationRow.deleted_ms.is_(None) | has_messages
    return list(session.scalars(select(ConversationRow.id).where(ConversationRow.owner == owner, is_left)))
