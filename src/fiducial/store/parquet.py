"""Sealed Parquet: the ledger's events as columns, for analytics (DuckDB, Spark, pandas). Needs the extra `analytics`.

A log belongs to one tenant. Its events go into files that are never changed afterwards, each with the entries of an
unbroken range of the tree:

    <directory>/<tenant>/<day>/<first>-<stop>.parquet        entries first to stop - 1; twelve digits each

A file ends where a later day (UTC) begins than its first entry's, at `MAX_ROWS` entries or `MAX_BYTES` of events, and
where the log ended when it was exported; the next export goes on from there. An entry whose clock was behind stays in
the file of its place in the tree, so a file's time range is in its statistics and not in its name.

Rows are sorted by tenant, time and place. `event` is the entry itself, the bytes that the tree hashes, so every field
is there; the other columns repeat those that people ask for. Payloads are named by role, digest and size; what is in
them is left out, because erasing one must not need files that are sealed.

The file's own metadata says what it holds: `fiducial.origin`, `fiducial.tenant`, `fiducial.first`, `fiducial.stop`,
`fiducial.checkpoint` (the signed head of the log when it was exported) and `fiducial.format`. Nothing gets its name
before the entries read were found to lead to that head.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from fiducial.core.clock import instant
from fiducial.errors import Corrupt, StoreError
from fiducial.store import retained
from fiducial.store.bundle import Record
from fiducial.store.files import locked, make_directory, replacing, sync_directory
from fiducial.store.ledger import Ledger
from fiducial.store.merkle import Tree, leaf_hash

MAX_ROWS = 250_000
"""Entries in a file."""
MAX_BYTES = 128 * 1024 * 1024
"""Of events in a file: what is held in memory while it is written is about twice that."""
_ROW_GROUP = 64 * 1024
"""Rows that a reader can leave out by their statistics; a tenth of a second of work for DuckDB."""
_FORMAT = "1"
_DAY_US = 86_400_000_000
_MODE = 0o644
_LOCK = ".lock"
_NAME = re.compile(r"([0-9]{12})-([0-9]{12})\.parquet")
_SORTING = ("tenant", "time", "entry")

_TEXT = pa.string()
_PAYLOADS = pa.list_(pa.struct([("role", _TEXT), ("digest", _TEXT), ("size", pa.int64())]))
SCHEMA = pa.schema(
    [
        pa.field("tenant", _TEXT, nullable=False),
        pa.field("time", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("entry", pa.int64(), nullable=False),
        pa.field("id", _TEXT, nullable=False),
        pa.field("session", _TEXT),
        pa.field("kind", _TEXT, nullable=False),
        pa.field("v", pa.int32(), nullable=False),
        pa.field("agent", _TEXT),
        pa.field("person", _TEXT),
        pa.field("tool", _TEXT),
        pa.field("decision", _TEXT),
        pa.field("verdict", _TEXT),
        pa.field("mode", _TEXT),
        pa.field("fired", pa.list_(_TEXT)),
        pa.field("fault", _TEXT),
        pa.field("side_effect", pa.bool_()),
        pa.field("runs", pa.bool_()),
        pa.field("risk", pa.int32()),
        pa.field("outcome", _TEXT),
        pa.field("source", _TEXT),
        pa.field("integrity", _TEXT),
        pa.field("classes", pa.list_(_TEXT)),
        pa.field("duration_us", pa.int64()),
        pa.field("payloads", _PAYLOADS, nullable=False),
        pa.field("event", _TEXT, nullable=False),
    ]
)
"""Columns of every file; `docs/published.md` says what each means. A column is empty for kinds without that field.

