"""Keep the sources of an answer with it, and the ids of questions that an edit has replaced.

A process of the version before leaves the sources empty, and may store a late answer to a replaced question again.
"""

import sqlalchemy as sa
from alembic import op

from millrace.worker.store.columns import JsonText
from millrace.worker.store.tables import ID

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the column and the table."""
    op.add_column("messages", sa.Column("sources", JsonText))
    op.create_table(
        "removed_questions",
        sa.Column("id", ID, primary_key=True),
        sa.Column("conversation", ID, sa.ForeignKey("conversations.id", ondelete="CASCADE"), nullable=False),
        sa.Column("removed_ms", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_removed_questions_conversation", "removed_questions", ["conversation"])
    op.create_index("ix_removed_questions_removed_ms", "removed_questions", ["removed_ms"])


def downgrade() -> None:
    """Drop the column and the table with their contents."""
    op.drop_table("removed_questions")
    op.drop_column("messages", "sources")
