"""One contract, all stores: what a commit means, whatever keeps it."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from fiducial.core.clock import ManualClock
from fiducial.core.event import Entry, LogOpened, MessageObserved, PayloadErased, RetentionApplied, encode_event
from fiducial.core.ids import DecisionId, Digest, EventId, SessionId
from fiducial.core.payload import Payload, seal
from fiducial.core.store import Add, AtMost, Cell, Commit, Put, Receipt, Unchanged
from fiducial.errors import Conflict, StoreClosed, StoreError
from fiducial.store.memory import MemoryStore
from fiducial.store.postgres.store import PostgresStore
from fiducial.store.proof import InclusionProof
from fiducial.store.sqlite import SqliteStore

AnyStore = MemoryStore | SqliteStore | PostgresStore
Make = Callable[..., Entry]


def placed(store: AnyStore, first: int, count: int) -> Receipt:
    """The receipt for entries that stand at `first`, from a store that knows that at once or later."""
    return Receipt(-1 if isinstance(store, PostgresStore) else first, count)


def test_a_fresh_log_says_how_it_was_opened(store: AnyStore) -> None:
    ledger = store.ledger()
    assert ledger.size == 1
    (opened,) = ledger.entries()
    assert isinstance(opened.event, LogOpened)
    assert opened.event.origin == ledger.origin
    assert ledger.verify().size == 1


def test_an_empty_commit_keeps_nothing(store: AnyStore) -> None:
    assert store.commit(Commit()).result() == placed(store, 1, 0)
    assert store.commit(Commit(durable=False)).result() == Receipt(-1, 0)
    assert store.read([]) == {}
    assert store.ledger().size == 1


def test_entries_come_back_byte_for_byte(store: AnyStore, make: Make) -> None:
    entries = [make("one", b"\x00\xff\n"), make(), make("", session="ses_2"), make("four")]
    assert store.commit(Commit(entries=tuple(entries[:3]))).result() == placed(store, 1, 3)
    assert store.commit(Commit(entries=(entries[3],))).result() == placed(store, 4, 1)
    ledger = store.ledger()
    records = list(ledger.entries(1))
    assert [record.index for record in records] == [1, 2, 3, 4]
    assert [record.data for record in records] == [encode_event(entry.event) for entry in entries]
    assert [record.event for record in records] == [entry.event for entry in entries]
    for record, entry in zip(records, entries, strict=True):
        assert [(stored.salt, stored.data) for stored in record.payloads] == [
            (payload.salt, payload.data) for payload in entry.payloads
        ]
    assert [record.index for record in ledger.entries(2, 4)] == [2, 3]
    assert list(ledger.entries(9)) == []
    assert ledger.event(entries[2].event.id).index == 3
    assert list(ledger.trajectory(SessionId("ses_2"))) == [entries[2].event]
    assert len(ledger.trajectory(SessionId("ses_1"))) == 3
    assert len(ledger.trajectory(SessionId("ses_none"))) == 0
    assert ledger.payload(entries[0].payloads[1].ref.digest) == b"\x00\xff\n"
    assert ledger.payload(entries[2].payloads[0].ref.digest) == b""
    assert ledger.verify().payloads == 4


def test_what_the_log_does_not_hold(store: AnyStore) -> None:
    ledger = store.ledger()
    with pytest.raises(StoreError, match="no event"):
        ledger.event(EventId("evt_none"))
    assert ledger.find(EventId("evt_none")) is None
    assert ledger.decision(DecisionId("dec_none")) == []
    with pytest.raises(StoreError, match="no entry names"):
        ledger.payload(Digest("sha256:" + "0" * 64))
    for garbage in ("", "sha256:", "sha256:zz", "md5:" + "0" * 64):
        with pytest.raises(StoreError, match="not a payload's digest"):
            ledger.payload(Digest(garbage))


def test_what_is_not_waited_for_is_kept_all_the_same(store: AnyStore, make: Make) -> None:
    assert store.commit(Commit(entries=(make("a"), make("b")), durable=False)).result() == Receipt(-1, 2)
    store.flush()
    assert store.ledger().size == 3


def test_entries_that_do_not_fit_together_are_refused(store: AnyStore, make: Make) -> None:
    entry = make("right")
    other = seal("text", b"wrong")
    event = entry.event
    (payload,) = entry.payloads
    for wrong in (
        Entry(event, ()),
        Entry(event, (payload, payload)),
        Entry(event, (other,)),
        Entry(event, (Payload(payload.ref, payload.salt[:15], payload.data),)),
        Entry(event, (Payload(payload.ref, payload.salt, payload.data + b"x"),)),
    ):
        with pytest.raises(StoreError, match="payload"):
            store.commit(Commit(entries=(make(), wrong), changes=(Put("k", b"v"),)))
    assert store.read(["k"]) == {}
    assert store.ledger().size == 1


def test_events_that_cannot_be_encoded_are_refused(store: AnyStore, make: Make) -> None:
    for session in ("s" * 70_000, "\ud800"):
        with pytest.raises(StoreError, match="cannot be encoded"):
            store.commit(Commit(entries=(make(session=session),)))


def test_only_the_store_says_what_the_log_did(store: AnyStore) -> None:
    for event in (
        PayloadErased(id=EventId("e"), session=None, at_us=0, payload=Digest("sha256:"), by="me", why="no"),
        RetentionApplied(id=EventId("e"), session=None, at_us=0, before_us=2**50, erased=9),
        LogOpened(id=EventId("e"), session=None, at_us=0, origin="x", key="y"),
    ):
        with pytest.raises(StoreError, match="only the store itself"):
            store.commit(Commit(entries=(Entry(event),)))


def test_a_conflict_keeps_nothing_of_its_commit(store: AnyStore, make: Make) -> None:
    store.commit(Commit(changes=(Put("approval", b"open"),))).result()
    lost = store.commit(
        Commit(
            entries=(make("no"),),
            preconditions=(Unchanged("approval", 2),),
            changes=(Put("approval", b"spent"), Add("spent", 1)),
        )
    )
    with pytest.raises(Conflict, match="has changed") as caught:
        lost.result()
    assert caught.value.key == "approval"
    assert store.read(["approval", "spent"]) == {"approval": Cell(b"open", 1)}
    assert store.ledger().size == 1


def test_a_conflict_is_told_even_to_who_does_not_wait_for_the_disk(store: AnyStore) -> None:
    commit = Commit(preconditions=(Unchanged("k", 1),), changes=(Put("k", b"v"),), durable=False)
    assert isinstance(store.commit(commit).exception(), Conflict)
    changed = Commit(changes=(Put("k", b"text"), Add("k", 1)), durable=False)
    assert type(store.commit(changed).exception()) is StoreError


def test_an_approval_is_spent_once(store: AnyStore, make: Make) -> None:
    store.commit(Commit(changes=(Put("approval", b"open"),))).result()
    results = []

    def spend() -> None:
        future = store.commit(
            Commit(
                entries=(make("spent"),),
                preconditions=(Unchanged("approval", 1),),
                changes=(Put("approval", None),),
            )
        )
        results.append(future.exception())

    threads = [threading.Thread(target=spend) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(result is None for result in results) == 1
    assert all(isinstance(result, Conflict) for result in results if result is not None)
    assert store.read(["approval"]) == {}
    assert store.ledger().size == 2


def test_a_key_made_again_is_not_the_one_that_was_read(store: AnyStore) -> None:
    for value in (b"a", None, b"b"):
        store.commit(Commit(changes=(Put("k", value),))).result()
    assert store.read(["k"]) == {"k": Cell(b"b", 3)}
    for stale in (0, 1, 2):
        assert isinstance(store.commit(Commit(preconditions=(Unchanged("k", stale),))).exception(), Conflict)
    store.commit(Commit(preconditions=(Unchanged("k", 3),), changes=(Put("k", None),))).result()
    assert store.commit(Commit(preconditions=(Unchanged("k", 0), Unchanged("other", 0)))).exception() is None


def test_counters_keep_to_their_ceiling(store: AnyStore) -> None:
    def add(amount: int, ceiling: int, *keys: str) -> BaseException | None:
        return store.commit(
            Commit(preconditions=(AtMost(keys or ("a",), ceiling),), changes=(Add("a", amount),))
        ).exception()

    assert add(5, 5) is None
    assert isinstance(add(1, 5), Conflict)
    assert add(-2, 5) is None
    assert store.read(["a"]) == {"a": Cell(b"3", 2)}
    store.commit(Commit(changes=(Add("b", 4),))).result()
    assert isinstance(add(1, 7, "a", "b"), Conflict)
    assert add(1, 8, "b", "a", "a") is None
    assert add(0, 0, "missing") is None


def test_additions_within_one_commit_add_up(store: AnyStore) -> None:
    both = Commit(preconditions=(AtMost(("a",), 3),), changes=(Add("a", 2), Add("a", 2)))
    assert isinstance(store.commit(both).exception(), Conflict)
    store.commit(Commit(changes=(Add("a", 2), Add("a", 2), Put("b", b"1"), Add("b", 1)))).result()
    assert store.read(["a", "b"]) == {"a": Cell(b"4", 2), "b": Cell(b"2", 2)}


def test_what_is_no_counter_is_not_added_to(store: AnyStore) -> None:
    store.commit(Commit(changes=(Put("text", b"many"),))).result()
    for change in (Add("text", 1), Add("huge", 2**63)):
        failed = store.commit(Commit(changes=(Put("other", b"x"), change)))
        assert type(failed.exception()) is StoreError
    asked = store.commit(Commit(preconditions=(AtMost(("text",), 10),)))
    assert type(asked.exception()) is StoreError
    assert store.read(["other", "huge"]) == {}


def test_two_parallel_commits_cannot_spend_one_budget_twice(store: AnyStore) -> None:
    def spend(_: int) -> bool:
        commit = Commit(preconditions=(AtMost(("budget",), 50),), changes=(Add("budget", 1),))
        return store.commit(commit).exception() is None

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(spend, range(100))) == 50
    assert store.read(["budget"])["budget"].value == b"50"


def test_scanning_by_prefix(store: AnyStore) -> None:
    keys = ["a", "a/1", "a/2", "a/\U0010ffff", "a0", "b", "%", "a%"]
    store.commit(Commit(changes=tuple(Put(key, key.encode()) for key in keys))).result()
    store.commit(Commit(changes=(Put("a/2", None),))).result()
    assert list(store.scan("a/")) == ["a/1", "a/\U0010ffff"]
    assert list(store.scan("a")) == ["a", "a%", "a/1", "a/\U0010ffff", "a0"]
    assert list(store.scan("%")) == ["%"]
    assert len(store.scan("")) == 7
    assert store.scan("zz") == {}


def test_reading_many_keys(store: AnyStore) -> None:
    store.commit(Commit(changes=tuple(Put(f"k{i}", b"%d" % i) for i in range(1203)))).result()
    found = store.read([f"k{i}" for i in range(1203)] + ["none", "k1"])
    assert len(found) == 1203
    assert found["k1202"] == Cell(b"1202", 1)


def test_after_close_nothing_is_kept(store: AnyStore, make: Make) -> None:
    store.close()
    store.close()
    with pytest.raises(StoreClosed):
        store.commit(Commit(entries=(make(),)))


def test_futures_work_with_asyncio_and_wait(store: AnyStore, make: Make) -> None:
    async def main() -> Receipt:
        return await asyncio.wrap_future(store.commit(Commit(entries=(make(),))))

    assert asyncio.run(main()).count == 1
    future = store.commit(Commit(entries=(make(),), durable=False))
    assert concurrent.futures.wait([future]).done == {future}
    assert list(concurrent.futures.as_completed([future])) == [future]
    called: list[object] = []
    future.add_done_callback(called.append)
    assert called == [future]
    assert (future.done(), future.running(), future.cancel(), future.cancelled()) == (True, False, False, False)
    failed = store.commit(Commit(preconditions=(Unchanged("k", 1),)))
    with pytest.raises(Conflict):
        failed.result()
    assert isinstance(failed.exception(), Conflict)


def test_a_commit_cannot_be_cancelled(store: AnyStore, make: Make) -> None:
    """A task that is cancelled while it waits must not take the record of what it did with it."""
    future = store.commit(Commit(entries=(make(),)))
    assert not future.cancel()
    assert future.result().count == 1


def test_a_proof_holds_for_somebody_with_only_the_key(store: AnyStore, make: Make) -> None:
    entries = [make(f"n{i}") for i in range(300)]
    for start in range(0, 300, 7):
        store.commit(Commit(entries=tuple(entries[start : start + 7]))).result()
    ledger = store.ledger()
    (key,) = ledger.keys()
    for entry in (entries[0], entries[255], entries[299]):
        document = ledger.prove(entry.event.id).to_json()
        assert InclusionProof.parse(document).verify(key) == entry.event
    with pytest.raises(StoreError, match="no event"):
        ledger.prove(EventId("evt_none"))


def test_erasing(store: AnyStore, make: Make) -> None:
    entries = [make("keep", "secret"), make("other")]
    store.commit(Commit(entries=tuple(entries))).result()
    secret = entries[0].payloads[1].ref.digest
    assert store.erase(secret, by="dpo", why="asked to")
    assert not store.erase(secret, by="dpo", why="asked to")
    ledger = store.ledger()
    assert ledger.payload(secret) is None
    assert ledger.payload(entries[0].payloads[0].ref.digest) == b"keep"
    erased = next(iter(ledger.entries(3))).event
    assert isinstance(erased, PayloadErased)
    assert (erased.payload, erased.by, erased.why) == (secret, "dpo", "asked to")
    verified = ledger.verify()
    assert (verified.payloads, verified.erased, verified.size) == (2, 1, 4)
    for by, why in (("", "x"), ("me", " "), ("me", "x" * 501)):
        with pytest.raises(StoreError, match="say w"):
            store.erase(secret, by=by, why=why)
    with pytest.raises(StoreError, match="no entry names"):
        store.erase(Digest("sha256:" + "0" * 64), by="me", why="x")


def test_a_payload_kept_twice_is_erased_twice(store: AnyStore, make: Make) -> None:
    entry = make("secret")
    again = Entry(
        MessageObserved(
            id=EventId("evt_again"), session=SessionId("s"), at_us=0, payloads=entry.event.payloads,
            source=entry.event.source, authority="user", integrity=entry.event.integrity,
        ),
        entry.payloads,
    )  # fmt: skip
    store.commit(Commit(entries=(entry,))).result()
    store.commit(Commit(entries=(again,))).result()
    assert store.erase(entry.payloads[0].ref.digest, by="me", why="x")
    assert [stored.data for record in store.ledger().entries() for stored in record.payloads] == [None, None]
    assert store.ledger().verify().erased == 2


def test_retention(store: AnyStore, make: Make, clock: ManualClock) -> None:
    day = timedelta(days=1)
    for age in range(10):
        at = clock.unix_us()
        store.commit(Commit(entries=(make(f"day {age}", at_us=at), make(at_us=at)))).result()
        clock.advance(day)
    start = datetime(2026, 1, 1, tzinfo=UTC)
    assert store.retain(start + 4 * day) == 4
    assert store.retain(start + 4 * day) == 0
    assert store.retain(start + 5 * day) == 1
    ledger = store.ledger()
    assert [stored.data for record in ledger.entries() for stored in record.payloads] == [
        *[None] * 5,
        *[f"day {age}".encode() for age in range(5, 10)],
    ]
    assert ledger.verify().erased == 5
    with pytest.raises(StoreError, match="time zone"):
        store.retain(datetime(2026, 1, 1))  # noqa: DTZ001


def test_retention_within_a_bundle_and_with_clocks_that_jump(store: AnyStore, make: Make) -> None:
    """Old and young entries in one transaction: only the old ones' payloads go, now and later."""
    hour = 3_600_000_000
    store.commit(
        Commit(entries=(make("old", at_us=hour), make("young", at_us=9 * hour), make("back", at_us=hour)))
    ).result()
    store.commit(Commit(entries=(make("last", at_us=hour),))).result()
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    assert store.retain(epoch + timedelta(hours=5)) == 3
    assert store.retain(epoch + timedelta(hours=10)) == 1
    assert store.ledger().verify().erased == 4


