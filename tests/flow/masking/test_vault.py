"""Tokens of one session: forged ones first."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from masking_values import SAMPLES

from fiducial.core.path import PathPattern
from fiducial.flow.masking.detect import find
from fiducial.flow.masking.tokens import tokens
from fiducial.flow.masking.values import held_in, mask, mask_with, restore, restore_text
from fiducial.flow.masking.vault import Vault

SECRET = bytes(range(32))
ALL = frozenset({"payment", "contact", "identity", "health", "credentials", "secrets"})


def vault(session: str = "one", **more: object) -> Vault:
    return Vault(SECRET, session, **more)  # type: ignore[arg-type]


def test_a_secret_that_is_too_short_is_refused() -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        Vault(b"short", "one")


def test_a_forged_or_changed_token_stays_text() -> None:
    one = vault()
    token = mask("ann@x.org", one)
    forged = f"masked-contact-{'0' * 20}"
    assert restore(forged, one, ALL) == forged
    for at in range(token.rindex("-") + 1, len(token)):
        changed = token[:at] + ("0" if token[at] != "0" else "1") + token[at + 1 :]
        assert restore(f"to {changed}.", one, ALL) == f"to {changed}."
    for changed in (token.replace("contact", "payment"), token.replace("-", "_"), token[:-1]):
        assert restore(changed, one, ALL) == changed


def test_a_token_of_another_session_means_nothing() -> None:
    one, two = vault(), vault("two")
    token = mask("ann@x.org", one)
    assert mask("ann@x.org", two) != token
    assert restore(token, two, ALL) == token
    assert restore(token, Vault(bytes(32), "one"), ALL) == token


def test_the_same_value_gets_the_same_token_also_when_the_session_is_opened_again() -> None:
    kept: dict[str, bytes] = {}
    token = mask("ann@x.org", vault(kept=kept))
    again = vault(kept=kept)
    assert restore(token, again, ALL) == "ann@x.org"
    assert mask("ann@x.org and ann@x.org", again) == f"{token} and {token}"


def test_what_is_kept_says_nothing_of_the_value() -> None:
    kept: dict[str, bytes] = {}
    mask("ann@x.org, 4111111111111111", vault(kept=kept))
    written = b"".join(key.encode() + record for key, record in kept.items())
    assert b"ann" not in written
    assert b"4111" not in written
    assert len({record[:12] for record in kept.values()}) == 2


def test_a_record_that_was_changed_or_moved_is_not_restored() -> None:
    kept: dict[str, bytes] = {}
    one = vault(kept=kept)
    ann, bob = mask("ann@x.org", one), mask("bob@x.org", one)
    kept[ann], kept[bob] = kept[bob], kept[ann][:-1] + bytes([kept[ann][-1] ^ 1])
    assert restore([ann, bob], one, ALL) == [ann, bob]
    kept[ann] = b""
    assert restore(ann, one, ALL) == ann


def test_restoring_only_what_may_flow() -> None:
    one = vault()
    masked = mask({"to": "ann@x.org", "card": 4111111111111111}, one)
    assert held_in(masked, one) == {"contact", "payment"}
    assert restore(masked, one, {"contact"}) == {"to": "ann@x.org", "card": masked["card"]}
    assert restore(masked, one, ()) == masked
    assert restore(masked, one, ALL) == {"to": "ann@x.org", "card": 4111111111111111}
    assert restore(f"pay {masked['card']}", one, ALL) == "pay 4111111111111111"


def test_a_token_survives_another_case() -> None:
    one = vault()
    assert restore(mask("ann@x.org", one).upper(), one, ALL) == "ann@x.org"


def test_what_is_restored_is_not_read_again() -> None:
    one = vault()
    inner = mask("ann@x.org", one)
    outer = one.token(f"see {inner}", "health")
    assert restore(f"so {outer}", one, ALL) == f"so see {inner}"


def test_a_full_vault_masks_for_good() -> None:
    one = vault(limit=1)
    first = mask("ann@x.org", one)
    assert mask("bob@x.org and ann@x.org", one) == f"[contact] and {first}"


def test_what_contracts_declare_is_masked_whole() -> None:
    one = vault()
    value = {"rows": [{"note": "tired", "age": 7, "ok": True, "none": None, "empty": ""}], "note": "public"}
    masked = mask(value, one, declared=[(PathPattern("$.rows[*]"), "health")])
    row = masked["rows"][0]
    assert [row["note"][:14], row["age"][:14], row["ok"][:14]] == ["masked-health-"] * 3
    assert (row["none"], row["empty"], masked["note"]) == (None, "", "public")
    assert mask(masked, one, declared=[(PathPattern("$.rows[*]"), "health")]) == masked
    assert restore(masked, one, {"health"}) == value


def test_a_class_of_any_name_has_a_token() -> None:
    one = vault()
    token = str(one.token("x", "Große Klasse" * 9))
    assert [found for _, _, found in tokens(f"<{token}>")] == [token]
    assert restore(token, one, {"Große Klasse" * 9}) == "x"


def test_values_in_json_text_are_escaped() -> None:
    one = vault()
    token = one.token('"}', "secrets")
    assert restore_text(f'"{token}"', one, ALL, in_json=True) == '"\\"}"'


def test_too_deep_is_masked_whole() -> None:
    value: object = "ann@x.org"
    for _ in range(300):
        value = [value]
    assert "ann@x.org" not in str(mask(value, vault()))


_TEXT = st.lists(st.one_of(st.sampled_from([each.text for each in SAMPLES]), st.text(max_size=8)), max_size=6)


@given(_TEXT.map(" ".join))
def test_masking_is_undone_by_restoring_and_changes_no_token(text: str) -> None:
    one = vault()
    [masked] = mask([text], one)
    # Behind a token may stand what was no value of its own while digits stood before it.
    [again] = mask([masked], one)
    before = [token for _, _, token in tokens(masked)]
    rest = iter(token for _, _, token in tokens(again))
    assert all(token in rest for token in before)
    assert restore([masked], one, ALL) == restore([again], one, ALL) == [text]


def test_the_key_of_a_member_says_what_it_is() -> None:
    one = vault()
    value = {
        "password": "hunter2", "cvv": "123", "pin": 4711, "ssn": "536904399", "apiKey": "k3y-abcdefghij",
        "accountNumber": "12345678", "date_of_birth": "1980-01-02", "phones": ["4155550134"],
        "Authorization": "Basic dXNlcjpwYXNzd29yZDEyMw==", "nested": {"passphrase": "correct \"horse\" battery"},
    }  # fmt: skip
    masked = mask(value, one)
    classes = {key: str(found).removeprefix("masked-").split("-")[0] for key, found in masked.items()}
    assert classes | {"phones": "", "nested": "", "Authorization": ""} == {
        "password": "credentials", "cvv": "payment", "pin": "credentials", "ssn": "identity", "apiKey": "secrets",
        "accountNumber": "payment", "date_of_birth": "identity", "phones": "", "Authorization": "", "nested": "",
    }  # fmt: skip
    assert masked["phones"][0].startswith("masked-contact-")
    assert masked["Authorization"].startswith("Basic masked-credentials-")
    assert masked["nested"]["passphrase"].startswith("masked-credentials-")
    assert len(masked["nested"]["passphrase"]) == len(masked["password"])
    assert mask(masked, one) == masked
    assert restore(masked, one, ALL) == value
    beside = {"password": f"ann {masked['cvv']} and more"}
    assert masked["cvv"] in mask(beside, one)["password"]


@pytest.mark.parametrize("value", [{"note": "AKIAIOSFODNN7EXAMPLE is revoked"}, {"key": "password: hunter2 or so"}])
def test_only_the_value_is_masked_where_the_text_itself_says_what_it_is(value: dict[str, str]) -> None:
    [(_, masked)] = mask(value, vault()).items()
    [(start, end, _)] = tokens(masked)
    assert end - start < len(masked)


@pytest.mark.parametrize("value", [{"key": "a word"}, {"pin": True}, {"token": "word"}, {"password": ""}, {"a": 'b"c'}])
def test_a_key_alone_makes_no_value(value: dict[str, object]) -> None:
    assert mask(value, vault()) == value


@given(st.lists(st.sampled_from(["a@x.com", "b@x.com", "[contact]", "[contact] (2)", "c@x.com", "x"]), unique=True))
def test_masking_keys_loses_no_member(keys: list[str]) -> None:
    masked = mask_with({key: number for number, key in enumerate(keys)}, find)
    assert list(masked.values()) == list(range(len(keys)))


def test_restoring_keys_loses_no_member() -> None:
    one = vault()
    masked = {**mask({"ann@x.org": 1}, one), "ann@x.org": 2}
    assert restore(masked, one, ALL) == {"ann@x.org": 1, "ann@x.org (2)": 2}


def test_a_record_that_does_not_open_is_written_anew() -> None:
    kept: dict[str, bytes] = {}
    one = vault(kept=kept, limit=1)
    token = mask("ann@x.org", one)
    kept[token] = b"broken"
    assert mask("ann@x.org", one) == token
    assert restore(token, one, ALL) == "ann@x.org"


@pytest.mark.long
def test_time_grows_with_the_number_of_tokens_and_values() -> None:
    one = vault()
    token = mask("ann@x.org", one)

    def taken(count: int) -> float:
        text = f"{token} " * count + "a@b.co " * count
        start = time.thread_time()
        mask(text, one)
        return time.thread_time() - start

    short = min(taken(600) for _ in range(3))
    assert min(taken(6_000) for _ in range(3)) < 24 * short + 0.05
