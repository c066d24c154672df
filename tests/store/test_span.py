"""What a scan asks the database for is what begins with the prefix, and nothing else is looked at."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from fiducial.core.store import Commit, Put
from fiducial.store import schema
from fiducial.store.sqlite import SqliteStore

TEXT = st.text(
    st.one_of(st.characters(codec="utf-8"), st.sampled_from(["\U0010ffff", "\U0010fffe", "\ud7ff", "\ue000", "/"])),
    max_size=4,
)


@given(TEXT, TEXT)
def test_the_span_of_a_prefix_holds_what_starts_with_it_and_nothing_else(prefix: str, other: str) -> None:
    first, after = (bound.encode() for bound in schema.span(prefix))
    for key in (other, prefix, prefix + other):
        assert (first <= key.encode() < after) == key.startswith(prefix)


def test_an_index_finds_it(tmp_path: Path) -> None:
    """However many cells lie behind the prefix: halts are read at every turn, and every request ever made follows."""
    path = tmp_path / "fiducial.db"
    with SqliteStore(path) as store:
        store.commit(Commit(changes=(Put("halt/1", b"x"), Put("hold/1", b"y")))).result()
        assert list(store.scan("halt/")) == ["halt/1"]
    connection = sqlite3.connect(path)
    for statement in (schema.SCAN_STATE, schema.SCAN_VERSIONS):
        [*_, plan] = connection.execute(f"EXPLAIN QUERY PLAN {statement}", schema.span("halt/")).fetchone()
        assert "key>? AND key<?" in plan
    connection.close()
