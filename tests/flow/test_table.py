"""Both tables against a plain model: the compiled one and the dictionary answer alike, and rightly."""

from __future__ import annotations

import random
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiducial.flow.lexer import LEAF, fold, words, words_and_leaves
from fiducial.flow.table import CAP, RUN, STEP, DictTable, Table

TABLES = [Table, DictTable]

texts = st.text(st.sampled_from("abAB1_ .,-@\n\x00\x7fé漢\ud800"), max_size=60)


class Model:
    """Lists of everything."""

    def __init__(self) -> None:
        self.listed: dict[str | tuple[str, ...], list[int]] = {}

    def note(self, token: str | tuple[str, ...], chunk: int) -> None:
        chunks = self.listed.setdefault(token, [])
        if chunk not in chunks and len(chunks) < CAP:
            chunks.append(chunk)

    def add_words(self, text: str, chunk: int) -> None:
        for word in words(text):
            self.note(word, chunk)

    def add_folded(self, text: str, chunk: int) -> str:
        text = fold(text)
        for leaf in text.split(LEAF):
            tokens = words(leaf)
            for word in tokens:
                self.note(word, chunk)
            for start in range(0, len(tokens) - RUN + 1, STEP):
                self.note(tuple(tokens[start : start + RUN]), chunk)
        return "".join(f"{token} " for token in words_and_leaves(text))


@pytest.mark.parametrize("kind", TABLES)
@given(
    added=st.lists(st.tuples(st.sampled_from(["words", "folded", "tokens"]), texts, st.booleans()), max_size=40),
    asked=texts,
)
def test_a_table_answers_like_the_model(kind: type[DictTable], added: list[tuple[str, str, bool]], asked: str) -> None:
    table, model, chunk = kind(), Model(), 1
    for how, text, opens in added:
        chunk += opens
        # ASCII comes as it is, anything else cut into words.
        if how == "words":
            table.add_words(text if text.isascii() else " ".join(words(text)), chunk)
            model.add_words(text, chunk)
        elif how == "folded":
            stream = table.add_folded(text if text.isascii() else " ".join(words_and_leaves(fold(text))), chunk)
            assert stream == model.add_folded(text, chunk)
        else:
            table.add_tokens([text], chunk)
            model.note(text, chunk)
    for token in [asked, *words(asked), *(token for token in model.listed if isinstance(token, str))]:
        expected = model.listed.get(token, [])
        assert (token in table) == bool(expected)
        assert table.chunks(token) == expected
    wanted = words(asked.lower())
    lists = [model.listed.get(token, []) for token in wanted]
    assert len(table.rarest(wanted)) == min(map(len, lists), default=0)
    assert table.rarest(wanted) in [*lists, []]
    runs = [tuple(wanted[start : start + RUN]) for start in range(len(wanted) - RUN + 1)]
    assert table.runs(wanted) == [(at, model.listed[run]) for at, run in enumerate(runs) if run in model.listed]


@pytest.mark.parametrize("kind", TABLES)
def test_a_table_grows_and_forgets_nothing(kind: type[DictTable]) -> None:
    rng = random.Random(1)
    table, model = kind(), Model()
    for chunk in range(1, 60):
        text = " ".join(f"{rng.getrandbits(12):x}" for _ in range(500))
        assert table.add_folded(text, chunk) == model.add_folded(text, chunk)
    for token, chunks in model.listed.items():
        if isinstance(token, str):
            assert table.chunks(token) == chunks
        else:
            assert table.runs(token) == [(0, chunks)]
    assert max(map(len, model.listed.values())) == CAP
    assert not any(f"{number:x}" in table for number in range(1 << 12, 1 << 16))


@pytest.mark.parametrize("kind", TABLES)
def test_a_long_word_is_one_token(kind: type[DictTable]) -> None:
    table = kind()
    for size in (*range(1, 40), 1000, 32_768):
        table.add_words("a" * size + "b", 1)
        assert "a" * size + "b" in table
        assert "a" * size not in table


@pytest.mark.parametrize("kind", TABLES)
@pytest.mark.parametrize("chunk", [0, 1 << 20])
def test_a_number_that_is_no_chunk_is_refused(kind: type[DictTable], chunk: int) -> None:
    table = kind()
    with pytest.raises(ValueError, match="a chunk's number"):
        table.add_folded("a", chunk)
    with pytest.raises(ValueError, match="a chunk's number"):
        table.add_words("a", chunk)
    with pytest.raises(ValueError, match="a chunk's number"):
        table.add_tokens(["a"], chunk)
    assert "a" not in table


@pytest.mark.skipif(Table is DictTable, reason="not compiled")
@pytest.mark.parametrize("value", [None, 1, b"a", ["a"]])
def test_what_is_no_text_is_refused(value: Any) -> None:
    # The compiled table reads memory by its own means, and must not take anything else for a string.
    table = Table()
    for ask in (table.add_folded, table.add_words):
        with pytest.raises(TypeError):
            ask(value, 1)
    with pytest.raises(TypeError):
        table.add_tokens([value], 1)
    for look in (table.chunks, table.__contains__):
        with pytest.raises(TypeError):
            look(value)
    for listed in (table.rarest, table.runs):
        with pytest.raises(TypeError):
            listed([value])


@pytest.mark.parametrize("kind", TABLES)
def test_its_size_is_what_it_takes(kind: type[DictTable]) -> None:
    rng = random.Random(2)
    pieces = [" ".join(f"{rng.getrandbits(30):x}" for _ in range(400)) for _ in range(100)]
    tracemalloc.start()
    try:
        table = kind()
        for chunk, piece in enumerate(pieces, 1):
            most = table.size_with(len(piece))
            table.add_folded(piece, chunk)
            assert table.size <= most
        taken = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert taken <= table.size * 1.01 + 4096
    assert table.size <= 2.5 * taken
