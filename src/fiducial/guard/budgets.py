"""Budgets: what a session, or everyone in a stretch of time, may use up.

A call reserves what it may use when it is recorded (step 8) and settles when its outcome is known (step 10). It gets
back what it reserved only when it is certain that nothing was done: it did not begin, or the tool raised `ToolRefused`.
After any other exception, and after being cut off, nobody knows how far it came, so it stays spent. Two calls therefore
cannot spend one budget twice, however they interleave. Sessions that delegate share one account with their children.

How many records a read brings is known only afterwards. Until then it holds all that is left of every budget and window
of records that counts it, so reads under such a limit take turns: the first that finds room may go past the limit by
its own result, and no second one can join it.

Rate windows hold across sessions and processes. They count attempts, and give back what was certainly not done. Each is
kept in the store as counters over a fixed number of slots; what counts is the sum of the slots that the window touches,
so a window may count up to one slot too many and never too few. Slots that lie ahead count too, up to a window's
length: another host's clock, or this one before it was set back, was further on. The sum is checked again inside the
transaction that records the call.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from datetime import timedelta

import msgspec

from fiducial.charter.contracts import Contract, Effect, Kind
from fiducial.charter.model import Budgets, RateWindow, SessionBudget
from fiducial.core.ids import DecisionId
from fiducial.core.store import Add, AtMost, Store

EVERYTHING = 2**53 - 1
"""What counts as used up where nobody knows how much was."""
SLOTS = 20
"""Slots a window is cut into: at most 5 % of its length is counted too long."""


class Use(msgspec.Struct, frozen=True):
    """What one call uses up."""

    writes: int = 0
    """1 when it has a side effect."""
    spend: int = 0
    """Minor units of `currency`."""
    currency: str = ""
    """ISO 4217 code; empty when nothing is spent."""
    reads: bool = False
    """Its result counts as records, and how many there are is not known yet."""


class Account:
    """What one session and its children have used so far; safe to share between threads."""

    def __init__(self, budget: SessionBudget) -> None:
        self._budget = budget
        self._lock = threading.Lock()
        self.calls = 0
        self.writes = 0
        self.records = 0
        self.spent: dict[str, int] = {}
        """ISO 4217 code → minor units."""
        self._reading = 0
        """Reads whose result is not known yet."""
        self.limited = bool(budget.calls or budget.writes or budget.records or budget.spend)
        """Whether any limit is set at all."""

    def use_up(self, currencies: Iterable[str]) -> None:
        """Nobody knows what was used before: nothing is left of what is limited."""
        with self._lock:
            self.calls = self.writes = self.records = EVERYTHING
            self.spent = dict.fromkeys(currencies, EVERYTHING)

    def exceeds(self, use: Use) -> frozenset[str]:
        """Names of the session's budgets that `use` would go beyond."""
        if not self.limited:
            return frozenset()
        with self._lock:
            return self._exceeds(use)

    def reserve(self, use: Use, *, even_over: bool = False) -> frozenset[str]:
        """Take `use` off the budgets; returns the names of those it would exceed, and then takes nothing.

        `even_over`: take it all the same, for a call that is not stopped.
        """
        with self._lock:
            over = self._exceeds(use)
            if not over or even_over:
                self.calls += 1
                self.writes += use.writes
                self._reading += use.reads
                if use.spend:
                    self.spent[use.currency] = self.spent.get(use.currency, 0) + use.spend
            return over

    def _exceeds(self, use: Use) -> frozenset[str]:
        budget, over = self._budget, set()
        if budget.calls is not None and self.calls + 1 > budget.calls:
            over.add("session-calls")
        if budget.writes is not None and use.writes and self.writes + use.writes > budget.writes:
            over.add("session-writes")
        if budget.records is not None and (self.records >= budget.records or (use.reads and self._reading)):
            over.add("session-records")
        if use.spend and budget.spend:
            ceiling = budget.spend.get(use.currency)
            if ceiling is None or self.spent.get(use.currency, 0) + use.spend > ceiling:
                over.add("session-spend")
        return frozenset(over)

    def settle(self, use: Use, *, kept: bool, records: int = 0) -> None:
        """The outcome of a reserved call is known: give back what was not done (`kept` false), count its records."""
        with self._lock:
            self.records += records
            self._reading -= use.reads
            if not kept:
                self.writes -= use.writes
                if use.spend:
                    self.spent[use.currency] -= use.spend


class Counted(msgspec.Struct, frozen=True):
    """What a decided call has been counted for in one rate window."""

    of: str
    """`calls`, `writes`, `records` or `spend`."""
    added: Add
    """To the slot of the time of the decision."""


