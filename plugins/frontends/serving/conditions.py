"""Conditional requests, ranges and encodings (RFC 9110)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Set
from functools import lru_cache
from typing import Final

from plugins.frontends.bundles.bundle import ENCODINGS, Entry, Span

RANGE: Final = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")
NO_WEIGHT: Final = re.compile(r"q=0(\.0*)?")


class UnsatisfiableRange(Exception):
    """A range that begins behind the end of a file."""


@lru_cache(256)
def accepted_encodings(header: bytes) -> Set[str]:
    """Return the encodings of Accept-Encoding that are not refused by a weight of 0 (12.5.3)."""
    encodings = set[str]()
    for part in header.decode("latin-1").lower().split(","):
        name, _, weight = part.partition(";")
        if NO_WEIGHT.fullmatch(weight.replace(" ", "")) is None:
            encodings.add(name.strip())
    return encodings


def choose_encoding(entry: Entry, headers: Mapping[bytes, bytes]) -> str:
    """Return the encoding to send a file in; an empty text for the plain content."""
    accepted = accepted_encodings(headers.get(b"accept-encoding", b"")[:1000])
    for encoding in ENCODINGS:
        if encoding in accepted and encoding in entry.compressed:
            return encoding
    return ""


def has_current(headers: Mapping[bytes, bytes], tag: bytes) -> bool:
    """Whether If-None-Match names a representation by its tag (13.1.2, weak comparison)."""
    header = headers.get(b"if-none-match")
    if header is None:
        return False
    names = [name.strip().removeprefix(b"W/") for name in header.split(b",")]
    return tag in names or names == [b"*"]


def find_range(headers: Mapping[bytes, bytes], size: int, tag: bytes) -> Span | None:
    """Return the part of a file that a request asks for; None for all of it.

    Several ranges at once are answered by the whole file, as the RFC allows (14.2). So is a range
    of another version (If-Range). Raises UnsatisfiableRange.
    """
    header = headers.get(b"range")
    if header is None or headers.get(b"if-range", tag) != tag:
        return None
    match = RANGE.fullmatch(header.decode("latin-1").replace(" ", ""))
    if match is None or match[0] == "bytes=-":
        return None
    first, last = match.groups()
    if not first:
        count = min(int(last), size)
        if count == 0:
            raise UnsatisfiableRange
        return Span(size - count, count)
    begin = int(first)
    end = size - 1
    if last:
        if int(last) < begin:
            return None
        end = min(int(last), end)
    if begin >= size:
        raise UnsatisfiableRange
    return Span(begin, end - begin + 1)
