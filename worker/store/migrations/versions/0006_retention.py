"""Find data by its age, and keep the data of some owners for another time than that of the others.

A process of the version before deletes nothing by age, and does not read the table.
"""

import sqlalchemy as sa
from alembic import op

from millrace.worker.store.columns import EscapedText
from millrace.worker.store.tables import only_where

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add the indexes and the table."""
    op.create_index("conversations_by_age", "conversations", ["updated_ms"], **only_where("deleted_ms IS NULL"))
    op.create_index("conversations_deleted", "conversations", ["deleted_ms"], **only_where("deleted_ms IS NOT NULL"))
    op.create_index("memories_by_age", "memories", ["created_ms"])
    op.create_table(
        "owner_retention",
        sa.Column("owner", EscapedText, primary_key=True),
        sa.Column("days", sa.Integer),
        sa.Column("updated_ms", sa.BigInteger, nullable=False),
    )


def downgrade() -> None:
    """Drop the table and the indexes."""
    op.drop_table("owner_retention")
    op.drop_index("memories_by_age", "memories")
    op.drop_index("conversations_deleted", "conversations")
    op.drop_index("conversations_by_age", "conversations")
