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

    `limit` is the number of rows a second that a plugin may write without being named; 0 names
    none.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._counted = dict[str, int]()
        self._counted_at = 0.0
        self._flooding = dict[str, int]()

    def flooding(self) -> dict[str, int]:
        """Return the rows a second of each plugin that wrote too many when it was last counted."""
        return self._flooding

    async def look(self, statements: Statements, plugins: Iterable[PluginInfo]) -> None:
        """Count once more; plugins of Caudex are not looked at."""
        plugins_by_schema = {
            f"caudex_{info.name}": info.name for info in plugins if info.is_foreign
        }
        if not plugins_by_schema or not self._limit:
            return
        answer = await statements.fetch(_ROWS, list(plugins_by_schema))
        rows = msgspec.json.decode(answer or b"{}", type=dict[str, int])

        flooding: dict[str, int] = {}
        for schema, rate in self._measure_rates(rows).items():
            if rate > self._limit:
                flooding[plugins_by_schema[schema]] = rate
        for plugin in flooding.keys() - self._flooding.keys():
            log.warning(
                "a plugin floods its tables",
                plugin=plugin,
                rows_per_second=flooding[plugin],
                most=self._limit,
                remedy=REMEDY,
            )
        self._flooding = flooding

    def _measure_rates(self, rows: dict[str, int]) -> dict[str, int]:
        """Return the rows a second of each schema that was counted before."""
        now = monotonic()
        seconds = max(now - self._counted_at, 1.0)
        rates = {
            schema: round((count - self._counted[schema]) / seconds)
            for schema, count in rows.items()
            if schema in self._counted
        }
        self._counted = rows
        self._counted_at = now
        return rates
