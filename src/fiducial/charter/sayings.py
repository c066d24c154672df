"""English for what people ask for: by what words they name an act, and what it acts on.

Plain data, and nothing that is particular to one product, server or benchmark. Keys are verbs and nouns of the
`lexicon`; `phrases` puts the words together.
"""

from __future__ import annotations

from fiducial.charter.contracts import Kind
from fiducial.charter.lexicon import words_of

SAY: dict[str, str] = {
    "accept": "accept approve confirm",
    "add": "add include put append",
    "append": "append add write extend",
    "apply": "apply use",
    "approve": "approve accept confirm sign",
    "archive": "archive store",
    "assign": "assign give delegate",
    "book": "book reserve schedule arrange get",
    "buy": "buy purchase order rebuy reorder",
    "call": "call phone ring dial",
    "cancel": "cancel drop remove delete",
    "change": "change update set modify replace",
    "checkout": "checkout buy purchase order pay rebuy reorder",
    "clear": "clear empty remove delete",
    "click": "click press open select choose follow",
    "close": "close finish complete resolve",
    "comment": "comment reply write respond",
    "commit": "commit save push",
    "complete": "complete finish close mark",
    "configure": "configure set change",
    "copy": "copy duplicate clone",
    "create": "create make add write new prepare draft save",
    "delete": "delete remove erase clear",
    "deploy": "deploy release ship roll publish",
    "donate": "donate give",
    "download": "download save get fetch store",
    "draft": "draft write compose prepare",
    "edit": "edit change modify update fix rewrite",
    "email": "email send write mail forward reply",
    "execute": "execute run start",
    "fill": "fill enter complete submit register apply subscribe",
    "follow": "follow subscribe",
    "forward": "forward send share",
    "generate": "generate create make produce draw",
    "grant": "grant give allow share",
    "install": "install set",
    "invite": "invite add include onboard",
    "kick": "kick remove ban",
    "like": "like favorite star",
    "lock": "lock secure",
    "login": "login sign log account",
    "logout": "logout sign log",
    "mail": "mail email send write",
    "mark": "mark flag label set",
    "merge": "merge land integrate",
    "message": "message send write tell text",
    "move": "move put transfer relocate rename",
    "notify": "notify tell inform alert message",
    "order": "order buy purchase get reorder rebuy",
    "pay": "pay settle transfer send",
    "post": "post publish write share send put say announce",
    "publish": "publish post release share",
    "purchase": "purchase buy order rebuy reorder",
    "push": "push commit upload publish",
    "rate": "rate review score",
    "react": "react add",
    "refund": "refund return reimburse",
    "remember": "remember save note keep",
    "remove": "remove delete take drop exclude clear",
    "rename": "rename call name change",
    "rent": "rent book hire reserve",
    "replace": "replace change swap update",
    "reply": "reply respond answer write",
    "reschedule": "reschedule move postpone shift change delay",
    "reserve": "reserve book schedule get",
    "reset": "reset change set",
    "restart": "restart reboot",
    "restore": "restore recover undo",
    "revoke": "revoke remove withdraw stop",
    "run": "run execute start launch test build",
    "save": "save store keep write",
    "schedule": "schedule book arrange plan create organize set",
    "send": "send forward write reply respond post message",
    "set": "set change update adjust",
    "share": "share give send grant",
    "start": "start launch run begin",
    "stop": "stop end halt",
    "store": "store save keep remember",
    "submit": "submit send fill enter hand register apply subscribe",
    "subscribe": "subscribe follow join",
    "toggle": "turn switch set enable disable",
    "topup": "top recharge add load",
    "transfer": "transfer send move wire pay",
    "tweet": "tweet post share",
    "type": "type enter fill write search",
    "unlock": "unlock open",
    "update": "update change edit modify correct",
    "upload": "upload put send store",
    "verify": "verify confirm verification otp code",
    "vote": "vote choose",
    "withdraw": "withdraw take get",
    "write": "write save create put update edit",
}
"""Verb of a tool → the verbs by which people ask for it; a verb that is not here stands for itself."""

SAY_KIND: dict[Kind, str] = {
    Kind.CREATE: "create make add write new save",
    Kind.UPDATE: "update change edit modify add put",
    Kind.DELETE: "delete remove clear cancel",
    Kind.SEND: "send write forward reply respond post message",
    Kind.PUBLISH: "publish post share write",
    Kind.PAY: "pay send transfer wire settle",
    Kind.BOOK: "book reserve order schedule arrange get",
    Kind.GRANT: "add invite share grant give include allow",
    Kind.REVOKE: "remove revoke ban kick withdraw",
    Kind.CREDENTIAL: "change update set reset create new rotate replace",
    Kind.DEPLOY: "deploy release ship publish apply",
    Kind.EXECUTE: "run execute start",
}
"""Verbs by which people ask for a kind of act, when the tool's own verb says little (`create_payment`)."""

