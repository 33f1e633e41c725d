"""Proves a backup: restores it elsewhere and compares the rows of each table."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from kernel.public import DATABASE_SERVER, REGISTRY, BadRequest, BootError, Services, Unavailable

from .archive import DUMP, About, unpack
from .dumps import postgres
from .dumps.loading import load
from .dumps.programs import find_programs
from .scratch import scratch


class NoScratchCluster(Unavailable):
    """There is no place to restore a backup to that is not on the server of the database."""


def prove(services: Services, file: Path, key: bytes | None, into: str | None) -> str:
    """Restore a backup into a scratch cluster, a scratch database beside the database, or one on
    another server (`into`). Returns what was compared.

    Raises BadRequest where the restore fails, or a table has other rows than the dump had.
    """
    with ExitStack() as stack:
        place = _choose_place(stack, services, into)
        return _prove(services, file, key, place)


def prove_new(services: Services, file: Path, key: bytes | None) -> str:
    """Restore a backup that was just made into a scratch cluster, if there is one.

    A backup by default must not fill the disk of a database server that others use. Raises
    BadRequest as `prove` does.
    """
    try:
        with _scratch_cluster(services) as place:
            return _prove(services, file, key, place)
    except NoScratchCluster as reason:
        return f"not verified ({reason.message}): caudex backup verify {file}"


def _choose_place(stack: ExitStack, services: Services, into: str | None) -> str:
    if into is not None:
        return stack.enter_context(postgres.scratch_database(into))
    try:
        return stack.enter_context(_scratch_cluster(services))
    except NoScratchCluster:
        url = services.get(REGISTRY).database_url
    return stack.enter_context(postgres.scratch_database(url))


@contextmanager
def _scratch_cluster(services: Services) -> Generator[str]:
    """Run an empty server of the database's version. Raises NoScratchCluster."""
    server = services.find(DATABASE_SERVER)
    if server is None:
        raise NoScratchCluster("no plugin runs a PostgreSQL here")
    url = services.get(REGISTRY).database_url
    with ExitStack() as stack:
        try:
            scratch_server = server.scratch(postgres.major_of(url), postgres.size_of(url))
            place = stack.enter_context(scratch_server)
        except BootError as error:
            raise NoScratchCluster(error.problem) from None
        yield place


def _prove(services: Services, file: Path, key: bytes | None, place: str) -> str:
    with scratch(None) as folder:
        about = unpack(file, folder, key)
        programs = find_programs(services, "pg_restore", place)
        load(programs, place, folder / DUMP, privileges=False)
    rows = postgres.counts_in(place)
    _compare(about, rows)
    text = f"{file} restores: {len(rows)} tables, {sum(rows.values())} rows"
    if about.counts:
        text += ", as many as when it was made"
    else:
        text += "; it holds no counts to compare"
    if not postgres.note_verified(services.get(REGISTRY).database_url, file, about.made_at):
        text += "\nthe database does not record it: doctor will not know it"
    return text


def _compare(about: About, rows: dict[str, int]) -> None:
    if not about.counts:
        return
    tables = sorted(about.counts.keys() | rows.keys())
    differences = [
        f"{table} has {rows.get(table, 'no')} rows, not {about.counts.get(table, 'any')}"
        for table in tables
        if rows.get(table) != about.counts.get(table)
    ]
    if differences:
        listed = "; ".join(differences[:5])
        if len(differences) > 5:
            listed += "; …"
        raise BadRequest(f"the backup differs from what was dumped: {listed}")
