"""English for reading tools: which verbs act how, which nouns are what, and by what words people ask.

Plain data, and nothing that is particular to one product, server or benchmark. Words are singular and lower-case.
`fiducial.charter.words` cuts names and sentences into such words; `fiducial.charter.infer` draws conclusions.
"""

from __future__ import annotations

from fiducial.charter.contracts import Effect, Kind


def words_of(text: str) -> frozenset[str]:
    return frozenset(text.split())


_READ, _REV, _COMP, _IRR = Effect.READ, Effect.REVERSIBLE, Effect.COMPENSABLE, Effect.IRREVERSIBLE

_VERBS: tuple[tuple[Kind, Effect, str], ...] = (
    (
        Kind.READ,
        _READ,
        "get list read search find lookup look view show check query describe count inspect retrieve browse explore scan "
        "monitor watch track compare calculate compute convert translate summarize summarise analyze analyse estimate "
        "predict classify validate parse format preview suggest recommend rank sort filter explain detect extract identify "
        "match measure diff whoami echo think wait sleep screenshot snapshot capture head tail cat ls grep glob stat tree "
        "peek see poll discover observe obtain recall review audit lint decode encode hash return display determine "
        "evaluate examine fetch load access select lookup geocode tokenize tell learn weigh provide gather collect "
        "aggregate tabulate enumerate resolve reason hover traverse crawl scrape visit navigate goto curl simulate quote "
        "expand download whois ping traceroute introspect outline verify confirm wc pwd export",
    ),
    (
        Kind.CREATE,
        _COMP,
        "create add make new insert write save store append record register draft generate compose build clone copy "
        "duplicate mkdir touch put upload import remember memorize note log capture enqueue attach commit fork init "
        "initialize define produce render open backup snapshot provision instantiate place compress zip",
    ),
    (
        Kind.UPDATE,
        _COMP,
        "update edit modify change set rename move mv patch replace adjust configure mark toggle enable disable archive "
        "unarchive pin unpin star unstar like unlike react follow unfollow subscribe unsubscribe label tag untag assign "
        "unassign reassign close reopen resume pause stash checkout restore revert sort reorder reschedule convert "
        "link unlink connect disconnect lock mute unmute snooze flag complete finish sync refresh upsert select "
        "increment decrement swap apply choose accept reject decline dismiss acknowledge approve transition resolve "
        "upgrade downgrade extend renew turn switch adjust fill join leave reply vote rate extract unzip stage unstage "
        "rotate synchronize escalate scale play finalize activate reactivate input fulfil fulfill process pull print hang",
    ),
    (
        Kind.DELETE,
        _IRR,
        "delete remove erase purge wipe drop truncate destroy clear clean empty discard unlink rm rmdir prune flush "
        "uninstall cancel void trash reset terminate abort withdraw expunge del",
    ),
    (
        Kind.SEND,
        _IRR,
        "send mail email message notify alert text sms dm reply forward respond fax call dial phone remind tell contact "
        "submit ring nudge page relay deliver dispatch transmit communicate inform warn greet report",
    ),
    (Kind.PUBLISH, _IRR, "publish post tweet retweet broadcast announce blog comment crosspost syndicate toot"),
    (
        Kind.PAY,
        _IRR,
        "pay buy purchase transfer wire donate charge refund remit withdraw deposit invest trade sell bid topup tip "
        "reimburse settle payout swap stake capture repay",
    ),
    (Kind.BOOK, _COMP, "book reserve schedule order rent hire rsvp prebook reorder request"),
    (
        Kind.GRANT,
        _IRR,
        "grant invite share permit authorize authorise allow onboard promote elevate delegate whitelist allowlist",
    ),
    (
        Kind.REVOKE,
        _COMP,
        "revoke unshare ban block kick suspend deactivate expel demote restrict uninvite evict deny blacklist unfriend freeze",
    ),
    (Kind.AUTHENTICATE, _REV, "login logout signin signout authenticate reauthenticate"),
    (
        Kind.DEPLOY,
        _IRR,
        "deploy redeploy merge push release rollback ship promote rollout publish undeploy",
    ),
    (
        Kind.EXECUTE,
        _IRR,
        "run execute exec eval invoke trigger launch start stop restart reboot shutdown kill spawn install "
        "click press type drag drop tap scroll submit interact inject automate bash shell python sudo compile",
    ),
)


def _table() -> dict[str, tuple[Kind, Effect]]:
    """Verb → what it does; a verb of several groups means the first, unless `_OVERRIDES` says otherwise."""
    table: dict[str, tuple[Kind, Effect]] = {}
    for kind, effect, verbs in _VERBS:
        for verb in verbs.split():
            table.setdefault(verb, (kind, effect))
    return table | _OVERRIDES


