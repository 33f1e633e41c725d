"""The account that runs PostgreSQL, which refuses root, and short programs of that account."""

import os
import pwd
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess

from .config import EmbeddedPostgresError

# Only these reach PostgreSQL: our environment holds secrets that its account must not read, and
# PG* variables that would change its behaviour.
PASSED_VARIABLES = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TMPDIR")


def environment() -> dict[str, str]:
    """The environment of PostgreSQL's programs: no secrets, no surprises."""
    passed = {name: os.environ[name] for name in PASSED_VARIABLES if name in os.environ}
    return {"PATH": os.defpath, **passed, "LC_ALL": "C"}


def run(
    command: Sequence[str | Path], *, uid: int | None = None, gid: int | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a short program, as another account when ids are given; OSError when it cannot start."""
    extra_groups: list[int] | None = None
    if uid is not None:
        extra_groups = []  # without the groups of the current account
    return subprocess.run(
        command,
        cwd="/",
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
        user=uid,
        group=gid,
        extra_groups=extra_groups,
    )


ACCOUNT_KEY = "plugins.postgres.account"


@dataclass(frozen=True)
class Account:
    """An account of the system; `switch` is set where it is not the current one."""

    name: str
    uid: int
    gid: int
    switch: bool

    def run(self, command: Sequence[str | Path]) -> CompletedProcess[str]:
        """Run a short program under this account; OSError when it may not."""
        if self.switch:
            return run(command, uid=self.uid, gid=self.gid)
        return run(command)

    def take_over(self, path: Path) -> None:
        """Give a file or folder that we made to the account."""
        if self.switch:
            os.chown(path, self.uid, self.gid)

    def can_enter(self, folder: Path) -> bool:
        """Whether the account reaches a folder through all of its parents."""
        if not self.switch:
            return os.access(folder, os.X_OK)
        return self.run(["/bin/sh", "-c", 'cd "$1"', "sh", folder]).returncode == 0


def server_account(pgdata: Path, configured: str = "") -> Account:
    """The account to run PostgreSQL under.

    As root: the `configured` one, the owner of an existing cluster, `postgres`,
    `nobody`, in this order. Otherwise the own account.
    """
    owner = None
    if pgdata.exists():
        owner = pgdata.stat().st_uid
    if os.geteuid() != 0:
        return _current_account(pgdata, owner)
    account = _find_configured(configured) or _find_default(owner)
    if owner is not None and owner != account.uid:
        raise EmbeddedPostgresError(
            f"{pgdata} belongs to {_name_of(owner)}, not to {account.name}: "
            f"set {ACCOUNT_KEY} to {_name_of(owner)}, or change the folder's owner"
        )
    return account


def _current_account(pgdata: Path, owner: int | None) -> Account:
    uid = os.geteuid()
    if owner is not None and owner != uid:
        raise EmbeddedPostgresError(
            f"{pgdata} belongs to {_name_of(owner)}: run as that account, "
            "or choose another --data-dir"
        )
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        raise EmbeddedPostgresError(
            f"user id {uid} has no entry in /etc/passwd, which PostgreSQL needs: "
            "add one, run as a named account, or set database.url"
        ) from None
    return Account(entry.pw_name, uid, os.getegid(), switch=False)


def _find_configured(name: str) -> Account | None:
    if not name:
        return None
    account = _look_up(name)
    if account is None or account.uid == 0:
        raise EmbeddedPostgresError(
            f"{ACCOUNT_KEY} = {name!r} is not an unprivileged account of this system: "
            "name an existing one"
        )
    return account


def _find_default(owner: int | None) -> Account:
    names = ["postgres", "nobody"]
    if owner:
        # An account that appears later (a package that brings `postgres`) must not lock us out of
        # a cluster that another account made.
        names.insert(0, _name_of(owner))
    for name in names:
        account = _look_up(name)
        if account is not None:
            return account
    raise EmbeddedPostgresError(
        "PostgreSQL does not run as root and no account `postgres` or `nobody` exists: "
        f"name one with {ACCOUNT_KEY}, or set database.url"
    )


def _look_up(name: str) -> Account | None:
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    return Account(name, entry.pw_uid, entry.pw_gid, switch=True)


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
