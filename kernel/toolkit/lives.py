"""Lives of apps: what a plugin keeps of one that went while it was off is nobody's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, LiteralString

import msgspec

from kernel.contracts.actor import server_actor
from kernel.contracts.apps import Apps
from kernel.contracts.statements import Statements, Transaction

_READ: Final = "select coalesce(json_object_agg(app_id, born), '{}') from caudex_PLUGIN.lives"
_BEGIN: Final = """
insert into caudex_PLUGIN.lives as l (app_id, born) values ($1::text, $2::bigint)
on conflict (app_id) do update set born = excluded.born where l.born < excluded.born
returning case when born > 0 then 'true' end"""
_END: Final = """
delete from caudex_PLUGIN.lives where app_id = $1::text and born = coalesce($2::bigint, born)
returning 'true'"""

_lives = msgspec.json.Decoder(dict[str, int]).decode


class Lives:
    """Which life of an app, its `App.born`, that is of which a plugin keeps something.

    They stand in a table that a migration of the plugin makes, `caudex_<plugin>.lives (app_id text
    primary key, born bigint not null)`; with 0 those of which something was kept before there was
    the table. `forget` deletes what is kept of an app, in the transaction that it is given.
    """

    def __init__(
        self, plugin: LiteralString, forget: Callable[[Transaction, str], Awaitable[None]]
    ) -> None:
        self._read: LiteralString = _READ.replace("PLUGIN", plugin)
        self._begin: LiteralString = _BEGIN.replace("PLUGIN", plugin)
        self._end: LiteralString = _END.replace("PLUGIN", plugin)
        self._forget = forget

    async def catch_up(self, statements: Statements, apps: Apps) -> None:
        """Forget apps that went, also where others of their names came since: for each start."""
        known = _lives(await statements.fetch(self._read) or b"{}")
        # After that: what comes in between is not taken for gone.
        await apps.refresh()
        installed = {app.id: app.born for app in await apps.all()}
        for app_id, born in installed.items():
            if known.get(app_id, 0) < born:
                begin = partial(self.begin, app_id=app_id, born=born)
                await statements.run(server_actor(), begin)
        for app_id in known.keys() - installed.keys():
            end = partial(self.end, app_id=app_id, born=known[app_id])
            await statements.run(server_actor(), end)

    async def begin(self, tx: Transaction, app_id: str, born: int, *, first: bool = False) -> None:
        """Keep nothing of a former app: for `app_installing`, with the plan's `first`."""
        former = await tx.execute(self._begin, app_id, born) is not None
        if former or first:
            await self._forget(tx, app_id)

    async def end(self, tx: Transaction, app_id: str, born: int | None = None) -> None:
        """Forget an app, for `app_removing`; with `born` that one and no later one of its name."""
        ended = await tx.execute(self._end, app_id, born) is not None
        if ended or born is None:
            await self._forget(tx, app_id)
