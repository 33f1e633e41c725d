"""Entity tags of records: what `If-Match` and `If-None-Match` ask (RFC 9110, 13.1)."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from kernel.public import BadRequest, Tagged
from plugins.data.errors import PreconditionFailed
from plugins.data.filters.conditions import Conditions
from plugins.data.statements.entity import ETAG

_TAG: Final = re.compile(r'\s*(W/)?("[\x21\x23-\x7e\x80-\xff]*")\s*(?:,|$)')


class IfMatch(msgspec.Struct, frozen=True):
    """The tags of which a record must have one; None accepts every record."""

    tags: tuple[str, ...] | None = None

    def check(self, record_id: str, record: Tagged) -> None:
        """Raise PreconditionFailed for a record that has none of the tags."""
        if self.tags is not None and record.etag not in self.tags:
            raise PreconditionFailed(record_id, None)

    def narrow(self, conditions: Conditions) -> None:
        """Require records that have one of the tags."""
        if self.tags is not None:
            tags = conditions.bind(list(self.tags), b"text[]")
            conditions.parts.append(b"%b = any(%b)" % (ETAG.sql, tags))


NO_IF_MATCH: Final = IfMatch()


def read_if_match(header: str | None) -> IfMatch:
    """Read `If-Match`; a weak tag never matches. Raises BadRequest."""
    if header is None or header.strip() == "*":
        return NO_IF_MATCH
    tags = list[str]()
    position = 0
    while position < len(header):
        match = _TAG.match(header, position)
        if match is None:
            raise BadRequest("If-Match must be * or entity tags in quotes, with commas between")
        position = match.end()
        is_weak = match[1] is not None
        if not is_weak:
            tags.append(match[2])
    return IfMatch(tuple(tags))


def is_none_match(header: bytes, etag: str) -> bool:
    """Whether `If-None-Match` names a tag; a weak one counts as well."""
    text = header.decode("latin-1")
    return text.strip() == "*" or any(match[2] == etag for match in _TAG.finditer(text))
