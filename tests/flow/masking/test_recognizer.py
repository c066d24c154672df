"""Names that a model tells: masked wherever other values are, or nothing is given out."""

from __future__ import annotations

import random
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

pytest.importorskip("presidio_analyzer", reason="`fiducial[ner]` is not installed: `make test`")

import spacy
from spacy.training import Example

from fiducial.charter.recognition import Recognition
from fiducial.errors import CharterError, MaskingError
from fiducial.flow.masking import passages, recognizer
from fiducial.flow.masking.detect import BUILT_IN, Detection
from fiducial.flow.masking.documents import documents
from fiducial.flow.masking.recognizer import Recognizer
from fiducial.flow.masking.streams import MaskStream
from fiducial.flow.masking.values import held_in, mask, mask_with, restore
from fiducial.flow.masking.vault import Vault

VAULT = Vault(b"0" * 32, "one")


def told(pipeline: Path, **entities: str) -> Detection:
    made = {"entities": entities} if entities else {}
    return Detection((), {}, Recognizer(Recognition(model=str(pipeline), **made)))


@pytest.fixture(scope="module")
def names(pipeline: Path) -> Detection:
    return told(pipeline)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("asked the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)


# --- what is found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Tell Ann Fox in Paris.", [("Ann Fox", "identity"), ("Paris", "location")]),
        ("José Ruiz", [("José Ruiz", "identity")]),
        ("the Argo sails", []),
        ("Ａnn Fox", [("Ａnn Fox", "identity")]),
        ("Ann\u00a0Fox", [("Ann\u00a0Fox", "identity")]),
        (r"so\nAnn Fox\nsays", [("Ann Fox", "identity")]),
        ("\ud800 Ann Fox \ud800", [("Ann Fox", "identity")]),
        ("😀 Ann Fox", [("Ann Fox", "identity")]),
        ("到 巴黎 去", [("巴黎", "location")]),
        ("so  Bob \n\n said", [("Bob", "identity")]),
        (r"so \n\nBob\n\nsaid", [("Bob", "identity")]),
        ("", []), (" \n", []), ("4711", []),
        ("Ann Fox (ann@example.org)", [("Ann Fox", "identity"), ("ann@example.org", "contact")]),
    ],
)  # fmt: skip
def test_what_is_found(names: Detection, text: str, found: list[tuple[str, str]]) -> None:
    assert [(text[start:end], name) for start, end, name in names.find(text)] == found


def test_other_classes_are_not_looked_for(names: Detection) -> None:
    text = "Ann Fox, ann@example.org, Paris"
    assert {each.data_class for each in names.find(text, frozenset({"location", "contact"}))} == {"location", "contact"}
    assert names.find(text, frozenset({"payment"})) == []
    assert names.classes == BUILT_IN.classes | {"location"}
    assert names.classify(text) == {"identity", "contact", "location"}
    assert {each.data_class for each in names.by_form(text)} == {"contact"}


def test_entities_are_what_the_charter_says(pipeline: Path) -> None:
    ships = told(pipeline, SHIP="vessel", LOCATION="contact")
    assert [each.data_class for each in ships.find("Ann Fox took the Argo to Paris")] == ["vessel", "contact"]


def test_a_model_that_was_trained_is_asked_with_what_stands_around(tmp_path: Path) -> None:
    spacy.util.fix_random_seed(1)
    rng, nlp, examples = random.Random(1), spacy.blank("en"), []
    for _ in range(24):
        name = f"{rng.choice(['Ann', 'Bob', 'Eve', 'Max'])} {rng.choice(['Smith', 'Jones', 'Chen', 'Novak'])}"
        text = rng.choice(["Please write to {} today.", "It was {} who called.", "Nobody called about it.", "Pay now."])
        start = text.find("{}")
        spans = [(start, start + len(name), "PERSON")] if start >= 0 else []
        examples.append(Example.from_dict(nlp.make_doc(text.format(name)), {"entities": spans}))
    nlp.add_pipe("ner")
    optimizer = nlp.initialize(lambda: examples)
    optimizer.learn_rate = 0.01
    for at in [0, 6, 12, 18] * 4:
        nlp.update(examples[at : at + 6], sgd=optimizer)
    nlp.to_disk(tmp_path)
    text = "Please write to Zelda Quimby today."
    assert [text[each.start : each.end] for each in told(tmp_path, PERSON="identity").find(text)] == ["Zelda Quimby"]


