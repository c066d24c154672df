"""What a tool's parameters mean: role, unit, entity and data classes, read from their names and descriptions.

In a tool that only reads, every parameter is an option (what it filters by), except the address that a fetch reads.
In a tool that changes something, the words of the name decide, then those of the description:

    target     recipients, addresses, ids, paths, accounts, channels, users, hosts ...: where or on whom it acts
    magnitude  amounts, quantities, dates and times
    content    what is written, sent or run
    option     flags, choices from a list, paging and formatting; one-time codes and passwords that sign in

An object, or a list of them, has the worst role among its own and its members': a guard judges an argument as a whole.

Text that nothing explains is taken for a target, and so, in a tool with no other, is an object of which nothing is
told: a value of which it is not known what it does is better asked about than let through.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from fiducial.charter.acts import Act
from fiducial.charter.contracts import Effect, Kind, Role
from fiducial.charter.lexicon import words_of
from fiducial.charter.money import EXPONENTS
from fiducial.charter.openapi import pointed
from fiducial.charter.simplify import MAX_DEPTH
from fiducial.charter.words import name_words, text_words

_ENTITIES: tuple[tuple[str, frozenset[str]], ...] = (
    ("email", words_of("email mail recipient to cc bcc attendee participant invitee guest forward mailto addressee")),
    ("url", words_of("url uri link href website webpage webhook endpoint callback")),
    ("host", words_of("host hostname domain server ip zone subdomain")),
    ("path", words_of("path file filename filepath dir directory folder source destination dest src dst cwd archive")),
    ("phone", words_of("phone telephone mobile msisdn whatsapp")),
    ("account", words_of("account iban bic swift wallet payee beneficiary routing card creditcard username login "
                         "handle")),
    ("channel", words_of("channel chat room conversation group team workspace space thread server")),
    ("person", words_of("user member person assignee owner contact customer client patient employee candidate friend "
                        "follower collaborator principal reviewer author vendor supplier tenant approver doctor")),
)  # fmt: skip
_TARGETS = frozenset().union(*(found for _, found in _ENTITIES)) | words_of(
    "address app application asset attachment audience board booking branch bucket calendar campaign case charge "
    "charity city cluster collection comment company container course database deployment device doc document "
    "dropoff element entity epic event filter flight folder form guid hotel id identifier image instance intent "
    "invoice issue item job key label list listing location lock merchant message name namespace node number object "
    "order org organization package page parent payment permission pickup place playlist pod policy position pr "
    "product project property pullrequest queue record ref repo report repository reservation resource restaurant "
    "role row rule scope seat selector service sheet shop site sku slug spreadsheet sprint store story stream "
    "subscription survey symbol table tag target task ticker ticket token topic transaction uuid vehicle volume "
    "workflow"
)
_TIMES = words_of(
    "after arrival before begin checkin checkout date datetime day deadline departure due end expiration expiry "
    "from_date hour minute month schedule start time timestamp timezone_offset until week when year"
)
_MONEYS = words_of("amount balance bid budget cost dollar eur fee payment price salary sum tip total usd value")
_COUNTS = words_of(
    "adult child copy count guest item night num party party_size qty quantity repeat replica retry room seat share "
    "shares size step threshold ticket unit"
)
_QUANTITIES = words_of(
    "brightness distance dose duration frequency height index interval latitude length level limit longitude "
    "percent percentage point position radius rate rating score speed temperature threshold timeout volume weight "
    "width"
)
_CONTENTS = words_of(
    "agenda alt answer args argument attachment avatar bio block body bodytext caption cell change children code "
    "column command comment content cover criteria criterion cv data description detail diagnosis diff display "
    "document documents drug edit entities env essay expression fact feedback field first firstname fullname function "
    "greeting header headline html input insert instruction label_text last lastname letter manifest markdown memo "
    "message metadata nickname note object observation option param parameter patch pattern payload pipeline prompt "
    "property query question reason records replace reply resolution response resume review script set settings "
    "signature sql statement story string subject summary symptom template text thought title transcript tweet update "
    "value"
)
_OPTIONS = words_of(
    "algorithm align alignment ascending background basis category charset class codec color colour comparator "
    "compression confirm consistency contrast coupon currency cursor delimiter descending direction discount draft "
    "dry emoji encoding engine exclude fields filter font force format framework frequency gender include indent kind "
    "lang language layout level license limit locale max merge method mime mimetype min mode model offset option "
    "orientation overwrite page per plan precision prefix preset priority private promo protocol public quality "
    "reaction recursive separator severity shipping side size sort state status strategy style submit suffix "
    "temperature theme tier timezone tone type unit urgency verbose version voice window"
)
_SECRETS = words_of("2fa captcha code credential mfa otp passcode passphrase password pin secret token totp")
_CODES = words_of(
    "area country coupon currency discount error language postal promo promotion referral status voucher zip"
)
"""Words before `code` that make it a choice; alone it is what is run."""
_PLACES = words_of("address city country location place postcode street venue")
_PAGING = words_of("cursor limit max min offset page per retry timeout")

_CLASSES: tuple[tuple[str, frozenset[str]], ...] = (
    ("credentials", words_of("password passcode passphrase otp pin totp credential mfa")),
    ("secrets", words_of("secret apikey privatekey connectionstring")),
    ("payment", words_of("iban cvv cvc creditcard cardnumber card bic swift routing")),
    ("identity", words_of("passport ssn birthdate birthday dob nationalid licence license")),
    ("contact", words_of("phone telephone mobile")),
    ("health", words_of("diagnosis prescription symptom medication drug allergy treatment")),
)
_ENVELOPES = words_of("arg argument body data input json param parameter payload request")
"""Names of objects that say nothing about what is in them."""
_WORST = (Role.OPTION, Role.CONTENT, Role.MAGNITUDE, Role.TARGET)
"""Roles; a later one is asked more about."""
_MOST_SCHEMAS = 2_000
"""Most schemas of one parameter that are looked at."""
_ELSEWHERE = frozenset({"url", "email", "recipient", "destination", "dest", "target"})
"""Words of places that need not be one's own."""
_KEEPING = ("download", "export")
"""Verbs of a read whose result is kept in a place of one's own."""
_SYMBOLS: dict[str, str] = {"$": "USD", "€": "EUR", "£": "GBP", "¥": "JPY", "₹": "INR", "dollar": "USD", "euro": "EUR"}


