"""Every statement of the plugin. The tables are the kernel's: `caudex_kernel.channel` and
`caudex_kernel.revisions`."""

from __future__ import annotations

from typing import Any, Final

from psycopg import AsyncConnection, sql

from kernel.public import Transaction, Writer

_BUMP: Final = """
with bump as (
    insert into caudex_kernel.revisions as r (topic, revision) values ($1::text, 1)
    on conflict (topic) do update set revision = r.revision + 1 returning revision
)
select revision, pg_notify(c.name, json_build_object(
    'topic', $1::text, 'revision', revision, 'payload', $2::text, 'source', $3::text)::text)"""
_FROM: Final = """
from bump, caudex_kernel.channel as c"""

_PUBLISH: Final = _BUMP + _FROM
_ANNOUNCE: Final = _BUMP + ", set_config('synchronous_commit', 'off', true)" + _FROM


async def publish(tx: Transaction, topic: str, payload: str | None, source: str) -> int:
    """Increment the revision of a topic and notify with the commit; return the revision."""
    return int(await tx.execute(_PUBLISH, topic, payload, source) or 0)


async def announce(writer: Writer, topic: str, payload: str | None, source: str) -> int:
    """Publish by a transaction of one statement, whose commit does not wait for the disk."""
    return int(await writer.execute(_ANNOUNCE, topic, payload, source) or 0)


async def listen(connection: AsyncConnection[Any]) -> None:
    """Listen to the channel, whose name only the server's role can read."""
    settings = "set statement_timeout = 5000; set application_name = 'caudex notifications'"
    await connection.execute(settings)
    [(name,)] = await (await connection.execute("table caudex_kernel.channel")).fetchall()
    await connection.execute(sql.SQL("listen {}").format(sql.Identifier(name)))


async def revisions(connection: AsyncConnection[Any]) -> dict[str, int]:
    """Return the revision of each topic."""
    cursor = await connection.execute("select topic, revision from caudex_kernel.revisions")
    return {topic: revision async for topic, revision in cursor}
