"""Which version the tables have, and bringing them to this one: Alembic, in the log's schema.

A store makes the tables of a new log. It changes none that are there: `fiducial store migrate` does, when nobody has
the store open, and a version that is newer than this program is refused.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Final

import psycopg

from fiducial.errors import StoreError, TooNew
from fiducial.store.postgres import foreign
from fiducial.store.postgres.link import Link, Target, connect, translate

VERSION: Final = "0001"
"""The newest migration."""
_EVERYBODY: Final = 0x46494400
"""First half of the lock under which tables are made; the second is the hash of the schema's name."""


def version(link: Link, target: Target) -> str | None:
    """The version of the tables; `None` when there are none yet. Raises `StoreError` when they are somebody else's."""
    try:
        ((known, tables),) = link.execute(
            "SELECT to_regclass('alembic_version') IS NOT NULL, count(*) FROM pg_class c "
            "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relkind = 'r'",
            (target.schema,),
        ).fetchall()
        if not known and tables:
            raise StoreError(f"the tables in `{target.where}` are not Fiducial's; give another `?schema=…`")
        rows = link.execute("SELECT version_num FROM alembic_version").fetchall() if known else []
    except psycopg.Error as error:
        raise translate(error, target.where) from error
    return str(rows[0][0]) if rows else None


def open_tables(link: Link, target: Target) -> bool:
    """Whether the tables are there. Raises unless they are those that this program works with, and nothing else is."""
    found = version(link, target)
    if found is None:
        return False
    check(found, target)
    foreign.refuse(link, target)
    return True


def need_tables(link: Link, target: Target) -> None:
    """As `open_tables`; raises `StoreError` when there are none."""
    if not open_tables(link, target):
        raise StoreError(f"there is no log at `{target.where}`; give its URL with `--db`, or in FIDUCIAL_DB")


def check(found: str, target: Target) -> None:
    """Raises unless `found` is the version that this program works with."""
    if found > VERSION:
        raise TooNew(
            f"the store `{target.where}` has format {found}, this version of Fiducial knows {VERSION}; upgrade Fiducial"
        )
    if found < VERSION:
        raise StoreError(
            f"the store `{target.where}` has format {found}, this version of Fiducial needs {VERSION}; "
            "end what uses it and run `fiducial store migrate`"
        )


def migrate(target: Target) -> tuple[str | None, str]:
    """Bring the tables to `VERSION`, or make them; the version before and after. Nothing else may be there.

    Waits for nobody's transaction longer than ten seconds. Raises `StoreError`, and changes nothing, when that fails;
    `Corrupt` for what is not as it was made.
    """
    link = connect(target, patience=timedelta(seconds=10), write=True, unbounded=True)
    try:
        link.execute("SELECT pg_advisory_lock($1::int, hashtext($2))", (_EVERYBODY, target.schema))
        before = version(link, target)
        if before is not None and before > VERSION:
            check(before, target)
        if before != VERSION:
            if not link.execute("SELECT 1 FROM pg_namespace WHERE nspname = $1", (target.schema,)).fetchall():
                # The name was checked to be plain: fiducial.store.postgres.link.Target.parse.
                link.execute(f'CREATE SCHEMA "{target.schema}"')
            _upgrade(target)
        foreign.refuse(link, target)
    except psycopg.Error as error:
        raise translate(error, target.where) from error
    finally:
        link.close()
    return before, VERSION


def _upgrade(target: Target) -> None:
    # Both take a third of a second to load, and only a new log or a migration needs them.
    from alembic import command
    from alembic.config import Config
    from sqlalchemy import create_engine
    from sqlalchemy.exc import DBAPIError
    from sqlalchemy.pool import NullPool

    def plain() -> psycopg.Connection[tuple[object, ...]]:
        link = connect(target, patience=timedelta(seconds=10), write=True, unbounded=True)
        # SQLAlchemy writes parameters the other way, and begins transactions itself.
        link.cursor_factory = psycopg.Cursor
        link.autocommit = False
        return link

    engine = create_engine("postgresql+psycopg://", creator=plain, poolclass=NullPool)
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    config.attributes["connection"] = engine
    try:
        command.upgrade(config, "head")
    except DBAPIError as error:
        if isinstance(error.orig, psycopg.Error):
            raise translate(error.orig, target.where) from error
        raise
    finally:
        engine.dispose()
