"""The log, its inbox and the control state."""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# The order of text is that of its bytes, in SQLite too. `instr` is SQLite's name for what `position` does.
TABLES = """
CREATE TABLE meta(name text COLLATE "C" PRIMARY KEY, value text NOT NULL);
CREATE TABLE bundle(
  first bigint PRIMARY KEY, count bigint NOT NULL, root bytea NOT NULL, signature bytea NOT NULL,
  leaves bytea NOT NULL, events bytea NOT NULL, payloads bytea);
CREATE TABLE lookup(
  first bigint PRIMARY KEY, first_id text COLLATE "C" NOT NULL, last_id text COLLATE "C" NOT NULL,
  digests bytea NOT NULL);
CREATE TABLE session(session text COLLATE "C" NOT NULL, first bigint NOT NULL, PRIMARY KEY(session, first));
CREATE TABLE node(level integer NOT NULL, start bigint NOT NULL, hashes bytea NOT NULL, PRIMARY KEY(level, start));
CREATE TABLE state(key text COLLATE "C" PRIMARY KEY, value bytea, version bigint NOT NULL) WITH (fillfactor = 80);
CREATE TABLE inbox(
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, writer text COLLATE "C" NOT NULL, number bigint NOT NULL,
  at timestamptz NOT NULL DEFAULT clock_timestamp(), body bytea NOT NULL, signature bytea NOT NULL,
  UNIQUE(writer, number))
  WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
CREATE TABLE writer(writer text COLLATE "C" PRIMARY KEY, number bigint NOT NULL, signature bytea NOT NULL);
CREATE FUNCTION instr(haystack bytea, needle bytea) RETURNS integer
  LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE RETURN position(needle IN haystack);
INSERT INTO meta VALUES('epoch', '1')
"""


def upgrade() -> None:
    """Make everything."""
    for statement in TABLES.split(";"):
        op.execute(statement)
