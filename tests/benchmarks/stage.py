"""What is measured: a server process with its own PostgreSQL, as an operator would start it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
import msgspec
import psycopg

from plugins.postgres import attach

ROOT = Path(__file__).parents[2]
BANNER = re.compile(r"on (http://\S+)")
CONFIG = """\
[plugins.postgres]
port = 0
"""
START_SECONDS = 90.0
PASSWORD = "Str0ngPass!x"


class Stage:
    """A server, its database and an admin's token."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data_dir = folder / "data"
        self.url = ""
        self.token = ""
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The server's process."""
        assert self._process is not None
        return self._process.pid

    @property
    def dsn(self) -> str:
        """The server's own database, as its superuser."""
        dsn = attach(self.data_dir)
        assert dsn, "the embedded PostgreSQL does not run"
        return dsn

    @property
    def database_log(self) -> Path:
        """Where PostgreSQL logs."""
        return self.data_dir / "postgres.log"

    def start(self) -> float:
        """Start the server and return how many seconds it took to be ready."""
        log = self.folder / "server.log"
        began = time.perf_counter()
        with log.open("wb") as out:
            self._process = subprocess.Popen(
                [
                    sys.executable, "-m", "kernel", "serve", "--port", "0",
                    "--config", str(self.folder / "caudex.toml"), "--data-dir", str(self.data_dir),
                ],
                cwd=ROOT, env=_environment(), stdout=out, stderr=out,
            )  # fmt: skip
        while time.perf_counter() - began < START_SECONDS:
            if self._process.poll() is not None:
                break
            if banner := BANNER.search(log.read_text("utf-8", "replace")):
                self.url = banner[1]
                if self._is_ready():
                    return time.perf_counter() - began
            time.sleep(0.01)
        raise RuntimeError(f"the server did not start:\n{log.read_text('utf-8', 'replace')}")

    def stop(self) -> None:
        """End the server as a supervisor would."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(40)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._process = None

    def sign_in(self) -> None:
        """Register the admin, or log in again."""
        account = {"username": "bench", "password": PASSWORD}
        self.call("POST", "/api/v1/auth/register", account, ok=(201, 400))
        self.token = self.call("POST", "/api/v1/auth/login", account)["accessToken"]

    def call(self, method: str, path: str, body: object = None, ok: tuple[int, ...] = ()):
        """One request outside of any measurement."""
        headers = {"authorization": f"Bearer {self.token}"} if self.token else {}
        answer = httpx.request(method, self.url + path, json=body, headers=headers, timeout=60)
        if not (answer.is_success or answer.status_code in ok):
            raise RuntimeError(f"{method} {path}: {answer.status_code} {answer.text}")
        return answer.json()

    def sql(self, *statements: str) -> None:
        """Run statements as the superuser, past the server."""
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)

    def memory(self) -> float:
        """Resident memory of the server process in MB."""
        return memory_of(self.pid)

    def cpu(self) -> float:
        """Seconds of processor time that the server process has used, to 10 ms; 0 off Linux."""
        try:
            fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/health/ready", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False


@contextmanager
def stage(parent: str | None = None) -> Generator[Stage]:
    """A started server in a folder of its own, which goes away with it."""
    folder = Path(tempfile.mkdtemp(prefix="caudex-bench-", dir=parent))
    folder.chmod(0o711)  # as root the database runs under another account
    (folder / "caudex.toml").write_text(CONFIG, "utf-8")
    made = Stage(folder)
    try:
        made.start()
        yield made
    finally:
        made.stop()
        shutil.rmtree(folder, ignore_errors=True)


def memory_of(pid: int) -> float:
    """Resident memory of a process in MB."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:
        said = subprocess.run(
            ["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=True
        )
        return int(said.stdout) / 1024
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def crm_manifest() -> Mapping[str, object]:
    """The manifest of the CRM example."""
    return msgspec.json.decode((ROOT / "examples/crm/manifest.json").read_bytes())


def _environment() -> dict[str, str]:
    """Ours without what would configure the server or send it to another database."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("CAUDEX_") and name != "DATABASE_URL"
    }
