"""Values that are too large for the trail, read from the table while it holds them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec
from msgspec.structs import replace
from psycopg import sql

from kernel.public import CommittedChange, Statements

_HELD: Final = sql.SQL("""
select json_object_agg(_j.key || ' ' || _d.sha256, _j.value)
from {table} as _r
cross join lateral jsonb_each(caudex_audit.as_json_in_utc(_r)) as _j
join unnest($2::text[], $3::text[]) as _d (name, sha256) on _d.name = _j.key
where _r.id::text = $1::text
and encode(sha256(convert_to(_j.value #>> '{{}}', 'UTF8')), 'hex') = _d.sha256""")

_RECORD: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])

Fields = dict[str, msgspec.Raw]


class Digest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the trail has instead of a value that is too large for it."""

    length: int
    sha256: str


_DIGEST: Final = msgspec.json.Decoder(Digest)


class ValueFinder:
    """Finds values by their hashes, so it does not matter what else of a record has changed."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    async def fill(self, change: CommittedChange) -> CommittedChange:
        """Return a change with those of its replaced values that the table still holds."""
        if not change.replaced:
            return change
        old = _read_fields(change.old)
        new = _read_fields(change.new)
        held = await self._read_held(change, [*_find_keys(old), *_find_keys(new)])
        missing = _fill_fields(old, held) | _fill_fields(new, held)
        return replace(
            change,
            old=None if change.old is None else msgspec.json.encode(old),
            new=None if change.new is None else msgspec.json.encode(new),
            replaced=tuple(sorted(missing)),
        )

    async def _read_held(
        self, change: CommittedChange, keys: list[tuple[str, str]]
    ) -> Mapping[str, msgspec.Raw]:
        table = sql.Identifier(change.app_id, change.entity)
        statement = _HELD.format(table=table).as_bytes(None)
        names = [name for name, _ in keys]
        hashes = [sha256 for _, sha256 in keys]
        answer = await self._statements.fetch(statement, change.record_id, names, hashes)
        return {} if answer is None else _RECORD.decode(answer)


def find_replaced(record: bytes | None) -> list[str]:
    """Return the fields that may hold the digest of a value instead of it."""
    if record is None or b'"sha256"' not in record:
        return []
    return [name for name, _ in _find_keys(_RECORD.decode(record))]


def _find_keys(fields: Fields) -> list[tuple[str, str]]:
    """Return names and hashes of the fields that hold digests."""
    keys = list[tuple[str, str]]()
    for name, value in fields.items():
        digest = _read_digest(bytes(value))
        if digest is not None:
            keys.append((name, digest.sha256))
    return keys


def _read_digest(value: bytes) -> Digest | None:
    if not value.startswith(b"{"):
        return None
    try:
        return _DIGEST.decode(value)
    except msgspec.DecodeError:
        return None


def _fill_fields(fields: Fields, held: Mapping[str, msgspec.Raw]) -> set[str]:
    """Put values into a record, and return the names of those that are missing."""
    missing = set[str]()
    for name, sha256 in _find_keys(fields):
        value = held.get(f"{name} {sha256}")
        if value is None:
            missing.add(name)
        else:
            fields[name] = value
    return missing


def _read_fields(record: bytes | None) -> Fields:
    return {} if record is None else _RECORD.decode(record)