class Meaning(msgspec.Struct, frozen=True):
    """What one parameter means."""

    role: Role
    unit: str | None = None
    entity: str | None = None
    classes: tuple[str, ...] = ()


class _Member(msgspec.Struct, frozen=True):
    """What an object in a parameter may hold, at any depth."""

    name: str
    schema: Mapping[str, Any]


def meanings(act: Act, parameters: Mapping[str, Mapping[str, Any]], root: Mapping[str, Any]) -> dict[str, Meaning]:
    """What each of `parameters` (name → JSON Schema, found in the document `root`) means in a tool that does `act`."""
    members = {name: _members(schema, root) for name, schema in parameters.items()}
    found = {name: _whole(act, name, _followed(schema, root), members[name]) for name, schema in parameters.items()}
    kept = act.kind is Kind.CREATE and act.verb in _KEEPING
    if act.effect is Effect.READ or kept or act.kind is Kind.AUTHENTICATE:
        return found
    if not any(one.role is Role.TARGET for one in found.values()):  # nothing says where it acts
        for name, schema in parameters.items():
            if _unknown(act, name, _followed(schema, root), members[name] or []):
                found[name] = Meaning(Role.TARGET, entity=found[name].entity, classes=found[name].classes)
    return found


def _whole(act: Act, name: str, schema: Mapping[str, Any], members: list[_Member] | None) -> Meaning:
    """What a parameter means, by its own name and by those of its members (`None`: too many to tell)."""
    own = _meaning(act, name, schema)
    if members is None:
        return own if act.effect is Effect.READ else Meaning(Role.TARGET, classes=own.classes)
    if not members:
        return own
    every = [own, *(_meaning(act, member.name, member.schema) for member in members)]
    role = max((one.role for one in every), key=_WORST.index)
    entities = {one.entity for one in every if one.role is role and one.entity is not None}
    classes = tuple(dict.fromkeys(held for one in every for held in one.classes))
    return Meaning(role, None, entities.pop() if len(entities) == 1 else None, classes)


