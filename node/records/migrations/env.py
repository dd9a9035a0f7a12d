"""Alembic's entry point; `node.records.revisions` is what calls it."""

from alembic import context
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from node.records import worklist_tables

engine = create_engine(context.config.attributes["url"], poolclass=NullPool)
with engine.connect() as connection:
    context.configure(connection=connection, target_metadata=worklist_tables.ALL, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()
