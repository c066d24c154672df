"""How Alembic runs a migration: over the connection that it is handed, in one transaction."""

from __future__ import annotations

from alembic import context

with context.config.attributes["connection"].connect() as connection:
    context.configure(connection=connection, transactional_ddl=True)
    with context.begin_transaction():
        context.run_migrations()
    connection.commit()
