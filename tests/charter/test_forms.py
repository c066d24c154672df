"""Forms of data classes: what is refused, and how long a match can be."""

from __future__ import annotations

import math
from typing import NamedTuple

import pytest
import re2
from hypothesis import given
from hypothesis import strategies as st

from fiducial.charter.forms import LONGEST, width
from fiducial.charter.load import parse_charter
from fiducial.errors import Problem

ABOUT = "agent: support\nowners: {responsible: a, accountable: b}\ntier: chat\n"
DECLARED = "data_classes: [badge]\n"


def form(text: str) -> str:
    """A charter's `charter.yaml` with that form, which stands on its line 7."""
    return f"{DECLARED}detect:\n  badge:\n    - {{{text}}}\n"


def about(extra: str) -> list[Problem]:
    """Problems of a charter with that in its `charter.yaml`, from line 4 on."""
    charter, found = parse_charter({"charter.yaml": ABOUT + extra, "contracts.yaml": "tools: {}\n"})
    errors = [each for each in found if each.severity == "error"]
    assert (charter is None) == bool(errors)
    return errors


def only(found: list[Problem], code: str, line: int, *says: str) -> None:
    (problem,) = found
    assert (problem.code, problem.line) == (code, line), problem
    assert all(text in str(problem) for text in says), problem


def test_forms_are_read() -> None:
    said = form("pattern: 'EMP-[0-9]{6}', after: [badge, staff no], check: luhn") + "  contact:\n    - {pattern: ext}\n"
    assert about(said) == []
    charter, _ = parse_charter({"charter.yaml": ABOUT + said})
    assert charter is not None
    [badge] = charter.about.detect["badge"]
    assert (badge.pattern, badge.after, badge.check) == ("EMP-[0-9]{6}", ("badge", "staff no"), "luhn")


@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        ("EMP-[0-9", "is not an RE2 expression"), (r"(?=EMP)\w{3}", "no look-around"), (r"(a)\1", "back-references"),
        ("EMP-[0-9]+", "not as much as there is"), ("EMP-[0-9]{2,}", "write `{1,40}`"), ("(a|b*)c", "at most 256"),
        ("(a{100}){3}", "not 300 characters"), ("(EMP)?", "must not match an empty text"), (r"\b|a", "an empty text"),
        ("^EMP", "must not hold `^`"), ("EMP$", "must not hold `$`"), (r"EMP\\z", "must not hold `\\z`"),
        (r"\\QEMP\\E", "must not hold `\\Q`"), ("", "an empty text"),
        ("KEY:[ a-z](?i){1,120}!", "must not hold `(?i)` but where it begins: give flags a colon, `(?i:…)`"),
        ("a(?i)*", "(?i)"), ("(a|(?s)b)", "(?s)"), ("(?i)a(?s)(?i)b", "`(?s)(?i)`"),
    ],
)  # fmt: skip
def test_what_has_no_bound_or_is_not_re2_is_refused(pattern: str, says: str) -> None:
    plain = pattern.replace("\\\\", "\\")
    only(about(form(f"pattern: '{plain}'")), "invalid-value", 7, "`pattern`", says)


def test_other_mistakes_in_forms() -> None:
    only(about("detect: {badg: [{pattern: a}]}\n"), "unknown-class", 4, "`badg` is not declared")
    only(about(DECLARED + "detect: {badg: [{pattern: a}]}\n"), "unknown-class", 5, "did you mean `badge`?")
    only(about(form("pattern: a, chek: luhn")), "unknown-key", 7, "did you mean `check`?")
    only(about(form("pattern: a, check: lun")), "unknown-value", 7, "did you mean `luhn`?")
    only(about(form("pattern: a, after: ['--']")), "invalid-value", 7, "a letter or a digit")
    assert about(form(f"pattern: a, after: ['staff{' ' * 50}no', {'n' * 48}]")) == []
    only(about(form(f"pattern: a, after: ['{'no ' * 17}']")), "invalid-value", 7, "at most 48 characters")
    only(about(DECLARED + "detect: {badge: []}\n"), "invalid-value", 5)


class Part(NamedTuple):
    """A pattern, and the shortest and the longest text that it matches."""

    pattern: str
    shortest: str
    longest: str


ONES = st.sampled_from(
    [Part("a", "a", "a"), Part(r"\d", "4", "4"), Part("[]x]", "]", "]"), Part("[^]x]", "é", "é"), Part(r"\.", ".", "."),
     Part("[[:alpha:]_]", "b", "b"), Part(r"\x{e9}", "é", "é"), Part(r"\x41", "A", "A"), Part(r"\101", "A", "A"),
     Part(r"\p{Greek}", "α", "α"), Part(r"\pN", "7", "7"), Part("{", "{", "{"), Part("x{,2}", "x{,2}", "x{,2}"),
     Part(r"[\]\p{Nd}]", "]", "3"), Part("(?i:b)", "B", "b"), Part(r"\B", "", ""), Part("密", "密", "密")]
)  # fmt: skip


def _grouped(parts: st.SearchStrategy[Part]) -> st.SearchStrategy[Part]:
    opens = st.sampled_from(["(", "(?:", "(?P<name>", "(?s:", "(?<other>"])
    bounds = st.tuples(st.integers(0, 3), st.integers(0, 3)).map(sorted)

    def either(one: Part, other: Part) -> Part:
        both = sorted([one.shortest, other.shortest], key=len)[0], sorted([one.longest, other.longest], key=len)[1]
        return Part(f"(?:{one.pattern}|{other.pattern})", *both)

    def joined(many: list[Part]) -> Part:
        return Part(*("".join(each) for each in zip(*many, strict=True)))

    def again(part: Part, opened: str, size: list[int], lazy: str) -> Part:
        least, most = size
        how = {(0, 1): "?", (2, 2): "{2}"}.get((least, most), f"{{{least},{most}}}") + lazy
        return Part(f"{opened}{part.pattern}){how}", part.shortest * least, part.longest * most)

    return (
        st.builds(either, parts, parts)
        | st.lists(parts, min_size=1, max_size=3).map(joined)
        | st.builds(again, parts, st.sampled_from(["(", "(?:", "(?s:"]), bounds, st.sampled_from(["", "?"]))
        | st.builds(lambda part, opened: Part(f"{opened}{part.pattern})", *part[1:]), parts, opens)
    )


@given(st.recursive(ONES, _grouped, max_leaves=8))
def test_a_match_is_as_long_as_was_counted(part: Part) -> None:
    options = re2.Options()
    options.log_errors = False
    try:
        compiled = re2.compile(part.pattern, options=options)
    except re2.error:  # two groups of one name, or `??` behind a brace
        with pytest.raises(ValueError, match="RE2"):
            width(part.pattern)
        return
    assert width(part.pattern) == (len(part.shortest), len(part.longest))
    if r"\B" not in part.pattern:
        assert compiled.fullmatch(part.shortest)
        assert compiled.fullmatch(part.longest)


@pytest.mark.parametrize("pattern", ["a*", "a+?", "(a|b+)", "(?:a{2,})", "[a-z]*", "((a?)+)"])
def test_what_has_no_end_is_counted_so(pattern: str) -> None:
    assert math.isinf(width(pattern).most) or pattern == "((a?)+)"
    assert width(f"(?:{pattern}){{0}}") == (0, 0)
    assert width("a{256}").most == LONGEST
