"""Committing to PostgreSQL: state, its preconditions and the events of a batch, in one transaction.

    1  begin; share the gate, under which neither the key nor the history changes
    2  lock the cells that the batch reads or writes, in the order of their keys: those it only reads may be read by
       others too. A cell that does not exist is made first, as one that was never set: nobody can slip in between
    3  judge each commit against them, in order; one that fails keeps nothing and does not stop the others
    4  put what is kept of the batch into the inbox, as one signed and numbered parcel; change the cells; tell who waits
       for changes
    5  commit: on disk from here on, with `synchronous_commit`

Locking in one order, and every cell before it is looked at, makes preconditions exact: of two commits that need the
same cell, the later one sees what the earlier one left, in every process.

A connection that breaks during step 5 leaves it open whether the transaction was kept. The next thing that is done is
to find out: a fence is put into the inbox under the same number. Either it is refused, because the transaction's own
parcel is there or was there, or no late copy of the transaction can take its place any more.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from itertools import groupby
from typing import Any, Final, NamedTuple

import msgspec
import psycopg

from fiducial.core.store import AtMost, Put, Receipt
from fiducial.errors import RolledBack, StoreBusy, StoreError, WrongKey
from fiducial.store import schema
from fiducial.store.bundle import NOTHING, Part, Prepared, joined
from fiducial.store.checkpoint import Signer
from fiducial.store.postgres import inbox
from fiducial.store.postgres.link import Link, Target, connect, translate
from fiducial.store.postgres.tables import BEGIN_WRITE, GATE, SHARE_GATE
from fiducial.store.state import MISSING, Slot, outcomes
from fiducial.store.writer import Answer

NOTICE_BYTES: Final = 7_900
"""Of a notice: PostgreSQL's limit is below 8,000."""

RULES: Final = "SELECT name, value FROM meta WHERE name IN ('key', 'origin', 'epoch')"
_MAKE_CELLS: Final = "INSERT INTO state SELECT key, NULL, 0 FROM unnest($1::text[]) AS key ON CONFLICT DO NOTHING"
_LOCK_CELLS: Final = "SELECT key, value, version FROM state WHERE key = ANY($1::text[]) ORDER BY key FOR "
_SET_CELLS: Final = (
    "UPDATE state SET value = new.value, version = new.version "
    "FROM unnest($1::text[], $2::bytea[], $3::bigint[]) AS new(key, value, version) WHERE state.key = new.key"
)
_ADD_PARCEL: Final = "INSERT INTO inbox(writer, number, body, signature) VALUES($1, $2, $3, $4)"
_KNOWN: Final = "SELECT 1 FROM writer WHERE writer = $1 AND number >= $2"
_NOTIFY: Final = "SELECT pg_notify('fiducial_' || 'meta'::regclass::oid, $1)"


class Rules(NamedTuple):
    """What holds for every transaction until the gate is closed."""

    origin: str
    key: str
    epoch: str


class _Doubt(NamedTuple):
    """A transaction of which it is not known whether it was kept."""

    batch: Sequence[Prepared]
    answers: list[Answer]
    given_up: bool = False
    """Nobody waits for it any more; `batch` is then what nobody had waited for in the first place."""


class InDoubt(StoreBusy):
    """The connection broke while a transaction was being committed; asking again finds out."""