_OVERRIDES: dict[str, tuple[Kind, Effect]] = {
    **dict.fromkeys(
        "rename move mv mark toggle enable disable archive unarchive pin unpin star unstar like unlike react follow "
        "unfollow label tag untag assign unassign reassign close reopen pause resume stash restore mute unmute snooze "
        "flag turn switch lock subscribe unsubscribe select sort reorder checkout stage unstage".split(),
        (Kind.UPDATE, _REV),
    ),
    **dict.fromkeys(
        "append draft note log mkdir touch copy clone duplicate init fork stash save remember memorize store".split(),
        (Kind.CREATE, _REV),
    ),
    **dict.fromkeys("replace overwrite approve accept reset".split(), (Kind.UPDATE, _IRR)),
    "trash": (Kind.DELETE, _REV),
    "unlink": (Kind.DELETE, _IRR),
    "select": (Kind.READ, _READ),
    "sort": (Kind.READ, _READ),
    "resolve": (Kind.UPDATE, _REV),
    "register": (Kind.CREATE, _COMP),
    "promote": (Kind.GRANT, _IRR),
    "submit": (Kind.SEND, _IRR),
    "drop": (Kind.DELETE, _IRR),
    "capture": (Kind.READ, _READ),
    "withdraw": (Kind.PAY, _IRR),
    "reply": (Kind.SEND, _IRR),
    "unlock": (Kind.GRANT, _REV),
    "scroll": (Kind.READ, _READ),
    "hover": (Kind.READ, _READ),
    "extract": (Kind.READ, _READ),
    "convert": (Kind.READ, _READ),
}

VERBS: dict[str, tuple[Kind, Effect]] = _table()
"""Verb → kind and effect of the act, before the object refines them."""

NOUN_VERBS = words_of(
    "order post comment book message search list review request share transfer record schedule update report merge "
    "commit star fork label move query watch view email mail text call charge refund release contact alert note log "
    "page tip text phone fax trade stake bid vote rate draft copy backup sort filter tag flag link lock head tail tree "
    "match measure format preview load access quote address stage block ban label branch place mark change set rent "
    "hire run start stop click press type build push pin import upload download display snapshot screenshot capture "
    "test check track monitor scan shell python bash page store save reply notification reset install tweet blog wire "
    "deposit invite invest purchase import hash count sleep stat new open close empty clear clean complete switch turn "
    "select like follow rank summary pause resume sync patch swap cancel checkout archive replace register ring trash "
    "select diff echo export input process request scale play restore transition extend renew apply finish record project head issue dispatch page"
)
"""Verbs that are nouns or adjectives as well: verbs only where an act stands."""

LIGHT = words_of(
    "do perform make take provide execute run carry generate produce give handle manage place process start issue"
)
"""Verbs that say nothing by themselves in a description: `performs a search`, `takes a screenshot`."""

READ_NOUNS = words_of(
    "status history detail info information metadata count total summary list statistic stat overview result balance "
    "availability weather forecast time date schema version health documentation doc help definition usage quota "
    "capability timeline directory catalog catalogue menu price rate"
)
"""Nouns that say what is looked at when no verb stands beside them: `order_status`, `cart_total`."""

PHRASAL: dict[tuple[str, str], str] = {
    ("log", "in"): "login", ("sign", "in"): "login", ("log", "out"): "logout", ("sign", "out"): "logout",
    ("log", "off"): "logout", ("log", "into"): "login", ("sign", "up"): "register", ("check", "out"): "checkout",
    ("look", "up"): "lookup", ("roll", "back"): "rollback", ("roll", "out"): "rollout", ("top", "up"): "topup",
    ("pay", "out"): "payout", ("opt", "in"): "subscribe", ("opt", "out"): "unsubscribe", ("turn", "on"): "toggle",
    ("turn", "off"): "toggle", ("switch", "on"): "toggle", ("switch", "off"): "toggle", ("set", "up"): "configure",
    ("go", "to"): "navigate", ("shut", "down"): "shutdown", ("fill", "out"): "fill", ("fill", "in"): "fill",
    ("check", "in"): "reserve", ("un", "subscribe"): "unsubscribe", ("un", "share"): "unshare", ("dry", "run"): "preview",
    ("read", "only"): "readonly", ("who", "am"): "whoami", ("pull", "request"): "pullrequest",
    ("api", "key"): "apikey", ("access", "key"): "apikey", ("clean", "up"): "clean", ("back", "up"): "backup",
    ("hand", "over"): "transfer", ("press", "key"): "press", ("credit", "card"): "creditcard",
}  # fmt: skip
"""Two words → the one verb or noun they make."""

