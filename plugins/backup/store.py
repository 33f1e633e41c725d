"""Reads the history of backups, which the commands write (`postgres.py`)."""

from __future__ import annotations

from typing import Final

import msgspec

from kernel.public import Statements

from .history import Last

LAST: Final = """
select json_build_object('file', m.file, 'made_at', m.made_at,
    'verified_at', v.verified_at, 'verified_file', v.verified_file)::text
from (select file, made_at from caudex_backup.last order by made_at desc limit 1) as m
left join (select verified_at, verified_file from caudex_backup.last
    where verified_at is not null order by verified_at desc limit 1) as v on true"""

_AGES: Final = """
select json_build_object('file', file, 'made', extract(epoch from now() - made_at),
    'verified', extract(epoch from now() - verified_at))
from caudex_backup.last where folder = $1::text"""


class Ages(msgspec.Struct, frozen=True):
    """Seconds since the last backup in a folder and its verification."""

    file: str = ""
    made: float | None = None
    verified: float | None = None


async def read_last(statements: Statements) -> Last:
    """Return the newest backup and verification of all folders."""
    row = await statements.fetch(LAST)
    if not row:
        return Last()
    return msgspec.json.decode(row, type=Last)


async def read_ages(statements: Statements, folder: str) -> Ages:
    """Return how old the last backup in a folder is."""
    row = await statements.fetch(_AGES, folder)
    if not row:
        return Ages()
    return msgspec.json.decode(row, type=Ages)
