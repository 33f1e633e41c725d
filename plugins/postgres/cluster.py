"""Making a new cluster: complete and in its place, or not at all."""

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from .account import Account
from .binaries import Binaries
from .errors import EmbeddedPostgresError
from .files import sync_folder, write_private
from .layout import Layout
from .leftovers import INIT_CLUSTER, INIT_PREFIX
from .processes import spawn

SUPERUSER = "postgres"
# Bytes compare fast and alike everywhere; from 17 on the server brings its own Unicode rules, so
# upper and lower case work beyond ASCII without the system's locales.
PLAIN_LOCALE = ["--locale=C"]
BUILTIN_LOCALE = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", *PLAIN_LOCALE]
PASSWORD_FILE = "password"


def make_cluster(layout: Layout, binaries: Binaries, account: Account, *, durable: bool) -> None:
    """Run initdb in a temporary folder and move the result to PGDATA, with a fresh password."""
    workshop = Path(tempfile.mkdtemp(prefix=INIT_PREFIX, dir=layout.data_dir))
    password = secrets.token_urlsafe(24)
    try:
        write_private(workshop / PASSWORD_FILE, password)
        account.own(workshop / PASSWORD_FILE)
        account.own(workshop)
        cluster = _run_initdb(workshop, binaries, account, durable=durable)
        # The password goes first: a cluster in place without it could never be opened.
        write_private(layout.password, password)
        os.rename(cluster, layout.pgdata)
        sync_folder(layout.data_dir)
    finally:
        shutil.rmtree(workshop, ignore_errors=True)


def _run_initdb(workshop: Path, binaries: Binaries, account: Account, *, durable: bool) -> Path:
    cluster = workshop / INIT_CLUSTER
    locale = BUILTIN_LOCALE if binaries.major >= 17 else PLAIN_LOCALE
    command = [str(binaries.program("initdb")), f"--pgdata={cluster}", *locale]
    command += ["--encoding=UTF8", "--auth=scram-sha-256", f"--username={SUPERUSER}"]
    command.append(f"--pwfile={workshop / PASSWORD_FILE}")
    if not durable:
        command.append("--no-sync")
        if binaries.major >= 16:
            # The usual 4096 guard passwords that can be guessed, and each connection pays for them.
            command += ["-c", "scram_iterations=1"]
    process = spawn(
        command, account, death_signal=signal.SIGKILL, cwd=workshop, output=subprocess.PIPE
    )
    with process:
        output = process.communicate()[0].decode("utf-8", "replace")
    if process.returncode:
        raise EmbeddedPostgresError(
            f"initdb failed: {_reason(output)}; see to space and rights in {workshop.parent}"
        )
    return cluster


def _reason(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    blamed = [line for line in lines if "FATAL:" in line or "error:" in line]
    return (blamed or lines or ["no message"])[-1]


def read_password(layout: Layout) -> str:
    """The superuser's password of an existing cluster."""
    try:
        return layout.password.read_text()
    except FileNotFoundError:
        problem = "is missing: put it back from a backup of the data folder"
    except PermissionError:
        problem = "may not be read by this account: run as the account that runs the server"
    raise EmbeddedPostgresError(f"{layout.password} {problem}")
