"""`caudex backup FILE`, `caudex backup verify FILE` and `caudex restore FILE`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import click

from kernel.public import REGISTRY, VERSION, BadRequest, Command, Context, OpenServices, Services

from .archive import DUMP, KEY, KEYS, About, pack, unpack
from .config import BackupConfig
from .dumps import postgres
from .dumps.programs import find_programs
from .errors import reported
from .files import describe_files, list_files, restore_files
from .restoring import drop_replaced, load_backup, read_time, recover_cluster, restore_keys
from .scratch import scratch
from .sealing import read_key
from .verify import prove, prove_new

DATED: Final = "caudex-%Y%m%dT%H%M%SZ.tar"
DATED_NAME: Final = re.compile(r"caudex-\d{8}T\d{6}Z\.tar(\.enc)?")


def backup_commands(context: Context, config: BackupConfig, services: Services) -> list[Command]:
    """Make the subcommands."""
    path = click.Path(path_type=Path)
    here = _Here(context, config, services)
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
                click.Option(["--without-files"], is_flag=True,
                             help="leave out the content of files, which can be much"),
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

    async def backup(self, open_services: OpenServices, **options: Any) -> int:
        """Write a backup, or verify one: a file that is called `verify` is named alone."""
        await self._back_up(open_services, _Options(**options))
        return 0

    async def _back_up(self, open_services: OpenServices, options: _Options) -> None:
        files = options.file
        with reported():
            if len(files) == 2 and str(files[0]) == "verify":
                key = _read_key_file(options.key_file)
                async with open_services() as services:
                    print(prove(services, files[1].absolute(), key, options.into))
                return
            if len(files) != 1:
                raise BadRequest("name one file: caudex backup FILE, or caudex backup verify FILE")

            target = files[0]
            if options.keep is not None:
                target = _make_dated_path(files[0], sealed=options.key_file is not None)
            target = target.absolute()
            async with open_services() as services:
                print(await _write(self.context, services, target, options))
                if options.verify:
                    print(_verify(services, target, options.key_file))
                else:
                    print("not verified (--no-verify)")
            if options.keep is not None:
                for expired in _list_dated(files[0])[: -options.keep]:
                    expired.unlink()
                    print(f"removed {expired}")

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
            print(recover_cluster(self.services, read_time(at or "")))
            return 0

        with reported(), scratch(None) as folder:
            sealing_key = _read_key_file(key_file)
            about = unpack(file, folder, sealing_key)
            async with open_services() as services:
                load_backup(services, about, folder, replace=replace)
                print(f"restored the backup of {about.made_at}")
                print(restore_keys(self.context.data_dir, folder / KEYS, about))
                print(await restore_files(services, file, sealing_key, about.files))
                if replace:
                    warning = drop_replaced(services.get(REGISTRY).database_url)
                    if warning:
                        print(warning)
        return 0


class _Options(NamedTuple):
    """The options of `caudex backup`; `file` are its arguments."""

    file: Sequence[Path]
    with_keys: bool
    force: bool
    verify: bool
    keep: int | None
    key_file: Path | None
    into: str | None
    without_files: bool


def _read_key_file(file: Path | None) -> bytes | None:
    if file is None:
        return None
    return read_key(file)


def _make_dated_path(folder: Path, *, sealed: bool) -> Path:
    if not folder.is_dir():
        raise BadRequest(f"{folder} is no folder: --keep writes into one")
    name = datetime.now(UTC).strftime(DATED)
    if sealed:
        name += ".enc"
    return folder / name


def _list_dated(folder: Path) -> list[Path]:
    """Backups that `--keep` has written into a folder, the oldest first."""
    return sorted(path for path in folder.iterdir() if DATED_NAME.fullmatch(path.name))


async def _write(context: Context, services: Services, file: Path, options: _Options) -> str:
    _check_target(file, options)
    url = services.get(REGISTRY).database_url
    if postgres.is_put_aside(url):
        problem = "a restore is under way on this database, or was killed"
        raise BadRequest(f"{problem}: wait for it, or say `caudex restore` once more")
    program = find_programs(services, "pg_dump", url)[0].path
    sealing_key = _prepare_sealing_key(file, options.key_file)
    keys: list[Path] = []
    if options.with_keys:
        keys = keys_of(context.data_dir / "config")

    made_at = datetime.now(UTC).isoformat(timespec="seconds")
    roles = postgres.other_roles(url)
    with scratch(file.parent) as folder:
        counts = postgres.dump(program, url, folder / DUMP)
        # After the dump: what its records hold is in the store since before it.
        stored = await list_files(services, leave_out=options.without_files)
        about = About(
            caudex=VERSION,
            made_at=made_at,
            keys=[key.name for key in keys],
            roles=roles,
            counts=counts,
            files=stored.about,
        )
        pack(file, about, folder / DUMP, keys, sealing_key, stored.locate())

    message = _describe(file, about)
    if not postgres.note_made(url, file, made_at):
        message += "\nthe database does not record it: doctor will not know it"
    return message


def _check_target(file: Path, options: _Options) -> None:
    if file.exists() and not options.force:
        raise BadRequest(f"{file} exists: name another file, or say --force")
    if not file.parent.is_dir():
        raise BadRequest(f"{file.parent} is no folder: make it, or name another file")


def _describe(file: Path, about: About) -> str:
    """Say what a backup that was written holds."""
    message = f"wrote {file} ({file.stat().st_size / 1e6:.1f} MB), "
    if about.keys:
        message += f"with {', '.join(about.keys)}"
    else:
        message += "without keys: keep a copy of them"
    return f"{message}\n{describe_files(about.files)}"


def _verify(services: Services, file: Path, key_file: Path | None) -> str:
    """Verify a backup that was written, which stays where it does not restore."""
    key = _read_key_file(key_file)
    try:
        return prove_new(services, file, key)
    except BadRequest as error:
        problem = f"{file} was written, but it does not restore here: {error.message}"
        raise BadRequest(problem) from None


def _prepare_sealing_key(file: Path, key_file: Path | None) -> bytes | None:
    """Read the key that a backup is encrypted with; make it if it is missing."""
    if key_file is None:
        return None
    if key_file.resolve().parent == file.resolve().parent:
        problem = f"{key_file} is in the folder of the backup that it opens"
        raise BadRequest(f"{problem}: keep the key in another place")
    if not key_file.exists():
        print(f"makes {key_file}: store a copy apart from the backups, which it opens")
    return read_key(key_file, may_create=True)


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
