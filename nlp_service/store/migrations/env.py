"""Alembic's entry: the connection comes from `nlp_service.store.database.upgrade`, there is no ini file."""

from alembic import context

from nlp_service.store.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
