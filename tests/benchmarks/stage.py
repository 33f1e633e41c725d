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
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import msgspec
import psycopg

from plugins.postgres import attach

from . import processes

ROOT = Path(__file__).parents[2]
BANNER = re.compile(r"on (http://\S+)")
CONFIG = """\
[plugins.postgres]
port = 0
[plugins.auth]
rate_limit_logins = false
[plugins.logs]
readers_per_app = 200  # of which one user has half
[plugins.feed]
streams = 2000  # those of the last case may still end
streams_per_user = 2000
"""
POOL = """\
[services]
statements = "kernel"
"""
PIPELINE = """\
[services]
statements = "pipeline"
"""
START_SECONDS = 90.0
PASSWORD = "Str0ngPass!x"


class Stage:
    """A server, its database and an admin's token."""

    def __init__(self, folder: Path, name: str, options: Sequence[str], root: Path = ROOT) -> None:
        self.folder = folder
        self.name = name
        self._options = options
        self._root = root
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
                    python(self._root), "-m", "kernel", "serve", "--port", "0",
                    "--config", str(self.folder / "caudex.toml"), "--data-dir", str(self.data_dir),
                    *self._options,
                ],
                cwd=self._root, env=_environment(), stdout=out, stderr=out,
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

    def sign_in_as_admin(self) -> str:
        """Log the admin in, and return the token."""
        self.sign_in()
        return self.token

    def register(self, username: str) -> None:
        """Make an account beside the admin's."""
        account = {"username": username, "password": PASSWORD}
        self.call("POST", "/api/v1/auth/register", account, ok=(400,))

    def user_id(self, username: str) -> str:
        """Return the id of an account."""
        users = self.call("GET", "/api/v1/users")
        [user_id] = [user["id"] for user in users if user["username"] == username]
        return user_id

    def sign_in_as(self, username: str) -> str:
        """Log a user in, and return the token."""
        account = {"username": username, "password": PASSWORD}
        return self.call("POST", "/api/v1/auth/login", account)["accessToken"]

    def call(self, method: str, path: str, body: object = None, ok: tuple[int, ...] = ()):
        """One request outside of any measurement."""
        headers = {"authorization": f"Bearer {self.token}"} if self.token else {}
        answer = httpx.request(method, self.url + path, json=body, headers=headers, timeout=60)
        if not (answer.is_success or answer.status_code in ok):
            raise RuntimeError(f"{method} {path}: {answer.status_code} {answer.text}")
        return answer.json()

    def upload(self, path: str, content: bytes) -> None:
        """Send a file, as a form does."""
        answer = httpx.post(
            self.url + path, files={"archive": ("code.tar.gz", content)}, timeout=120,
            headers={"authorization": f"Bearer {self.token}"},
        )  # fmt: skip
        if not answer.is_success:
            raise RuntimeError(f"POST {path}: {answer.status_code} {answer.text}")

    def sql(self, *statements: str) -> None:
        """Run statements as the superuser, past the server."""
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)

    def ask(self, query: str) -> str:
        """The only value of the only row, as text."""
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            row = connection.execute(query).fetchone()
        assert row is not None
        return str(row[0])

    def memory(self) -> float:
        """Resident memory of the server and its workers in MB."""
        return processes.memory(self.pid, self.postmaster)

    def cpu(self) -> float:
        """Seconds of processor time that the server and its workers have used."""
        return processes.cpu(self.pid, self.postmaster)

    def database_cpu(self) -> float:
        """Seconds of processor time that PostgreSQL has used."""
        return processes.cpu(self.postmaster)

    @property
    def postmaster(self) -> int:
        """The main process of PostgreSQL."""
        return int(next(self.data_dir.rglob("postmaster.pid")).read_text().split()[0])

    def _is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/health/ready", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False


@contextmanager
def stage(
    parent: str | None = None,
    *,
    name: str = "caudex",
    config: str = "",
    options: Sequence[str] = (),
    root: Path = ROOT,
) -> Generator[Stage]:
    """A started server in a folder of its own, which goes away with it.

    `config` is added to the configuration, `options` to the command line of `serve`. `root` is the
    folder of another version's code, of which `config` is the whole configuration.
    """
    folder = Path(tempfile.mkdtemp(prefix="caudex-bench-", dir=parent))
    folder.chmod(0o711)  # as root the database runs under another account
    whole = CONFIG + config if root == ROOT else config
    (folder / "caudex.toml").write_text(whole, "utf-8")
    made = Stage(folder, name, options, root)
    try:
        made.start()
        yield made
    finally:
        made.stop()
        shutil.rmtree(folder, ignore_errors=True)


def python(root: Path) -> str:
    """Return the Python of a version: ours runs this, another has its own packages."""
    return sys.executable if root == ROOT else str(root / ".venv" / "bin" / "python")


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