# ── nouns ─────────────────────────────────────────────────────────────────────────────────────────────────────────

MESSAGES = words_of(
    "email mail message dm sms text notification reminder letter newsletter gmail invitation fax voicemail whatsapp "
    "telegram chat reply alert postcard mms"
)
MONEY = words_of(
    "money payment fund charge payout refund transaction transfer donation deposit withdrawal cash crypto salary wage "
    "bill eth btc token wire tip purchase creditcard trade"
)
PUBLIC = words_of(
    "tweet post blog article web website webpage wordpress story reel review testimonial podcast thread status toot "
    "feed announcement press site page forum reddit facebook instagram linkedin twitter youtube medium"
)
ACCESS = words_of(
    "permission access role member membership collaborator participant attendee guest share privilege admin owner "
    "user viewer editor acl policy sharing visibility moderator subscriber follower team ownership scope"
)
PEOPLE = words_of("member collaborator participant attendee guest user admin moderator viewer editor invitee")
SECRETS = words_of(
    "password passcode passphrase credential secret apikey token otp mfa pin totp recovery 2fa key certificate passkey "
    "keypair signature"
)
BOOKINGS = words_of(
    "booking reservation appointment flight hotel ticket table ride seat room restaurant rental trip car taxi cab order "
    "delivery meal pizza food cruise train tour"
)
EVENTS = words_of("event meeting calendar conference webinar call session")
OWN = words_of(
    "file directory dir folder note draft list label playlist page document doc row record memory entity relation "
    "observation bookmark tag cell sheet column branch worktree node alarm timer reminder task todo card board index "
    "table item reaction emoji cart basket wishlist favorite favourite view filter event calendar slide spreadsheet cron shortcut "
    "notebook block presentation tab window template variable path key contact workspace project"
)
"""Things of one's own: making one is undone by removing it."""
STORED = words_of("file dir directory folder document doc note record attachment")
"""Things in which people save other things."""
CARTS = words_of("cart basket bag wishlist favorite favourite playlist watchlist queue")
SEEN_BY_OTHERS = words_of("issue comment pullrequest pr ticket discussion gist release review announcement")
"""Things whose making tells other people."""
GIT = words_of("git branch repo repository commit worktree tag")
DEPLOYABLE = words_of("pullrequest pr branch mr")
CODE = words_of("code script command sql shell python javascript js query statement program snippet notebook")

WRITTEN = words_of(
    "email mail inbox message dm sms chat thread conversation webpage website web url link internet news article page "
    "content text comment review issue ticket pullrequest pr commit diff code feed post tweet rss transcript notification "
    "feedback wiki document doc pdf attachment file resource snippet log discussion answer question forum blog gmail slack "
    "note reply mention newsletter repo repository readme gist video subtitle caption podcast html dom screenshot snapshot "
    "console network browser image photo submission form response survey memory knowledge observation entity node paper "
    "abstract block notebook sheet cell spreadsheet row card task story epic bug alert voicemail "
    "description job resume listing bio story release"
)
"""What other people write, or what brings their writing along."""
RECORDS = words_of(
    "account order invoice product balance transaction calendar event setting directory dir user profile contact member "
    "schedule booking reservation flight hotel restaurant weather forecast time date day price stock cart basket total "
    "discount coupon inventory customer subscription payment status metadata config configuration count size info "
    "information detail budget usage quota employee device sensor room availability rate currency exchange category "
    "folder label tag branch list channel team workspace project organization org role permission version location "
    "address coordinate distance route direction timezone holiday shipment tracking order iban plan bill statement "
    "history rating cuisine hour address phone number id menu appointment meeting slot ticker quote car seat "
    "permission stats statistic metric balance table schema column database index collection bucket key refund dispute "
    "payout charge salary leave shift attendance credit score point reward membership capability model tool server "
    "health uptime job_status health participant attendee guest license region zone node_count instance container pod "
    "volume cluster image_list service deployment"
)
"""What a system keeps about its own affairs: short values in it are its own."""
OUTWARD = words_of("email sms whatsapp telegram webhook customer client guest recipient external")

PREPOSITIONS = words_of(
    "in for of by from through via with on at to into about within under per using near between during since"
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
    "send create add make update set schedule complete submit process confirm post change remove delete generate enable "
    "disable issue initiate edit modify new finalize"
)
"""Verbs whose meaning is all in their object."""

ALONE = words_of(
    "pay buy purchase transfer wire donate refund reimburse invite tweet publish reserve book deploy merge rebuy "
    "checkout reorder reschedule postpone unsubscribe download upload forward delegate rename archive install register"
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

SENT = "it them summary report reminder invitation details information file invoice receipt copy link list update document question"
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
