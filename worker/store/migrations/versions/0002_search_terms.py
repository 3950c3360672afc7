"""Index the memories under the terms that find them in any language.

A process of the version before adds memories under their words only: both versions find these by a whole word.
"""

import sqlalchemy as sa
from alembic import op

from millrace.worker.store.columns import EscapedText
from millrace.worker.store.search_terms import index_terms

revision = "0002"
down_revision = "0001"

_ROWS = 1000  # at once
_MEMORIES = sa.table(
    "memories", sa.column("number", sa.BigInteger), sa.column("content", EscapedText), sa.column("searchable", sa.Text)
)


def upgrade() -> None:
    """Compute the terms of every memory; the index follows by itself."""
    number, content = _MEMORIES.c.number, _MEMORIES.c.content
    change = sa.update(_MEMORIES).where(number == sa.bindparam("row")).values(searchable=sa.bindparam("terms"))
    last = 0
    while True:
        page = sa.select(number, content).where(number > last).order_by(number).limit(_ROWS)
        rows = op.get_bind().execute(page).all()
        if not rows:
            return
        changes = [{"row": row, "terms": " ".join(index_terms(fact))} for row, fact in rows]
        op.get_bind().execute(change, changes)
        last = rows[-1][0]


def downgrade() -> None:
    """Keep the terms: the version before finds memories by them as well."""
