"""Builds the objects of RECORDS and gives each what it needs: start to read here."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from kernel.public import (
    Access,
    Apps,
    HookBus,
    Idempotency,
    Identity,
    ManagedFiles,
    Reads,
    Statements,
)

from .batches.batch import Batches
from .batches.creates import CreateBatches
from .batches.groups import GroupWriter
from .batches.preparation import BatchPreparation, OperationChecks
from .calls import Calls
from .execution.statement_or_transaction import WriteExecution
from .imports.attempts import WriteAttempts
from .imports.chunks import ChunkWriter
from .imports.dry_runs import DryRuns
from .imports.imported_rows import ImportedRows
from .imports.imports import Imports
from .imports.link_keys import LinkKeys
from .reads.aggregates import AggregateReader
from .reads.complete import CompleteLists
from .reads.pages import PageReader
from .reads.record_reader import RecordReader
from .reads.searches import Searches
from .rights.links import LinkLimitFinder
from .rights.permissions import Permissions
from .rights.scopes import RowScopes
from .rights.views import ViewWriter
from .service import RecordReads, RecordsService, RecordWrites
from .sources.read_sources import ReadSources
from .statements.tables import Tables
from .upserts.plan import UpsertPlanner
from .upserts.upserts import Upserts
from .upserts.writer import UpsertWriter
from .watches.service import WatchesService, WatchSources
from .writes.conditional import ConditionalWrites
from .writes.descriptions import ErrorDescriptions
from .writes.former import FormerWrites
from .writes.once import KeyedWrites
from .writes.records import RecordWriter
from .writes.refusals import Refusals
from .writes.replies import Replies


class Dependencies(msgspec.Struct, frozen=True):
    """The services that RECORDS asks; those behind a function are looked up at each use."""

    statements: Statements
    apps: Apps
    bus: HookBus
    access: Callable[[], Access]
    identity: Callable[[], Identity | None] = lambda: None
    idempotency: Callable[[], Idempotency | None] = lambda: None
    reads: Reads | None = None
    files: Callable[[], ManagedFiles | None] = lambda: None


def build_records(services: Dependencies) -> RecordsService:
    """Build the provider of RECORDS."""
    statements = services.statements
    apps = services.apps
    bus = services.bus

    # Who may reach what
    permissions = Permissions(services.access)
    tables = Tables(apps, services.files)
    scopes = RowScopes(tables, bus, permissions, services.identity)
    links = LinkLimitFinder(permissions, scopes, tables)

    # Reads
    calls = Calls(apps)
    sources = ReadSources.choose(statements, services.reads)
    reader = RecordReader(scopes, sources)
    searches = Searches(statements, scopes)

    # Writes
    execution = WriteExecution(statements, bus, reader)
    transactions = execution.transactions
    replies = Replies(permissions, tables, scopes, reader)
    refusals = Refusals(scopes.linked)
    descriptions = ErrorDescriptions(statements, replies, refusals)
    planner = UpsertPlanner(permissions, scopes, links)
    upsert_writer = UpsertWriter(execution)
    upserts = Upserts(planner, upsert_writer, transactions, replies, descriptions)

    # Batches and imports
    creates = CreateBatches(statements, tables, permissions, links, execution, replies)
    checks = OperationChecks(apps, permissions, scopes, links, execution, planner)
    preparation = BatchPreparation(checks, replies)
    groups = GroupWriter(execution, upserts, replies)
    link_keys = LinkKeys(scopes)
    attempts = WriteAttempts(execution, upserts, upsert_writer, replies)
    chunks = ChunkWriter(attempts, descriptions, refusals, link_keys)
    imported_rows = ImportedRows(chunks, DryRuns(execution, refusals, upsert_writer))

    reads = RecordReads(
        reader=reader,
        pages=PageReader(scopes, sources, searches),
        lists=CompleteLists(calls, scopes, sources, searches),
        aggregates=AggregateReader(scopes, sources, searches),
        views=ViewWriter(scopes),
    )
    writes = RecordWrites(
        writer=RecordWriter(tables, scopes, links, execution, replies, descriptions),
        upserts=upserts,
        conditional=ConditionalWrites(
            permissions, scopes, links, execution, descriptions, statements
        ),
        batches=Batches(creates, preparation, groups, transactions, replies, descriptions),
        former=FormerWrites(tables, scopes, links, execution, descriptions),
        imports=Imports(tables, links, planner, transactions, imported_rows, link_keys),
        keyed=KeyedWrites(apps, permissions, execution.participants, services.idempotency),
    )
    return RecordsService(calls, permissions, reads, writes)


def build_watches(services: Dependencies) -> WatchesService:
    """Build the provider of WATCHES."""
    return WatchesService(
        WatchSources(
            statements=services.statements,
            apps=services.apps,
            bus=services.bus,
            tables=Tables(services.apps, services.files),
            access=services.access,
            identity=services.identity,
        )
    )
