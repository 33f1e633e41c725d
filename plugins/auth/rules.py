"""What names and passwords must be like. Everything here raises BadRequest."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Set
from pathlib import Path

from kernel.public import BadRequest, BootError

from .models import NewAccount, Registration

MAX_USERNAME = 64
MAX_EMAIL = 254
MAX_DISPLAY_NAME = 200
MAX_FOLDED = 512
"""Characters of a name as it is typed."""
MIN_PASSWORD, MAX_PASSWORD = 10, 1024
MAX_LIST = 20_000_000
"""Bytes of a file of common passwords."""

EMAIL = re.compile(r'[^\s@<>()\[\],;:\\"]+@[^\s@.<>()\[\],;:\\"]+(\.[^\s@.<>()\[\],;:\\"]+)+')
UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
"""Controls, breaks of lines, and what turns the direction of the text around it; the joiners and
the spaces of many scripts are none of these."""


def fold(name: str) -> str:
    """Make the key by which names are the same: without case and compatibility variants.

    Compatibility caseless matching of the Unicode Standard (3.13, D146). Nobody's name is as long
    as MAX_FOLDED: it stays as it is, since normalising takes time by the square of its marks.
    """
    if len(name) > MAX_FOLDED:
        return name
    folded = unicodedata.normalize("NFD", name).casefold()
    folded = unicodedata.normalize("NFKC", folded).casefold()
    return unicodedata.normalize("NFKC", folded).strip()


def clean_username(text: str) -> str:
    """Trim a username. `isprintable` knows no controls, bidi controls or odd spaces."""
    name = text.strip()
    if not 1 <= len(name) <= MAX_USERNAME:
        raise BadRequest(f"username must have 1 to {MAX_USERNAME} characters")
    if not name.isprintable():
        raise BadRequest("username must consist of printable characters")
    return name


def clean_email(text: str) -> str:
    """Trim an email address that looks like one."""
    email = text.strip()
    if len(email) > MAX_EMAIL or not email.isprintable() or not EMAIL.fullmatch(email):
        raise BadRequest("email must be an email address")
    return email


def clean_display_name(text: str | None) -> str | None:
    """Trim a display name; a blank one is none."""
    name = (text or "").strip()
    if len(name) > MAX_DISPLAY_NAME or UNSEEN.search(name):
        raise BadRequest(f"display_name must be at most {MAX_DISPLAY_NAME} printable characters")
    return name or None


class PasswordRules:
    """The rules for a new password, with the list of those that too many people have."""

    def __init__(self, common: Set[str] = frozenset()) -> None:
        self._common = common

    def check(self, password: str, *names: str | None) -> None:
        """Refuse a password that is too short, too plain, too common, or one of the names."""
        if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
            raise BadRequest(f"password must have {MIN_PASSWORD} to {MAX_PASSWORD} characters")
        if not any(letter.isupper() for letter in password):
            raise BadRequest("password must have an uppercase letter")
        if not any(letter.islower() for letter in password):
            raise BadRequest("password must have a lowercase letter")
        if not any(letter.isdecimal() for letter in password):
            raise BadRequest("password must have a digit")
        if fold(password) in {fold(name) for name in names if name}:
            raise BadRequest("password must not be the username or the email")
        if password.casefold() in self._common:
            raise BadRequest("password is too common")

    def account(self, form: Registration) -> NewAccount:
        """Check a registration; where only an email is given, it is the username too."""
        email = None if form.email is None else clean_email(form.email)
        if form.username is not None:
            username = clean_username(form.username)
        elif email is not None:
            if len(email) > MAX_USERNAME:
                raise BadRequest(f"username is required where the email is over {MAX_USERNAME}"
                                 " characters")  # fmt: skip
            username = email
        else:
            raise BadRequest("username is required")
        self.check(form.password, username, email)
        given = form.display_name if form.display_name is not None else form.display_name_camel
        return NewAccount(
            username=username,
            username_key=fold(username),
            email=email,
            email_key=None if email is None else fold(email),
            display_name=clean_display_name(given),
            password=form.password,
            email_only=form.username is None,
        )


def read_common(file: str) -> Set[str]:
    """Read a list of common passwords, one a line. Raises BootError."""
    if not file:
        return frozenset()
    where = "[plugins.auth] common_passwords"
    try:
        if Path(file).stat().st_size > MAX_LIST:
            raise BootError(where, f"{file} is over {MAX_LIST} bytes")
        lines = Path(file).read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BootError(where, f"{file} cannot be read: {error}") from None
    return frozenset(line.casefold() for line in lines if line)