def _members(schema: Mapping[str, Any], root: Mapping[str, Any]) -> list[_Member] | None:
    """What the objects in a value may hold; `None` when that is too much to look at."""
    found: list[_Member] = []
    seen: set[int] = set()
    rest: list[Mapping[str, Any]] = [schema]
    while rest:
        one = rest.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if len(seen) > _MOST_SCHEMAS:
            return None
        properties = one.get("properties")
        for name, member in properties.items() if isinstance(properties, Mapping) else ():
            found.append(_Member(str(name), _followed(member, root)))
            rest += _sequence(member)
        for key in ("items", "prefixItems", "additionalProperties", "anyOf", "oneOf", "allOf"):
            rest += _sequence(one.get(key))
        if isinstance(one.get("$ref"), str):
            rest += _sequence(pointed(one["$ref"], root))
    return found


def _followed(schema: object, root: Mapping[str, Any]) -> Mapping[str, Any]:
    """`schema` with what it refers to in `root` (a few references on at most); what stands beside one counts more."""
    found: Mapping[str, Any] = schema if isinstance(schema, Mapping) else {}
    for _ in range(8):
        reference = found.get("$ref")
        if not isinstance(reference, str):
            break
        target = pointed(reference, root)
        beside = {key: value for key, value in found.items() if key != "$ref"}
        found = {**(target if isinstance(target, Mapping) else {}), **beside}
    return found


def _meaning(act: Act, name: str, schema: Mapping[str, Any]) -> Meaning:
    """What a value of that name and schema means."""
    words = name_words(name)
    described = text_words(str(schema.get("description", "")))[:12]
    types = _types(schema)
    entity = _entity(words, described)
    classes = classes_of(words, described)
    if act.kind is Kind.FETCH and entity in ("url", "host"):
        return Meaning(Role.TARGET, entity="url", classes=classes)
    if act.effect is Effect.READ or act.kind is Kind.READ:
        return Meaning(Role.OPTION, entity=entity, classes=classes)
    if types <= {"boolean"} or "enum" in schema or "const" in schema:
        return Meaning(Role.OPTION)
    secret = bool(set(words) & _SECRETS) and entity != "account"
    if act.kind is Kind.AUTHENTICATE:
        signs_in = secret or not entity
        return Meaning(Role.OPTION if signs_in else Role.TARGET, entity=None if signs_in else entity, classes=classes)
    if act.kind is Kind.CREDENTIAL and secret:
        old = bool(set(words) & {"old", "current", "previous", "existing", "otp", "code"})
        return Meaning(Role.OPTION if old else Role.TARGET, entity=None if old else "password", classes=classes)
    role, unit = _role(act, words, described, types, schema)
    if role is Role.TARGET and entity is None:
        entity = "id" if words[-1:] and words[-1] in ("id", "key", "uuid", "number", "slug") else None
    return Meaning(role, unit, entity if role in (Role.TARGET, Role.OPTION) else None, classes)


