"""Proves a backup: restores it into a scratch database and compares the rows of each table."""

from __future__ import annotations

from pathlib import Path

from kernel.public import REGISTRY, BadRequest, Services

from . import postgres
from .archive import DUMP, About, unpack
from .programs import tool
from .scratch import scratch


def verify(services: Services, file: Path, key: bytes | None, into: str | None) -> str:
    """Restore a backup beside the database, or `into` another server. Returns what was found.

    Raises BadRequest where the restore fails, or a table has other rows than the dump had.
    """
    own = services.get(REGISTRY).database_url
    url = into or own
    with scratch(None) as folder:
        about = unpack(file, folder, key)
        program = tool(services, "pg_restore", url)
        with postgres.scratch_database(url) as place:
            postgres.restore(program, place, folder / DUMP, privileges=False)
            found = postgres.counts_in(place)
    _compare(about, found)
    noted = postgres.note_verified(own, file, about.made_at)
    said = f"{file} restores: {len(found)} tables, {sum(found.values())} rows"
    said += ", as many as when it was made" if about.counts else "; it holds no counts to compare"
    return said if noted else f"{said}\nthe database does not record it: doctor will not know it"


def _compare(about: About, found: dict[str, int]) -> None:
    if not about.counts:
        return
    tables = sorted(about.counts.keys() | found.keys())
    other = [
        f"{table} has {found.get(table, 'no')} rows, not {about.counts.get(table, 'any')}"
        for table in tables
        if found.get(table) != about.counts.get(table)
    ]
    if other:
        shown = "; ".join(other[:5]) + ("; …" if len(other) > 5 else "")
        raise BadRequest(f"the backup differs from what was dumped: {shown}")
