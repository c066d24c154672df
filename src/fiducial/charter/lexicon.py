"""English for reading tools: which verbs act how, which nouns are what, and by what words people ask.

Plain data, and nothing that is particular to one product, server or benchmark. Words are singular and lower-case.
`fiducial.charter.words` cuts names and sentences into such words; `fiducial.charter.infer` draws conclusions.
"""

from __future__ import annotations

from fiducial.charter.contracts import Effect, Kind


def words_of(text: str) -> frozenset[str]:
    """The words of `text`, which are separated by spaces."""
    return frozenset(text.split())


_READ, _REV, _COMP, _IRR = Effect.READ, Effect.REVERSIBLE, Effect.COMPENSABLE, Effect.IRREVERSIBLE

_VERBS: tuple[tuple[Kind, Effect, str], ...] = (
    (
        Kind.READ,
        _READ,
        "access aggregate analyse analyze audit browse calculate capture cat check classify collect compare compute "
        "confirm convert count crawl curl decode describe detect determine diff discover display download echo "
        "encode enumerate estimate evaluate examine expand explain explore export extract fetch filter find format "
        "gather geocode get glob goto grep hash head hover identify inspect introspect lint list load look "
        "lookup ls match measure monitor navigate observe obtain outline parse peek ping poll predict preview "
        "pwd query quote rank read reason recall recommend retrieve return scan scrape screenshot "
        "scroll search see select show simulate sleep snapshot sort stat suggest summarise summarize tabulate tail "
        "think tokenize traceroute track translate traverse tree validate verify view visit wait watch wc "
        "weigh whoami whois",
    ),
    (
        Kind.CREATE,
        _REV,
        "append clone copy draft duplicate fork init log memorize mkdir note remember save stash store touch",
    ),
    (
        Kind.CREATE,
        _COMP,
        "add attach backup build commit compose compress create define enqueue generate import initialize insert "
        "instantiate make new open place produce provide provision put record register render review upload write zip",
    ),
    (
        Kind.UPDATE,
        _REV,
        "archive assign checkout close disable enable flag follow label like lock mark move mute mv pause pin react "
        "reassign rename reopen reorder resolve restore resume snooze stage star subscribe switch tag toggle turn "
        "unarchive unassign unfollow unlike unmute unpin unstage unstar unsubscribe untag",
    ),
    (
        Kind.UPDATE,
        _COMP,
        "acknowledge activate adjust apply change choose complete configure connect decline decrement disconnect "
        "dismiss downgrade edit escalate extend fill finalize finish fulfil fulfill hang increment input join leave "
        "link modify patch play print process pull rate reactivate refresh reject renew reschedule revert rotate "
        "scale set swap sync synchronize transition unzip update upgrade upsert vote",
    ),
    (
        Kind.UPDATE,
        _IRR,
        "accept approve overwrite replace reset",
    ),
    (
        Kind.DELETE,
        _REV,
        "trash",
    ),
    (
        Kind.DELETE,
        _IRR,
        "abort cancel clean clear del delete destroy discard drop empty erase expunge flush prune purge remove rm "
        "rmdir terminate truncate uninstall unlink void wipe",
    ),
    (
        Kind.SEND,
        _IRR,
        "alert call communicate contact deliver dial dispatch dm email fax forward greet inform mail message notify "
        "nudge page phone relay remind reply report respond ring send sms submit tell text transmit warn",
    ),
    (
        Kind.PUBLISH,
        _IRR,
        "announce blog broadcast comment crosspost post publish retweet syndicate toot tweet",
    ),
    (
        Kind.PAY,
        _IRR,
        "bid buy charge deposit donate invest pay payout purchase refund reimburse remit repay sell settle stake "
        "tip topup trade transfer wire withdraw",
    ),
    (
        Kind.BOOK,
        _COMP,
        "book hire order prebook rent request reserve rsvp schedule",
    ),
    (
        Kind.GRANT,
        _REV,
        "unlock",
    ),
    (
        Kind.GRANT,
        _IRR,
        "allow allowlist authorise authorize delegate elevate grant invite onboard permit promote share whitelist",
    ),
    (
        Kind.REVOKE,
        _COMP,
        "ban blacklist block deactivate demote deny evict expel freeze kick restrict revoke suspend unfriend "
        "uninvite unshare",
    ),
    (
        Kind.AUTHENTICATE,
        _REV,
        "authenticate login logout reauthenticate signin signout",
    ),
    (
        Kind.DEPLOY,
        _IRR,
        "deploy merge push redeploy release rollback rollout ship undeploy",
    ),
    (
        Kind.EXECUTE,
        _IRR,
        "automate bash click compile drag eval exec execute inject install interact invoke kill launch press python "
        "reboot restart run shell shutdown spawn start stop sudo tap trigger type",
    ),
)

