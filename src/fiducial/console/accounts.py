"""Signing in: passwords, one-time links, sessions and tokens, as cells of the store.

| cell | holds |
|---|---|
| `console/account/<person>` | how that person signs in |
| `console/link/<hash>` | a link that signs in once |
| `console/session/<hash>` | somebody who is signed in |
| `console/token/<hash>` | a personal access token |
| `console/subject/<hash>` | whose account an identity provider's subject is |
| `console/epoch/<person>` | how often everything that signs that person in was revoked |

`<hash>` is the SHA-256 of 32 random bytes that only the browser, or the owner of the token, has: whoever reads the
database cannot sign in with what is there. Passwords are hashed with Argon2id. What a person may do is not kept here
but read from their own cell at every request, so that a lost role is lost at once. Links are spent by the commit that
opens the session, so that two cannot spend one.

What signs somebody in belongs to an epoch of theirs, and counts in that epoch only. A new password and a revocation
begin another, by one commit: nothing from before it is left, not even what a request was just about to keep.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections.abc import Sequence
from datetime import timedelta
from functools import cached_property
from typing import Literal, TypeVar

import argon2
import msgspec
from zxcvbn import zxcvbn

from fiducial.console.sign_in_cells import ACCOUNT as _ACCOUNT
from fiducial.console.sign_in_cells import EPOCH as _EPOCH
from fiducial.console.sign_in_cells import LINK as _LINK
from fiducial.console.sign_in_cells import SESSION as _SESSION
from fiducial.console.sign_in_cells import SUBJECT as _SUBJECT
from fiducial.console.sign_in_cells import TOKEN as _TOKEN
from fiducial.core.clock import Clock
from fiducial.core.event import Entry
from fiducial.core.ids import PersonId
from fiducial.core.store import Add, Cell, Commit, Put, Store, Unchanged
from fiducial.errors import Conflict, OversightError, StoreError
from fiducial.oversight.people import PREFIX, ConsoleRole, People, Person
from fiducial.oversight.withdrawn import withdraw

How = Literal["password", "link", "provider", "token"]
MIN_PASSWORD, MAX_PASSWORD = 12, 128
"""Characters: OWASP ASVS 4.0.3, 2.1.1 and 2.1.2."""
JUDGED = 32
"""Characters of a password that zxcvbn judges: for 72, which is all that it reads, it can take ten seconds."""
STRENGTH = 3
"""Of zxcvbn's 0 to 4: more than 10⁸ guesses by somebody who knows the common passwords and how people vary them."""
TOUCH = timedelta(minutes=1)
"""How exactly the last use of a session is kept; finer would write at every request."""
MAX_TOKEN = timedelta(days=366)
_PATIENCE = 5.0
"""Seconds that somebody waits until another's password is judged."""
CONSOLE = PersonId("console")
"""Who acts when the console does so by itself, at its first start."""
TOKEN_PREFIX = "fiducial_"  # noqa: S105 - by which scanners of source code recognize a leaked one

_T = TypeVar("_T", bound=msgspec.Struct)


