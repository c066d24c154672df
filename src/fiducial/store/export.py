"""Exports: the log as lines of JSON, one an entry, and erasing from those that hold payloads.

    {"index":3,"event":{…},"payloads":[{"role":"result","digest":"sha256:…","size":120,"salt":"…","text":"…"}]}

`event` is the entry's canonical bytes, as they are: what stands between `"event":` and the `,"payloads":` that ends it
hashes to the entry's leaf. Payloads come with their data only when asked for; data that is no UTF-8 is given as
`base64`, erased data not at all. The whole log ends with a line that holds its checkpoint and key.

A file with payloads in it is a copy that erasing has to reach: the database remembers where it was written, and
erasing rewrites it without what the log no longer holds. A copy of that file elsewhere is beyond reach.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import msgspec

from fiducial.core.ids import SessionId
from fiducial.errors import StoreError
from fiducial.store import schema
from fiducial.store.bundle import Record, StoredPayload, records
from fiducial.store.files import replacing
from fiducial.store.ledger import Ledger
from fiducial.store.reader import LogReader

BEGINNINGS = (b'{"index":', b'{"checkpoint":')
"""How an export begins: with its first entry, or with the checkpoint of an empty log."""
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
    try:
        with replacing(target, mode=_MODE) as file:
            for line in lines(ledger, session=session, payloads=payloads):
                file.write(line)
                count += 1
    except OSError as error:
        raise StoreError(f"the export `{target}` cannot be written ({error.strerror}); check its path") from error
    return count


def purge_exports(reader: LogReader) -> None:
    """Rewrite every remembered export that still holds payloads which the log behind `reader` no longer has."""
    for (path,) in reader.rows(schema.GET_EXPORTS):
        try:
            _purge(Path(path), reader)
        except OSError as error:
            raise StoreError(
                f"the payload is erased, but the export `{path}` could not be rewritten ({error.strerror}); "
                "delete that file, or erase the payload again"
            ) from error


def _purge(path: Path, reader: LogReader) -> None:
    if not path.is_file():
        return
    held: tuple[int, dict[int, Record]] = (-1, {})
    stale = False
    with path.open("rb") as old, replacing(path.with_name(path.name + ".purged"), mode=_MODE) as new:
        for line in old:
            try:
                parsed = msgspec.json.decode(line, type=_Line)
            except (msgspec.MsgspecError, ValueError):
                parsed = _Line()
            if parsed.index is None or not parsed.payloads:
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
    purged = path.with_name(path.name + ".purged")
    if stale:
        purged.replace(path)
    else:
        purged.unlink()


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
