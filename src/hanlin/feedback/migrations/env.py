"""Runs the steps over the connection that `migrate` opened. Alembic reads this file; nobody imports it."""

from alembic import context

if hasattr(context, "config"):  # only while Alembic works
    context.configure(connection=context.config.attributes["connection"])
    with context.begin_transaction():
        context.run_migrations()
