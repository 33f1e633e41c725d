"""Every SQL statement of the plugin. PostgreSQL makes the JSON: one column, one text."""

from __future__ import annotations

import msgspec
from caudex import Reader, Transaction, Writer

from .models import Author

_NEWEST = """
select coalesce(json_agg(n order by n.id desc), '[]')
from (
    select id, author, text
    from caudex_sample.notes
    order by id desc limit $1::int
) as n"""

_ADD = """
insert into caudex_sample.notes (author, text)
values ($1::uuid, $2::text)
returning json_build_object('id', id, 'author', author, 'text', text)"""

_AUTHOR = """
select json_build_object('author', author)
from caudex_sample.notes
where id = $1::bigint for update"""

_REMOVE = """
delete from caudex_sample.notes
where id = $1::bigint"""

_SWEEP = """
delete from caudex_sample.notes
where created_at < now() - make_interval(days => $1::int)"""

_decode_author = msgspec.json.Decoder(Author).decode


async def newest(reader: Reader, limit: int) -> bytes:
    """Return a JSON array of the newest notes."""
    return await reader.fetch(_NEWEST, limit) or b"[]"


async def add(writer: Writer, author: str | None, text: str) -> bytes:
    """Keep a note and return it."""
    return await writer.execute(_ADD, author, text) or b"{}"


async def lock_author(tx: Transaction, note: int) -> Author | None:
    """Return the author of a note, or None; locks the note until the transaction ends."""
    row = await tx.execute(_AUTHOR, note)
    if row is None:
        return None
    return _decode_author(row)


async def remove(tx: Transaction, note: int) -> None:
    """Delete a note."""
    await tx.execute(_REMOVE, note)


async def sweep(writer: Writer, days: int) -> None:
    """Delete the notes that are older than that."""
    await writer.execute(_SWEEP, days)