Their names are no reserved words of SQL: `user`, as events have it, would be whoever runs the query.
"""
_MADE = ("tenant", "time", "entry", "person", "fired", "event")
_REPEATED = tuple(name for name in SCHEMA.names if name not in _MADE)


class Sealed(NamedTuple):
    """A file that was written."""

    path: Path
    first: int
    """Index of its first entry."""
    stop: int
    """Index after its last entry."""


def seal(ledger: Ledger, directory: Path, *, tenant: str | None = None) -> list[Sealed]:
    """Write what the files in `directory` do not hold yet of the ledger; `tenant` is the log's name without it.

    Raises `RolledBack`, `WrongKey` or `Corrupt` when the ledger does not extend what was exported before or does not
    lead to its head, `StoreError` when a file cannot be read or written.
    """
    name = ledger.origin if tenant is None else tenant
    folder = directory / quote(name, safe="")
    if not name or not name.strip("."):
        raise StoreError(f"`{name}` cannot name a tenant")
    try:
        make_directory(folder)
        with locked(folder / _LOCK):
            return _seal(ledger, folder, name)
    except (OSError, pa.ArrowException) as error:
        raise StoreError(f"the Parquet files in `{folder}` cannot be read or written ({error})") from error


def _seal(ledger: Ledger, folder: Path, tenant: str) -> list[Sealed]:
    start = _resume(ledger, folder, tenant)
    text, head, _ = ledger.signed_head()
    tree = ledger.reader.subtrees(start).tree() if start else Tree()
    written: list[tuple[Path, Sealed]] = []
    try:
        for records in _files(ledger, start, head.size):
            tree.extend([leaf_hash(record.data) for record in records])
            first, stop = records[0].index, records[-1].index + 1
            day = folder / instant(records[0].event.at_us).strftime("%Y-%m-%d")
            make_directory(day)
            sealed = Sealed(day / f"{first:012}-{stop:012}.parquet", first, stop)
            scratch = sealed.path.with_suffix(".tmp")
            written.append((scratch, sealed))
            with replacing(scratch, mode=_MODE) as file:
                _write(file, records, tenant, {"origin": ledger.origin, "checkpoint": text})
        if tree.root() != head.root:
            raise Corrupt("the ledger's entries do not lead to its head; run `fiducial log verify`")
        for scratch, sealed in written:
            scratch.replace(sealed.path)
            sync_directory(sealed.path.parent)
    finally:
        for scratch, _ in written:
            with suppress(FileNotFoundError):
                scratch.unlink()
    return [sealed for _, sealed in written]


def _resume(ledger: Ledger, folder: Path, tenant: str) -> int:
    """Where the files in `folder` end, if they are this ledger's."""
    last = max((path for path in folder.glob("*/*.parquet") if _NAME.fullmatch(path.name)), key=_stop, default=None)
    if last is None:
        return 0
    stated = {key.decode(): value.decode() for key, value in (pq.read_metadata(last).metadata or {}).items()}
    if stated.get("fiducial.format") != _FORMAT or stated.get("fiducial.tenant") != tenant:
        raise StoreError(f"`{last}` was not written by this version of Fiducial for `{tenant}`; export elsewhere")
    checkpoint = retained.open_note(stated.get("fiducial.checkpoint", ""), ledger.keys(), str(last))
    retained.check(checkpoint, ledger.reader, str(last))
    return _stop(last)


def _stop(path: Path) -> int:
    found = _NAME.fullmatch(path.name)
    return int(found[2]) if found else 0


def _files(ledger: Ledger, start: int, stop: int) -> Iterator[list[Record]]:
    """The entries of each file."""
    held: list[Record] = []
    size = 0
    for record in ledger.entries(start, stop, payloads=False):
        later = held and record.event.at_us // _DAY_US > held[0].event.at_us // _DAY_US
        if later or len(held) == MAX_ROWS or (held and size + len(record.data) > MAX_BYTES):
            yield held
            held, size = [], 0
        held.append(record)
        size += len(record.data)
    if held:
        yield held


def _write(file: Any, records: list[Record], tenant: str, facts: dict[str, str]) -> None:
    ordered = sorted(records, key=lambda record: (record.event.at_us, record.index))
    fields = [msgspec.json.decode(record.data) for record in ordered]
    columns: dict[str, list[Any]] = {
        "tenant": [tenant] * len(ordered),
        "time": [record.event.at_us for record in ordered],
        "entry": [record.index for record in ordered],
        "person": [each.get("user") for each in fields],
        "fired": [_policies(each.get("fired")) for each in fields],
        "event": [record.data.decode() for record in ordered],
        **{name: [each.get(name) for each in fields] for name in _REPEATED},
    }
    table = pa.table([pa.array(columns[field.name], field.type) for field in SCHEMA], schema=SCHEMA)
    facts |= {"tenant": tenant, "first": str(records[0].index), "stop": str(records[-1].index + 1), "format": _FORMAT}
    with pq.ParquetWriter(
        file,
        SCHEMA,
        compression="zstd",
        sorting_columns=pq.SortingColumn.from_ordering(SCHEMA, [(name, "ascending") for name in _SORTING]),
        write_page_index=True,
        write_page_checksum=True,
    ) as writer:
        writer.write_table(table, row_group_size=_ROW_GROUP)
        writer.add_key_value_metadata({f"fiducial.{name}": value for name, value in facts.items()})


def _policies(fired: list[dict[str, str]] | None) -> list[str] | None:
    return None if fired is None else [each["policy"] for each in fired]
