"""Records in: a file becomes records in one transaction, and a report names what is wrong."""

from __future__ import annotations

from typing import IO, Final

import anyio
import msgspec

from kernel.public import (
    Actor,
    BadRequest,
    ConcurrencyLimiter,
    ImportOptions,
    Target,
    Transaction,
    Work,
)
from plugins.data.execution.transactions import WriteTransactions
from plugins.data.rights.links import LinkLimitFinder
from plugins.data.statements.entity_table import Table
from plugins.data.statements.tables import Tables
from plugins.data.upserts.plan import UpsertPlanner

from .file_import import FileImport
from .imported_rows import ImportedRows
from .link_keys import LinkKeys
from .reports import Report

IMPORT_SECONDS: Final = 120.0
"""How long the work of an import may take, and how long another one waits for its place."""


class _RolledBack(Exception):
    """The file was read to its end. Raised where nothing of it is to be written."""


class Imports:
    """Imports files, few at a time."""

    def __init__(
        self,
        tables: Tables,
        links: LinkLimitFinder,
        planner: UpsertPlanner,
        transactions: WriteTransactions,
        rows: ImportedRows,
        link_keys: LinkKeys,
    ) -> None:
        self._tables = tables
        self._links = links
        self._planner = planner
        self._transactions = transactions
        self._rows = rows
        self._link_keys = link_keys
        self.places = ConcurrencyLimiter(
            4,
            per_key=1,
            queue=20,
            timeout=IMPORT_SECONDS,
            message="too many imports are under way",
            key_message="an import of this user is under way",
            retry_after=10,
        )

    async def import_file(
        self, target: Target, file: IO[bytes], options: ImportOptions, tx: Transaction | None
    ) -> bytes:
        """See `Records.import_file`."""
        actor = target.actor
        file_import = await self._prepare(target, file, options)
        report = Report(errors=[])

        async def work(own_tx: Transaction) -> None:
            nonlocal report
            report = Report(errors=[])
            if options.preview:
                report.preview = []
            file.seek(0)
            await self._rows.write_all(own_tx, file_import, report)
            has_wrong_rows = report.valid < report.rows
            if options.dry_run or (options.mode == "all" and has_wrong_rows):
                raise _RolledBack

        async with self.places.hold(actor.user_id or actor.username):
            try:
                await self._run_in_time(actor, work, file_import.table, tx)
            except _RolledBack:
                if not options.dry_run:
                    report.note_rollback()
        return msgspec.json.encode(report)

    async def _prepare(self, target: Target, file: IO[bytes], options: ImportOptions) -> FileImport:
        """Check the rights of an import. Raises Forbidden, BadRequest."""
        grant = target.grant
        table = await self._tables.find(target.app_id, target.entity, grant.hidden)
        plan = None
        if options.on is not None:
            plan = await self._planner.plan_import(
                target, options.on, creates_ids=options.create_ids
            )
        limits = await self._links.find_limits(target.actor, table, table.limited.names)
        targets = await self._link_keys.find_targets(target.actor, table)
        return FileImport(file, options, grant, table, plan, limits, targets)

    async def _run_in_time(
        self, actor: Actor, work: Work[None], table: Table, tx: Transaction | None
    ) -> None:
        """Run the transaction of an import. Raises BadRequest where it takes too long."""
        with anyio.move_on_after(IMPORT_SECONDS):
            await self._transactions.run(actor, work, [table], tx, quick=False)
            return
        raise BadRequest(
            f"the import took more than {IMPORT_SECONDS:g} seconds, and nothing was written: "
            "send fewer rows at a time"
        )
