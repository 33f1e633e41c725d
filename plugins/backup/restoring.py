"""Restores a backup file into a database, or the embedded cluster as it was at a time."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from kernel.public import DATABASE_SERVER, REGISTRY, BadRequest, Services

from .archive import DUMP, About
from .dumps import postgres
from .dumps.loading import load
from .dumps.programs import find_programs


def read_time(text: str) -> datetime:
    """Read a time in the past. Raises BadRequest."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise BadRequest(f"{text!r} is no time: write 2026-01-31T12:00:00Z") from None
    if time.tzinfo is None:
        raise BadRequest(f"{text} has no time zone: write {text}Z for UTC")
    if time > datetime.now(UTC):
        raise BadRequest(f"{text} is not over yet")
    return time


def recover_cluster(services: Services, time: datetime) -> str:
    """Restore the embedded cluster, which is not started before: it may not be able to."""
    server = None
    if not services.get(REGISTRY).database_url:
        server = services.build_early(DATABASE_SERVER)
    if server is None:
        raise BadRequest("there is no embedded database: restore yours by its own tools")
    outcome = server.recover(time)
    return f"restored the embedded database as of {time.isoformat()}; {outcome}"


def load_backup(services: Services, about: About, folder: Path, *, replace: bool) -> None:
    """Load an unpacked backup into the database, whole or not at all."""
    url = services.get(REGISTRY).database_url
    programs = find_programs(services, "pg_restore", url)
    _refuse_use(url)
    postgres.put_back(url)  # what a restore left that was killed before its end
    schemas = postgres.schemas(url)
    if schemas and not replace:
        listed = ", ".join(schemas[:5])
        if len(schemas) > 5:
            listed += ", …"
        raise BadRequest(f"the database is not empty ({listed}): say --replace to drop them")
    postgres.put_aside(url, schemas)
    try:
        _refuse_use(url)  # one that has started since; from here on none does
        postgres.make_roles(url, about.roles)
        load(programs, url, folder / DUMP)
    except BaseException:
        postgres.put_back(url)
        raise


def _refuse_use(url: str) -> None:
    if postgres.in_use(url):
        raise BadRequest("a server or another restore runs on this database: stop it first")


def drop_replaced(url: str) -> str:
    """Drop the schemas that a restore replaced, also one that was killed at its end.

    The restored data is complete without this step. Returns what an operator should read.
    """
    names = postgres.leftovers(url)
    try:
        postgres.drop_schemas(url, names)
    except psycopg.Error as error:
        reason = str(error).splitlines()[0]
        return (
            f"what it replaced is still there ({', '.join(names[:2])}, …): {reason}; "
            "the next --replace drops it"
        )
    return ""


def restore_keys(data_dir: Path, folder: Path, about: About) -> str:
    """Put the keys back that are missing; one that is there already stays."""
    if not about.keys:
        return f"the backup holds no keys: put yours into {data_dir / 'config'} before you serve"
    target = data_dir / "config"
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    lines: list[str] = []
    for name in about.keys:
        source = folder / name
        present = target / name
        if not present.exists():
            _copy_key(source, present)
            lines.append(f"{name} restored")
        elif present.read_bytes() == source.read_bytes():
            lines.append(f"{name} is the same")
        else:
            copy = present.with_suffix(".key.restored")
            _copy_key(source, copy)
            lines.append(f"{name} differs from yours: the backup's is {copy}; rename it to use it")
    return "\n".join(lines)


def _copy_key(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
    target.chmod(0o600)
