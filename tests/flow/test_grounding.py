"""What an answer claims traces to what was observed, claim by claim, and citations name a source that says it."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiducial.core.ids import SourceId
from fiducial.core.label import TRUSTED, UNTRUSTED, Integrity
from fiducial.core.path import PathPattern
from fiducial.flow.claims import sentences
from fiducial.flow.corpus import Corpus, Unit
from fiducial.flow.grounding import MAX_CHARACTERS, Grounding
from fiducial.flow.provenance import Provenance
from fiducial.flow.tokens import tokens

DOCUMENTS: list[dict[str, Any]] = [
    {
        "id": "kb-1",
        "text": "A refund costs 12.50 EUR. Refunds are granted within 14 days of the purchase, which was made on "
        "May 5, 2024. The rate is 7.5 % of 1,234.56 USD.",
    },
    {
        "id": "policy.md#returns",
        "text": "Customers of Acme Corp may return products to the Berlin store without giving reasons. Write to "
        "help@acme.example or see https://acme.example/returns, case INV-2024-7, account GB29 NWBK 6016 1331 9268 19.",
    },
    {"id": "kb 3", "text": "The shop opens at 9 on 3 June. 返品は三十日以内に可能です"},
]
TASK = "What does the refund of order 4711 cost, Ms. Jane Miller asks"


def seen(documents: Any = DOCUMENTS, task: str = TASK) -> Provenance:
    provenance = Provenance(budget=2**26)
    provenance.observe_text(SourceId("src_1"), task, authority="user", integrity=Integrity.TRUSTED)
    provenance.observe_result(
        SourceId("src_2"),
        documents,
        label=UNTRUSTED,
        untrusted=(),
        prose=(),
        classes={},
        documents=PathPattern("$[*].id"),
    )
    return provenance


def wrong(text: str, *listed: str, provenance: Provenance | None = None) -> list[tuple[str, str]]:
    found = (provenance or seen()).grounding(text, listed)
    return [(each.what, text[each.start : each.end]) for each in found.findings]


@pytest.mark.parametrize(
    "text",
    [
        "A refund costs 12.50 EUR.",
        "It costs €12.50.",
        "It costs 12,50 EUR.",
        "It costs 12.5.",
        "The rate is 7.5% of $1,234.56.",
        "The rate is 7.5 percent of 1.234,56.",
        "It was bought on 5 May 2024.",
        "It was bought on 2024-05-05.",
        "It was bought on May 5th.",
        "The shop opens on June 3rd.",
        "Order 4711 is Jane Miller's.",
        "Ask Acme Corp in Berlin.",
        "Write to help@acme.example, or see https://acme.example/returns.",
        "The case is INV-2024-7, the account GB29 NWBK 6016 1331 9268 19.",
        "The account is GB29NWBK60161331926819.",
        "They say “may return products to the Berlin store”.",
        "They say \"MAY RETURN products to the Berlin store\".",
        "> Customers of Acme Corp may return products",
        "A customer may return any product without a reason.",
        "返品は三十日以内に可能です。",
        "Yes. Of course! Is there anything else that you would like me to look up?",
        "1. It costs 12.50 EUR\n2) It takes 14 days\n- For Dr. Miller it is so",
        "## What Nobody Ever Called It\nIt costs 12.50 EUR.",
        "",
        " \n\t",
    ],
)  # fmt: skip
def test_what_a_source_says_is_grounded(text: str) -> None:
    assert wrong(text) == []


@pytest.mark.parametrize(
    ("text", "kind", "claim"),
    [
        ("It costs 13 EUR.", "number", "13"),
        ("It costs 12.5 USD.", "number", "12.5"),
        ("It costs 12.05 EUR.", "number", "12.05"),
        ("It costs 1,250 EUR.", "number", "1,250"),
        ("The rate is 14 %.", None, ""),
        ("The rate is 12.50 %.", "number", "12.50"),
        ("It takes 14-15 days.", "number", "15"),
        ("It was bought on 6 May 2024.", "date", "6 May 2024"),
        ("It was bought on May 5, 2025.", "date", "May 5, 2025"),
        ("It was bought on 2024-06-03.", "date", "2024-06-03"),
        ("The shop opens on 3 June 2031.", "date", "3 June 2031"),
        ("It is Jane Smith's order.", "name", "Jane Smith"),
        ("The store is in Munich.", "name", "Munich"),
        ("Ask Acme Berlin.", "name", "Acme Berlin"),
        ("Write to help@acme.example.evil.example.", "address", "help@acme.example.evil.example"),
        ("See https://acme.example/refunds.", "address", "https://acme.example/refunds"),
        ("The case is INV-2024-8.", "identifier", "INV-2024-8"),
        ("The account is GB29 NWBK 6016 1331 9268 20.", "identifier", "GB29 NWBK 6016 1331 9268 20"),
        ("They say “may return items to the Berlin store”.", "quotation", "may return items to the Berlin store"),
        ("> may return everything", "quotation", "may return everything"),
        ("Every client can send parcels back whenever they feel unhappy.", "statement", "Every client can send"),
        ("送料は無料でお届けします。", "statement", "送料"),
    ],
)
def test_what_no_source_says_is_not(text: str, kind: str | None, claim: str) -> None:
    found = wrong(text)
    if kind is None:
        assert found == []  # the source says the number with no unit beside it
    else:
        assert [each[0] for each in found] == [kind]
        assert found[0][1].startswith(claim)


@pytest.mark.parametrize(
    ("text", "listed", "finding"),
    [
        ("It costs 12.50 EUR [kb-1].", (), None),
        ("It costs 12.50 EUR. [KB-1]", (), None),
        ("It costs 12.50 EUR [1].", (), None),
        ("It costs 12.50 EUR [^1] [2].", (), None),
        ("It costs 12.50 EUR 【1】.", (), None),
        ("It takes 14 days, says Acme Corp [1, 2].", (), None),
        ("It costs 12.50 EUR (source: kb-1).", (), None),
        ("The shop opens at 9 (source: kb 3).", (), None),
        ("Products go to Berlin [policy.md#returns].", (), None),
        ("It costs 12.50 EUR [1].", ("kb-1",), None),
        ("Products go to Berlin [1].", ("policy.md#returns", "kb-1"), None),
        ("See [this page](https://acme.example/returns) [sic], the [contact] of Acme Corp.", (), None),
        ("It costs 12.50 EUR [kb-9].", (), "unknown-citation"),
        ("It costs 12.50 EUR [4].", (), "unknown-citation"),
        ("It costs 12.50 EUR [0].", (), "unknown-citation"),
        ("It costs 12.50 EUR [2].", ("kb-1",), "unknown-citation"),
        ("It costs 12.50 EUR [1].", ("kb-9",), "unknown-citation"),
        ("It costs 12.50 EUR (source: the internet).", (), "unknown-citation"),
        ("It costs 12.50 EUR [kb-1] [kb-9].", (), "unknown-citation"),
        ("It costs 12.50 EUR [kb 3].", (), "misplaced-citation"),
        ("It costs 12.50 EUR in Berlin [kb-1].", (), "misplaced-citation"),
        ("Order 4711 costs 12.50 EUR [kb-1].", (), "misplaced-citation"),
        ("A customer may return any product without a reason [1].", (), "misplaced-citation"),
        ("It costs 12.50 EUR [1].", ("kb 3",), "misplaced-citation"),
    ],
)
def test_a_citation_names_a_source_that_says_it(text: str, listed: tuple[str, ...], finding: str | None) -> None:
    assert [each for each, _ in wrong(text, *listed)] == ([finding] if finding else [])


def test_a_citation_for_what_no_source_says_is_misplaced_too() -> None:
    assert wrong("It costs 13 EUR [kb-1].") == [("number", "13"), ("misplaced-citation", "[kb-1]")]


def test_what_is_counted() -> None:
    found = seen().grounding("It costs 12.50 EUR [1]. It takes 14 days. In Munich [9] it is 15.")
    assert (found.claims, found.citations, found.uncited, len(found.ungrounded)) == (4, 2, 1, 2)
    both = found | seen().grounding("It takes 14 days.")
    assert (both.claims, both.citations, both.uncited, both.findings) == (5, 2, 2, found.findings)
    assert Grounding() | Grounding() == Grounding()


def test_a_number_is_a_place_in_the_list_before_it_is_an_id() -> None:
    provenance = seen([{"id": 1, "text": "It is 77."}, {"id": 2, "text": "It is 78."}])
    assert wrong("It is 78 [2].", provenance=provenance) == []
    assert wrong("It is 78 [1].", "2", "1", provenance=provenance) == []
    assert wrong("It is 78 [2].", "2", "1", provenance=provenance) == [("misplaced-citation", "[2]")]
    assert wrong("It is 78 [2].", "2", provenance=provenance) == [("unknown-citation", "[2]")]


@pytest.mark.parametrize("name", ["Правила возврата", "ＫＢ seven", "Überblick", "返品規則", "a, b"])
def test_a_document_is_cited_by_its_name_in_any_script(name: str) -> None:
    provenance = seen([{"id": name, "text": "It is 77."}, {"id": "x", "text": "It is 78."}])
    assert wrong(f"It is 77 [{name}].", provenance=provenance) == []
    assert wrong(f"It is 78 [{name}].", provenance=provenance) == [("misplaced-citation", f"[{name}]")]


@pytest.mark.parametrize(("name", "cited"), [("KB seven", "ＫＢ seven"), ("Große Regeln", "GROSSE REGELN")])
def test_a_document_is_cited_however_its_name_is_written(name: str, cited: str) -> None:
    provenance = seen([{"id": name, "text": "It is 77."}, {"id": "x", "text": "It is 78."}])
    assert wrong(f"It is 77 [{cited}].", provenance=provenance) == []
    assert wrong(f"It is 78 [{cited}].", provenance=provenance) == [("misplaced-citation", f"[{cited}]")]


def test_documents_by_name_are_counted_in_their_order() -> None:
    provenance = Provenance(budget=2**24)
    value = {"b": {"id": "x", "page": "It is 77."}, "a": {"id": "y", "page": "It is 78."}}
    provenance.observe_result(
        SourceId("src_2"), value, label=TRUSTED, untrusted=(), prose=(), classes={}, documents=PathPattern("$.*.id")
    )
    assert wrong("It is 77 [1]. It is 78 [2].", provenance=provenance) == []
    assert wrong("It is 77 [2].", provenance=provenance) == [("misplaced-citation", "[2]")]


def test_numbers_of_several_results_mean_each_of_them() -> None:
    provenance = seen()
    provenance.observe_result(
        SourceId("src_3"), [{"id": "x", "text": "It is 77."}], label=UNTRUSTED, untrusted=(), prose=(), classes={},
        documents=PathPattern("$[*].id"),
    )  # fmt: skip
    assert wrong("It is 77 [1]. It costs 12.50 EUR [1].", provenance=provenance) == []
    assert wrong("It is 77 [2].", provenance=provenance) == [("misplaced-citation", "[2]")]


@pytest.mark.parametrize("shape", ["text", "nested", "python"])
def test_documents_are_found_however_a_result_is_written(shape: str) -> None:
    if shape == "text":
        provenance = seen('[{"text": "It is 77.", "id": "x"}, {"text": "It is 78.", "id": "y"}]')
    else:
        value = {"hits": [{"meta": {"id": "x"}, "page": "It is 77."}, {"meta": {"id": "y"}, "page": "It is 78."}]}
        provenance = Provenance(budget=2**24)
        provenance.observe_result(
            SourceId("src_2"), value if shape == "nested" else str(value), label=TRUSTED, untrusted=(), prose=(),
            classes={}, documents=PathPattern("$.hits[*].meta.id"),
        )  # fmt: skip
    assert wrong("It is 78 [y].", provenance=provenance) == []
    assert wrong("It is 78 [x].", provenance=provenance) == [("misplaced-citation", "[x]")]


def test_what_found_no_room_is_not_grounded() -> None:
    provenance = Provenance(budget=2**20)
    for _ in range(40):
        provenance.observe_result(
            SourceId("src_2"), "words " * 10_000, label=UNTRUSTED, untrusted=(), prose=(), classes={}
        )
    provenance.observe_result(SourceId("src_3"), "It is 77.", label=UNTRUSTED, untrusted=(), prose=(), classes={})
    assert provenance.full
    assert wrong("It is 77.", provenance=provenance) == [("number", "77")]


@pytest.mark.long
def test_a_text_that_is_too_long_is_not_grounded_in_its_rest() -> None:
    long = "It takes 14 days. " * (MAX_CHARACTERS // 18 + 1)
    found = seen().grounding(long)
    assert found.findings[-1].start == MAX_CHARACTERS
    assert found.findings[-1].end == len(long)


def test_no_passage_is_of_two_sources() -> None:
    halves = [{"id": "a", "text": "Customers may return"}, {"id": "b", "text": "products without reasons"}]
    assert [each for each, _ in wrong("Customers return products without reasons.", provenance=seen(halves))] == [
        "statement"
    ]


@given(st.text(max_size=300), st.text(max_size=300))
def test_any_text_is_taken_apart_and_places_lie_in_it(text: str, source: str) -> None:
    for sentence in sentences(text):
        assert 0 <= sentence.start < sentence.end <= len(text)
        for claim in sentence.claims:
            assert sentence.start <= claim.start < claim.end <= sentence.end
    assert all(0 <= token.start < token.end <= len(text) and token.key for token in tokens(text))
    found = seen([{"id": "x", "text": source}], text or "hello").grounding(text)
    assert found.claims >= len(found.ungrounded)


WORDS = ["refund", "costs", "12.50", "EUR", "Ann", "Miller", "2024-05-05", "4711", "within", "the", "days", "INV-7x."]


@given(st.lists(st.sampled_from(WORDS), min_size=1, max_size=60))
def test_what_is_copied_whole_is_grounded(words: list[str]) -> None:
    """A text that stands in a source claims nothing that the source does not say."""
    text = " ".join(words)
    assert wrong(text, provenance=seen([{"id": "x", "text": text}])) == []


def took(claims: int, sources: int) -> float:
    """Seconds of this thread for an answer and sources of that many sentences."""
    said = [
        f"Item {i} costs {i}.50 EUR since 2024-05-{i % 28 + 1:02}, says Ann Miller of unit{i}x." for i in range(sources)
    ]
    documents = [{"id": f"d{i}", "text": " ".join(said[at : at + 10])} for i, at in enumerate(range(0, sources, 10))]
    answer = " ".join(
        f"Item {i} costs {i}.50 EUR [d{i // 10}], “says Ann Miller of unit{i}x”. Prices rise everywhere in Europe."
        for i in range(claims)
    )
    provenance = seen(documents)
    started = time.thread_time()
    provenance.grounding(answer)
    return time.thread_time() - started


@pytest.mark.parametrize("grows", ["answer", "sources", "both"])
def test_the_time_grows_with_the_answer_and_the_sources(grows: str) -> None:
    """Four times as much takes about four times as long; quadratic work would take sixteen times as long."""
    small, large = 100, 400
    for _ in range(3):
        once = took(small, small)
        more = took(large if grows != "sources" else small, large if grows != "answer" else small)
        if more / max(0.004, once) <= 8:
            return
    pytest.fail(f"{more / once:.1f} times as long")


def apart(piece: str, characters: int) -> float:
    """Seconds of this thread to take a text of one sentence apart."""
    text = "Bob " + piece * (characters // len(piece))
    started = time.thread_time()
    sentences(text)
    return time.thread_time() - started


@pytest.mark.parametrize(
    "piece",
    [
        "I ",
        "of ",
        "a Bob, ",
        "Bob Monday ",
        '"ab cd" ',
        "'ab cd' ",
        "5 May 2024 and ",
        "[1] ",
        "1 EUR ",
        "AB12 1234 1234 ",
    ],
)
@pytest.mark.long
def test_the_time_grows_with_the_sentence(piece: str) -> None:
    """Whatever a sentence is full of, and however long it is."""
    for _ in range(3):
        once, more = apart(piece, 8_000), apart(piece, 32_000)
        if more / max(0.004, once) <= 8:
            return
    pytest.fail(f"{more / once:.1f} times as long")


@pytest.mark.long
def test_the_time_grows_with_the_documents_by_name() -> None:
    def took(documents: int) -> float:
        provenance = Provenance(budget=2**26)
        provenance.observe_result(
            SourceId("src_2"), {f"d{n}": {"id": f"kb-{n}", "text": f"It is {n}."} for n in range(documents)},
            label=TRUSTED, untrusted=(), prose=(), classes={}, documents=PathPattern("$.*.id"),
        )  # fmt: skip
        started = time.thread_time()
        assert provenance.grounding("It is 7 [kb-7].").findings == ()
        return time.thread_time() - started

    for _ in range(3):
        once, more = took(500), took(2000)
        if more / max(0.004, once) <= 8:
            return
    pytest.fail(f"{more / once:.1f} times as long")


def test_one_corpus_answers_many_claims(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Corpus] = []
    add = Corpus._add

    def counted(self: Corpus, unit: Unit) -> None:
        made.append(self)
        add(self, unit)

    monkeypatch.setattr(Corpus, "_add", counted)
    seen().grounding("It costs 12.50 EUR [1]. " * 50)
    assert len(made) == len(DOCUMENTS) + 1