def test_retention_goes_past_a_clock_that_was_ahead(store: AnyStore, make: Make) -> None:
    year = 365 * 86_400_000_000
    for at_us in (0, year, 0, 1):
        store.commit(Commit(entries=(make(f"from {at_us}", at_us=at_us),))).result()
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    assert store.retain(epoch + timedelta(days=30)) == 3
    kept = [stored.data for record in store.ledger().entries() for stored in record.payloads]
    assert kept == [None, f"from {year}".encode(), None, None]
    assert store.ledger().verify().erased == 3
    assert store.retain(epoch + timedelta(days=366)) == 1
    assert store.ledger().verify().erased == 4


def test_the_checkpoint_is_a_signed_note(store: AnyStore, make: Make) -> None:
    store.commit(Commit(entries=(make(),))).result()
    note = store.checkpoint()
    ledger = store.ledger()
    opened = ledger.keys()[0].open(note)
    assert (opened.size, opened.origin, opened.root) == (2, ledger.origin, ledger.head().root)
    assert ledger.verify(key=ledger.keys()[0], checkpoints=[("kept", note)]).pinned


class Cells(RuleBasedStateMachine):
    """A store and a model of the cells, given the same commits, stay the same."""

    def __init__(self) -> None:
        super().__init__()
        self.memory = MemoryStore()
        self.model: dict[str, tuple[bytes | None, int]] = {}

    keys = st.sampled_from("abc")
    changes = st.lists(
        st.one_of(
            st.builds(Put, keys, st.one_of(st.none(), st.binary(max_size=2), st.just(b"7"))),
            st.builds(Add, keys, st.integers(-3, 3)),
        ),
        max_size=4,
    )
    preconditions = st.lists(
        st.one_of(
            st.builds(Unchanged, keys, st.integers(0, 4)),
            st.builds(AtMost, st.lists(keys, max_size=3).map(tuple), st.integers(-2, 6)),
        ),
        max_size=2,
    )

    @rule(changes=changes, preconditions=preconditions)
    def commit(self, changes: list[Put | Add], preconditions: list[Unchanged | AtMost]) -> None:
        expected: dict[str, tuple[bytes | None, int]] | None = dict(self.model)
        for precondition in preconditions:
            if expected is not None and not self._holds(precondition, changes):
                expected = None
        for change in changes:
            if expected is None:
                break
            value, version = expected.get(change.key, (None, 0))
            if isinstance(change, Put):
                expected[change.key] = (change.value, version + 1)
            elif self._number(value) is None:
                expected = None
            else:
                expected[change.key] = (b"%d" % ((self._number(value) or 0) + change.amount), version + 1)
        commit = Commit(preconditions=tuple(preconditions), changes=tuple(changes))
        error = self.memory.commit(commit).exception()
        assert (error is None) == (expected is not None)
        if expected is not None:
            self.model = expected

    def _number(self, value: bytes | None) -> int | None:
        try:
            return 0 if value is None else int(value)
        except ValueError:
            return None

    def _holds(self, precondition: Unchanged | AtMost, changes: list[Put | Add]) -> bool:
        if isinstance(precondition, Unchanged):
            value, version = self.model.get(precondition.key, (None, 0))
            return precondition.version == (0 if value is None else version)
        total = 0
        for key in set(precondition.keys):
            number = self._number(self.model.get(key, (None, 0))[0])
            if number is None:
                return False
            total += number + sum(each.amount for each in changes if isinstance(each, Add) and each.key == key)
        return total <= precondition.ceiling

    @invariant()
    def same(self) -> None:
        shown = {key: Cell(value, version) for key, (value, version) in self.model.items() if value is not None}
        assert self.memory.scan("") == shown
        assert self.memory.read(["a", "b", "c"]) == shown


