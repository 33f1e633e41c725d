"""What records may weigh as JSON: in what a write sends, in what it makes, and in what is read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from kernel.public import BadRequest

from .columns import Columns

MAX_RECORD_BYTES: Final = 64_000_000
"""What a record may weigh, and what the records of a bulk may weigh together: a body has at most
50 MB, but a default is written anew in each row, and changes add up."""

TOO_LARGE: Final = b'""'
"""What comes in place of a record or a page that weighs too much: neither is ever a text."""

TOO_HEAVY: Final = "weighs too much as JSON"
"""Stands in the error of a write that PostgreSQL takes back as it makes too much."""

SURE: Final = 1_000_000
"""Bytes of JSON that PostgreSQL prints in less than `MAX_RECORD_BYTES`, whatever they are."""
LONGEST: Final = 325
"""What a number can have more when it is printed: 5e-324 has 326 characters then."""

_BESIDE: Final = bytes(byte for byte in range(256) if byte not in b'",-0123456789e')
_POWER: Final = re.compile(rb"[0-9]e(-?[0-9]+)")
_MB: Final = MAX_RECORD_BYTES // 1_000_000
_encode = msgspec.json.Encoder().encode


def encoded(columns: Columns, rows: dict[str, Any] | Sequence[dict[str, Any]]) -> bytes:
    """Encode what a statement writes. Raises BadRequest where it would be printed far too long."""
    raw = _encode(rows)
    if len(raw) > SURE:
        each = [rows] if isinstance(rows, dict) else rows
        names = [column.name for column in columns if column.kind == "json"]
        values = [row[name] for row in each for name in names if name in row]
        if printed(_encode(values)) > MAX_RECORD_BYTES:
            raise BadRequest(f"this is over {_MB} MB when its numbers are written out: send less")
    return raw


def printed(raw: bytes) -> int:
    """About how many bytes `jsonb` makes of JSON of ours: it writes 1e308 out, with every digit.
    What cannot come to `MAX_RECORD_BYTES` is taken as it is.

    Whole-text operations only, as a body has up to 50 MB.
    """
    if b"\\" in raw:
        raw = raw.replace(b"\\\\", b"").replace(b'\\"', b"")
    marks = raw.translate(None, _BESIDE)
    bare = b"".join(marks.split(b'"')[::2])  # what is outside of texts
    if len(raw) + LONGEST * bare.count(b"e") <= MAX_RECORD_BYTES:
        return len(raw)
    return len(raw) + sum(abs(int(power)) for power in _POWER.findall(bare))


def readable(raw: bytes, record_id: str | None) -> bytes:
    """Return a record that is not too large. Raises BadRequest."""
    if raw == TOO_LARGE:
        which = "a record" if record_id is None else f"record '{record_id}'"
        raise BadRequest(
            f"{which} is over {_MB} MB as JSON, too much to be read: make one of its fields smaller"
        )
    return raw


def in_words(error: BadRequest, rows: int = 1) -> BadRequest:
    """Say what to do about a write that was taken back for its weight; another error stays."""
    return too_heavy(rows) if TOO_HEAVY in error.message else error


def too_heavy(rows: int) -> BadRequest:
    """What a write makes weighs too much."""
    if rows == 1:
        return BadRequest(f"the record would be over {_MB} MB as JSON: send less")
    return BadRequest(f"the records would be over {_MB} MB together as JSON: send fewer rows")
