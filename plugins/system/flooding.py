"""Names plugins that write very many rows into their own tables."""

from __future__ import annotations

from collections.abc import Iterable
from time import monotonic
from typing import Final

import msgspec
import structlog

from kernel.public import PluginInfo, Statements

PERIOD: Final = 10.0
"""Seconds over which rows are counted."""
REMEDY: Final = "write fewer rows, or raise [plugins.system] table_writes where they are needed"
_ROWS: Final = """
select json_object_agg(schemaname, rows) from (
    select schemaname, sum(n_tup_ins + n_tup_upd + n_tup_del)::bigint as rows
    from pg_stat_user_tables where schemaname = any($1::text[]) group by schemaname
) as s"""

log = structlog.get_logger("caudex.system")


class TableWatch:
    """Compares what PostgreSQL has counted of each plugin's tables with the time before.

    `most` is the number of rows a second that a plugin may write without being named; 0 names none.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._before = dict[str, int]()
        self._counted_at = 0.0
        self._flooding = dict[str, int]()

    def flooding(self) -> dict[str, int]:
        """Return the rows a second of each plugin that wrote too many when it was last counted."""
        return self._flooding

    async def look(self, statements: Statements, plugins: Iterable[PluginInfo]) -> None:
        """Count once more; plugins of Caudex are not looked at."""
        foreign = {f"caudex_{each.name}": each.name for each in plugins
                   if each.origin not in ("built-in", "contrib")}  # fmt: skip
        if not (foreign and self._most):
            return
        raw = await statements.fetch(_ROWS, list(foreign))
        rows = msgspec.json.decode(raw or b"{}", type=dict[str, int])
        rates = self._rates(rows)
        found = {foreign[schema]: rate for schema, rate in rates.items() if rate > self._most}
        for plugin in found.keys() - self._flooding.keys():
            log.warning("a plugin floods its tables", plugin=plugin, rows_per_second=found[plugin],
                        most=self._most, remedy=REMEDY)  # fmt: skip
        self._flooding = found

    def _rates(self, rows: dict[str, int]) -> dict[str, int]:
        now = monotonic()
        passed, before = max(now - self._counted_at, 1.0), self._before
        self._before, self._counted_at = rows, now
        return {
            schema: round((count - before[schema]) / passed)
            for schema, count in rows.items()
            if schema in before
        }
