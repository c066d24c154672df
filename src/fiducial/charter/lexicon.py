"""English for reading tools: which verbs act how, and which nouns are what.

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
    "access alert apply archive backup ban bash bid block blog book build call cancel capture change charge check "
    "checkout clean clear click close comment commit complete contact copy count deposit diff dispatch display "
    "download draft echo email empty export extend fax filter finish flag follow fork format hash head hire import "
    "input install invest invite label like link list load lock log mail mark match measure merge message monitor "
    "move new note open order page patch pause phone pin place play post press preview process purchase push python "
    "query quote rank rate record refund register release renew rent replace reply report request reset restore "
    "resume review ring run save scale scan schedule screenshot search select set share shell sleep snapshot sort "
    "stage stake star start stat stop store swap switch sync tag tail text tip track trade transfer transition trash "
    "tree turn tweet type update upload view vote watch wire"
)
"""Verbs that are nouns or adjectives as well: verbs only where an act stands."""

LIGHT = words_of(
    "carry do execute generate give handle issue make manage perform place process produce provide run start take"
)
"""Verbs that say nothing by themselves in a description: `performs a search`, `takes a screenshot`."""

SPEAKING = words_of("accept allow inform permit provide report respond tell warn")
"""Verbs by which descriptions tell of arguments and results: after the first verb they are no acts."""

SHAPING = words_of(
    "add adjust append apply assign attach block build call choose close comment communicate compile "
    "complete compose compress configure connect contact copy decline define dispatch draft drag duplicate enable "
    "escalate extend fill finalize finish follow format generate handle include initialize inject input "
    "instantiate interact join label leave light link log make mark merge name note open page pause pin place play "
    "press print process produce put rate react record refresh render request resolve resume review rotate "
    "scale set stage star start swap switch tag test tip touch turn type unzip vote"
)
"""Verbs that after the first one mostly tell how a result is found and put together, unless their object is `GRAVE`."""

TELLING = words_of(
    "abbreviate abstract accompany accumulate adapt adhere align alphabetize annotate answer appear approximate "
    "ascertain assemble assess assist assume autocomplete autodetect average avoid await base become begin behave "
    "belong benchmark bundle cache canonicalize capitalize categorize center chart chunk cite clarify cluster coerce "
    "collapse collate combine complement comprise concatenate concern condense conform consider consist contain "
    "contrast correlate correspond cover crop debounce debug decompress decrypt deduce dedupe deduplicate default "
    "demonstrate depend derive deserialize detail diagnose differ differentiate digest distill distinguish divide "
    "dump embed emulate encompass ensure equal exceed exclude exist expect express facilitate fail fall feature "
    "figure flatten fold forecast gain gauge give group guarantee guess guide have help highlight hint hit honor "
    "honour hypothesize ignore illustrate imply improve include incorporate indicate infer intend interleave "
    "interpolate interpret intersect involve isolate itemize iterate judge justify keep know lack last learn let "
    "leverage limit localize locate loop lowercase maintain map mask mean mention mimic minify minimize miss mix "
    "model name narrow need normalise normalize obfuscate occur offer omit originate output overlay paginate "
    "paraphrase pass permute pick pinpoint pivot plan plot point possess prefer prefix present preserve presume "
    "prettify probe profile project prompt propose prove punctuate quantify reach recap recognise recognize "
    "reconstruct redact refer refine reflect regard relate rely remain repeat rephrase represent reproduce require "
    "resample resemble reshape respect restate result reveal reword round sample satisfy say scope score seek seem "
    "segment serialize shape shorten showcase simplify sketch skip slice solve span specify spot standardize state "
    "stay stream stringify strip structure study sum supply support surface survey synthesise synthesize tally target "
    "test threshold throw time tolerate total trace transcribe transform transliterate transpose treat try uncover "
    "understand unify unpack unwrap uppercase use utilise utilize value vary vectorize visualise visualize walk want "
    "weight work wrap yield"
)
"""Further verbs, not in `VERBS`, by which descriptions tell of what is read and how: a tool that does these reads."""

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
GRAVE = PEOPLE | MONEY | ACCESS | SECRETS | DEPLOYABLE | words_of("appointment booking order reservation")
"""Objects with which a `SHAPING` verb is an act."""
RESULTS = words_of(
    "array chart dictionary embedding graph index json list map markdown object output overview plot "
    "preview report result snapshot string summary table thumbnail view"
)
"""What a tool that reads makes of what it has read."""

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

NAMED = (
    MESSAGES | PUBLIC | ACCESS | PEOPLE | SECRETS | BOOKINGS | EVENTS | OWN | STORED | GIT | CODE | RESULTS | WRITTEN
) | (RECORDS | READ_NOUNS)
"""What descriptions list as things that are read: `files and folders the user sees`."""

PREPOSITIONS = words_of(
    "about at between by during for from in into near of on per since through to under using via with within"
)