# --- what is masked


def test_of_values_that_overlap_the_first_and_longest_is_one(names: Detection) -> None:
    text = "Fox 4111 1111 1111 1111 of Ann Fox"
    masked = str(mask(text, VAULT, detection=names))
    assert masked.startswith("masked-identity-")
    assert "1111" not in masked
    assert held_in(masked, VAULT) == {"identity", "payment"}
    assert restore(masked, VAULT, {"identity", "payment"}) == text
    assert mask("Ann Fox", VAULT, detection=names) == VAULT.token("Ann Fox", "identity")


@pytest.mark.parametrize(
    "value",
    [
        {"name": "Ann Fox", "home": {"city": "Paris"}},
        ["Ann Fox", {"seen_in": ["Los Angeles", "Paris"]}],
        {"Ann Fox": 1, "of Paris": None},
        {"note": 'Quote: "Ann Fox" of\nParis'},
        r'{"note": "\nAnn Fox", "city": "Par\u0069s"}',
        r'so it says {"note": "\u0041nn Fox"} of Paris, \"Ann\"',
        "x " * 5_000 + "Ann Fox" + " y" * 5_000 + " Paris.",
        "x" * 990 + " Ann Fox and" + " y" * 400,
    ],
)  # fmt: skip
def test_values_are_masked_and_restored(names: Detection, value: Any) -> None:
    masked = mask(value, VAULT, detection=names)
    for each in ("Ann", "nn Fox", "Paris", "Par", "Los Angeles"):
        assert each not in str(masked)
    assert mask(masked, VAULT, detection=names) == masked
    if not isinstance(value, str) or "\\u" not in value:
        assert restore(masked, VAULT, names.classes) == value


def test_a_key_of_one_word_is_no_name(names: Detection) -> None:
    masked = mask({"Ann": "Ann", "ann@example.org": 1}, VAULT, detection=names)
    assert masked["Ann"] == VAULT.token("Ann", "identity")
    assert "ann@example.org" not in masked


def test_without_a_model_nothing_is_as_it_was(names: Detection) -> None:
    for text in ("Ann Fox lives in Paris", "ann@example.org"):
        assert BUILT_IN.find(text) == BUILT_IN.by_form(text) == names.by_form(text)
        assert BUILT_IN.names_in(text) == []


# --- streams

_PIECES = st.one_of(
    st.sampled_from(["Ann Fox", "Ann", "Fox", " 4111 1111 1111 1111", "Paris", "Los Angeles", "José Ruiz", "巴黎"]),
    st.sampled_from(
        [" ", "\n", "\n\n", "\r\n\r\n", ". ", ", ", "! ", "。", "\\n", "\\n\\n", "\\u00", "\ud800", "\u2028"]
    ),
    st.sampled_from(["word " * 90, "long" * 260, "One more. " * 40, "line\n" * 70, "ann@x.org", "card "]),
    st.sampled_from([str(VAULT.token("x", "identity")), "masked-", str(VAULT.token("x", "identity"))[:-2]]),
    st.text("AnFox 1\n.", max_size=12),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(_PIECES, max_size=14).map("".join), st.randoms(use_true_random=False))
