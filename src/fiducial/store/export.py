"""Exports: the log as lines of JSON, one an entry, and erasing from those that hold payloads.

    {"index":3,"event":{…},"payloads":[{"role":"result","digest":"sha256:…","size":120,"salt":"…","text":"…"}]}

`event` is the entry's canonical bytes, as they are: what stands between `"event":` and the `,"payloads":` that ends it
hashes to the entry's leaf. Payloads come with their data only when asked for; data that is no UTF-8 is given as
`base64`, erased data not at all. The whole log ends with a line that holds its checkpoint and key.

A file with payloads in it is a copy that erasing has to reach: the database remembers where it was written, and
erasing rewrites it without what the log no longer holds. It is written, and rewritten, as a draft beside it, which one
process at a time holds: erasing waits for an export that is being made, which looks in the end whether something was
erased meanwhile; and a draft that a killed process left is removed. A copy of that file elsewhere is beyond reach.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import msgspec

from fiducial.core.ids import SessionId
from fiducial.errors import StoreBusy, StoreError
from fiducial.store import schema
from fiducial.store.bundle import Record, StoredPayload, records
from fiducial.store.files import drafting, put_in_place
from fiducial.store.ledger import Ledger
from fiducial.store.owed import owed
from fiducial.store.reader import LogReader

BEGINNINGS = (b'{"index":', b'{"checkpoint":')
"""How an export begins: with its first entry, or with the checkpoint of an empty log."""
PATIENCE_SECONDS = 5.0
"""How long to wait for whoever writes the same file."""
_MODE = 0o600


class _Line(msgspec.Struct):
    """What purging needs to know of a line."""

    index: int | None = None
    event: msgspec.Raw = msgspec.Raw()
    payloads: tuple[msgspec.Raw, ...] = ()


def lines(ledger: Ledger, *, session: SessionId | None = None, payloads: bool = False) -> Iterator[bytes]:
    """The log, or one session of it, as it is now: JSON lines, with their newlines."""
    note, checkpoint, key = ledger.signed_head()
    for record in ledger.entries() if session is None else ledger.session(session):
        if record.index >= checkpoint.size:
            break
        yield entry_line(record, payloads=payloads)
    if session is None:
        yield msgspec.json.encode({"checkpoint": note, "key": key.text}) + b"\n"


def write(ledger: Ledger, target: Path, *, session: SessionId | None = None, payloads: bool = False) -> int:
    """Export the log to the file `target`; how many lines. Raises `StoreError`.

    With payloads in it, have the database `remember` the file first: then no crash leaves one that erasing does not
    know of.
    """
    count = 0
    draft = _draft(target)
    try:
        with drafting(draft, mode=_MODE, seconds=PATIENCE_SECONDS) as file:
            for line in lines(ledger, session=session, payloads=payloads):
                file.write(line)
                count += 1
            put_in_place(file, draft, target)
        # Whoever erases once this was asked finds the file in its place.
        if payloads and owed(ledger.reader) is not None:
            _purge(target, ledger.reader, PATIENCE_SECONDS)
    except OSError as error:
        raise StoreError(f"the export `{target}` cannot be written ({error.strerror}); check its path") from error
    return count


def purge_exports(reader: LogReader, seconds: float) -> None:
    """Rewrite every remembered export that still holds payloads which the log behind `reader` no longer has.

    Raises `StoreError`, once all were tried, when one could not be, or was being written for longer than `seconds`.
    """
    faults: list[StoreError] = []
    for (path,) in reader.rows(schema.GET_EXPORTS):
        try:
            _purge(Path(path), reader, seconds)
        except (OSError, StoreBusy) as error:
            why = "it is being written" if isinstance(error, StoreBusy) else error.strerror
            faults.append(
                StoreError(
                    f"the payload is erased, but the export `{path}` could not be rewritten ({why}); the store tries "
                    "again from time to time: do so yourself by erasing the payload again, or delete that file"
                )
            )
            faults[-1].__cause__ = error
    if faults:
        raise faults[0]


def _purge(path: Path, reader: LogReader, seconds: float) -> None:
    draft = _draft(path)
    if not path.is_file() and not draft.exists():
        return
    held: tuple[int, dict[int, Record]] = (-1, {})
    stale = False
    # What a killed process left in the draft is gone from here on, whatever becomes of the rest.
    with drafting(draft, mode=_MODE, seconds=seconds) as new:
        if not path.is_file():
            return
        size = reader.head().size
        with path.open("rb") as old:
            for line in old:
                try:
                    parsed = msgspec.json.decode(line, type=_Line)
                except (msgspec.MsgspecError, ValueError):
                    parsed = _Line()
                if parsed.index is None or not 0 <= parsed.index < size or not parsed.payloads:
                    new.write(line)
                    continue
                first = reader.first_before(parsed.index)
                if held[0] != first:
                    held = first, {record.index: record for record in records(reader.bundle(first))}
                record = held[1].get(parsed.index)
                # The file may hold another log by now, whose entries have the same numbers.
                if record is None or bytes(parsed.event) != record.data or not _has_data(line):
                    fresh = line
                else:
                    fresh = entry_line(record, payloads=True)
                stale = stale or fresh != line
                new.write(fresh)
        if stale:
            put_in_place(new, draft, path)


def _draft(path: Path) -> Path:
    """Where what takes the place of `path` is written: always the same, so that erasing finds it."""
    return path.with_name(path.name + ".fiducial-draft")


def _has_data(line: bytes) -> bool:
    return b',"salt":' in line


def entry_line(record: Record, *, payloads: bool) -> bytes:
    """One entry as a line of JSON."""
    shown = b",".join([_payload(stored, payloads) for stored in record.payloads])
    return b'{"index":%d,"event":%b,"payloads":[%b]}\n' % (record.index, record.data, shown)


def _payload(stored: StoredPayload, with_data: bool) -> bytes:
    fields: dict[str, object] = {
        "role": stored.ref.role, "digest": stored.ref.digest, "size": stored.ref.size,
    }  # fmt: skip
    if stored.data is None:
        fields["erased"] = True
    elif with_data:
        fields["salt"] = stored.salt.hex()
        try:
            fields["text"] = stored.data.decode()
        except UnicodeDecodeError:
            fields["base64"] = base64.b64encode(stored.data).decode()
    return msgspec.json.encode(fields)


def remember(database: Path, target: Path, at_us: int) -> None:
    """Have the SQLite `database` know of the file `target` before payloads are exported to it. Raises `StoreError`."""
    if not database.is_file():
        raise StoreError(f"there is no database at `{database}`; give its path with `--db`, or in FIDUCIAL_DB")
    connection, _ = schema.connect_writer(database)
    try:
        connection.execute(schema.SET_EXPORT, (str(target.absolute()), at_us))
    except schema.FAULTS as error:
        raise schema.translate(error, str(database)) from error
    finally:
        connection.close()
