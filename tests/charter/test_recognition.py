"""`recognize` in charter.yaml: what is misspelt is an error, and a charter without it is what it was."""

from __future__ import annotations

import pytest

from fiducial.charter.load import parse_charter
from fiducial.charter.model import About, Charter, Owners

HEAD = "agent: a\nowners: {responsible: r, accountable: s}\ntier: chat\n"


def read(text: str) -> tuple[Charter | None, list[tuple[str, int]]]:
    """A charter with that in its `charter.yaml`, from line 4 on, and its errors."""
    charter, problems = parse_charter({"charter.yaml": HEAD + text, "contracts.yaml": "tools: {}\n"})
    return charter, [(each.code, each.line) for each in problems if each.severity == "error"]


def test_a_model_tells_persons_and_places_unless_it_is_told_otherwise() -> None:
    charter, problems = read("recognize: {model: en_core_web_lg}\n")
    assert problems == []
    assert charter is not None
    assert charter.about.recognize is not None
    assert charter.about.recognize.entities == {"PERSON": "identity", "LOCATION": "location"}
    assert read("data_classes: [vessel]\nrecognize:\n  model: /models/en\n  entities: {SHIP: vessel}\n")[1] == []


@pytest.mark.parametrize(
    ("text", "code", "line"),
    [
        ("recognize: {}\n", "missing-key", 4),
        ("recognize: {model: en, entity: {}}\n", "unknown-key", 4),
        ("recognize:\n  model: ./models/en\n", "invalid-value", 5),
        ("recognize:\n  model: en\n  entities: {}\n", "invalid-value", 6),
        ("recognize:\n  model: en\n  entities:\n    PERSON: identity\n    SHIP: vessel\n", "unknown-class", 8),
    ],
)
def test_what_is_wrong_is_found_with_its_line(text: str, code: str, line: int) -> None:
    charter, problems = read(text)
    assert charter is None
    assert problems == [(code, line)]


def test_it_counts_in_the_digest_and_its_absence_does_not() -> None:
    def made(**more: object) -> str:
        about = {"agent": "clerk", "owners": Owners(responsible="r", accountable="a")} | more
        return Charter.build(About.model_validate(about), {}).digest

    # As it was before there was such a key.
    assert made() == "sha256:0e8d7c13edabc826125f6b88cbbf3bb270e0fa35f67681c4ab17e25f828bb530"
    assert made(recognize=None) == made()
    usual = made(recognize={"model": "en"})
    assert usual == made(recognize={"model": "en", "entities": {"LOCATION": "location", "PERSON": "identity"}})
    assert (
        len({made(), usual, made(recognize={"model": "de"}), made(recognize={"model": "en", "entities": {"A": "b"}})})
        == 4
    )