def test_any_split_masks_the_same(names: Detection, text: str, rng: random.Random) -> None:
    assume(not documents(text))
    whole = mask(text, VAULT, detection=names)
    for count in (1, rng.randint(1, 12), len(text)):
        cuts = sorted(rng.randint(0, len(text)) for _ in range(count - 1)) if count < len(text) else range(1, count)
        stream = MaskStream(VAULT, detection=names)
        given_out = [stream.feed(text[start:end]) for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
        assert "".join(given_out) + stream.close() == whole


def test_names_that_are_known_before_they_can_be_given_out_are_masked(names: Detection) -> None:
    text = "words " * 165 + "4111 Ann 1111 and so on."  # a passage ends within what may be a card's number
    assert next(iter(passages.passages(text))) == (0, text.index("1111"))
    whole = mask(text, VAULT, detection=names)
    assert held_in(whole, VAULT) == {"identity"}
    for at in range(980, len(text)):
        stream = MaskStream(VAULT, detection=names)
        assert stream.feed(text[:at]) + stream.feed(text[at:]) + stream.close() == whole


def test_a_stream_holds_a_passage_back_and_no_more(names: Detection) -> None:
    stream = MaskStream(VAULT, detection=names)
    assert stream.feed("Ann Fox was here. ") == ""
    assert stream.feed("So was I.\n\nAnd ").startswith("masked-identity-")
    held = 4
    for _ in range(3_000):
        held += len("more words ") - len(stream.feed("more words "))
        assert held <= passages.LONGEST * 1.2
    assert "Ann" not in stream.feed("Ann") + stream.feed(" Fox") + stream.close()


@given(
    st.lists(st.sampled_from(["word " * 9, "x", "\n", "\n \n", ". ", "One. ", "a" * 300, "。", "? "]), max_size=60).map(
        "".join
    ),
    st.text(max_size=40),
)
def test_passages_are_all_of_a_text_and_do_not_depend_on_what_comes(text: str, more: str) -> None:
    found = list(passages.passages(text))
    assert "".join(text[start:end] for start, end in found) == text
    assert all(0 < end - start <= passages.LONGEST for start, end in found)
    assert list(passages.passages(text + more))[: max(0, len(found) - 1)] == found[:-1]


def test_a_passage_ends_where_a_reader_would_pause() -> None:
    def cut(text: str) -> list[str]:
        return [text[start:end] for start, end in passages.passages(text)]

    assert cut("One.\nTwo.\n \nThree.") == ["One.\nTwo.\n \n", "Three."]
    assert [each[-5:] for each in cut("Some word. " * 200)] == ["ord. "] * 3
    assert {each[-1] for each in cut("words " * 300)} == {" "}
    assert [len(each) for each in cut("One. " * 199 + "words")] == [995, 5]
    assert [len(each) for each in cut("x" * 2_500)] == [1_000, 1_000, 500]


# --- what goes wrong


@pytest.fixture
def failing(failing_pipeline: Path) -> Detection:
    return told(failing_pipeline, PERSON="identity")


@pytest.mark.parametrize(
    "use",
    [
        lambda detection, text: detection.find(text),
        lambda detection, text: detection.classify(text),
        lambda detection, text: mask({"a": [text]}, VAULT, detection=detection),
        lambda detection, text: mask_with({text: 1}, detection.find),
        lambda detection, text: mask({text: 1}, VAULT, detection=detection),
        lambda detection, text: MaskStream(VAULT, detection=detection).feed(f"{text}\n\n"),
    ],
)
def test_what_cannot_be_read_is_not_given_out(failing: Detection, use: Callable[[Detection, str], Any]) -> None:
    use(failing, "Ann Fox is well")
    for _ in range(2):
        with pytest.raises(
            MaskingError, match=r"not be told from a text \(ValueError at .*\); it is not given"
        ) as error:
            use(failing, "Ann Fox has trouble")
        assert "Ann" not in str(error.value)
        assert error.value.__cause__ is None
        assert error.value.__suppress_context__


def test_a_stream_that_failed_gives_nothing_out_either_when_it_is_closed(failing: Detection) -> None:
    stream = MaskStream(VAULT, detection=failing)
    assert stream.feed("Ann Fox has ") == ""
    assert stream.feed("trouble. ") == ""
    with pytest.raises(MaskingError):
        stream.close()


def test_without_presidio_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch, pipeline: Path) -> None:
    monkeypatch.setitem(sys.modules, "presidio_analyzer", None)
    recognizer._read.cache_clear()
    with pytest.raises(CharterError, match=r"Presidio, which is not installed \(pip install 'fiducial\[ner\]'\)"):
        told(pipeline)


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    (tmp_path / "config.cfg").write_text("[nlp]\nlang = nothing that there is")
    return tmp_path


def test_a_model_that_is_not_there_is_named_and_not_fetched(tmp_path: Path, broken: Path) -> None:
    for model, says in (
        ("en_core_web_lg", r"the model `en_core_web_lg` is not installed \(python -m spacy download en_core_web_lg\)"),
        (str(tmp_path / "none"), r"there is no model in `.*/none` \(give the folder"),
        (str(broken), r"the model `.*` cannot be read \(\w+ at .*\) \(install it again\)"),
    ):
        with pytest.raises(CharterError, match=says):
            Recognizer(Recognition(model=model))


