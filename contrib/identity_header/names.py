"""What names must be like, and when two are the same."""

from __future__ import annotations

import re
import unicodedata

from kernel.public import BadRequest

MAX_USERNAME = 64
MAX_EMAIL = 254
MAX_DISPLAY_NAME = 200
MAX_FOLDED = 512
"""Characters of a name as it is typed."""
EMAIL = re.compile(r"[^\s@<>]+@[^\s@<>]+")
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
    """Trim a username. `isprintable` knows no controls, bidi controls or odd spaces.

    Raises BadRequest.
    """
    name = text.strip()
    if not 1 <= len(name) <= MAX_USERNAME or not name.isprintable() or not fold(name):
        raise BadRequest(f"username must have 1 to {MAX_USERNAME} printable characters")
    return name


def clean_email(text: str | None) -> str | None:
    """Trim an email address; a blank one is none. Raises BadRequest."""
    email = (text or "").strip()
    if email and (len(email) > MAX_EMAIL or not email.isprintable() or not EMAIL.fullmatch(email)):
        raise BadRequest("email must be an email address")
    return email or None


def clean_display_name(text: str | None) -> str | None:
    """Trim a display name; a blank one is none. Raises BadRequest."""
    name = (text or "").strip()
    if len(name) > MAX_DISPLAY_NAME or UNSEEN.search(name):
        raise BadRequest(f"display_name must be at most {MAX_DISPLAY_NAME} printable characters")
    return name or None
