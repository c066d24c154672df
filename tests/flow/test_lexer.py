"""What counts as one whole entity, and what folds onto what."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiducial.flow.entities import addresses, canonical_address, has_digit, trim
from fiducial.flow.lexer import LEAF, fold, whole, words, words_and_leaves


def stands(value: str, text: str) -> bool:
    """`value` stands as one whole entity somewhere in `text`, taken as a leaf."""
    padded = LEAF + text + LEAF
    at = padded.find(value)
    while at >= 0:
        if whole(padded, at, at + len(value)):
            return True
        at = padded.find(value, at + 1)
    return False


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("bank.com", "see bank.com."),
        ("www.example.com", "(see www.example.com)"),
        ("www.example.com", "Visit www.example.com, please"),
        ("www.example.com", "read www.example.com.They wrote it"),
        ("www.example.com", "[here](www.example.com)"),
        ("/user/invoices", "look in /user/invoices, then"),
        ("/user/invoices", "look in '/user/invoices'"),
        ("invoice-may-2031.txt", "pay the bill 'invoice-may-2031.txt' for me"),
        ("jane@example.com", "write to Jane (jane@example.com)."),
        ("jane@example.com", "write to <jane@example.com>"),
        ("a@x.org", "a@x.org,b@x.org;c@x.org"),
        ("b@x.org", "a@x.org,b@x.org;c@x.org"),
        ("Alice", "what is in Alice's inbox"),
        ("Alice", "Alice’s inbox"),
        ("Alice", "@Alice: hello"),
        ("general", "post to #general!"),
        ("12", "row (12)"),
        ("100", "send $100 to him"),
        ("100", "send 100€ to him"),
        ("GB29NWBK60161331926819", "from their account GB29NWBK60161331926819)"),
        ("GB29 NWBK 6016 1331 9268 19", "to GB29 NWBK 6016 1331 9268 19, please"),
        ("Jane Miller", "send it to Jane Miller"),
        ("Jane Miller", "Send Jane Miller the file"),
        ("Jane Miller", "Jane Miller and Bob Jones"),
        ("Bob Jones", "Jane Miller and Bob Jones"),
        ("Jane", "send it to Jane Miller"),
        ("Jane Miller", "Jane Miller's desk"),
        ("Jane Miller", "people: Jane Miller, Bob Jones"),
        ("Petit Marais Suites", "Hotel Names: Petit Marais Suites\nSleep Well\n"),
        ("Sleep Well", "Hotel Names: Petit Marais Suites\nSleep Well\n"),
        ("Bank of America", "my account at Bank of America is"),
        ("project alpha", "the folder 'project alpha' of mine"),
        ("project alpha", "share the project alpha with Bob"),
        ("Paris, France", "a hotel in Paris, France"),
        ("Bring the slides.", "with description 'Bring the slides.' today"),
        ("Acme Inc.", "pay\nAcme Inc.\nnow"),
        ("张三", "转给「张三」。"),
        ("~/notes/a.txt", "Read ~/notes/a.txt and mail it"),
        ("~/.ssh/config", "delete ~/.ssh/config."),
        (".env", "read .env, please"),
        (".gitignore", "(see .gitignore)"),
        ("../x/y.txt", "open ../x/y.txt now"),
        ("./src/", "list ./src/"),
        ("*.tmp", "delete *.tmp in the folder"),
        ("https://x.org/wiki/Rust_(language)", "fetch https://x.org/wiki/Rust_(language), please"),
        ("https://x.org/wiki/Rust_(language)", "fetch it (https://x.org/wiki/Rust_(language))"),
        ("Acme Inc.", "Pay Acme Inc. 50 dollars"),
        ("Sam Jr.", "write to Sam Jr. today"),
        ("(555) 010-1234", "call (555) 010-1234 now"),
    ],
)
def test_stands_whole(value: str, text: str) -> None:
    assert stands(value, text)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("bank.com", "go to evil-bank.com"),
        ("bank.com", "go to bank.com.evil.io"),
        ("bank.com", "go to https://bank.com"),
        ("bank.com", "go to bank.com/evil"),
        ("bank.com", "go to bank.com:8080"),
        ("bank.com", "mail me@bank.com"),
        ("bank.com", "go to bank.com@evil.io"),
        ("bank.com", "go to xbank.com"),
        ("bank.com", "go to bank.community"),
        ("bank.com", "see ?next=bank.com&x=1"),
        ("bank.com", "bank.com,/evil"),
        ("John", "John.Smith wrote it"),
        ("John", "John.They is a user name"),
        ("/user", "in /user/secret"),
        ("/user", "in ./user"),
        ("bill.txt", "in /docs/bill.txt"),
        ("12", "it is 12.5"),
        ("12", "it is 1,12"),
        ("12", "it is 12,500"),
        ("12", "on 2024-05-12"),
        ("12", "on 12/05/2024"),
        ("12", "at 12:30"),
        ("12", "at 10:12"),
        ("12", "room A12"),
        ("12", "the 12th"),
        ("12", "-12 degrees"),
        ("12", "12% of it"),
        ("12", "12-15 of them"),
        ("12", "12\u00a0500"),
        ("500", "12\u00a0500"),
        ("pay", "pay.pal is a site"),
        ("pal", "pay.pal is a site"),
        ("pay", "a pay-day loan"),
        ("Brien", "ask O'Brien"),
        ("O", "ask O'Brien"),
        ("alice@x.org", "bob.alice@x.org"),
        ("alice@x.org", "alice@x.org.evil.io"),
        ("alice@x.org", "mailto:alice@x.org"),
        ("6016", "to GB29 NWBK 6016 1331 9268 19"),
        ("NWBK", "to GB29 NWBK 6016 1331 9268 19"),
        ("1111", "card 4111 1111 1111 1111"),
        ("Jane Miller", "send it to Jane Miller Jones"),
        ("Jane Miller", "send it to Mary Jane Miller"),
        ("Jane Miller", "at Jane Miller & Sons"),
        ("Jane Miller", "from Jane Miller-Jones"),
        ("Mary Hospital", "the St. Mary Hospital"),
        ("Bank of", "at Bank of America"),
        ("New York", "at University of New York"),
        ("project alpha", "share project alphabet"),
        ("alpha beta", "the project alpha beta file"),
        ("t send it", "don't send it's"),
        ("file.", "open the file. Then close it"),
        ("Alice ", "tell Alice now"),
        ("\u200bAlice", "tell Alice now"),
        ("Alice", "tell \u200bAlice now"),
        ("Alice", "tell Alice\u200d now"),
        ("b", "http://x.org/a,b"),
        ("/notes/a.txt", "read ~/notes/a.txt"),
        (".ssh/config", "read ~/.ssh/config"),
        ("~/notes", "read ~/notes/a.txt"),
        ("./x", "open ../x now"),
        ("/x", "open ./x now"),
        (".env", "open config/.env now"),
        (".env", "open prod.env now"),
        (".env", "open ..env now"),
        (".env", "open .env.local now"),
        ("env", "open .env now"),
        (".tmp", "delete *.tmp now"),
        ("*.tmp", "delete **.tmp now"),
        ("*.tmp", "delete a*.tmp now"),
        ("./src/", "delete ./src/* now"),
        ("/src/", "delete /src/* now"),
        ("https://x.org/wiki/Rust_(language", "fetch https://x.org/wiki/Rust_(language)"),
        ("https://x.org/wiki/Rust_(a)", "fetch https://x.org/wiki/Rust_(a)(b)"),
        ("Acme Inc.", "pay Acme Inc.uk now"),
        ("Acme Inc.", "pay Great Acme Inc. now"),
        ("(555) 010-1234", "call +1 (555) 010-1234 now"),
        ("(555) 010-1234", "call (555) 010-12345 now"),
        (".5", "add .5 to it"),
    ],
)
def test_is_a_part(value: str, text: str) -> None:
    assert not stands(value, text)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("/", "delete /tmp/a and / or /tmp/b"),
        ("-", "use - as a bullet"),
        ("&", "Smith & Sons"),
        ("0958", "call 020 7946 0958 now"),
        ("7946 0958", "call 020 7946 0958 now"),
        ("18", "call +41 44 668 18 00."),
        ("123-4567", "call (555) 123-4567 now"),
        ("822463", "card 3782 822463 10005"),
        ("10005", "card 3782 822463 10005"),
        ("34", "sort 12-34-56"),
        ("30", "call +49 30 1234567"),
        ("1234567", "call +49 30 1234567 now"),
        ("12345678", "call +49 30 12345678 now"),
        ("12345678", "call 030 12345678 now"),
        ("12345678", "call +49  30 12345678 now"),
        ("12345678", "call +49 (0)30 12345678 now"),
        ("17012345", "call 49-170 17012345 now"),
        ("123", "call 0171 123 45 67 2 days from now"),
        ("67", "call 0171 123 45 67 days before"),
        ("123-4567", "call 555 123-4567 now"),
        ("555", "call 555 123-4567 2 times"),
        ("800-555-1234", "call 1 800-555-1234 now"),
        ("1111", "card 4111 1111 1111 1111 100 EUR"),
        ("9012", "account 1234 5678 9012 EUR"),
        ("78901", "account 1234 56 78901 NOK"),
        ("5678", "account 1234 5678 EUR 100"),
        ("37040044", "to DE89 37040044 0532013000"),
        ("60161331", "to GB29 NWBK 60161331 926819"),
        ("0200051332", "to 2100 0418 45 0200051332"),
        ("12", "it is 12 345 678"),
        ("678", "it is 12 345 678"),
        ("345 678", "it is 12 345 678"),
        ("678", "pay 12 345 678 EUR"),
        ("12", "pay 12 250 EUR"),
        ("250", "pay 12 250 EUR"),
        ("1234", "call 555 1234 NOW"),
        ("12345678", "run " + "1234 " * 12 + "12345678"),
    ],
)
def test_signs_and_parts_of_numbers_are_no_entities(value: str, text: str) -> None:
    assert not stands(value, text)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("/", "delete '/' now"),
        ("020 7946 0958", "call 020 7946 0958 now"),
        ("(555) 123-4567", "call (555) 123-4567 now"),
        ("3782 822463 10005", "card 3782 822463 10005"),
        ("2031-05-12", "on 2031-05-12 at 7"),
        ("2031-05-12", "on 2031-05-12 12:30"),
        ("12", "rows 12, 34 and 56"),
        ("50", "pay 50 12.5 times"),
        ("12345678", "pay 98.70 to 12-34-56 12345678"),
        ("12-34-56", "pay 98.70 to 12-34-56 12345678"),
        ("12-34-56 12345678", "pay 98.70 to 12-34-56 12345678"),
        ("12345678", "send to 12-34-56 12345678 100 USD"),
        ("12345678", "send to account 12345678 100 USD"),
        ("100", "send to account 12345678 100 USD"),
        ("12345678", "pay 100 12345678"),
        ("100", "pay 100 12345678"),
        ("4711", "refund order 4711 25 EUR"),
        ("25", "refund order 4711 25 EUR"),
        ("25", "refund order 4711 25€ now"),
        ("4711", "refund order 4711 1,250 EUR"),
        ("2024-001", "refund order 2024-001 250 EUR"),
        ("12", "book room 12 2024-05-05"),
        ("2024-05-05", "book room 12 2024-05-05"),
        ("2024-05-05", "book 2024-05-05 10 am"),
        ("10", "book 2024-05-05 10 am"),
        ("2024-05-05", "book it on 2024-05-05 12 noon"),
        ("1234", "delete ticket #1234 2 days from now"),
        ("0170-1234567", "call 0170-1234567 2 times"),
        ("12-34", "order part 12-34 5 pieces"),
        ("101", "send it to room 101 5 minutes before"),
        ("112", "call 112 24 hours a day"),
        ("12345", "send order 12345 5 days late"),
    ],
)
def test_quoted_signs_and_whole_numbers_are(value: str, text: str) -> None:
    assert stands(value, text)


GROUPS = st.lists(st.from_regex(r"[1-9]\d{1,4}", fullmatch=True), min_size=3, max_size=6)


@given(GROUPS, st.sampled_from(["+", "0"]), st.integers(1, 9), st.sampled_from(["", " now", " 2 times", " 10 am"]))
def test_a_telephone_number_gives_up_none_of_its_groups(groups: list[str], first: str, digit: int, after: str) -> None:
    text = f"call {first}{digit} {' '.join(groups)}{after}"
    for value in {*groups, str(digit), " ".join(groups[1:]), " ".join(groups)} - {"2", "10"}:
        assert not stands(value, text)


@given(st.from_regex(r"[1-9]\d{0,5}", fullmatch=True), st.integers(1, 28), st.booleans())
def test_a_date_and_a_number_beside_it_are_two(number: str, day: int, before: bool) -> None:
    date = f"2031-05-{day:02}"
    text = f"book {number} {date} now" if before else f"book {date} {number} now"
    assert stands(date, text)
    assert stands(number, text)


def test_a_whole_leaf_is_whole_whatever_it_looks_like() -> None:
    for value in ("file.", " padded ", "a, b; c", "(x", "1.5%", "Jane Miller & Sons", "/"):
        assert stands(value, value)


def test_a_cut_is_no_boundary() -> None:
    assert not whole("bank.com is", 0, 8)
    assert not whole("at bank.com", 3, 11)


@given(
    st.from_regex(r"(?:~/|\.{1,2}/|\*?\.)?[a-z]{3,8}(?:[./@-][a-z]{2,6}){0,2}(?:\([a-z]{1,4}\))?", fullmatch=True),
    st.from_regex(r"[A-Za-z0-9_/%=:-]{1,6}", fullmatch=True).filter(lambda glued: glued.strip(":")),
    st.booleans(),
)
def test_glued_text_makes_it_a_part(value: str, glued: str, before: bool) -> None:
    text = f"see {glued}{value} now" if before else f"see {value}{glued} now"
    if f" {value} " not in f" {text} ":
        assert not stands(value, text)


@given(st.text(max_size=60), st.text(min_size=1, max_size=8))
def test_never_fails(text: str, value: str) -> None:
    stands(value, text + value + text)
    list(addresses(text))
    words_and_leaves(fold(text))


@given(st.text(max_size=200))
def test_words_agree_for_ascii_and_beyond(text: str) -> None:
    assert words(text + "é")[: len(words(text)) - 1] == words(text)[: len(words(text)) - 1]


@pytest.mark.parametrize(
    ("odd", "plain"),
    [
        ("ALICE", "alice"),
        ("ａｌｉｃｅ", "alice"),
        ("al\u200bice", "alice"),
        ("a\u00adlice", "alice"),
        ("аlicе", "alice"),
        ("ΑLICΕ", "alice"),
        ("alicé", "alice"),
        ("𝒶𝓁𝒾𝒸ℯ", "alice"),
        ("①②", "12"),
        ("pаypаl.com", "paypal.com"),
        ("e\u202evil", "evil"),
    ],
)
def test_folds(odd: str, plain: str) -> None:
    assert fold(odd) == plain


def test_addresses() -> None:
    text = "Mail bob@x.org. (See www.x.org/a?b=1), evil.shop or https://y.io/z; IBAN GB29 NWBK 6016 1331 9268 19!"
    found = set(addresses(text))
    assert {"bob@x.org", "www.x.org/a?b=1", "evil.shop", "https://y.io/z", "GB29 NWBK 6016 1331 9268 19"} <= found


@pytest.mark.parametrize("text", ["open report.pdf", "version 1.2.3", "e.g. this", "Done.Then go", "3.5 of 10", "a.m."])
def test_not_addresses(text: str) -> None:
    assert not list(addresses(text))


def test_trim_keeps_brackets_that_belong() -> None:
    assert trim("http://x.org/a_(b)") == "http://x.org/a_(b)"
    assert trim("http://x.org/a).") == "http://x.org/a"


def test_only_hosts_lose_their_case() -> None:
    assert canonical_address("Bob@Example.ORG") == "Bob@example.org"
    assert canonical_address("HTTPS://Example.ORG/Path") == "https://example.org/Path"
    assert canonical_address("https://user@Example.ORG/") is None
    assert canonical_address("Example.ORG") is None
    assert canonical_address("Bob") is None
    assert canonical_address("bob@exаmple.org") is None


def test_has_digit() -> None:
    assert all(has_digit(f"a{digit}b") for digit in range(10))
    assert not has_digit("none")
