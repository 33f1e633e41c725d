"""Values that a change has replaced by `{"length", "sha256"}`: taken out before it is judged.

A column that holds numbers, say, has no place for such a mark.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Final

import msgspec

from kernel.public import CommittedChange

Members = dict[str, msgspec.Raw]

_decode = msgspec.json.Decoder(Members).decode
_encode = msgspec.json.Encoder().encode


class PlainRows(msgspec.Struct, frozen=True):
    """The rows of a change without the replaced fields, and what was taken out of both.

    `marked` are the fields of the new row that had a mark, `differing` those in which the rows
    differ.
    """

    old: bytes | None
    new: bytes | None
    taken_out: Mapping[str, bytes] = {}
    taken_out_before: Mapping[str, bytes] = {}
    marked: frozenset[str] = frozenset()
    differing: frozenset[str] = frozenset()


def take_out_marks(change: CommittedChange) -> PlainRows:
    """Return the rows of a change as they can be judged."""
    if not change.replaced:
        return PlainRows(change.old, change.new)
    old = _decode_row(change.old)
    new = _decode_row(change.new)
    old_values = {name: bytes(old.pop(name)) for name in change.replaced if name in old}
    new_values = {name: bytes(new.pop(name)) for name in change.replaced if name in new}
    return PlainRows(
        old=None if change.old is None else _encode(old),
        new=None if change.new is None else _encode(new),
        taken_out=new_values,
        taken_out_before=old_values,
        marked=frozenset(name for name, value in new_values.items() if _MARK.fullmatch(value)),
        differing=frozenset(
            name for name in change.replaced if old_values.get(name) != new_values.get(name)
        ),
    )


def put_back(record: bytes, values: Mapping[str, bytes], names: Collection[str]) -> bytes:
    """Return a record with what was taken out of some fields."""
    members = _decode(record)
    for name in names:
        members[name] = msgspec.Raw(values[name])
    return _encode(members)


def _decode_row(row: bytes | None) -> Members:
    return {} if row is None else _decode(row)


_MARK: Final = re.compile(rb'\{"length": ?\d+, ?"sha256": ?"[0-9a-f]{64}"\}')
