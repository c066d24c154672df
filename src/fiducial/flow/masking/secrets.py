"""What signs somebody or something in, and what only a word before it tells: by its prefix, or by that word."""

from __future__ import annotations

import re

from fiducial.flow.masking.detector import LONGEST_KEY, LONGEST_QUOTED, UNSPACED, Detector, Found, always

_IS = r"[\"']?\s{0,3}(?:is\s?:?|[:=])\s{0,3}"
_IS_GIVEN = rf"{_IS}[\"'`]?"
_FOLLOWS = rf"(?:{_IS}|\s)[\"'`]?"
_SOLID = rf"[^\s\"'`,;{UNSPACED}]"
_PREDICATE_WORDS = "not the a an is required reset needed expired incorrect wrong invalid your changed correct"
_PREDICATES = frozenset(_PREDICATE_WORDS.split())
"""What follows `password is` without being one."""
_ANY_SOLID = r"[^\s\"'`,;]"
_WITH_DIGIT = r"(?=[0-9A-Za-z-]*[0-9])[0-9A-Za-z][0-9A-Za-z-]"


def _said(
    data_class: str,
    words: str,
    value: str,
    *,
    begins: str,
    longest: int,
    sure: bool = False,
    check: re.Pattern[str] | None = None,
) -> Detector:
    """A value that one of `words` comes before. `sure`: only with `is`, `:` or `=` between them.

    `begins`: RE2, what every such value begins with. `longest`: its characters. `check`: what is to be in it.
    """
    between = _IS_GIVEN if sure else _FOLLOWS
    return Detector(
        screen=rf"(?i)(?:{words}){between}{begins}",
        find=re.compile(rf"(?<![^\W_])(?:{words}){between}({value})", re.IGNORECASE),
        judge=always(data_class, (lambda found: check.search(found) is not None) if check is not None else None),
        before=1,
        after=48 + longest,
        classes=frozenset({data_class}),
    )


def _password(match: re.Match[str]) -> Found | None:
    return None if match[1].lower() in _PREDICATES else Found(*match.span(1), "credentials")


_PLACE = re.compile(r"(?:\b|_|(?=[A-Z]))(?i:page|paging|pagination|cursor|continuation|sync|next|resume)[ _-]?\Z")
"""Before `token`, where it is none that lets anybody in, but a place in a list."""
_PLACE_WITHIN = 20


def _token(match: re.Match[str]) -> Found | None:
    before = match.string[max(0, match.start() - _PLACE_WITHIN) : match.start()]
    return None if _PLACE.search(before) or not _KEY_LIKE.search(match[1]) else Found(*match.span(1), "secrets")


_LOCKED_BY = r"password|passwort|passwd|passphrase|passcode|pwd|contrase.a|mot de passe"
_QUOTED = "|".join(
    rf"(?<={quote})(?=[^\s{quote}])(?:[^{quote}\\\n]|\\.){{3,{LONGEST_QUOTED}}}(?<!\s)(?={quote})" for quote in "\"'`"
)
QUOTE_OPEN = re.compile(
    rf"(?:{_LOCKED_BY}){_IS}(?:"
    + "|".join(rf"{quote}(?:[^{quote}\\\n]|\\.){{0,{LONGEST_QUOTED}}}\\?" for quote in "\"'`")
    + r")\Z",
    re.IGNORECASE,
)
"""A password in quotes that may close behind the text."""
_KEY_LIKE = re.compile(r"[0-9]|.{20}")
_DIGIT = re.compile(r"[0-9]")
MONTH = r"(?:jan|feb|m[aä]r|apr|may|mai|jun|jul|aug|sep|oct|okt|nov|dec|dez)[a-zä]{0,6}"
"""The name of a month, or the beginning of it."""
_DATE = (
    r"[0-9]{1,4}[./-][0-9]{1,2}[./-][0-9]{1,4}"
    rf"|[0-9]{{1,2}}\.? {MONTH}\.?,? [0-9]{{4}}|{MONTH}\.? [0-9]{{1,2}},? [0-9]{{4}}"
)

