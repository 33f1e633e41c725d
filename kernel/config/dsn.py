"""What is wrong with the address of a database, found without connecting and told without a value
of it: any part may hold the password."""

from __future__ import annotations

import re
from typing import Final

import psycopg
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict

from kernel.errors import nearest

FORM: Final = "write postgresql://user:password@host/name"
ENCODE: Final = "percent-encode what is special in it: % as %25, @ as %40, / as %2F, ? as %3F"
_URL: Final = re.compile(
    r"postgres(?:ql)?://(?:(?P<user>[^@/:]*)(?::(?P<password>[^@/]*))?@)?(?P<host>[^/?]*)"
    r"(?:/(?P<name>[^?]*))?(?:\?(?P<parameters>.*))?",
    re.DOTALL,
)
"""As libpq takes it apart (34.1.1.2): the first @ ends the password."""
_NO_CODE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})|%00")
_UNKNOWN: Final = re.compile(r'invalid (?:URI query parameter:|connection option) "([^"]*)"')


def mistake(url: str) -> tuple[str, str] | None:
    """Return what is wrong with a libpq connection string and what to write, or None."""
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", url)
    if scheme and scheme[1] not in ("postgresql", "postgres"):
        return f"it begins with {scheme[1]}://, which is no PostgreSQL", FORM
    parts = found.groupdict() if scheme and (found := _URL.fullmatch(url)) else {}
    for part, text in parts.items():
        if text and _NO_CODE.search(text):
            return f"its {part} has a % that begins no code", ENCODE
    if "@" in (parts.get("host") or "")[1:]:
        return "it has more than one @", "write @ in the user or the password as %40"
    try:
        ports = str(conninfo_to_dict(url).get("port") or "")
    except psycopg.ProgrammingError as error:
        if (unknown := _UNKNOWN.search(str(error))) is None:
            return "it is not one of libpq's", FORM
        # Not shown itself: it may be a piece of a password that has a `?`.
        known = [each.keyword.decode() for each in pq.Conninfo.get_defaults()]
        return "it has an unknown parameter", nearest(unknown[1], known)
    if not re.fullmatch(r"[\d,\s]*", ports):
        return "its port is no number", "write / in the user or the password as %2F"
    return None
