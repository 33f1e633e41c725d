"""Finishes the JSON that PostgreSQL made: size limits, timestamps that end in `Z`, the last id.

It works on the bytes as they are, by two properties of `row_to_json`. Between the members of a
record there is no space, while within a `jsonb` value there always is one, and quotes inside texts
are escaped. Between the records of an array the statements put a line feed, which occurs nowhere
else. `docs/adr/0002-timestamps-in-json.md` has the measurements.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from itertools import pairwise
from typing import Final

import msgspec

from kernel.public import BadRequest, Tagged

from .columns.column import Column, quoted

MAX_RECORD_BYTES: Final = 64_000_000
"""JSON of a record, and of all records of a bulk together. A body has at most 50 MB, but each row
gets its defaults, updates add up, and `jsonb` prints 1e99 with all its digits."""

TOO_LARGE: Final = b'""'
"""What a statement returns in place of a record or page that is too large; neither is a text."""

SIZE_ERROR: Final = "weighs too much as JSON"
"""Part of PostgreSQL's message when a write fails because its result is too large."""

_MB: Final = MAX_RECORD_BYTES // 1_000_000
_STAMP: Final = re.compile(rb'\+00:00","[a-z][a-z0-9_]*":')
_VERSION: Final = b',"_v":"'
_FIRST_ID: Final = re.compile(rb'\{"id":("[^"\\]*(?:\\.[^"\\]*)*")')


def check_readable(raw: bytes, record_id: str | None) -> bytes:
    """Return a record that is not too large. Raises BadRequest."""
    if raw == TOO_LARGE:
        name = "a record" if record_id is None else f"record '{record_id}'"
        raise BadRequest(
            f"{name} is over {_MB} MB as JSON, too much to be read: make one of its fields smaller"
        )
    return raw


def describe_size_error(error: BadRequest, rows: int = 1) -> BadRequest:
    """Say what to do about a write whose result is too large; return another error as it is."""
    return too_large(rows) if SIZE_ERROR in error.message else error


def too_large(rows: int) -> BadRequest:
    """Describe a write whose result would be too large."""
    if rows == 1:
        return BadRequest(f"the record would be over {_MB} MB as JSON: send less")
    return BadRequest(f"the records would be over {_MB} MB together as JSON: send fewer rows")


class WrittenArray(msgspec.Struct, frozen=True):
    """Records that one statement wrote, and the entity tag that they have in common."""

    etag: str
    records: list[bytes]


class Rendering:
    """Finishes the records of one entity."""

    def __init__(self, columns: Iterable[Column]) -> None:
        ordered = list(columns)
        self._inner = {
            b'+00:00","%b":' % after.name.encode(): b'Z","%b":' % after.name.encode()
            for column, after in pairwise(ordered)
            if column.kind == "timestamp"
        }
        self._ends_with_stamp = ordered[-1].kind == "timestamp"
        # One pass for all timestamps is cheaper than one for each of more than 16.
        self._one_pass = len(self._inner) > 16

    def finish_record(self, raw: bytes) -> bytes:
        """Finish one record."""
        raw = self._finish_inner_stamps(raw)
        if self._ends_with_stamp and raw.endswith(b'+00:00"}'):
            return raw[:-8] + b'Z"}'
        return raw

    def finish_tagged(self, raw: bytes) -> Tagged:
        """Finish a record whose last member is the version of its row, which is its entity tag."""
        record, _, version = raw.rpartition(_VERSION)
        return Tagged(self.finish_record(record + b"}"), _tag(version[:-2]))

    def finish_array(self, raw: bytes) -> bytes:
        """Finish an array with one record per line."""
        if not self._ends_with_stamp:
            return self._finish_inner_stamps(raw)
        raw = self._finish_inner_stamps(raw.replace(b'+00:00"},\n', b'Z"},\n'))
        if raw.endswith(b'+00:00"}]'):
            return raw[:-9] + b'Z"}]'
        return raw

    def split_tagged(self, raw: bytes) -> list[Tagged]:
        """Finish and split an array of records; see `split_written`."""
        written = self.split_written(raw)
        return [Tagged(record, written.etag) for record in written.records]

    def split_written(self, raw: bytes) -> WrittenArray:
        """Finish and split an array of records, after a line with the version of all their rows."""
        version, _, array = raw.partition(b"\n")
        return WrittenArray(_tag(version), records_in(self.finish_array(array)))

    def join_batch(self, records: Sequence[bytes]) -> bytes:
        """Finish and join single records: a piece of an array, without its brackets."""
        return self.finish_array(join_records(records))[1:-1]

    def _finish_inner_stamps(self, raw: bytes) -> bytes:
        if self._one_pass:
            return _STAMP.sub(lambda match: self._inner.get(match[0], match[0]), raw)
        for offset, zulu in self._inner.items():
            raw = raw.replace(offset, zulu)
        return raw