class Committer:
    """Commits from one thread."""

    def __init__(self, target: Target, patience: timedelta, rules: Rules, signer: Callable[[str], Signer]) -> None:
        """`signer` gives the private key for a public one. Raises `WrongKey` when it is not at hand."""
        self._target = target
        self._patience = patience
        self._rules = rules
        self._find_signer = signer
        self._signer = self._signer_for(rules.key)
        self._link: Link | None = None
        self._name = os.urandom(12).hex()
        self._number = 0
        self._doubt: _Doubt | None = None
        self.owed: list[Prepared] = []
        """What nobody waits for and is not known to be kept; it is written before anything else."""

    def write(self, batch: Sequence[Prepared]) -> list[Answer]:
        """All five steps; an answer for each commit.

        Raises `InDoubt` when it is not known whether they were kept: calling again with the same batch finds out, and
        writes it if it was not. Raises another `StoreError`, and nothing was kept, when they could not be.
        """
        try:
            settled = self._settle_doubt()
            if settled is not None and settled.batch is batch:
                return settled.answers
            if not batch and not self.owed:
                return []
            answers = self._transaction(batch)
            self.owed = []
            return answers
        except psycopg.Error as error:
            self._drop_if_unusable()
            raise translate(error, self._target.where) from error

    def give_up(self, batch: Sequence[Prepared]) -> bool:
        """Nobody waits for `batch` any more. Whether it is in doubt: then what was not waited for stays owed."""
        if self._doubt is None or self._doubt.batch is not batch:
            return False
        self._doubt = _Doubt([prepared for prepared in batch if prepared.future is None], [], given_up=True)
        return True

    def close(self) -> None:
        """Let go of the connection."""
        if self._link is not None:
            self._link.close()

    @property
    def _connected(self) -> Link:
        if self._link is None or self._link.closed:
            self._link = connect(self._target, patience=self._patience, write=True, brief=True)
            # Only ever made stronger: with `off` and `local`, what was answered can be lost.
            ((now,),) = self._link.execute("SHOW synchronous_commit").fetchall()
            if now in ("off", "local"):
                self._link.execute("SET synchronous_commit = on")
        return self._link

    def _drop_if_unusable(self) -> None:
        link = self._link
        if link is not None and not link.closed:
            with suppress(psycopg.Error):
                link.execute(schema.ROLLBACK)
                return
            link.close()

    def _transaction(self, asked: Sequence[Prepared]) -> list[Answer]:
        link = self._connected
        batch = [*self.owed, *asked]
        write, read = _keys(batch)
        # 1 and 2
        with link.pipeline():
            link.execute(BEGIN_WRITE)
            link.execute(SHARE_GATE, (GATE,))
            rules = link.execute(RULES)
            held: list[psycopg.Cursor[tuple[Any, ...]]] = []
            if write or read:
                link.execute(_MAKE_CELLS, (sorted(write | read),))
                for written, keys in groupby(sorted(write | read), key=write.__contains__):
                    held.append(
                        link.execute(_LOCK_CELLS + ("UPDATE" if written else "SHARE"), (list(keys),), binary=True)
                    )
        try:
            self._obey(dict(rules.fetchall()))
            cells = {key: Slot(value, version) for cursor in held for key, value, version in cursor.fetchall()}
            # 3
            faults, changed = outcomes(batch, lambda key: cells.get(key, MISSING))
            kept = [prepared for prepared, fault in zip(batch, faults, strict=True) if fault is None]
            answers: list[Answer] = [
                Receipt(-1, prepared.count) if fault is None else fault
                for prepared, fault in zip(batch, faults, strict=True)
            ]
            if not changed and not any(prepared.count for prepared in kept):
                link.execute(schema.ROLLBACK)
                return answers
            self._put(link, joined([prepared.part() for prepared in kept]), changed, _notice(kept))
        except StoreError:
            link.execute(schema.ROLLBACK)
            raise
        # 5
        return self._commit(link, asked, answers[len(self.owed) :])

    def _put(self, link: Link, parcel: Part, changed: dict[str, Slot], notice: str | None) -> None:
        """Step 4."""
        number = self._number + 1
        body = inbox.seal(parcel)
        signature = self._signer.sign(inbox.statement(self._rules.origin, self._name, number, body))
        with link.pipeline():
            link.execute(_ADD_PARCEL, (self._name, number, body, signature))
            if changed:
                slots = list(changed.values())
                columns = (list(changed), [slot.value for slot in slots], [slot.version for slot in slots])
                link.execute(_SET_CELLS, columns)
            if notice is not None:
                link.execute(_NOTIFY, (notice,))

    def _commit(self, link: Link, batch: Sequence[Prepared], answers: list[Answer]) -> list[Answer]:
        try:
            link.execute(schema.COMMIT)
        except psycopg.Error as error:
            if not link.closed:
                # The server said no, and is there to be asked again.
                raise
            self._doubt = _Doubt(batch, answers)
            raise InDoubt(
                f"the connection to `{self._target.where}` broke during a commit; whether it was kept is not known"
            ) from error
        self._number += 1
        return answers

    def _settle_doubt(self) -> _Doubt | None:
        """The transaction that was in doubt, if there was one and it was kept."""
        if self._doubt is None:
            return None
        link = self._connected
        link.execute(BEGIN_WRITE)
        link.execute(SHARE_GATE, (GATE,))
        self._obey(dict(link.execute(RULES).fetchall()))
        number = self._number + 1
        body = inbox.seal(NOTHING)
        signature = self._signer.sign(inbox.statement(self._rules.origin, self._name, number, body))
        # Waits for the transaction itself, should the server still be at it.
        fenced = link.execute(f"{_ADD_PARCEL} ON CONFLICT DO NOTHING", (self._name, number, body, signature)).rowcount
        kept = not fenced or bool(link.execute(_KNOWN, (self._name, number)).fetchall())
        link.execute(schema.ROLLBACK if kept else schema.COMMIT)
        doubt, self._doubt = self._doubt, None
        self._number = number
        if kept:
            self.owed = []
            return doubt
        if doubt.given_up:
            self.owed = [*self.owed, *doubt.batch]
        return None

    def _obey(self, found: dict[str, str]) -> None:
        if found == self._rules._asdict():
            return
        rules = Rules(found.get("origin", ""), found.get("key", ""), found.get("epoch", ""))
        if (rules.origin, rules.epoch) != (self._rules.origin, self._rules.epoch):
            raise RolledBack(
                f"the store `{self._target.where}` was replaced or restored while it was open; open it again"
            )
        self._signer = self._signer_for(rules.key)
        self._rules = rules

    def _signer_for(self, public: str) -> Signer:
        signer = self._find_signer(public)
        if signer.verifier.text != public:
            raise WrongKey(
                f"the log `{self._target.where}` is signed by `{public}`, the key at hand is `{signer.verifier.text}`; "
                "copy the key file here from where the log was made, or its key rotated"
            )
        return signer


def _keys(batch: Sequence[Prepared]) -> tuple[set[str], set[str]]:
    """The cells that `batch` writes, and those that it only reads."""
    write = {change.key for prepared in batch for change in prepared.changes}
    read: set[str] = set()
    for prepared in batch:
        for each in prepared.preconditions:
            read.update(each.keys if isinstance(each, AtMost) else (each.key,))
    return write, read - write


def _notice(kept: Sequence[Prepared]) -> str | None:
    """What those are told who watch: the keys that were put, empty when they are too many to name, `None` for none."""
    keys = sorted({change.key for prepared in kept for change in prepared.changes if isinstance(change, Put)})
    if not keys:
        return None
    notice = msgspec.json.encode(keys).decode()
    return notice if len(notice.encode()) <= NOTICE_BYTES else ""
