"""Every SQL statement of the plugin. PostgreSQL makes the JSON: one column, one text."""

from __future__ import annotations

from caudex import Reader, Writer

ADD = """
insert into caudex_hello.greetings (user_id, text) values ($1::uuid, $2::text)
returning json_build_object('id', id, 'text', text)"""

RECENT = """
select coalesce(json_agg(g order by g.id desc), '[]')
from (select id, text from caudex_hello.greetings order by id desc limit $1::int) as g"""


async def add(writer: Writer, user_id: str | None, text: str) -> bytes:
    """Keep a greeting and return it."""
    return await writer.execute(ADD, user_id, text) or b"{}"


async def recent(reader: Reader, limit: int) -> bytes:
    """Return the newest greetings."""
    return await reader.fetch(RECENT, limit) or b"[]"
