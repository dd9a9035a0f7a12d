"""Alembic's entry point; `node.records.database.migrate` is what calls it."""

from alembic import context
from sqlalchemy import create_engine

from node.records.worklist_tables import METADATA  # which knows all tables

engine = create_engine(context.config.attributes["url"])
with engine.connect() as connection:
    context.configure(connection=connection, target_metadata=METADATA, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()
