"""`caudex backup FILE`, `caudex backup verify FILE` and `caudex restore FILE`."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

import click
import psycopg

from kernel.public import (
    DATABASE_SERVER,
    REGISTRY,
    VERSION,
    BadRequest,
    Command,
    Context,
    OpenServices,
    Services,
)

from .archive import DUMP, KEY, KEYS, About, pack, unpack
from .config import BackupConfig
from .dumps import postgres
from .dumps.loading import load
from .dumps.programs import find_programs
from .errors import reported
from .scratch import scratch
from .sealing import read_key
from .verify import prove, prove_new

DATED: Final = "caudex-%Y%m%dT%H%M%SZ.tar"
DATED_NAME: Final = re.compile(r"caudex-\d{8}T\d{6}Z\.tar(\.enc)?")


def backup_commands(context: Context, config: BackupConfig, services: Services) -> list[Command]:
    """Make the subcommands."""
    path, here = click.Path(path_type=Path), _Here(context, config, services)
    key = click.Option(["--key-file"], type=path, metavar="FILE", default=config.key_path or None,
                       help="the key of encrypted backups ([plugins.backup] key_path)")  # fmt: skip
    return [
        Command(
            name="backup",
            help="write the database, and on request the keys, to one file; servers keep running."
            " With verify FILE restore that file into a scratch database and compare the rows",
            run=here.backup,
            parameters=[
                click.Argument(["file"], type=path, nargs=-1),
                click.Option(["--with-keys"], is_flag=True,
                             help="include the keys: protect such a file like a key"),
                click.Option(["--force"], is_flag=True, help="replace an existing file"),
                click.Option(["--verify/--no-verify"], default=True,
                             help="restore the file into a scratch cluster and compare the rows"),
                click.Option(["--keep"], type=click.IntRange(min=1), metavar="N",
                             help="FILE is a folder: write a new file there, keep the N newest"),
                key,
                click.Option(["--into"], metavar="URL",
                             help="verify: a server that the scratch database is created on"),
            ],
            needs_services=False,
        ),
        Command(
            name="restore",
            help="restore a backup into an empty database, or the embedded cluster as it was at a"
            " time, while no server runs on it",
            run=here.restore,
            parameters=[
                click.Argument(["file"], type=path, required=False),
                click.Option(["--at"], metavar="TIME",
                             help="instead of a file: the embedded cluster as it was at a time"
                             " (2026-01-31T12:00:00Z), from its archive"),
                click.Option(["--replace"], is_flag=True,
                             help="drop the database's current content once all is restored"),
                key,
            ],
            needs_services=False,
        ),
    ]  # fmt: skip


@dataclass(frozen=True)
class _Here:
    """The commands of one deployment."""

    context: Context
    config: BackupConfig
    services: Services
    """Those of a command that has opened none."""

    async def backup(
        self,
        open_services: OpenServices,
        *,
        file: Sequence[Path],
        with_keys: bool,
        force: bool,
        verify: bool,
        keep: int | None,
        key_file: Path | None,
        into: str | None,
    ) -> int:
        """Write a backup, or verify one: a file that is called `verify` is named alone."""
        with reported():
            if len(file) == 2 and str(file[0]) == "verify":
                key = read_key(key_file) if key_file else None
                async with open_services() as services:
                    print(prove(services, file[1].absolute(), key, into))
                return 0
            if len(file) != 1:
                raise BadRequest("name one file: caudex backup FILE, or caudex backup verify FILE")
            sealed = key_file is not None
            path = file[0] if keep is None else _next_in(file[0], sealed=sealed)
            wanted = Wanted(path.absolute(), with_keys, force, key_file)
            async with open_services() as services:
                print(_write(self.context, wanted, services))
                print(_verify(wanted, services) if verify else "not verified (--no-verify)")
            for old in _dated(file[0])[:-keep] if keep is not None else ():
                old.unlink()
                print(f"removed {old}")
        return 0

    async def restore(
        self,
        open_services: OpenServices,
        *,
        file: Path | None,
        at: str | None,
        replace: bool,
        key_file: Path | None,
    ) -> int:
        """Restore a backup, or the archive of the embedded cluster."""
        if (file is None) == (at is None):
            raise BadRequest("name a file, or a time: caudex restore FILE, or --at TIME")
        if file is None:
            print(_recover(self.services, _time(at or "")))
            return 0
        data_dir = self.context.data_dir
        with reported(), scratch(None) as folder:
            about = unpack(file, folder, read_key(key_file) if key_file else None)
            async with open_services() as services:
                _read(services, about, folder, replace=replace)
                print(f"restored the backup of {about.made_at}")
                print(_put_keys(data_dir, folder / KEYS, about))
                if replace:
                    _drop_replaced(services.get(REGISTRY).database_url)
        return 0


def _time(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise BadRequest(f"{text!r} is no time: write 2026-01-31T12:00:00Z") from None
    if at.tzinfo is None:
        raise BadRequest(f"{text} has no time zone: write {text}Z for UTC")
    if at > datetime.now(UTC):
        raise BadRequest(f"{text} is not over yet")
    return at


def _recover(services: Services, at: datetime) -> str:
    """Restore the embedded cluster, which is not started before: it may not be able to."""
    own = services.get(REGISTRY).database_url
    server = None if own else services.build_early(DATABASE_SERVER)
    if server is None:
        raise BadRequest("there is no embedded database: restore yours by its own tools")
    said = server.recover(at)
    return f"restored the embedded database as of {at.isoformat()}; {said}"


class Wanted(NamedTuple):
    """What a backup is to be written to, and how."""

    file: Path
    with_keys: bool
    force: bool
    key_file: Path | None


def _next_in(folder: Path, *, sealed: bool) -> Path:
    if not folder.is_dir():
        raise BadRequest(f"{folder} is no folder: --keep writes into one")
    return folder / (datetime.now(UTC).strftime(DATED) + (".enc" if sealed else ""))


def _dated(folder: Path) -> list[Path]:
    """Backups that `--keep` has written into a folder, the oldest first."""
    return sorted(path for path in folder.iterdir() if DATED_NAME.fullmatch(path.name))


def _write(context: Context, wanted: Wanted, services: Services) -> str:
    file = wanted.file
    if file.exists() and not wanted.force:
        raise BadRequest(f"{file} exists: name another file, or say --force")
    if not file.parent.is_dir():
        raise BadRequest(f"{file.parent} is no folder: make it, or name another file")
    url = services.get(REGISTRY).database_url
    if postgres.is_put_aside(url):
        problem = "a restore is under way on this database, or was killed"
        raise BadRequest(f"{problem}: wait for it, or say `caudex restore` once more")
    program = find_programs(services, "pg_dump", url)[0].path
    key = _sealing_key(wanted)
    keys = keys_of(context.data_dir / "config") if wanted.with_keys else []
    made_at, roles = datetime.now(UTC).isoformat(timespec="seconds"), postgres.other_roles(url)
    with scratch(file.parent) as folder:
        counts = postgres.dump(program, url, folder / DUMP)
        names = [each.name for each in keys]
        about = About(caudex=VERSION, made_at=made_at, keys=names, roles=roles, counts=counts)
        pack(file, about, folder / DUMP, keys, key)
    said = f"wrote {file} ({file.stat().st_size / 1e6:.1f} MB), "
    said += f"with {', '.join(names)}" if keys else "without keys: keep a copy of them"
    noted = postgres.note_made(url, file, made_at)
    return said if noted else f"{said}\nthe database does not record it: doctor will not know it"


def _verify(wanted: Wanted, services: Services) -> str:
    """Verify a backup that was written, which stays where it does not restore."""
    key = read_key(wanted.key_file) if wanted.key_file else None
    try:
        return prove_new(services, wanted.file, key)
    except BadRequest as error:
        problem = f"{wanted.file} was written, but it does not restore here: {error.message}"
        raise BadRequest(problem) from None


def _sealing_key(wanted: Wanted) -> bytes | None:
    if wanted.key_file is None:
        return None
    if wanted.key_file.resolve().parent == wanted.file.resolve().parent:
        problem = f"{wanted.key_file} is in the folder of the backup that it opens"
        raise BadRequest(f"{problem}: keep the key in another place")
    if not wanted.key_file.exists():
        print(f"makes {wanted.key_file}: store a copy apart from the backups, which it opens")
    return read_key(wanted.key_file, may_create=True)


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


def _read(services: Services, about: About, folder: Path, *, replace: bool) -> None:
    url = services.get(REGISTRY).database_url
    programs = find_programs(services, "pg_restore", url)
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
        load(programs, url, folder / DUMP)
    except BaseException:
        postgres.put_back(url)
        raise


def _refuse_use(url: str) -> None:
    if postgres.in_use(url):
        raise BadRequest("a server or another restore runs on this database: stop it first")


def _drop_replaced(url: str) -> None:
    """Drop the schemas that a restore replaced, also one that was killed at its end.

    The restored data is complete without this step.
    """
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