SECRETS = (
    Detector(
        screen=r"-----BEGIN [A-Z ]*PRIVATE KEY",
        find=re.compile(
            r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY(?: BLOCK)?-----(?:[^-]|-(?!----)){0,8000}"
            r"(?:-----END [A-Z ]{0,30}KEY[A-Z ]{0,10}-----)?"
        ),
        judge=always("secrets"),
        before=1,
        after=LONGEST_KEY,
        classes=frozenset({"secrets"}),
    ),
    Detector(
        screen=(
            r"AKIA|ASIA|gh[pousr]_|github_pat_|xox[abeoprs]-|AIza|sk-|[sr]k_(?:live|test)_|hooks\.slack\.com|glpat-|npm_|pypi-|SG\.|hf_|dop_v1_"
        ),
        find=re.compile(
            r"(?<![\w-])(?:(?:AKIA|ASIA)[0-9A-Z]{16}|gh[pousr]_[0-9A-Za-z]{30,255}|github_pat_\w{22,255}"
            r"|xox[abeoprs]-[0-9A-Za-z-]{10,255}|AIza[\w-]{35}|[sr]k_(?:live|test)_[0-9A-Za-z]{16,255}|sk-[\w-]{20,255}"
            r"|glpat-[\w-]{20,255}|npm_[0-9A-Za-z]{36}|pypi-[\w-]{50,255}|SG\.[\w-]{20,24}\.[\w-]{40,50}"
            r"|hf_[0-9A-Za-z]{30,64}|dop_v1_[0-9a-f]{64}|hooks\.slack\.com/services/[0-9A-Za-z/]{20,120})",
            re.ASCII,
        ),
        judge=always("secrets"),
        before=1,
        after=270,
        classes=frozenset({"secrets"}),
    ),
    Detector(
        screen=r"[a-z]://[^/\s:@]*:[^/\s@]+@",
        find=re.compile(
            rf"(?<!\w)[a-z][a-z0-9+.-]{{1,30}}://[^/\s:@{UNSPACED}]{{0,256}}:[^/\s@{UNSPACED}]{{1,256}}@[^\s\"'<>{UNSPACED}]{{1,512}}"
        ),
        judge=always("secrets"),
        before=32,
        after=1040,
        classes=frozenset({"secrets"}),
    ),
    _said(
        "secrets",
        r"api[_ -]?key|secret[_ -]?key|access[_ -]?key|client[_ -]?secret|auth[_ -]?token|bearer",
        rf"{_SOLID}{{6,512}}",
        begins=_ANY_SOLID,
        longest=512,
        check=_KEY_LIKE,
    ),
    _said("secrets", r"token|secret", rf"{_SOLID}{{8,512}}", begins=_ANY_SOLID, longest=512, sure=True)._replace(
        judge=_token
    ),
    _said(
        "credentials",
        r"authorization[\"']?\s{0,3}[:=]\s{0,3}[\"']?basic",
        "[0-9A-Za-z+/]{6,512}={0,2}",
        begins="[0-9A-Za-z+/]",
        longest=514,
    ),
    Detector(
        screen=r"eyJ[\w-]{8}",
        find=re.compile(r"(?<![\w-])eyJ[\w-]{8,4096}\.[\w-]{8,4096}(?:\.[\w-]{0,1024})?", re.ASCII),
        judge=always("credentials"),
        before=1,
        after=9300,
        classes=frozenset({"credentials"}),
    ),
    _said(
        "credentials",
        _LOCKED_BY,
        rf"(?:{_QUOTED}|{_SOLID}{{3,256}})",
        begins=_ANY_SOLID,
        longest=256,
        sure=True,
    )._replace(judge=_password),
    _said(
        "credentials",
        r"one[- ]time (?:password|passcode|code)|otp|verification code|security code|2fa code|access code|pin",
        r"(?:[0-9]{3,10}|[0-9A-Z]{3}-?[0-9A-Z]{3,6})(?!\w)",
        begins=r"[0-9A-Z-]{0,6}[0-9]",
        longest=16,
        check=_DIGIT,
    ),
)

NAMED = (
    _said(
        "payment",
        r"cvv2?|cvc2?|card verification (?:code|value)",
        r"[0-9]{3,4}(?!\w)",
        begins="[0-9]{3}",
        longest=8,
    ),
    _said(
        "identity",
        r"date of birth|birth ?date|dob|born(?: on)?|geburtsdatum|geboren(?: am)?",
        _DATE,
        begins="(?:[0-9]{1,4}[./ -]|jan|feb|m|apr|ju[nl]|aug|sep|o[ck]t|nov|de[cz])",
        longest=24,
    ),
    _said(
        "identity",
        r"passport(?: number| no\.?| nr\.?| id)?",
        r"(?:[A-Z]{0,2}[0-9]{6,9}|[A-Z0-9]{9})(?!\w)",
        begins="[A-Z0-9]{0,8}[0-9]",
        longest=14,
        check=_DIGIT,
    ),
    _said(
        "identity",
        r"driv(?:er'?s?|ing) licen[cs]e(?: number| no\.?)?",
        rf"{_WITH_DIGIT}{{4,20}}(?!\w)",
        begins=r"[0-9A-Z-]{0,19}[0-9]",
        longest=24,
    ),
    _said(
        "health",
        r"mrn|medical record(?: number| no\.?)?|patient (?:id|number|no\.?)|(?:health )?insurance (?:id|number|no\.?)"
        r"|member id",
        rf"{_WITH_DIGIT}{{3,20}}(?!\w)",
        begins=r"[0-9A-Z-]{0,19}[0-9]",
        longest=24,
    ),
    _said(
        "health",
        r"icd-?10(?:-cm)?(?: code)?|diagnos(?:is|ed with)(?: code)?",
        r"[A-Z][0-9][0-9AB](?:\.[0-9A-Z]{1,4})?(?!\w)",
        begins="[A-Z][0-9]",
        longest=12,
    ),
)