TestCells = Cells.TestCase
TestCells.settings = settings(max_examples=15, stateful_step_count=20)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(commits=st.lists(st.tuples(Cells.preconditions, Cells.changes), max_size=12))
def test_all_stores_agree(commits: list[tuple[list[Unchanged | AtMost], list[Put | Add]]], store: AnyStore) -> None:
    """What the batch of a writer comes to is what one commit after the other comes to."""
    if isinstance(store, MemoryStore):
        return
    prefix = f"{uuid.uuid4()}-"

    def renamed(preconditions: list[Unchanged | AtMost], changes: list[Put | Add]) -> Commit:
        return Commit(
            preconditions=tuple(
                Unchanged(prefix + each.key, each.version)
                if isinstance(each, Unchanged)
                else AtMost(tuple(prefix + key for key in each.keys), each.ceiling)
                for each in preconditions
            ),
            changes=tuple(
                Put(prefix + each.key, each.value) if isinstance(each, Put) else Add(prefix + each.key, each.amount)
                for each in changes
            ),
        )

    memory = MemoryStore()
    prepared = [renamed(*each) for each in commits]
    futures = [store.commit(commit) for commit in prepared]
    for commit, future in zip(prepared, futures, strict=True):
        error, expected = future.exception(), memory.commit(commit).exception()
        assert type(error) is type(expected)
    assert store.scan(prefix) == memory.scan(prefix)