class NestedRendering(Rendering):
    """Finishes records that have others within.

    A member after a timestamp is selected under a mark, U+0001 and a number. In a text its quotes
    would be escaped, in a `jsonb` value there would be a space around it. So the same bytes in
    another field of some inner record are never taken for the end of a timestamp.
    """

    def __init__(self) -> None:
        self._marks: dict[str, int] = {}
        self._replaced: dict[bytes, bytes] = {}
        """Each is a pass over a page, so only those that can occur are here."""

    def allow_arrays(self) -> None:
        """Finish arrays of linked records too."""
        self._replaced[b", \n "] = b","

    def write_items(
        self, columns: Sequence[Column], extra_items: Sequence[tuple[bytes, str]] = ()
    ) -> bytes:
        """Write the select list of a record; extra items are expressions with their names."""
        items: list[bytes] = []
        timestamp: Column | None = None
        for column in columns:
            expression = column.shown or column.sql
            items.append(self._write_item(expression, column.name, timestamp))
            timestamp = column if column.kind == "timestamp" else None
        for expression, name in extra_items:
            items.append(self._write_item(expression, name, timestamp))
            timestamp = None
        if timestamp is not None:
            self._replace_end(timestamp, b',"\\u0001":null}', b"}")
            items.append(b"null::text as %b" % quoted(_MARK))
        return b", ".join(items)

    def finish_record(self, raw: bytes) -> bytes:
        """Finish one record."""
        for marked, plain in self._replaced.items():
            raw = raw.replace(marked, plain)
        return raw

    finish_array = finish_record

    def _write_item(self, expression: bytes, name: str, timestamp: Column | None) -> bytes:
        """Write a member of a record; `timestamp` is the timestamp before it."""
        if timestamp is None:
            return b"%b as %b" % (expression, quoted(name))
        number = self._marks.setdefault(name, len(self._marks))
        self._replace_end(timestamp, b',"\\u0001%d":' % number, b',"%b":' % name.encode())
        return b"%b as %b" % (expression, quoted(f"{_MARK}{number}"))

    def _replace_end(self, timestamp: Column, marked: bytes, plain: bytes) -> None:
        """Finish a timestamp, whose end is before a mark, and one that is null."""
        self._replaced[b'+00:00"' + marked] = b'Z"' + plain
        if timestamp.field is not None:  # those of the server are never null
            self._replaced[marked] = plain


_MARK: Final = "\x01"


def timestamp_text(sql: bytes) -> bytes:
    """Print a timestamp in SQL as replies have it, for the few that are no field of a record."""
    return b"replace((%b at time zone 'UTC')::text, ' ', 'T') || 'Z'" % sql


def _tag(version: bytes) -> str:
    return f'"{version.decode()}"'


def records_in(array: bytes) -> list[bytes]:
    """Split a finished array into its records."""
    return array[1:-1].split(b",\n") if len(array) > 2 else []


def join_records(records: Iterable[bytes]) -> bytes:
    """Join finished records to an array."""
    return b"[" + b",\n".join(records) + b"]"


def keep_members(record: bytes, names: Collection[str]) -> bytes:
    """Return a record with some of its members; their values stay as they are written."""
    members = _decode_members(record)
    return _encode({name: value for name, value in members.items() if name in names})


def drop_members(record: bytes, names: Collection[str]) -> bytes:
    """Return a record without some of its members."""
    members = _decode_members(record)
    return _encode({name: value for name, value in members.items() if name not in names})


_encode = msgspec.json.Encoder().encode
_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def count_in(array: bytes) -> int:
    """Count the records of a finished array."""
    # Five bytes are found several times faster than a single one.
    return array.count(b"},\n{") + 1 if len(array) > 2 else 0


def last_id(array: bytes) -> str | None:
    """Return the id of the last record of a finished array."""
    return id_of(array, max(array.rfind(b"\n"), 0))


def id_of(record: bytes, start: int = 0) -> str | None:
    """Return the id of a record, which is its first member."""
    match = _FIRST_ID.search(record, start)
    return None if match is None else msgspec.json.decode(match[1], type=str)


def id_text(record: bytes) -> bytes:
    """Return the id of a record as JSON."""
    match = _FIRST_ID.match(record)
    return b"null" if match is None else match[1]
