"""Rules for the names of users, for providers of IDENTITY."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from kernel.errors import BadRequest

EMAIL = re.compile(r'[^\s@<>()\[\],;:\\"]+@[^\s@.<>()\[\],;:\\"]+(\.[^\s@.<>()\[\],;:\\"]+)+')
HIDDEN: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
"""Control characters, line breaks and marks of text direction. Joiners and the spaces of many
scripts are allowed."""


def fold_name(name: str) -> str:
    """Return the key by which two names are equal: without case and compatibility variants.

    Compatibility caseless matching of the Unicode Standard (3.13, D146). A text of more than 512
    characters is returned unchanged: normalising takes time by the square of its combining marks.
    """
    if len(name) > 512:
        return name
    folded = unicodedata.normalize("NFD", name).casefold()
    folded = unicodedata.normalize("NFKC", folded).casefold()
    return unicodedata.normalize("NFKC", folded).strip()


def clean_username(text: str) -> str:
    """Trim a username of 1 to 64 printable characters. Raises BadRequest.

    `isprintable` refuses control characters, marks of text direction and unusual spaces.
    """
    name = text.strip()
    if not 1 <= len(name) <= 64 or not fold_name(name):
        raise BadRequest("username must have 1 to 64 characters")
    if not name.isprintable():
        raise BadRequest("username must consist of printable characters")
    return name


def clean_email(text: str, form: re.Pattern[str] = EMAIL) -> str:
    """Trim an email address that matches `form`. Raises BadRequest."""
    email = text.strip()
    too_long = len(email) > 254  # RFC 5321, 4.5.3.1.3
    if too_long or not email.isprintable() or not form.fullmatch(email):
        raise BadRequest("email must be an email address")
    return email


def clean_display_name(text: str | None) -> str | None:
    """Trim a display name of at most 200 characters; return None for a blank one.

    Raises BadRequest.
    """
    name = (text or "").strip()
    if len(name) > 200 or HIDDEN.search(name):
        raise BadRequest("display_name must be at most 200 printable characters")
    return name or None
