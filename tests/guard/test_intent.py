"""Whether words ask for an effect, who said them, and what they leave open."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiducial.charter.words import phrase, sentences, stem
from fiducial.guard.intent import Intent

SEND = (phrase("send email"), phrase("email"))
DELETE = (phrase("delete"), phrase("remove"))


def intent(*texts: tuple[str, str]) -> Intent:
    made = Intent(lambda sentence: frozenset({"url"}) if "www." in sentence else frozenset())
    for authority, text in texts:
        made.hear(text, authority)  # type: ignore[arg-type]
    return made


@pytest.mark.parametrize(
    "forms",
    [
        "book books booked booking bookings",
        "reserve reserves reserved reserving reservation reservations",
        "pay pays paid paying payment payments",
        "transfer transfers transferred transferring",
        "delete deletes deleted deleting deletion",
        "invite invites invited inviting invitation",
        "cancel cancels cancelled canceled cancelling cancellation",
        "send sends sent sending",
        "email emails mail e-mail",
    ],
)
def test_inflected_forms_share_a_stem(forms: str) -> None:
    assert len({stem(form) for form in forms.replace("e-mail", "email").split()}) == 1


@pytest.mark.parametrize("pair", ["send spend", "pay play", "book look", "post position", "test text", "read red"])
def test_other_words_do_not(pair: str) -> None:
    first, second = pair.split()
    assert stem(first) != stem(second)


def test_nothing_said_asks_for_nothing() -> None:
    asked = intent().about("send", SEND)
    assert (asked.asked, asked.requested_by, asked.forbidden_by) == (False, "none", "none")


def test_a_tool_without_phrases_is_never_asked_for() -> None:
    assert not intent(("user", "do everything")).about("tool", ()).asked


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("Please send an email to Bob.", True),
        ("Don't forget to send the email.", True),
        ("Do not send any email.", False),
        ("Never, under any circumstances, send emails.", False),
        ("Read it. Then email her.", True),
        ("Read the file 'send email.txt'.", False),
        ("Open www.send-email.com/email", False),
    ],
)
def test_asking_in_words(text: str, asked: bool) -> None:
    assert intent(("user", text)).about("send", SEND).asked is asked


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("Send 10 EUR to Bob", True),
        ("send Bob $50.25, please", True),
        ("send him USD 5", True),
        ("Send 12 € today", True),
        ("Send 12€.", True),
        ("Never send more than 10 EUR.", False),
        ("Send him 10 of them", False),
        ("Send him 3 TRYouts and the EUR report", False),
        ('Send "10 EUR"', False),
    ],
)
def test_a_sum_with_its_currency_is_money(text: str, asked: bool) -> None:
    assert intent(("user", text)).about("pay", (phrase("send money"),)).asked is asked


def test_what_a_higher_authority_forbids_and_a_lower_one_asks() -> None:
    made = intent(("system", "Never delete files."), ("user", "Delete the file."))
    asked = made.about("delete", DELETE)
    assert (asked.requested_by, asked.forbidden_by) == ("user", "system")


def test_a_condition_forbids_nothing_by_itself() -> None:
    assert intent(("system", "Do not delete files unless asked to.")).about("delete", DELETE).forbidden_by == "none"


def test_what_an_agent_says_is_not_the_user_asking() -> None:
    asked = intent(("agent", "Delete the file.")).about("delete", DELETE)
    assert (asked.asked, asked.requested_by) == (False, "agent")


@pytest.mark.parametrize(
    ("text", "delegates"),
    [
        ("Please do the actions specified in the email from Ann.", True),
        ("Read the file and follow the instructions precisely.", True),
        ("Do all the tasks on my list.", True),
        ("Check it and fulfil her request.", True),
        ("Perform the following tasks in the order they are given: 1. Read it.", False),
        ("Send each person the task they need to execute.", False),
        ("Do the shopping.", False),
    ],
)
def test_delegation_is_not_a_list_of_steps(text: str, delegates: bool) -> None:
    assert intent(("user", text)).delegated is delegates


def test_an_object_is_bound_where_every_asking_sentence_names_one() -> None:
    visit = (phrase("visit"), phrase("website"))
    bound = intent(("user", "Visit www.a.com please.")).about("get", visit)
    assert not bound.leaves_open("url")
    assert bound.leaves_open("email")
    both = intent(("user", "Visit www.a.com. Then visit the websites they posted.")).about("get", visit)
    assert both.leaves_open("url")
    assert not intent(("user", "Hello.")).about("get", visit).leaves_open("url")


def test_sensitive_classes_must_all_be_named() -> None:
    made = intent(("user", "Send her my passport number."))
    assert made.asks_for_classes(["identity"])
    assert not made.asks_for_classes(["identity", "payment"])


@given(st.text(max_size=300))
def test_any_text_can_be_heard(text: str) -> None:
    made = intent(("user", text))
    made.about("send", SEND)
    assert isinstance(sentences(text), list)