def _role(
    act: Act, words: list[str], described: list[str], types: frozenset[str], schema: Mapping[str, Any]
) -> tuple[Role, str | None]:
    """The role and unit by the name's last telling word, then by the description's first."""
    numeric = bool(types) and types <= {"integer", "number"}
    present = set(words)
    if act.kind is Kind.CREATE and act.verb in _KEEPING and not present & _ELSEWHERE:
        return Role.OPTION, None  # a read that is kept: which one, and in which folder of one's own
    if "code" in present and (present & _CODES or (len(words) > 1 and act.kind is not Kind.EXECUTE)):
        return Role.OPTION, None
    if act.kind in (Kind.CREATE, Kind.UPDATE) and _personal(words):
        return Role.CONTENT, None
    if words and words[-1] in ("label", "tag", "hashtag"):
        return Role.OPTION, None
    if _records(schema):
        return Role.CONTENT, None
    if words and words[-1] in ("id", "uuid", "guid", "slug", "key", "url", "uri", "path", "iban", "address", "email"):
        return (Role.TARGET, None) if "idempotency" not in present else (Role.OPTION, None)
    if present & {"recipient", "to", "cc", "bcc"} and not numeric:
        return Role.TARGET, None
    if _dated(words, schema) and not numeric:
        return Role.MAGNITUDE, "time"
    if present & _PAGING and numeric:
        return Role.OPTION, None
    if numeric and present & _MONEYS:
        return Role.MAGNITUDE, _currency(words, described, schema)
    if numeric and present & _COUNTS and not present & {"id", "number"}:
        return Role.MAGNITUDE, "items"
    if numeric and words and words[-1] in ("number", "no", "num") and len(words) > 1:
        return Role.TARGET, None
    if numeric:
        return Role.MAGNITUDE, "time" if present & _TIMES else None
    for word in reversed(words):
        if word in _CONTENTS and not (word in ("message", "comment", "document") and words[-1] in ("id", "ts")):
            return Role.CONTENT, None
        if word in ("name", "names"):
            return _named(act, words), None
        if word in _OPTIONS and not (word in _TARGETS and len(words) > 1 and words[-1] in _TARGETS):
            return Role.OPTION, None
        if word in _TARGETS:
            return Role.TARGET, None
        if word in _MONEYS | _COUNTS | _QUANTITIES:
            return Role.MAGNITUDE, _currency(words, described, schema) if word in _MONEYS else None
    if types <= {"object"} or "object" in types:
        return Role.CONTENT, None
    for word in described:
        if word in _SECRETS:
            break
        if word in _CONTENTS:
            return Role.CONTENT, None
        if word in _TARGETS and word not in ("name", "number", "list", "key", "value"):
            return Role.TARGET, None
    return (Role.TARGET if _unexplained(words, schema) else Role.OPTION), None


def _personal(words: list[str]) -> bool:
    """What a record holds about a person or thing, rather than where the tool acts: a street, a passport's number."""
    place = bool(words) and words[-1] in _PLACES and not {"email", "ip", "wallet", "mail"} & set(words)
    return place or classes_of(words, []) == ("identity",)


def _records(schema: Mapping[str, Any]) -> bool:
    """A list of objects: what is written, not where."""
    members = [schema, *(one for key in ("anyOf", "oneOf") for one in _sequence(schema.get(key)))]
    return any("object" in _types(one["items"]) for one in members if isinstance(one.get("items"), Mapping))


def _sequence(value: object) -> list[Mapping[str, Any]]:
    """The schemas in a keyword's value, which is one or a list of them."""
    found = value if isinstance(value, (list, tuple)) else (value,)
    return [one for one in found if isinstance(one, Mapping)]


def _named(act: Act, words: list[str]) -> Role:
    """A name is what is written when something is made, and whom or what it is about otherwise."""
    made = act.kind in (Kind.CREATE, Kind.UPDATE, Kind.CREDENTIAL)
    if {"first", "last", "full", "new", "display", "nick", "middle", "company"} & set(words):
        return Role.CONTENT
    return Role.CONTENT if made and act.kind is not Kind.UPDATE and len(words) == 1 else Role.TARGET


