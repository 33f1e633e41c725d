"""`caudex backup FILE` and `caudex restore FILE`."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

import click
import psycopg

from kernel.public import REGISTRY, VERSION, BadRequest, Command, Context, OpenServices, Services

from . import postgres
from .archive import DUMP, KEY, KEYS, About, pack, unpack
from .errors import reported
from .history import remember
from .programs import tool

SCRATCH: Final = ".caudex-backup-"
DATED: Final = "caudex-%Y%m%dT%H%M%SZ.tar"
DATED_NAME: Final = re.compile(r"caudex-\d{8}T\d{6}Z\.tar")


def backup_commands(context: Context) -> list[Command]:
    """Make the subcommands."""
    path = click.Path(path_type=Path)
    return [
        Command(
            name="backup",
            help="write the database, and on request the keys, to one file; servers keep running",
            run=partial(_backup, context),
            parameters=[
                click.Argument(["file"], type=path),
                click.Option(["--with-keys"], is_flag=True,
                             help="include the keys: protect such a file like a key"),
                click.Option(["--force"], is_flag=True, help="replace an existing file"),
                click.Option(["--keep"], type=click.IntRange(min=1), metavar="N",
                             help="FILE is a folder: write a new file there, keep the N newest"),
            ],
            needs_services=False,
        ),
        Command(
            name="restore",
            help="restore a backup into an empty database, while no server runs on it",
            run=partial(_restore, context),
            parameters=[
                click.Argument(["file"], type=path),
                click.Option(["--replace"], is_flag=True,
                             help="drop the database's current content once all is restored"),
            ],
            needs_services=False,
        ),
    ]  # fmt: skip


async def _backup(
    context: Context,
    open_services: OpenServices,
    *,
    file: Path,
    with_keys: bool,
    force: bool,
    keep: int | None,
) -> int:
    with reported():
        path = file if keep is None else _next_in(file)
        async with open_services() as services:
            print(_write(context, path, services, with_keys=with_keys, force=force))
        for old in _dated(file)[:-keep] if keep is not None else ():
            old.unlink()
            print(f"removed {old}")
    return 0


def _next_in(folder: Path) -> Path:
    if not folder.is_dir():
        raise BadRequest(f"{folder} is no folder: --keep writes into one")
    return folder / datetime.now(UTC).strftime(DATED)


def _dated(folder: Path) -> list[Path]:
    """Backups that `--keep` has written into a folder, the oldest first."""
    return sorted(path for path in folder.iterdir() if DATED_NAME.fullmatch(path.name))


def _write(
    context: Context, file: Path, services: Services, *, with_keys: bool, force: bool
) -> str:
    file = file.absolute()
    if file.exists() and not force:
        raise BadRequest(f"{file} exists: name another file, or say --force")
    if not file.parent.is_dir():
        raise BadRequest(f"{file.parent} is no folder: make it, or name another file")
    url = services.get(REGISTRY).database_url
    if postgres.is_put_aside(url):
        problem = "a restore is under way on this database, or was killed"
        raise BadRequest(f"{problem}: wait for it, or say `caudex restore` once more")
    program = tool(services, "pg_dump", url)
    keys = keys_of(context.data_dir / "config") if with_keys else []
    about = About(
        caudex=VERSION, made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        keys=[key.name for key in keys], roles=postgres.other_roles(url),
    )  # fmt: skip
    with _scratch(file.parent) as folder:
        postgres.dump(program, url, folder / DUMP)
        pack(file, about, folder / DUMP, keys)
    remember(context.data_dir, file, about.made_at)
    held = f"with {', '.join(about.keys)}" if keys else "without keys: keep a copy of them"
    return f"wrote {file} ({file.stat().st_size / 1e6:.1f} MB), {held}"


def keys_of(folder: Path) -> list[Path]:
    """The keys that a backup is to hold. Raises BadRequest where one, or all, cannot be had."""
    try:
        keys = sorted(path for path in folder.iterdir() if KEY.fullmatch(path.name))
        for key in keys:
            key.open("rb").close()
    except FileNotFoundError:
        keys = []
    except OSError as error:
        problem = f"{error.filename} cannot be read: {error.strerror}"
        raise BadRequest(f"{problem}: run as the account of the server") from None
    if not keys:
        remedy = "leave out --with-keys, or name the server's folder by --data-dir"
        raise BadRequest(f"{folder}: there are no keys: {remedy}")
    return keys


async def _restore(
    context: Context, open_services: OpenServices, *, file: Path, replace: bool
) -> int:
    with reported(), _scratch(None) as folder:
        about = unpack(file, folder)
        async with open_services() as services:
            _read(services, about, folder, replace=replace)
            print(f"restored the backup of {about.made_at}")
            print(_put_keys(context.data_dir, folder / KEYS, about))
            if replace:
                _drop_replaced(services.get(REGISTRY).database_url)
    return 0


def _read(services: Services, about: About, folder: Path, *, replace: bool) -> None:
    url = services.get(REGISTRY).database_url
    program = tool(services, "pg_restore", url)
    _refuse_use(url)
    postgres.put_back(url)  # what a restore left that was killed before its end
    found = postgres.schemas(url)
    if found and not replace:
        shown = ", ".join(found[:5]) + (", …" if len(found) > 5 else "")
        raise BadRequest(f"the database is not empty ({shown}): say --replace to drop them")
    postgres.put_aside(url, found)
    try:
        _refuse_use(url)  # one that has started since; from here on none does
        postgres.make_roles(url, about.roles)
        postgres.restore(program, url, folder / DUMP)
    except BaseException:
        postgres.put_back(url)
        raise


def _refuse_use(url: str) -> None:
    if postgres.in_use(url):
        raise BadRequest("a server or another restore runs on this database: stop it first")


def _drop_replaced(url: str) -> None:
    """Drop what was put aside, also by one that was killed at its end; what is restored stands
    without that."""
    names = postgres.leftovers(url)
    try:
        postgres.drop_schemas(url, names)
    except psycopg.Error as error:
        said = f"{', '.join(names[:2])}, …): {str(error).splitlines()[0]}"
        print(f"what it replaced is still there ({said}; the next --replace drops it")


def _put_keys(data_dir: Path, folder: Path, about: About) -> str:
    """Put the keys back that are missing; one that is there already stays."""
    if not about.keys:
        return f"the backup holds no keys: put yours into {data_dir / 'config'} before you serve"
    target = data_dir / "config"
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    lines: list[str] = []
    for name in about.keys:
        source, place = folder / name, target / name
        if not place.exists():
            shutil.copyfile(source, place)
            place.chmod(0o600)
            lines.append(f"{name} restored")
        elif place.read_bytes() == source.read_bytes():
            lines.append(f"{name} is the same")
        else:
            shutil.copyfile(source, kept := place.with_suffix(".key.restored"))
            kept.chmod(0o600)
            lines.append(f"{name} differs from yours: the backup's is {kept}; rename it to use it")
    return "\n".join(lines)


@contextmanager
def _scratch(parent: Path | None) -> Generator[Path]:
    """A private folder; beside the backup, so that a large dump finds the room it needs anyway."""
    _sweep(parent or Path(tempfile.gettempdir()))
    made = tempfile.TemporaryDirectory(prefix=SCRATCH, dir=parent)
    with made as folder, reported(Path(folder).parent), _locked(Path(folder)):
        yield Path(folder)


@contextmanager
def _locked(folder: Path) -> Generator[bool]:
    """Lock a folder while it is in use. Yields False where another command has done so, or where
    the file system has no locks of folders, as NFS."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        yield _lock(handle)
    finally:
        os.close(handle)


def _lock(handle: int) -> bool:
    with suppress(OSError):
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


def _sweep(parent: Path) -> None:
    """Remove what commands left that were killed: dumps, and keys, in clear."""
    for old in parent.glob(f"{SCRATCH}*"):
        with suppress(OSError):
            found = old.lstat()
            # After a minute the command that created a folder has locked it.
            if found.st_uid == os.geteuid() and found.st_mtime < time.time() - 60.0:
                with _locked(old) as unused:
                    if unused:
                        shutil.rmtree(old)
