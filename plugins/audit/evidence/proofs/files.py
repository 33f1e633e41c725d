"""What is in files of proofs: both who writes and who checks them read this."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, Literal

import msgspec

from plugins.audit.evidence.merkle import hash_leaf
from plugins.audit.evidence.seals import SignedSeal

FORM: Final = "caudex audit proof 1"
EVIDENCE: Final = b'{"evidence":'
"""How a line of an export begins that is no row."""
MEMBERS: Final = (
    "id", "table_schema", "table_name", "record_id", "operation", "old_record", "new_record",
    "changed_at", "actor_id", "request_id", "key", "via", "xid", "app_key", "owner_id",
    "former_owner_id", "follows",
)  # fmt: skip
"""The members of a row that a seal vouches for. Its canonical JSON is an array of their values."""

_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_NUMBER: Final = msgspec.json.Decoder(int)
_SEAL: Final = msgspec.json.Decoder(int | None)


class Evidence(SignedSeal, frozen=True, kw_only=True):
    """What proves the rows of a seal that precede it in an export.

    `shown` are the places of these rows in the tree, as first and last of each run. `path` are the
    other hashes that the root needs, or null where the server could not give them.
    """

    shown: Sequence[tuple[int, int]] = ()
    path: Sequence[str] | None = ()


class EvidenceLine(msgspec.Struct, frozen=True):
    """A line of an export behind the rows of a seal."""

    evidence: Evidence


class Proof(SignedSeal, frozen=True, kw_only=True):
    """An inclusion proof of one row: its JSON, its place, its audit path (RFC 6962), its seal."""

    proof: Literal["caudex audit proof 1"] = FORM
    row: str
    place: int
    path: Sequence[str]


class SealedRow(msgspec.Struct, frozen=True):
    """A row as a file has it: its id, its hash, and the number of its seal."""

    id: int
    leaf: bytes
    seal: int | None


def add_seal(row: bytes, number: int | None) -> bytes:
    """Make a line of an export: the row, with its seal as the last member."""
    text = b"null" if number is None else b"%d" % number
    return b'%b,"seal":%b}\n' % (row[:-1], text)


def read_row(line: bytes | str) -> SealedRow:
    """Read a row with all its members. Raises ValueError, and msgspec.DecodeError, which is one."""
    members = _MEMBERS.decode(line)
    text = line if isinstance(line, bytes) else line.encode()
    if b"{%b}" % b",".join(map(_write_member, members.items())) != text.rstrip():
        raise ValueError("a row is not as it was written, or has a member twice")
    seal = members.pop("seal", msgspec.Raw(b"null"))
    if tuple(members) != MEMBERS:
        raise ValueError("a row has other members")
    leaf = hash_leaf(_make_canonical(members))
    return SealedRow(_NUMBER.decode(members["id"]), leaf, _SEAL.decode(seal))


def _write_member(member: tuple[str, msgspec.Raw]) -> bytes:
    name, value = member
    return b'"%b":%b' % (name.encode(), bytes(value))


def _make_canonical(members: Mapping[str, msgspec.Raw]) -> bytes:
    """Return the array whose hash is sealed: the values as PostgreSQL wrote them.

    Only the time is written otherwise: in UTC without `Z`, and without zeros at its end.
    """
    values = {name: bytes(value) for name, value in members.items()}
    moment = values["changed_at"].removesuffix(b'Z"').rstrip(b"0").removesuffix(b".")
    values["changed_at"] = moment + b'"'
    return b"[" + b", ".join(values.values()) + b"]"


def join_runs(places: Iterable[int]) -> list[tuple[int, int]]:
    """Join ascending places into runs."""
    runs = list[tuple[int, int]]()
    for place in places:
        if runs and runs[-1][1] == place - 1:
            runs[-1] = (runs[-1][0], place)
        else:
            runs.append((place, place))
    return runs


def split_runs(runs: Iterable[tuple[int, int]], size: int) -> Iterator[int]:
    """Yield the places of runs. Raises ValueError where they are not those of a tree."""
    least = 0
    for first, last in runs:
        if not least <= first <= last < size:
            raise ValueError("the places do not fit the tree")
        yield from range(first, last + 1)
        least = last + 1
