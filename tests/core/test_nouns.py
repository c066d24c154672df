"""Ids, labels, paths, events, payloads, trajectories, errors."""

from __future__ import annotations

import os

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiducial import errors
from fiducial.core.event import (
    CallDecided,
    CallFinished,
    Event,
    SessionClosed,
    SessionOpened,
    decode_event,
    encode_event,
)
from fiducial.core.ids import RANDOM_BYTES, DecisionId, EventId, SessionId, SourceId, mint, random_bytes
from fiducial.core.label import TRUSTED, UNTRUSTED, Integrity, Label, join
from fiducial.core.path import PathPattern, show
from fiducial.core.payload import payload_digest, seal
from fiducial.core.trajectory import Trajectory

labels = st.builds(
    Label,
    integrity=st.sampled_from(list(Integrity)),
    classes=st.frozensets(st.sampled_from(["identity", "payment", "health"])),
    sources=st.lists(st.sampled_from([SourceId(f"src_{n}") for n in range(4)]), max_size=3, unique=True).map(tuple),
)


@given(st.integers(0, 2**48 - 2))
def test_ids_sort_by_time_and_do_not_repeat(now: int) -> None:
    first, second = mint("evt", now), mint("evt", now + 1)
    assert first < second
    assert mint("evt", now) != first
    assert len(first) == 30
    assert first.isascii()


def test_random_bytes_are_never_handed_out_twice_not_even_to_a_child() -> None:
    drawn = [random_bytes() for _ in range(3000)]
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover - another process
        os.write(writer, b"".join(random_bytes() for _ in range(400)))
        os._exit(0)
    drawn += [random_bytes() for _ in range(400)]
    os.waitpid(child, 0)
    there = os.read(reader, 400 * RANDOM_BYTES)
    os.close(reader)
    os.close(writer)
    drawn += [there[at : at + RANDOM_BYTES] for at in range(0, len(there), RANDOM_BYTES)]
    assert len(there) == 400 * RANDOM_BYTES
    assert len(set(drawn)) == len(drawn) == 3800


@given(labels, labels, labels)
def test_joining_labels_never_raises_trust_or_loses_classes(a: Label, b: Label, c: Label) -> None:
    joined = a | b
    assert joined.trusted == (a.trusted and b.trusted)
    assert joined.classes == a.classes | b.classes
    assert set(joined.sources) == set(a.sources) | set(b.sources)
    assert (a | b) | c == a | (b | c)
    assert a | a == a


def test_joining_nothing_is_trusted() -> None:
    assert join([]) == TRUSTED
    assert join([TRUSTED, UNTRUSTED]) == UNTRUSTED


@pytest.mark.parametrize(
    ("pattern", "path", "covered"),
    [
        ("$", (), True),
        ("$", ("a", 0), True),
        ("$.a", ("a",), True),
        ("$.a", ("ab",), False),
        ("$.a", ("a", "b"), True),
        ("$.a", (), False),
        ("$[*].subject", (3, "subject"), True),
        ("$[*].subject", ("3", "subject"), False),
        ("$..body", ("x", 1, "body", "y"), True),
        ("$..body", ("x", "nobody"), False),
        ("$.*.b", ("any", "b"), True),
        ("$['odd key']", ("odd key",), True),
        ("$[2]", (2,), True),
        ("$[2]", (20,), False),
    ],
)
def test_path_patterns(pattern: str, path: tuple[str | int, ...], covered: bool) -> None:
    assert PathPattern(pattern).covers(path) is covered


@pytest.mark.parametrize("pattern", ["", "a", "$a", "$.", "$[", "$[x]", "$..", "$.a b"])
def test_what_is_no_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="path"):
        PathPattern(pattern)


def test_a_key_cannot_pose_as_deeper_ones() -> None:
    assert not PathPattern("$.a.b").covers(("a\x00kb",))


def test_paths_are_shown_as_written() -> None:
    assert show(("a", 0, "odd key")) == "$.a[0]['odd key']"


def test_events_come_back_as_they_were() -> None:
    event = SessionClosed(id=EventId("evt_1"), session=SessionId("ses_1"), at_us=5, calls=3)
    assert decode_event(encode_event(event)) == event


def test_unknown_kinds_and_fields_are_refused() -> None:
    with pytest.raises(msgspec.ValidationError):
        decode_event(b'{"kind":"session.closed","id":"e","session":null,"at_us":1,"calls":1,"extra":1}')
    with pytest.raises(msgspec.ValidationError):
        decode_event(b'{"kind":"nothing","id":"e","session":null,"at_us":1}')


def test_an_envelope_is_bounded() -> None:
    event = SessionOpened(
        id=EventId("evt_1"), session=SessionId("s"), at_us=1, agent="a", user="u" * 70_000, roles=(), tier="write",
        charter="sha256:0", mode="enforce",  # type: ignore[arg-type]
    )  # fmt: skip
    with pytest.raises(ValueError, match="larger"):
        encode_event(event)


def test_every_kind_of_event_has_its_own_tag() -> None:
    kinds = Event.__args__  # type: ignore[attr-defined]
    tags = [kind.__struct_config__.tag for kind in kinds]
    assert len(set(tags)) == len(tags) > 10


@given(st.binary(max_size=200))
def test_a_payload_digest_needs_its_salt(data: bytes) -> None:
    first, second = seal("text", data), seal("text", data)
    assert first.ref.digest != second.ref.digest
    assert payload_digest(first.salt, first.data) == first.ref.digest


def test_a_call_without_an_outcome_was_interrupted() -> None:
    session = SessionId("ses_1")

    def decided(name: str, runs: bool) -> CallDecided:
        return CallDecided(
            id=EventId("evt_" + name), session=session, at_us=1, decision=DecisionId(name), tool="t", contract=None,
            policies=None, verdict="allowed", mode="enforce", runs=runs,
        )  # fmt: skip

    finished = CallFinished(
        id=EventId("evt_f"), session=session, at_us=2, decision=DecisionId("a"), outcome="ok", source=None,
        integrity=Integrity.TRUSTED,
    )  # fmt: skip
    trajectory = Trajectory(session, [decided("a", True), decided("b", True), decided("c", False), finished])
    assert [event.decision for event in trajectory.interrupted] == ["b"]
    assert trajectory.outcome(DecisionId("a")) == finished
    assert trajectory.outcome(DecisionId("b")) is None
    with pytest.raises(ValueError, match="another session"):
        Trajectory(SessionId("ses_2"), [finished])


def test_the_error_tree_is_one_page() -> None:
    tree = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)]
    assert all(issubclass(error, errors.FiducialError) for error in tree)
    assert all(error.__name__ in (errors.__doc__ or "") for error in tree)
    assert {error.__name__ for error in tree} | {"Problem"} == set(errors.__all__)
