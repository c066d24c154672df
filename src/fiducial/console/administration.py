"""Who may change people, and how: the same for the page and for programs.

Roles are given by somebody else: an administrator can neither give themselves more nor make themselves stand in for
somebody while there is another administrator who could. Every act is an event; a person who is made inactive is signed
out in the same breath.
"""

from __future__ import annotations

import msgspec

from fiducial.charter.model import BUILT_IN_ROLES
from fiducial.console.accounts import Signed, still
from fiducial.console.services import Services
from fiducial.core.ids import PersonId
from fiducial.core.store import Commit
from fiducial.errors import OversightError
from fiducial.oversight.people import Known, Person


def offered(services: Services) -> list[str]:
    """Roles of the charter; and what people have from another charter, so that a change does not take it away."""
    theirs = {role for known in services.people.all().values() for role in known.person.roles}
    return sorted({*BUILT_IN_ROLES, *services.charter.about.roles} - {"user"} | theirs)


def add(services: Services, person: Person, *, by: PersonId, asked: Signed | None = None) -> Known:
    """Make a person known.

    `asked`: who asks for it, when that is a request; `Conflict` when they were signed out or changed meanwhile. Raises
    `OversightError` for what is not as it has to be.
    """
    _known_roles(services, person)
    return services.people.add(person, by=by, also=Commit(preconditions=still(asked)))


def invite(services: Services, person: Person, *, asked: Signed) -> tuple[Known, str]:
    """As `add`, and by the same commit make the link by which they sign in the first time: its address."""
    _known_roles(services, person)
    by, lifetime = asked.person.id, services.settings.link
    secret, made = services.accounts.new_link(person.id, by=by, lifetime=lifetime, asked=asked)
    return services.people.add(person, by=by, also=made), services.link_address(secret)


def change(
    services: Services, was: Person, changed: Person, *, version: int, by: PersonId, asked: Signed | None = None
) -> Known:
    """Put `changed` in the place of `was`, read as `version`.

    `asked`: as of `add`. Raises `OversightError` for what is not as it has to be, `Conflict` when it has changed
    meanwhile. Whoever may answer in the console no more has not approved what nobody has used yet.
    """
    _known_roles(services, changed)
    gives = set(changed.roles) - set(was.roles) or set(changed.console) - set(was.console)
    if was.id == by and gives and _another_admin(services, by):
        raise OversightError("somebody else who is an administrator has to give you more roles")
    if _takes_over(was, changed, by) and _another_admin(services, by):
        raise OversightError("somebody else who is an administrator has to let you stand in for them")
    act = "changed"
    if set(was.roles) != set(changed.roles) or set(was.console) != set(changed.console):
        act = "roles"
    if was.active and not changed.active:
        act = "revoked"
    until = changed.absent_until_us or None
    also = services.accounts.ending(was.id, by=by) if act == "revoked" else Commit()
    also = msgspec.structs.replace(also, preconditions=still(asked))
    known = services.people.change(changed, version=version, by=by, act=act, until_us=until, also=also)
    if act == "revoked" or "approver" in set(was.console) - set(changed.console):
        services.accounts.withdraw(was.id)
    return known


def _takes_over(was: Person, changed: Person, me: PersonId) -> bool:
    """By that change I answer for more, or longer, in their place: for me that is as good as their roles."""
    return changed.delegate == me and (
        was.delegate != me
        or changed.absent_until_us > was.absent_until_us
        or bool(set(changed.roles) - set(was.roles))
        or (changed.active and not was.active)
    )


def _known_roles(services: Services, person: Person) -> None:
    if not set(person.roles) <= set(offered(services)):
        raise OversightError("that is not a role of the charter")


def _another_admin(services: Services, me: PersonId) -> bool:
    everybody = services.people.all().values()
    return any("admin" in each.person.console and each.person.active and each.person.id != me for each in everybody)


__all__ = ["add", "change", "invite", "offered"]