class Windows:
    """The rate windows of a charter, kept in the store."""

    def __init__(self, budgets: Budgets, agent: str, store: Store) -> None:
        self._windows = budgets.windows
        self._agent = agent
        self._store = store
        self.unkept: set[DecisionId] = set()
        """Calls that are to be counted, while it is not known whether that is kept: nothing of theirs is given back."""

    def __bool__(self) -> bool:
        return bool(self._windows)

    def touched(
        self, name: str, contract: Contract, use: Use, user: str, unix_us: int
    ) -> list[tuple[RateWindow, tuple[str, ...], Add]]:
        """The windows that a call of tool `name` counts in: each with its slots' keys and what it would add."""
        found = []
        for window in self._windows:
            if not _counts(window, name, contract):
                continue
            if window.of == "records":
                keys, add = self._slots(window, user, unix_us, 0)
                left = max(0, window.limit - self._used(keys)) if use.reads else 0
                found.append((window, keys, Add(add.key, left)))
                continue
            amount = {
                "calls": 1,
                "writes": use.writes,
                "spend": use.spend if use.currency == window.currency else 0,
            }[window.of]
            if amount:
                found.append((window, *self._slots(window, user, unix_us, amount)))
        return found

    @staticmethod
    def settled(counted: Iterable[Counted], *, records: int, kept: bool, again: bool = False) -> tuple[Add, ...]:
        """What to add once the outcome of a counted call is known: its records, less what was held for them.

        `again`: it was settled as unknown before, so what was held was given back then, and one record counted.
        """
        changes = []
        for each in counted:
            if each.of == "records":
                before = each.added.amount and (1 if again else each.added.amount)
                amount = max(records - before, 0) if again else records - before
            else:
                amount = 0 if kept else -each.added.amount
            if amount:
                changes.append(Add(each.added.key, amount))
        return tuple(changes)

    def read(self, name: str, contract: Contract, user: str, unix_us: int, records: int) -> tuple[Add, ...]:
        """What to add for the records of a call of tool `name` that was counted nowhere before."""
        return tuple(
            self._slots(window, user, unix_us, records)[1]
            for window in self._windows
            if records and window.of == "records" and _counts(window, name, contract)
        )

    def _slots(self, window: RateWindow, user: str, unix_us: int, amount: int) -> tuple[tuple[str, ...], Add]:
        """The keys of the slots that `window` spans now or from a clock that is ahead, and the addition of `amount` to
        that of now."""
        subject = {"user": f"user/{user}", "agent": f"agent/{self._agent}", "all": "all"}[window.per]
        slot = unix_us // max(1, window.window // timedelta(microseconds=SLOTS))
        prefix = f"rate/{self._agent}/{window.name}/{subject}/"
        keys = tuple(f"{prefix}{index}" for index in range(slot - SLOTS, slot + SLOTS + 1))
        return keys, Add(f"{prefix}{slot}", amount)

    def exceeded(self, touched: Iterable[tuple[RateWindow, tuple[str, ...], Add]]) -> frozenset[str]:
        """Names of those windows that have no room left."""
        over = set()
        for window, keys, add in touched:
            # Where nothing is left to hold for a read, there is no room for one record either.
            if self._used(keys) + max(add.amount, 1) > window.limit:
                over.add(window.name)
        return frozenset(over)

    def _used(self, keys: Sequence[str]) -> int:
        return sum(int(cell.value) for cell in self._store.read(keys).values())

    @staticmethod
    def preconditions(touched: Iterable[tuple[RateWindow, tuple[str, ...], Add]]) -> tuple[AtMost, ...]:
        """To be checked in the transaction that records the call."""
        return tuple(AtMost(keys, window.limit) for window, keys, add in touched if add.amount)


def _counts(window: RateWindow, name: str, contract: Contract) -> bool:
    """Calls of tool `name` count in `window`."""
    return not window.tools or bool({name, contract.effect.value, contract.kind.value} & set(window.tools))


_READS = Use(reads=True)
_SPEAKS = Use()
_WRITES = Use(writes=1)


def use_of(contract: Contract, spend: int, currency: str) -> Use:
    """What a call by `contract` reserves."""
    reads = contract.effect is Effect.READ and contract.kind is not Kind.RESPOND
    if not spend:
        return _READS if reads else _SPEAKS if contract.effect is Effect.READ else _WRITES
    return Use(writes=int(contract.effect is not Effect.READ), spend=spend, currency=currency, reads=reads)
