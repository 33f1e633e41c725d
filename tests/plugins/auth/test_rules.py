"""What names and passwords must be like."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.public import (
    BadRequest,
    BootError,
    clean_display_name,
    clean_email,
    clean_username,
    fold_name,
)
from plugins.auth.models import Registration
from plugins.auth.rules.passwords import PasswordRules, read_common

GOOD = "Str0ngPass!x"
rules = PasswordRules()


@pytest.mark.parametrize(
    "name", ["a", "Alice", "alice b", "x" * 64, "Zoë", "李小龙", "a@b.cd", "o'hara"]
)
def test_printable_names_are_taken(name):
    assert clean_username(f"  {name}\t") == name


@pytest.mark.parametrize(
    "name",
    ["", "   ", "x" * 65, "a\nb", "a\x7fb", "a\u202eb", "a\u200fb", "a\u2066b", "a\u200bb",
     "a\u00a0b", "a\u2028b", "\ufeffa", "a\x1bb", "a\ue000b"],
)  # fmt: skip
def test_controls_bidi_marks_and_invisible_characters_are_refused(name):
    with pytest.raises(BadRequest):
        clean_username(name)


@given(st.text())
def test_a_name_is_cleaned_or_refused_and_cleaning_again_changes_nothing(text):
    try:
        name = clean_username(text)
    except BadRequest:
        return
    assert 1 <= len(name) <= 64
    assert name.isprintable()
    assert clean_username(name) == name


@given(st.text())
def test_folding_twice_is_folding_once(text):
    assert fold_name(fold_name(text)) == fold_name(text)


@given(st.text(st.characters(max_codepoint=0x24F, exclude_characters="ıİŉǰ")))
def test_folding_is_blind_to_case(text):
    assert fold_name(text.upper()) == fold_name(text.lower()) == fold_name(text)


def test_names_that_look_the_same_are_the_same():
    assert fold_name("ÄRGER") == fold_name("ärger") == fold_name("a\u0308rger")
    assert fold_name("ＡＤＭＩＮ") == fold_name("admin")
    assert fold_name("straße") == fold_name("STRASSE")


@pytest.mark.parametrize(
    "email", ["alice@example.com", "a.b+c@sub.example.org", "ü@bücher.example"]
)
def test_emails_are_taken(email):
    assert clean_email(f" {email} ") == email


@pytest.mark.parametrize(
    "email",
    ["", "alice", "alice@", "@example.com", "a b@example.com", "a@b", "a@b..c", "a@.b.c", "a@@b.c",
     "a@b.c\n", "a@b.c,d@e.f", "<a@b.c>", "a@b.c\u202e", "x" * 250 + "@b.cd"],
)  # fmt: skip
def test_what_is_no_email_is_refused(email):
    if email.strip() != email:
        assert clean_email(email) == email.strip()
        return
    with pytest.raises(BadRequest):
        clean_email(email)


@pytest.mark.parametrize(
    ("password", "word"),
    [
        ("Sh0rt!", "10"),
        ("Aa1" * 400, "1024"),
        ("nouppercase1", "uppercase"),
        ("NOLOWERCASE1", "lowercase"),
        ("NoDigitsHere", "digit"),
        ("Alice123456", "username"),
        ("aLICE123456", "username"),
    ],
)
def test_a_weak_password_is_refused_with_the_reason(password, word):
    with pytest.raises(BadRequest, match=word):
        rules.check(password, "Alice123456")


@pytest.mark.parametrize("password", [GOOD, "  Str0ng  Pass ", "Aa1" + "x" * 1021, "Пароль12345"])
def test_a_password_that_keeps_the_rule_is_taken(password):
    rules.check(password, "alice")


def test_common_passwords_are_refused_where_a_list_is_configured(tmp_path):
    file = tmp_path / "common.txt"
    file.write_text("Password123\nqwerty\n")
    with pytest.raises(BadRequest, match="common"):
        PasswordRules(read_common(str(file))).check("pAssword123")
    rules.check("pAssword123")
    with pytest.raises(BootError, match="common_passwords"):
        read_common(str(tmp_path / "missing"))


def test_where_only_an_email_is_given_it_is_the_username_too():
    new = rules.check_registration(Registration(email="Bob@Example.com", password=GOOD))
    assert (new.username, new.email, new.email_only) == ("Bob@Example.com",) * 2 + (True,)
    assert new.username_key == new.email_key == "bob@example.com"
    with pytest.raises(BadRequest, match="username"):
        rules.check_registration(Registration(password=GOOD))
    with pytest.raises(BadRequest, match="username"):
        rules.check_registration(Registration(email="x" * 70 + "@example.com", password=GOOD))


def test_a_display_name_may_be_blank_and_must_be_printable():
    assert clean_display_name("  ") is None
    for name in ("Alice Martin", "Jean\u00a0Dupont", "علی\u200cرضا", "👩\u200d💻 Ada"):
        assert clean_display_name(f" {name} ") == name
    for bad in ("a\nb", "a\u2028b", "a\x9b", "\u202eevil", "\u2067evil", "x" * 201):
        with pytest.raises(BadRequest):
            clean_display_name(bad)
