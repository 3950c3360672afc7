"""Keep an answer's images, and the provider's own form of its reasoning, with the answer.

A process of the version before leaves both columns empty.
"""

import sqlalchemy as sa
from alembic import op

from millrace.worker.store.columns import JsonText

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the columns."""
    op.add_column("messages", sa.Column("images", JsonText))
    op.add_column("messages", sa.Column("reasoning_state", JsonText))


def downgrade() -> None:
    """Drop the columns with their contents."""
    op.drop_column("messages", "reasoning_state")
    op.drop_column("messages", "images")