VERBS: dict[str, tuple[Kind, Effect]] = {
    verb: (kind, effect) for kind, effect, verbs in _VERBS for verb in verbs.split()
}
"""Verb → kind and effect of the act, before the object refines them."""

NOUN_VERBS = words_of(
    "access address alert apply archive backup ban bash bid block blog book branch build call cancel capture change "
    "charge check checkout clean clear click close comment commit complete contact copy count deposit diff dispatch "
    "display download draft echo email empty export extend fax filter finish flag follow fork format hash head hire "
    "import input install invest invite issue label like link list load lock log mail mark match measure merge "
    "message monitor move new note notification open order page patch pause phone pin place play post press preview "
    "process project purchase push python query quote rank rate record refund register release renew rent replace "
    "reply report request reset restore resume review ring run save scale scan schedule screenshot search select "
    "set share shell sleep snapshot sort stage stake star start stat stop store summary swap switch sync tag tail "
    "test text tip track trade transfer transition trash tree turn tweet type update upload view vote watch wire"
)
"""Verbs that are nouns or adjectives as well: verbs only where an act stands."""

LIGHT = words_of(
    "carry do execute generate give handle issue make manage perform place process produce provide run start take"
)
"""Verbs that say nothing by themselves in a description: `performs a search`, `takes a screenshot`."""

READ_NOUNS = words_of(
    "availability balance capability catalog catalogue count date definition detail directory doc documentation "
    "forecast health help history info information list menu metadata overview price quota rate result schema stat "
    "statistic status summary time timeline total usage version weather"
)
"""Nouns that say what is looked at when no verb stands beside them: `order_status`, `cart_total`."""

PHRASAL: dict[tuple[str, str], str] = {
    ("log", "in"): "login", ("sign", "in"): "login", ("log", "out"): "logout", ("sign", "out"): "logout",
    ("log", "off"): "logout", ("log", "into"): "login", ("sign", "up"): "register", ("check", "out"): "checkout",
    ("look", "up"): "lookup", ("roll", "back"): "rollback", ("roll", "out"): "rollout", ("top", "up"): "topup",
    ("pay", "out"): "payout", ("opt", "in"): "subscribe", ("opt", "out"): "unsubscribe", ("turn", "on"): "toggle",
    ("turn", "off"): "toggle", ("switch", "on"): "toggle", ("switch", "off"): "toggle", ("set", "up"): "configure",
    ("go", "to"): "navigate", ("shut", "down"): "shutdown", ("fill", "out"): "fill", ("fill", "in"): "fill",
    ("check", "in"): "reserve", ("un", "subscribe"): "unsubscribe", ("un", "share"): "unshare",
    ("dry", "run"): "preview",
        ("read", "only"): "readonly", ("who", "am"): "whoami", ("pull", "request"): "pullrequest",
    ("api", "key"): "apikey", ("access", "key"): "apikey", ("clean", "up"): "clean", ("back", "up"): "backup",
    ("get", "rid"): "delete", ("hand", "over"): "transfer", ("press", "key"): "press", ("credit", "card"): "creditcard",
}  # fmt: skip
"""Two words → the one verb or noun they make."""

# ── nouns ─────────────────────────────────────────────────────────────────────────────────────────────────────────