def test_a_model_that_is_a_package_is_read(tmp_path: Path, pipeline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "en_names-1.0.dist-info").mkdir()
    (tmp_path / "en_names-1.0.dist-info" / "METADATA").write_text("Name: en_names\nVersion: 1.0\n")
    shutil.copytree(pipeline, tmp_path / "en_names")
    (tmp_path / "en_names" / "__init__.py").write_text(
        "import pathlib, spacy\n"
        "def load(**more):\n"
        "    return spacy.util.load_model_from_path(pathlib.Path(__file__).parent, **more)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    detection = Detection((), {}, Recognizer(Recognition(model="en_names")))
    assert detection.classify("Ann Fox in Paris") == {"identity", "location"}


@pytest.mark.parametrize(
    ("entity", "says"),
    [("PERSN", "did you mean `PERSON`"), ("NRP", "it tells LOCATION, PERSON, SHIP"), ("GPE", "it tells LOCATION")],
)
def test_an_entity_that_the_model_does_not_tell_is_refused(pipeline: Path, entity: str, says: str) -> None:
    with pytest.raises(CharterError, match=f"tells no entity `{entity}` .*{says}"):
        told(pipeline, **{entity: "identity"})


def test_a_pipeline_that_tells_nothing_is_refused(tmp_path: Path) -> None:
    spacy.blank("en").to_disk(tmp_path)
    with pytest.raises(CharterError, match=r"tells no entity `PERSON` \(it tells none at all\)"):
        told(tmp_path)


@pytest.mark.parametrize("model", ["", "some/where", "../model", "en-core", "en_core_web_lg==3.8", "x" * 101])
def test_a_model_is_a_package_or_a_whole_path(model: str) -> None:
    with pytest.raises(ValueError, match="must be the name of a package, or the absolute path"):
        Recognition(model=model)
    with pytest.raises(ValueError, match="is empty"):
        Recognition(model="en", entities={})


# --- what it takes


@pytest.fixture
def loaded(pipeline: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Detection, Any]]:
    """A detection of its own, and the pipeline that it asks."""
    real, made = spacy.load, []
    monkeypatch.setattr(spacy, "load", lambda name: made.append(real(name)) or made[-1])
    recognizer._read.cache_clear()
    yield told(pipeline), made[0]
    recognizer._read.cache_clear()


def test_a_passage_is_read_once(loaded: tuple[Detection, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    detection, nlp = loaded
    read: list[str] = []
    make = nlp.make_doc
    monkeypatch.setattr(nlp, "make_doc", lambda text: read.append(text) or make(text))
    for _ in range(3):
        detection.find("Ann Fox.\n\nParis again and again.")
        detection.find("Paris again and again.", frozenset({"location"}))
    assert sorted(read) == ["Ann Fox.\n\n", "Paris again and again."]


def test_what_is_remembered_is_bounded(names: Detection, pipeline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recognizer, "_REMEMBERED", 5)
    own = Recognizer(Recognition(model=str(pipeline)))
    for number in range(20):
        assert len(list(own.find(f"Ann Fox and {number}", own.classes))) == 1
    assert len(own._known) == 5


def test_it_does_not_grow_with_the_words_that_it_reads(loaded: tuple[Detection, Any]) -> None:
    detection, nlp = loaded
    detection.find("Ann Fox")
    before = len(nlp.vocab.strings)
    for number in range(50):
        detection.find(f"word{number} of Ann Fox in Paris")
    assert len(nlp.vocab.strings) == before


def test_threads_may_ask_at_once(names: Detection) -> None:
    begin = threading.Barrier(4)

    def ask(number: int) -> None:
        begin.wait()
        for each in range(60):
            text = f"Number {number} {each} is Ann Fox of Paris"
            assert [text[one.start : one.end] for one in names.find(text)] == ["Ann Fox", "Paris"]

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(ask, range(4)))


def test_nothing_of_it_is_imported_where_no_charter_wants_it() -> None:
    code = (
        "import sys, fiducial\n"
        "from fiducial.flow.masking.values import mask\n"
        "from fiducial.flow.masking.vault import Vault\n"
        "fiducial.Guard(fiducial.Charter.from_tools([]))\n"
        "mask('Ann Fox, ann@example.org', Vault(b'0' * 16, 's'))\n"
        "assert not {'spacy', 'presidio_analyzer', 'numpy'} & {*sys.modules}"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
