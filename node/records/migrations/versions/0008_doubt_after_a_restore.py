"""A state that a restore leaves: objects whose destination is asked before they go"""

from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Older records have none."""


def downgrade() -> None:
    # An older program asks before it sends what counts as sent, too; where nobody can be asked it sends.
    op.execute("UPDATE deliveries SET state = 'sent' WHERE state = 'doubted'")
