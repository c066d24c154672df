"""What a log's schema holds, against what the migrations make: anything else is somebody else's.

A trigger, a rule, a default or a check of somebody else's would change, drop or copy what is written, within the
transaction that keeps it; row security and children of a table change what is read.
"""

from __future__ import annotations

from typing import Final

import psycopg

from fiducial.errors import Corrupt
from fiducial.store.postgres.link import Link, Target, translate

OBJECTS: Final = """
WITH relation AS (
  SELECT c.* FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1)
SELECT CASE relkind WHEN 'v' THEN 'view' WHEN 'S' THEN 'sequence' WHEN 'i' THEN 'index' ELSE 'table' END,
  relname::text,
  concat_ws(' ', relkind, relpersistence, CASE WHEN relrowsecurity THEN 'row security' END,
    CASE WHEN EXISTS(SELECT FROM pg_inherits WHERE r.oid IN (inhparent, inhrelid)) THEN 'inherits' END)
  FROM relation r
UNION ALL SELECT 'column', relname || '.' || attname,
  concat_ws(' ', format_type(atttypid, atttypmod), collname, CASE WHEN attnotnull THEN 'not null' END,
    nullif(attidentity, ''), nullif(attgenerated, ''), pg_get_expr(adbin, adrelid))
  FROM relation r JOIN pg_attribute ON attrelid = r.oid
  LEFT JOIN pg_collation l ON l.oid = attcollation LEFT JOIN pg_attrdef ON adrelid = r.oid AND adnum = attnum
  WHERE relkind NOT IN ('i', 'S') AND attnum > 0 AND NOT attisdropped
UNION ALL SELECT 'constraint', relname || '.' || conname, pg_get_constraintdef(c.oid)
  FROM relation r JOIN pg_constraint c ON conrelid = r.oid WHERE contype <> 'n'
UNION ALL SELECT 'trigger', relname || '.' || tgname, ''
  FROM relation r JOIN pg_trigger ON tgrelid = r.oid WHERE NOT tgisinternal
UNION ALL SELECT 'rule', relname || '.' || rulename, '' FROM relation r JOIN pg_rewrite ON ev_class = r.oid
  WHERE relkind <> 'v'
UNION ALL SELECT 'function', proname || '(' || pg_get_function_identity_arguments(p.oid) || ')',
  concat_ws(' ', lanname, pg_get_function_result(p.oid), CASE WHEN prosecdef THEN 'security definer' END, prosrc,
    regexp_replace(pg_get_function_sqlbody(p.oid), '[\\s()]', '', 'g'))
  FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace JOIN pg_language l ON l.oid = prolang WHERE n.nspname = $1
"""
"""Kind, name, and what it is, of everything in the schema `$1`. That a column may not be null is said of the column."""

_MADE: Final = """
column|alembic_version.version_num|character varying(32) default not null
column|bundle.count|bigint not null
column|bundle.events|bytea not null
column|bundle.first|bigint not null
column|bundle.leaves|bytea not null
column|bundle.payloads|bytea
column|bundle.root|bytea not null
column|bundle.signature|bytea not null
column|inbox.at|timestamp with time zone not null clock_timestamp()
column|inbox.body|bytea not null
column|inbox.id|bigint not null a
column|inbox.number|bigint not null
column|inbox.signature|bytea not null
column|inbox.writer|text C not null
column|lookup.digests|bytea not null
column|lookup.first|bigint not null
column|lookup.first_id|text C not null
column|lookup.last_id|text C not null
column|meta.name|text C not null
column|meta.value|text default not null
column|node.hashes|bytea not null
column|node.level|integer not null
column|node.start|bigint not null
column|session.first|bigint not null
column|session.session|text C not null
column|state.key|text C not null
column|state.value|bytea
column|state.version|bigint not null
column|writer.number|bigint not null
column|writer.signature|bytea not null
column|writer.writer|text C not null
constraint|alembic_version.alembic_version_pkc|PRIMARY KEY (version_num)
constraint|bundle.bundle_pkey|PRIMARY KEY (first)
constraint|inbox.inbox_pkey|PRIMARY KEY (id)
constraint|inbox.inbox_writer_number_key|UNIQUE (writer, number)
constraint|lookup.lookup_pkey|PRIMARY KEY (first)
constraint|meta.meta_pkey|PRIMARY KEY (name)
constraint|node.node_pkey|PRIMARY KEY (level, start)
constraint|session.session_pkey|PRIMARY KEY (session, first)
constraint|state.state_pkey|PRIMARY KEY (key)
constraint|writer.writer_pkey|PRIMARY KEY (writer)
function|instr(haystack bytea, needle bytea)|sql integer  RETURNPOSITIONneedleINhaystack
index|alembic_version_pkc|i p
index|bundle_pkey|i p
index|inbox_pkey|i p
index|inbox_writer_number_key|i p
index|lookup_pkey|i p
index|meta_pkey|i p
index|node_pkey|i p
index|session_pkey|i p
index|state_pkey|i p
index|writer_pkey|i p
sequence|inbox_id_seq|S p
table|alembic_version|r p
table|bundle|r p
table|inbox|r p
table|lookup|r p
table|meta|r p
table|node|r p
table|session|r p
table|state|r p
table|writer|r p
"""
_PARTS: Final = ("column", "constraint", "index")
"""What a table brings with it: told only when nothing else is."""
MADE: Final = frozenset((kind, name, what) for kind, name, what in (row.split("|") for row in _MADE.split("\n") if row))
"""What the migrations make, as `OBJECTS` tells it; `tests/store/test_postgres.py` holds the one to the other."""


def fault(link: Link, target: Target) -> str | None:
    """What is in the log's schema and should not be, is missing or is another; `None` when all is as it was made."""
    try:
        found = {(str(kind), str(name), str(what)) for kind, name, what in link.execute(OBJECTS, (target.schema,))}
    except psycopg.Error as error:
        raise translate(error, target.where) from error
    for kind, name, _ in sorted(found ^ MADE, key=lambda one: (one[0] in _PARTS, one)):
        return f"the {kind} `{name}` is missing, is not what this version makes, or is not Fiducial's"
    return None


def refuse(link: Link, target: Target) -> None:
    """Raises `Corrupt` when `fault` finds something."""
    if (found := fault(link, target)) is not None:
        raise Corrupt(f"`{target.where}`: {found}; drop what is not Fiducial's, or restore a backup")
