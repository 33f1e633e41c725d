"""Positions as text: what has been read, so that reading goes on behind it."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import msgspec

from kernel.public import MAX_POSITION, BadRequest

from .moments import MAX_OPEN, Moment, Snapshot

VERSION: Final = 1
MAX_FLOORS: Final = 900
"""Bytes of a moment with a floor of its own for each transaction; else they share the lowest."""
MAX_NUMBER: Final = 2**63 - 1
_FORM: Final = re.compile(rf"[A-Za-z0-9_-]{{16,{MAX_POSITION}}}")
_NO_POSITION: Final = "the position is not one that a server has sent: send it unchanged"


class Place(NamedTuple):
    """The place of a change in a batch: the greatest id of its transaction, and its own id."""

    transaction_end: int
    id: int


FIRST: Final = Place(0, 0)


class Position(msgspec.Struct, frozen=True, kw_only=True):
    """All that was visible at `begin` has been read.

    Where there is an `end`, what became visible until then is being read, up to and with `place`.
    `server` and `branch` are hashes of those that the transactions are numbered in.
    """

    server: bytes
    branch: bytes
    begin: Moment
    end: Moment | None = None
    place: Place = FIRST


def hash_name(name: str) -> bytes:
    """Hash the name of a server or branch for positions."""
    return hashlib.sha256(name.encode()).digest()[:5]


def start_at(snapshot: Snapshot, moment: Moment) -> Position:
    """Return the position behind all that is visible in a snapshot."""
    return Position(
        server=hash_name(snapshot.server), branch=hash_name(snapshot.branch), begin=moment
    )


def write_position(position: Position) -> str:
    """Return a position as text."""
    writer = PositionWriter(position)
    if position.end is None:
        return writer.prefix
    return writer.write(position.place)


class PositionWriter:
    """Writes the positions of a batch, which differ in their places only."""

    def __init__(self, position: Position) -> None:
        body = bytearray([VERSION])
        body += position.server + position.branch
        _write_moment(body, position.begin, with_floors=True)
        body.append(0 if position.end is None else 1)
        if position.end is not None:
            _write_moment(body, position.end, with_floors=False)
        body += binascii.crc32(body).to_bytes(4, "big")
        body += bytes(-len(body) % 3)
        self.prefix = base64.urlsafe_b64encode(body).decode()

    def write(self, place: Place) -> str:
        """Return the position behind a place of the batch."""
        body = bytearray()
        _write_numbers(body, place)
        body.append(binascii.crc32(body, len(self.prefix)) & 0xFF)
        return self.prefix + base64.urlsafe_b64encode(body).decode().rstrip("=")


def read_position(text: str) -> Position:
    """Read a position. Raises BadRequest."""
    if _FORM.fullmatch(text) is None:
        raise BadRequest(_NO_POSITION)
    try:
        return _Reader(text).read_position()
    except (ValueError, IndexError):
        raise BadRequest(_NO_POSITION) from None


def _write_moment(body: bytearray, moment: Moment, *, with_floors: bool) -> None:
    """Append a moment; numbers and floors as differences, the newest transaction first."""
    numbers = sorted(moment.open, reverse=True)
    own_offset = 0
    if moment.own:
        own_offset = moment.own - moment.xmax + 1
    _write_numbers(body, (moment.xmax, moment.last_id, own_offset, len(numbers)))
    body += _differences(moment.xmax, numbers)
    if not with_floors:
        return
    floor = min(moment.late, moment.last_id)
    floors = [floor]
    for number in numbers:
        floor = min(floor, moment.open[number])
        floors.append(floor)
    written = _differences(moment.last_id, floors)
    if len(written) > MAX_FLOORS:
        written = _differences(moment.last_id, [floor] * len(floors))
    body += written


def _differences(first: int, falling: Sequence[int]) -> bytearray:
    body = bytearray()
    previous = first
    for number in falling:
        _write_numbers(body, (previous - number,))
        previous = number
    return body


def _write_numbers(body: bytearray, numbers: Iterable[int]) -> None:
    """Append numbers in seven bits a byte, the lowest first."""
    for number in numbers:
        rest = number
        while rest > 0x7F:
            body.append(rest & 0x7F | 0x80)
            rest >>= 7
        body.append(rest)


class _Reader:
    """Reads the text of a position from its begin. Raises ValueError, IndexError."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._body = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        self._at = 0

    def read_position(self) -> Position:
        if self._read_bytes(1) != bytes([VERSION]):
            raise ValueError("another version")
        server = self._read_bytes(5)
        branch = self._read_bytes(5)
        begin = self._read_moment(None)
        has_end = self._read_bytes(1) == b"\x01"
        end = self._read_moment(begin) if has_end else None
        self._check(binascii.crc32(self._body[: self._at]).to_bytes(4, "big"))
        self._check(bytes(-self._at % 3))
        place = FIRST
        if has_end:
            place = self._read_place()
        written = Position(server=server, branch=branch, begin=begin, end=end, place=place)
        # One text for each position: bits that say nothing would make others.
        if self._at != len(self._body) or write_position(written) != self._text:
            raise ValueError("more than a position")
        return written

    def _read_place(self) -> Place:
        begin = self._at
        prefix_length = begin // 3 * 4
        transaction_end = self._read_number()
        place = Place(transaction_end, self._read_number())
        checksum = binascii.crc32(self._body[begin : self._at], prefix_length) & 0xFF
        self._check(bytes([checksum]))
        return place

    def _read_moment(self, before: Moment | None) -> Moment:
        """Read a moment; the floors of one that follows another are known from that."""
        xmax = self._read_number()
        last_id = self._read_number()
        own_number = self._read_number()
        if own_number:
            own_number += xmax - 1
        count = self._read_number()
        if count > MAX_OPEN:
            raise ValueError("too many transactions")
        numbers = self._read_falling(xmax, count)
        if before is not None:
            open_numbers = tuple(numbers)
            return before.lead_to(
                Snapshot(branch="", xmax=xmax, open=open_numbers, last_id=last_id, own=own_number)
            )
        late, *floors = self._read_falling(last_id, count + 1)
        open_transactions = dict(zip(numbers, floors, strict=True))
        return Moment(xmax=xmax, last_id=last_id, open=open_transactions, late=late, own=own_number)

    def _read_falling(self, first: int, count: int) -> list[int]:
        numbers = list[int]()
        number = first
        for _ in range(count):
            number -= self._read_number()
            numbers.append(number)
        if number < 0:
            raise ValueError("a negative number")
        return numbers

    def _read_number(self) -> int:
        number = 0
        shift = 0
        while True:
            byte = self._body[self._at]
            self._at += 1
            number |= (byte & 0x7F) << shift
            shift += 7
            if byte <= 0x7F:
                break
        if number > MAX_NUMBER:
            raise ValueError("a number that is too large")
        return number

    def _read_bytes(self, count: int) -> bytes:
        part = self._body[self._at : self._at + count]
        self._at += count
        return part

    def _check(self, expected: bytes) -> None:
        if self._read_bytes(len(expected)) != expected:
            raise ValueError("changed")
