"""What the tests of the embedded server share: an owner to be killed, questions, patience."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg

ROOT = Path(__file__).parents[3]


class Owner:
    """Another process that owns a server."""

    def __init__(self, data_dir: Path, **arguments: Any) -> None:
        arguments = {"data_dir": str(data_dir), "port": 0, "ephemeral": True} | arguments
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.plugins.postgres.owner", json.dumps(arguments)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def __enter__(self) -> "Owner":
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def news(self) -> dict[str, Any]:
        assert self.process.stdout
        return json.loads(self.process.stdout.readline())

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()

    def finish(self) -> tuple[int, str]:
        error = self.process.communicate()[1].decode()
        return self.process.returncode, error.strip()


def ask(dsn: str, query: str) -> Any:
    """The first column of the first row of a query."""
    with psycopg.connect(dsn, autocommit=True, connect_timeout=5) as connection:
        cursor = connection.execute(query.encode())
        row = cursor.fetchone() if cursor.description else None
        return row[0] if row else None


def can_connect(dsn: str) -> bool:
    """Whether a server answers."""
    with contextlib.suppress(psycopg.OperationalError):
        return ask(dsn, "SELECT true")
    return False


def copy_cluster(source: Path, target: Path) -> Path:
    """Copy a data folder with its owners."""
    subprocess.run(["cp", "-a", source, target], check=True)
    return target


def kill(pid: int) -> None:
    """End a process without a word."""
    os.kill(pid, signal.SIGKILL)