MESSAGES = words_of(
    "alert chat dm email fax gmail invitation letter mail message mms newsletter notification postcard reminder "
    "reply sms telegram text voicemail whatsapp"
)
MONEY = words_of(
    "bill btc cash charge creditcard crypto deposit donation eth fund money payment payout purchase refund salary "
    "tip token trade transaction transfer wage wire withdrawal"
)
PUBLIC = words_of(
    "announcement article blog facebook feed forum instagram linkedin medium page podcast post press reddit reel "
    "review site status story testimonial thread toot tweet twitter web webpage website wordpress youtube"
)
ACCESS = words_of(
    "access acl admin attendee collaborator editor follower guest member membership moderator owner ownership "
    "participant permission policy privilege role scope share sharing subscriber team user viewer visibility"
)
PEOPLE = words_of("admin attendee collaborator editor guest invitee member moderator participant user viewer")
SECRETS = words_of(
    "2fa apikey certificate credential key keypair mfa otp passcode passkey passphrase password pin recovery secret "
    "signature token totp"
)
BOOKINGS = words_of(
    "appointment booking cab car cruise delivery flight food hotel meal order pizza rental reservation restaurant "
    "ride room seat table taxi ticket tour train trip"
)
EVENTS = words_of("calendar call conference event meeting session webinar")
OWN = words_of(
    "alarm basket block board bookmark branch calendar card cart cell column contact cron dir directory doc "
    "document draft emoji entity event favorite favourite file filter folder index item key label list memory node "
    "note notebook observation page path playlist presentation project reaction record relation reminder row sheet "
    "shortcut slide spreadsheet tab table tag task template timer todo variable view window wishlist workspace "
    "worktree"
)
"""Things of one's own: making one is undone by removing it."""
STORED = words_of("attachment dir directory doc document file folder note record")
"""Things in which people save other things."""
CARTS = words_of("bag basket cart favorite favourite playlist queue watchlist wishlist")
SEEN_BY_OTHERS = words_of("announcement comment discussion gist issue pr pullrequest release review ticket")
"""Things whose making tells other people."""
GIT = words_of("branch commit git repo repository tag worktree")
DEPLOYABLE = words_of("branch mr pr pullrequest")
CODE = words_of("code command javascript js notebook program python query script shell snippet sql statement")

WRITTEN = words_of(
    "abstract alert answer article attachment bio block blog browser bug caption card cell chat code comment commit "
    "console content conversation description diff discussion dm doc document dom email entity epic feed feedback "
    "file form forum gist gmail html image inbox internet issue job knowledge link listing log mail memory mention "
    "message network news newsletter node note notebook notification observation page paper pdf photo podcast post "
    "pr pullrequest question readme release reply repo repository resource response resume review row rss "
    "screenshot sheet slack sms snapshot snippet spreadsheet story submission subtitle survey task text thread "
    "ticket transcript tweet url video voicemail web webpage website wiki"
)
"""What other people write, or what brings their writing along."""
RECORDS = words_of(
    "account address appointment attendance attendee availability balance basket bill booking branch bucket budget "
    "calendar capability car cart category channel charge cluster collection column config configuration contact "
    "container coordinate count coupon credit cuisine currency customer database date day deployment detail device "
    "dir direction directory discount dispute distance employee event exchange flight folder forecast guest health "
    "history holiday hotel hour iban id image_list index info information instance inventory invoice job_status key "
    "label leave license list location meeting member membership menu metadata metric model node_count number order "
    "org organization participant payment payout permission phone plan pod point price product profile project "
    "quota quote rate rating refund region reservation restaurant reward role room route salary schedule schema "
    "score seat sensor server service setting shift shipment size slot statement statistic stats status stock "
    "subscription table tag team ticker time timezone tool total tracking transaction uptime usage user version "
    "volume weather workspace zone"
)
"""What a system keeps about its own affairs: short values in it are its own."""
OUTWARD = words_of("client customer email external guest recipient sms telegram webhook whatsapp")

PREPOSITIONS = words_of(
    "about at between by during for from in into near of on per since through to under using via with within"
)

# ── what people say ───────────────────────────────────────────────────────────────────────────────────────────────

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