GENERIC = words_of(
    "add change complete confirm create delete disable edit enable finalize generate initiate issue make modify new "
    "post process remove schedule send set submit update"
)
"""Verbs whose meaning is all in their object."""

ALONE = words_of(
    "archive book buy checkout delegate deploy donate download forward install invite merge pay postpone publish "
    "purchase rebuy refund register reimburse rename reorder reschedule reserve transfer tweet unsubscribe upload "
    "wire"
)
"""Verbs that ask by themselves, with no object named."""

THINGS: dict[str, str] = {
    "account": "account profile",
    "apikey": "key token api",
    "appointment": "appointment meeting visit",
    "attachment": "attachment file",
    "attendee": "attendee participant guest people",
    "booking": "booking reservation",
    "calendar": "calendar event meeting appointment schedule",
    "cart": "cart basket",
    "code": "code script program",
    "command": "command script",
    "comment": "comment reply remark",
    "contact": "contact person address number",
    "database": "database table data",
    "day": "day date today tomorrow",
    "dir": "directory folder",
    "directory": "directory folder",
    "discount": "discount coupon promotion code voucher offer",
    "doc": "doc document file",
    "document": "document file doc",
    "email": "email mail message",
    "event": "event meeting appointment calendar",
    "file": "file document",
    "flight": "flight ticket plane",
    "folder": "folder directory",
    "form": "form website page",
    "fund": "money fund payment amount",
    "hotel": "hotel room stay accommodation",
    "inbox": "inbox email mail message",
    "info": "info information details profile",
    "information": "information details info profile",
    "input": "form field",
    "invoice": "invoice receipt bill",
    "issue": "issue bug ticket problem",
    "item": "item product thing",
    "mail": "mail email message",
    "meeting": "meeting event appointment call",
    "member": "member user person",
    "message": "message note dm text",
    "money": "money payment amount sum rent bill dollar euro",
    "node": "node file folder directory",
    "note": "note memo",
    "order": "order purchase",
    "page": "page webpage website article document",
    "participant": "participant attendee guest people",
    "password": "password passcode credential",
    "payment": "payment money bill invoice rent",
    "permission": "permission access",
    "post": "post article",
    "pr": "pull pr",
    "product": "product item",
    "pullrequest": "pull pr",
    "query": "query sql data",
    "repo": "repo repository project",
    "repository": "repository repo project",
    "reservation": "reservation booking",
    "restaurant": "restaurant table dinner lunch",
    "review": "review feedback rating",
    "ride": "ride taxi cab car",
    "setting": "setting preference",
    "sms": "sms text message",
    "task": "task todo reminder",
    "ticket": "ticket issue request",
    "time": "time hour clock",
    "todo": "todo task",
    "transaction": "transaction payment transfer money bill rent",
    "transcript": "transcript video",
    "tweet": "tweet post",
    "url": "url link website webpage page site article",
    "user": "user account profile person member",
    "weather": "weather forecast temperature rain",
    "web": "web website page internet online",
    "webpage": "webpage website page site web",
    "website": "website webpage page site",
}
"""Noun of a tool → the nouns by which people name it; a noun that is not here stands for itself."""

SENT = (
    "it them summary report reminder invitation details information file invoice receipt copy link list update "
    "document question"
)
"""What people ask to send, beyond the message itself."""
WRITTEN_DOWN = "summary report list notes text"
"""What people ask to write, beyond the file itself."""
PLANNED = "lunch dinner call session visit reminder"
"""What people ask to put into a calendar."""

FETCH_WORDS = "website webpage page link article url site web visit browse open read blog"
"""Words by which people ask to read an address."""

SHOPPING = "buy purchase order rebuy reorder repurchase shop checkout exchange"
"""Acts that imply filling a cart, signing in and proving who one is."""
ACCOUNT_ACTS = f"{SHOPPING} refund return pay transfer book reserve verify verification confirm otp password"
"""Acts for which systems ask people to prove who they are."""
SIGNING_IN = ("log in", "sign in", "login", "account", "credentials", "username")
PROVING = ("verify", "verification", "confirm", "otp", "code", "one-time", "authenticate")