class Account(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a person signs in, besides links."""

    password: str = ""
    """Argon2id, in its encoded form; empty: no password."""
    subject: str = ""
    """Hash of the identity provider's issuer and subject; empty: not bound to one."""


class Link(msgspec.Struct, frozen=True):
    """A link that signs in once."""

    person: PersonId
    expires_us: int
    epoch: int = 0
    """Of its person, when it was made."""


class Live(msgspec.Struct, frozen=True):
    """Somebody who is signed in."""

    person: PersonId
    how: How
    created_us: int
    seen_us: int
    """Last use, to within `TOUCH`."""
    epoch: int = 0
    """Of its person, when it was opened."""


class Token(msgspec.Struct, frozen=True):
    """A personal access token; it can do what its owner can, less what it was not given."""

    person: PersonId
    name: str
    roles: tuple[ConsoleRole, ...]
    created_us: int
    expires_us: int
    epoch: int = 0
    """Of its owner, when it was made."""


class Signed(msgspec.Struct, frozen=True):
    """Who a request is from."""

    person: Person
    roles: frozenset[ConsoleRole]
    """What they may do with this request."""
    how: How
    key: str
    """The session's or token's hash."""
    epoch: int
    """Of the person: what is made with this request is made in it, or not at all."""
    version: int
    """Of the person's cell."""


def still(asked: Signed | None) -> tuple[Unchanged, ...]:
    """That nothing of theirs was revoked since, and that they are who they were: for what a request keeps."""
    if asked is None:
        return ()
    return Unchanged(_EPOCH + asked.person.id, asked.epoch), Unchanged(PREFIX + asked.person.id, asked.version)


def digest_of(secret: str) -> str:
    """By which a secret of 32 random bytes is kept. It needs no salt and no slow hash: it cannot be guessed."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


class Accounts:
    """Who is signed in, and how one gets there. Usable from any thread."""

    def __init__(self, store: Store, people: People, clock: Clock, *, idle: timedelta, lifetime: timedelta) -> None:
        self._store, self._people, self._clock = store, people, clock
        self._idle, self._lifetime = _us(idle), _us(lifetime)
        self._hasher = argon2.PasswordHasher()
        # 64 MiB and two processors' time for each hash: whoever signs in a hundred times at once waits.
        self._hashing = threading.BoundedSemaphore(2)
        self._judging = threading.BoundedSemaphore(1)

    def epoch(self, person: PersonId) -> int:
        """How often everything that signs `person` in was revoked."""
        cell = self._store.read([_EPOCH + person]).get(_EPOCH + person)
        return 0 if cell is None else cell.version

    # --- passwords

    @cached_property
    def _nobody(self) -> str:
        """The hash of a password that nobody has, to compare with where there is no other."""
        return self._hasher.hash(secrets.token_urlsafe(32))

    def account(self, person: PersonId) -> Account:
        """How `person` signs in."""
        return self._read(_ACCOUNT + person, Account)[0] or Account()

    def password_fits(self, person: PersonId, password: str) -> bool:
        """Whether it is theirs. Takes as long for people who do not exist or have none."""
        known = self._people.find(person)
        account = self.account(person) if known is not None else Account()
        fits = self._verify(account.password or self._nobody, password)
        return fits and bool(account.password) and known is not None and known.person.active

    def set_password(self, person: PersonId, password: str, *, by: PersonId, keep: Signed | None = None) -> None:
        """Everything else that signs them in ends with it, but for the session `keep`.

        Raises `OversightError` when it is too easily guessed, `Conflict` when the session was revoked meanwhile.
        """
        epoch = self.epoch(person) if keep is None else keep.epoch
        known = self._people.find(person)
        if known is None:
            raise OversightError(f"there is no `{person}`")
        self._strong(password, known.person)
        account, version = self._read(_ACCOUNT + person, Account)
        with self._hashing:
            hashed = self._hasher.hash(password)
        changed = Account(password=hashed, subject=(account or Account()).subject)
        ended = self._everything(person)
        conditions = [Unchanged(_ACCOUNT + person, version), Unchanged(_EPOCH + person, epoch)]
        puts = [Put(_ACCOUNT + person, msgspec.json.encode(changed))]
        if keep is not None:
            key = _SESSION + keep.key
            live, seen = self._read(key, Live)
            if live is None:
                raise Conflict("the session has ended", key=key)
            # From here on by password, however it began: to change it again takes the one that was just set.
            kept = msgspec.structs.replace(live, how="password", epoch=epoch + 1)
            conditions.append(Unchanged(key, seen))
            puts.append(Put(key, msgspec.json.encode(kept)))
            ended = [each for each in ended if each != key]
        self._commit(
            [self._people.entry(person, by=by, act="password")],
            conditions,
            [*puts, *(Put(each, None) for each in ended), Add(_EPOCH + person, 1)],
        )

    def bind_subject(self, person: PersonId, subject: str) -> None:
        """From here on `subject`, and no other of that provider, is `person`. Raises `Conflict` when it is bound."""
        account, version = self._read(_ACCOUNT + person, Account)
        if account is not None and account.subject and account.subject != subject:
            raise OversightError("that account belongs to another user of the identity provider")
        changed = Account(password=(account or Account()).password, subject=subject)
        self._commit(
            [self._people.entry(person, by=person, act="provider-bound")],
            [Unchanged(_ACCOUNT + person, version), Unchanged(_SUBJECT + subject, 0)],
            [Put(_ACCOUNT + person, msgspec.json.encode(changed)), Put(_SUBJECT + subject, person.encode())],
        )

    def of_subject(self, subject: str) -> PersonId | None:
        """Whose account that is."""
        cell = self._store.read([_SUBJECT + subject]).get(_SUBJECT + subject)
        return None if cell is None else PersonId(cell.value.decode())

    # --- links

    def link(self, person: PersonId, *, by: PersonId, lifetime: timedelta, asked: Signed | None = None) -> str:
        """A secret that signs `person` in once, within `lifetime`.

        `asked`: who asks for it, when that is a request; `Conflict` when that was revoked or they changed meanwhile.
        """
        secret, made = self.new_link(person, by=by, lifetime=lifetime, asked=asked)
        self._store.commit(made).result()
        return secret

    def new_link(
        self, person: PersonId, *, by: PersonId, lifetime: timedelta, asked: Signed | None = None
    ) -> tuple[str, Commit]:
        """As `link`; it is worth something once the commit is kept, which may hold more."""
        epoch = self.epoch(person)
        secret = secrets.token_urlsafe(32)
        until = self._clock.unix_us() + _us(lifetime)
        return secret, Commit(
            entries=(self._people.entry(person, by=by, act="link-made", until_us=until),),
            preconditions=(
                Unchanged(_LINK + digest_of(secret), 0), Unchanged(_EPOCH + person, epoch), *still(asked),
            ),
            changes=(Put(_LINK + digest_of(secret), msgspec.json.encode(Link(person, until, epoch))),),
        )  # fmt: skip

    def linked(self, secret: str) -> Person | None:
        """Whom the link would sign in; `None` when it is not one, is spent or has expired."""
        found = self._linked(secret)
        return None if found is None else found[0]

    def follow(self, secret: str) -> str | None:
        """Spend the link: the secret of the session that it opened. `None` when it is worth nothing."""
        found = self._linked(secret)
        if found is None:
            return None
        key = _LINK + digest_of(secret)
        try:
            return self._open(found[0], "link", found[2], [Unchanged(key, found[1])], [Put(key, None)])
        except Conflict:
            return None

    def has_way_in(self, person: PersonId) -> bool:
        """They can sign in without a link."""
        account = self.account(person)
        return bool(account.password or account.subject)

    def _linked(self, secret: str) -> tuple[Person, int, int] | None:
        """Whom it would sign in, the version of its cell, and its epoch."""
        link, version = self._read(_LINK + digest_of(secret), Link)
        if link is None or self._clock.unix_us() >= link.expires_us or link.epoch != self.epoch(link.person):
            return None
        known = self._people.find(link.person)
        return (known.person, version, link.epoch) if known is not None and known.person.active else None

    # --- sessions

    def sign_in(self, person: Person, how: How, *, epoch: int | None = None) -> str:
        """The secret of a new session. Raises `StoreError` when it could not be kept.

        `epoch`: the person's as it was before what they signed in with was looked at; `Conflict` when it is over.
        """
        return self._open(person, how, self.epoch(person.id) if epoch is None else epoch, [], [])

    def session(self, secret: str) -> Signed | None:
        """Who has that session; `None` when there is none, it has ended, or they may sign in no more."""
        key = digest_of(secret)
        live, version = self._read(_SESSION + key, Live)
        now = self._clock.unix_us()
        if live is None or self._over(live, now) or live.epoch != self.epoch(live.person):
            return None
        known = self._people.find(live.person)
        if known is None or not known.person.active:
            return None
        if now - live.seen_us >= _us(TOUCH):
            seen = msgspec.structs.replace(live, seen_us=now)
            try:
                self._commit([], [Unchanged(_SESSION + key, version)], [Put(_SESSION + key, msgspec.json.encode(seen))])
            except Conflict:
                # Another request was first to say so, or the session was just ended: the latter must count.
                if _SESSION + key not in self._store.read([_SESSION + key]):
                    return None
        return Signed(known.person, frozenset(known.person.console), live.how, key, live.epoch, known.version)

    def peek(self, secret: str) -> bool:
        """Whether that session still holds, without counting as a use of it."""
        live, _ = self._read(_SESSION + digest_of(secret), Live)
        if live is None or self._over(live, self._clock.unix_us()) or live.epoch != self.epoch(live.person):
            return False
        known = self._people.find(live.person)
        return known is not None and known.person.active

    def sessions(self, person: PersonId) -> dict[str, Live]:
        """Their sessions, by hash, the one opened last first."""
        now, epoch = self._clock.unix_us(), self.epoch(person)
        theirs = ((key, live) for key, live in self._scan(_SESSION, Live).items() if live.person == person)
        found = ((key, live) for key, live in theirs if live.epoch == epoch and not self._over(live, now))
        return dict(sorted(found, key=lambda each: each[1].created_us, reverse=True))

    def end(self, key: str, *, person: PersonId, by: PersonId, act: str = "signed-out") -> bool:
        """End one of the person's sessions; False when there is no such."""
        live, _ = self._read(_SESSION + key, Live)
        if live is None or live.person != person:
            return False
        # On no condition: a request that is just using the session must not save it.
        self._commit([self._people.entry(person, by=by, act=act)], [], [Put(_SESSION + key, None)])
        return True

    def end_all(self, person: PersonId, *, by: PersonId) -> int:
        """End the person's sessions, tokens and links; how many. What they approved and nobody used is void."""
        ended = self.ending(person, by=by)
        self._store.commit(ended).result()
        self.withdraw(person)
        return len(ended.changes) - 1

    def ending(self, person: PersonId, *, by: PersonId) -> Commit:
        """What ends the person's sessions, tokens and links. `withdraw` after it."""
        return Commit(
            entries=(self._people.entry(person, by=by, act="revoked"),),
            changes=(*(Put(key, None) for key in self._everything(person)), Add(_EPOCH + person, 1)),
        )

    def withdraw(self, person: PersonId) -> None:
        """Void what the person approved and nobody used: by now they would not be let in to approve it."""
        withdraw(self._store, self._clock, person, "somebody who approved it may not sign in or answer any more")

    def revoke(self, person: PersonId, *, by: PersonId, asked: Signed | None = None) -> int:
        """`end_all`, and take their password, which somebody else may know; how many sessions, tokens and links.

        `asked`: as of `link`.
        """
        keys = self._everything(person)
        account, version = self._read(_ACCOUNT + person, Account)
        entries = [self._people.entry(person, by=by, act="revoked")]
        changes = [Put(key, None) for key in keys]
        if account is not None and account.password:
            entries.append(self._people.entry(person, by=by, act="password-voided"))
            changes.append(Put(_ACCOUNT + person, msgspec.json.encode(Account(subject=account.subject))))
        conditions = [Unchanged(_ACCOUNT + person, version), *still(asked)]
        self._commit(entries, conditions, [*changes, Add(_EPOCH + person, 1)])
        self.withdraw(person)
        return len(keys)

    def _everything(self, person: PersonId) -> list[str]:
        """The cells of the person's sessions, tokens and links."""
        keys = [_SESSION + key for key, live in self._scan(_SESSION, Live).items() if live.person == person]
        keys += [_TOKEN + key for key, token in self._scan(_TOKEN, Token).items() if token.person == person]
        keys += [_LINK + key for key, link in self._scan(_LINK, Link).items() if link.person == person]
        return keys

    def _open(self, person: Person, how: How, epoch: int, preconditions: list[Unchanged], changes: list[Put]) -> str:
        known = self._people.find(person.id)
        if known is None or not known.person.active:
            raise Conflict("they may sign in no more", key=PREFIX + person.id)
        secret = secrets.token_urlsafe(32)
        key = _SESSION + digest_of(secret)
        now = self._clock.unix_us()
        over = [_SESSION + each for each, live in self._scan(_SESSION, Live).items() if self._over(live, now)]
        over += [_LINK + each for each, link in self._scan(_LINK, Link).items() if link.expires_us <= now]
        self._commit(
            [self._people.entry(person.id, by=person.id, act=f"signed-in-by-{how}")],
            [Unchanged(key, 0), Unchanged(_EPOCH + person.id, epoch), *preconditions],
            [Put(key, msgspec.json.encode(Live(person.id, how, now, now, epoch))), *changes]
            + [Put(each, None) for each in over if all(each != change.key for change in changes)],
        )
        return secret

    def _over(self, live: Live, now: int) -> bool:
        return now - live.seen_us >= self._idle or now - live.created_us >= self._lifetime

    # --- tokens

    def make_token(
        self,
        person: Person,
        name: str,
        roles: frozenset[ConsoleRole],
        lifetime: timedelta,
        *,
        epoch: int | None = None,
    ) -> str:
        """A token with those of the person's roles. Raises `OversightError` for others, or for a longer life.

        `epoch`: of the session that asks for it; `Conflict` when it is over.
        """
        epoch = self.epoch(person.id) if epoch is None else epoch
        if not name.strip() or len(name) > 80 or not name.isprintable():
            raise OversightError("a token has a name of 1 to 80 printable characters")
        if not roles or not roles <= set(person.console):
            raise OversightError("a token has at least one of your roles, and no other")
        if not timedelta(0) < lifetime <= MAX_TOKEN:
            raise OversightError(f"a token lives at most {MAX_TOKEN.days} days")
        secret = TOKEN_PREFIX + secrets.token_urlsafe(32)
        now = self._clock.unix_us()
        token = Token(person.id, name, tuple(sorted(roles)), now, now + _us(lifetime), epoch)
        key = _TOKEN + digest_of(secret)
        self._commit(
            [self._people.entry(person.id, by=person.id, act="token-made", until_us=token.expires_us)],
            [Unchanged(key, 0), Unchanged(_EPOCH + person.id, epoch)],
            [Put(key, msgspec.json.encode(token))],
        )
        return secret

    def token(self, secret: str) -> Signed | None:
        """Whose token it is; `None` when it is none, has expired, or its owner may sign in no more."""
        if not secret.startswith(TOKEN_PREFIX):
            return None
        key = digest_of(secret)
        token, _ = self._read(_TOKEN + key, Token)
        if token is None or self._clock.unix_us() >= token.expires_us or token.epoch != self.epoch(token.person):
            return None
        known = self._people.find(token.person)
        if known is None or not known.person.active:
            return None
        roles = frozenset(known.person.console) & frozenset(token.roles)
        return Signed(known.person, roles, "token", key, token.epoch, known.version)

    def tokens(self, person: PersonId) -> dict[str, Token]:
        """Their tokens, by hash, the one made last first."""
        epoch = self.epoch(person)
        theirs = ((key, token) for key, token in self._scan(_TOKEN, Token).items() if token.person == person)
        found = ((key, token) for key, token in theirs if token.epoch == epoch)
        return dict(sorted(found, key=lambda each: each[1].created_us, reverse=True))

    def end_token(self, key: str, *, person: PersonId, by: PersonId) -> bool:
        """Revoke one of the person's tokens; False when there is no such."""
        token, version = self._read(_TOKEN + key, Token)
        if token is None or token.person != person:
            return False
        self._commit(
            [self._people.entry(person, by=by, act="token-revoked")],
            [Unchanged(_TOKEN + key, version)],
            [Put(_TOKEN + key, None)],
        )
        return True

    # --- cells

    def _read(self, key: str, kind: type[_T]) -> tuple[_T | None, int]:
        cell = self._store.read([key]).get(key)
        return (None, 0) if cell is None else (_decoded(cell, kind), cell.version)

    def _scan(self, prefix: str, kind: type[_T]) -> dict[str, _T]:
        return {key[len(prefix) :]: _decoded(cell, kind) for key, cell in self._store.scan(prefix).items()}

    def _commit(self, entries: list[Entry], preconditions: list[Unchanged], changes: Sequence[Put | Add]) -> None:
        commit = Commit(entries=tuple(entries), preconditions=tuple(preconditions), changes=tuple(changes))
        self._store.commit(commit).result()

    def _verify(self, hashed: str, password: str) -> bool:
        with self._hashing:
            try:
                return self._hasher.verify(hashed, password[: MAX_PASSWORD * 4])
            except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
                return False

    def _strong(self, password: str, person: Person) -> None:
        if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
            raise OversightError(f"a password has {MIN_PASSWORD} to {MAX_PASSWORD} characters")
        known = [person.id, person.name, person.email, "fiducial"]
        # It can take a second, and others wait meanwhile: one at a time.
        if not self._judging.acquire(timeout=_PATIENCE):
            raise OversightError("several passwords are being set at once; try again in a moment")
        try:
            # What follows these characters can only make a password stronger.
            score = zxcvbn(password[:JUDGED], user_inputs=[word for word in known if word])["score"]
        finally:
            self._judging.release()
        if score < STRENGTH:
            raise OversightError(
                "that password is too easily guessed; take several uncommon words, or let a manager make it"
            )


def _decoded(cell: Cell, kind: type[_T]) -> _T:
    try:
        return msgspec.json.decode(cell.value, type=kind)
    except msgspec.MsgspecError as error:
        raise StoreError("a cell of the console cannot be read; restore the database from a backup") from error


def _us(duration: timedelta) -> int:
    return duration // timedelta(microseconds=1)


__all__ = ["CONSOLE", "Account", "Accounts", "How", "Live", "Signed", "Token", "digest_of", "still"]