def _dated(words: list[str], schema: Mapping[str, Any]) -> bool:
    return bool(set(words) & _TIMES) or schema.get("format") in ("date", "date-time", "time")


def _unknown(act: Act, name: str, schema: Mapping[str, Any], members: list[_Member]) -> bool:
    """Text that is only guessed to be an option, also inside an object; an object of which nothing is told."""
    if not members and _types(schema) & {"object", "any"} and set(name_words(name)) <= _ENVELOPES:
        return True
    return any(
        _meaning(act, one.name, one.schema).role is Role.OPTION and _unexplained(name_words(one.name), one.schema)
        for one in (_Member(name, schema), *members)
    )


def _unexplained(words: list[str], schema: Mapping[str, Any]) -> bool:
    """Text, or a list, that is no known option: it may well name a person, a place or a right."""
    if {"enum", "properties"} & schema.keys() or not _types(schema) & {"string", "array", "any"}:
        return False
    return not set(words) & (_OPTIONS | _SECRETS | _PAGING)


def _types(schema: Mapping[str, Any], depth: int = 0) -> frozenset[str]:
    """The types a schema names at its top, `null` left out; `any` when it names none, or buries them too deep."""
    named = schema.get("type")
    if isinstance(named, str):
        return frozenset({named}) - {"null"}
    if isinstance(named, (list, tuple)):
        return frozenset(one for one in named if isinstance(one, str)) - {"null"}
    found: set[str] = set()
    for keyword in ("anyOf", "oneOf", "allOf"):
        members = schema.get(keyword)
        for member in members if isinstance(members, (list, tuple)) and depth < MAX_DEPTH else ():
            found |= _types(member, depth + 1) if isinstance(member, Mapping) else set()
    return frozenset(found) or frozenset({"any"})


def _entity(words: list[str], described: list[str]) -> str | None:
    """What the value names, by the name's last telling word, else by an unmistakable one of the description."""
    banked = {"iban", "account", "wallet"} & set(described) or {"wallet", "iban", "payee", "beneficiary"} & set(words)
    if banked and words and words[-1] in ("recipient", "to", "address", "payee", "beneficiary", "handle"):
        return "account"
    for word in reversed(words):
        for entity, known in _ENTITIES:
            if word in known and word not in ("to", "from", "source", "destination", "forward", "card", "contact"):
                if words[-1] in ("id", "uuid", "key") and entity not in ("account",):
                    return "id"
                return entity
    for word in described:
        for entity in ("email", "url", "iban", "path", "phone"):
            if word == entity:
                return "account" if entity == "iban" else entity
    return "id" if words and words[-1] in ("id", "uuid", "guid") else None


def _currency(words: list[str], described: list[str], schema: Mapping[str, Any]) -> str:
    """The currency that the name or description tells, else `money`."""
    text = str(schema.get("description", ""))
    for code in re.findall(r"\b[A-Z]{3}\b", text):
        if code in EXPONENTS:
            return str(code)
    for word in [*words, *described, *(symbol for symbol in "$€£¥₹" if symbol in text)]:
        if word in ("usd", "eur", "gbp", "jpy", "chf", "inr", "cad", "aud"):
            return word.upper()
        if word in _SYMBOLS:
            return _SYMBOLS[word]
    return "money"


def classes_of(words: list[str], described: list[str]) -> tuple[str, ...]:
    """Data classes of a value with that name: `new_password` holds credentials."""
    joined = {"".join(words), *("".join(words[i : i + 2]) for i in range(len(words) - 1))}
    found = [name for name, known in _CLASSES if known & ({*words} | joined)]
    if "account" in words and {"number", "no"} & set(words):
        found.append("payment")
    if ("id" in words and {"number", "national", "tax"} & set(words)) or {"birth", "date"} <= set(words):
        found.append("identity")
    if not found and "iban" in described:
        found.append("payment")
    return tuple(dict.fromkeys(found))
