"""What the fault tests share: a server to hurt, clients that write meanwhile, what was promised."""

from __future__ import annotations

import itertools
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import httpx
import psycopg
from psycopg.conninfo import make_conninfo

from kernel.testing import Client
from kernel.testing.servers import LIMITS, NO_TLS
from plugins.postgres import EmbeddedServer, PostgresConfig, attach
from tests.kernel.processes import Served, write_config
from tests.waiting import eventually

ROUNDS = int(os.environ.get("FAULT_ROUNDS", "1"))
"""Repetitions: `FAULT_ROUNDS=5 make faults` hurts for longer."""
PASSWORD = "Str0ngPass!x"
FIRST_UID = 30_000_000 + os.getpid() % 40_000 * 1000
ACCOUNTS = {"uid_base": FIRST_UID, "uid_count": 1000}
"""Accounts of apps of this process's servers. They are the machine's: a server ends what a killed
server left under an account that both use, so tests that run at the same time share none."""
NOTES = {
    "entityName": "notes",
    "fields": [{"name": "name", "type": "text"}, {"name": "revision", "type": "number"}],
}
_count = itertools.count(1)


class Site:
    """A deployment: its folder, its configuration, its database."""

    def __init__(self, folder: Path, dsn: str = "", **tables: Mapping[str, Any]) -> None:
        """Without `dsn` the server runs an embedded database, which keeps what it acknowledged."""
        self.folder = folder
        self.dsn = dsn
        tree: dict[str, dict[str, Any]] = {
            "server": {"data_dir": str(folder / "data")},
            "plugins.auth": {"rate_limit_logins": False},
            "plugins.workers": dict(ACCOUNTS),
        }
        if dsn:
            tree["database"] = {"url": dsn}
        else:
            tree["plugins.postgres"] = {"port": 0}
        for name, table in tables.items():
            tree.setdefault(name.replace("__", "."), {}).update(table)
        write_config(folder, tree)
        self._users: list[User] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for user in self._users:
            user.close()

    def user(self, server: Served, name: str = "admin") -> User:
        """Register someone, unless that was done before, and sign in."""
        return self.user_at(server.url, name)

    def user_at(self, url: str, name: str = "admin") -> User:
        """The same at an address."""
        self._users.append(User(url, name))
        return self._users[-1]

    def serve(self, *words: str, env: Mapping[str, str] | None = None) -> Served:
        """A server of this site; enter it to start it."""
        return Served(*words, cwd=self.folder, env=env)

    def sql(self, query: str, *params: Any) -> list[tuple[Any, ...]]:
        """Ask the database, past the server."""
        if not self.dsn:  # reported again a moment after a restart
            eventually(
                lambda: attach(self.folder / "data"), 5, "the embedded database does not run"
            )
        return ask(self.dsn or attach(self.folder / "data") or "", query, *params)

    @property
    def listeners(self) -> int:
        """How many server processes listen for notifications."""
        query = (
            "select count(*) from pg_stat_activity where application_name = 'caudex notifications'"
        )
        return self.sql(f"{query} and datname = current_database()")[0][0]


def ask(dsn: str, query: str, *params: Any) -> list[tuple[Any, ...]]:
    """Run a statement of psycopg's dialect (`%s`) and return its rows, if it has any."""
    with psycopg.connect(dsn, autocommit=True, connect_timeout=10) as connection:
        cursor = connection.execute(query, params or None)  # type: ignore[arg-type]
        return cursor.fetchall() if cursor.description else []


class User(httpx.Client):
    """A client that is signed in; `goto` takes it to another server of the same deployment."""

    def __init__(self, url: str, name: str = "admin") -> None:
        super().__init__(base_url=url, timeout=60, verify=NO_TLS, limits=LIMITS)
        body = {"username": name, "password": PASSWORD}
        made = self.post("/api/v1/auth/register", json=body)
        assert made.status_code == 201 or "already taken" in made.text, made.text
        answer = self.post("/api/v1/auth/login", json=body)
        assert answer.status_code == 200, answer.text
        self.id: str = answer.json()["user"]["id"]
        self.headers["authorization"] = f"Bearer {answer.json()['accessToken']}"

    def goto(self, url: str) -> Self:
        self.base_url = url
        return self

    def install(self, app_id: str = "", *, entities: Any = (NOTES,), **more: Any) -> str:
        """Install an app and return its id."""
        app_id = app_id or f"app{next(_count)}"
        body = {"appId": app_id, "name": app_id, "dataContract": list(entities), **more}
        answer = self.post("/api/v1/apps", json=body)
        assert answer.status_code == 200, answer.text
        return app_id


@contextmanager
def frozen(*pids: int) -> Generator[None]:
    """Stop processes for a while."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def notes(app_id: str) -> str:
    """The path of the records that writers write."""
    return f"/api/v1/apps/{app_id}/collections/notes"


class Writer(threading.Thread):
    """Creates records, changes one of its own, creates some at once; remembers every answer."""

    def __init__(self, load: Load, number: int) -> None:
        super().__init__(name=f"writer {number}", daemon=True)
        self._load = load
        self._number = number
        self._serial = itertools.count(1)
        self.sent: set[str] = set()
        self.acknowledged: dict[str, str] = {}
        self.bulks: list[set[str]] = []
        self.record = ""
        self.revisions = [0.0, 0.0]
        """The last one acknowledged and the last one sent."""

    def run(self) -> None:
        """Write until the load ends; a server that is away is tried again."""
        with Client(timeout=60, headers=self._load.headers) as client:
            while not self._load.over.is_set():
                try:
                    self._write(client)
                except httpx.TransportError as error:
                    self._load.failures[type(error).__name__] += 1
                    self._load.over.wait(0.02)

    def _write(self, client: httpx.Client) -> None:
        serial = next(self._serial)
        if serial % 5 == 0:
            self._bulk(client, serial)
        elif serial % 3 == 0 and self.record:
            self._change(client)
        else:
            self._create(client, serial)

    def _create(self, client: httpx.Client, serial: int) -> None:
        name = f"{self._number}-{serial}"
        self.sent.add(name)
        answer = client.post(self._load.path, json={"name": name, "revision": 0})
        if self._load.counts(answer, 201):
            self.acknowledged[name] = answer.json()["id"]
            if not self.record:
                self.record = answer.json()["id"]

    def _change(self, client: httpx.Client) -> None:
        self.revisions[1] += 1
        body = {"revision": self.revisions[1]}
        if self._load.counts(client.patch(f"{self._load.path}/{self.record}", json=body), 200):
            self.revisions[0] = body["revision"]

    def _bulk(self, client: httpx.Client, serial: int) -> None:
        names = [f"{self._number}-{serial}-{n}" for n in range(3)]
        self.sent.update(names)
        self.bulks.append(set(names))
        answer = client.post(f"{self._load.path}/bulk", json=[{"name": name} for name in names])
        if self._load.counts(answer, 201):
            self.acknowledged.update((one["name"], one["id"]) for one in answer.json())


class Load:
    """Clients that write and read all the time, whatever happens to the server."""

    def __init__(self, user: User, app_id: str, writers: int = 8, readers: int = 0) -> None:
        self._base = str(user.base_url).rstrip("/")
        self._app = app_id
        self.headers = {"authorization": user.headers["authorization"]}
        self.over = threading.Event()
        self.answers: Counter[int] = Counter()
        self.reads: Counter[int] = Counter()
        self.failures: Counter[str] = Counter()
        self.odd: list[str] = []
        self._lock = threading.Lock()
        self._writers = [Writer(self, number) for number in range(writers)]
        self._readers = [
            threading.Thread(target=self._read, daemon=True, name=f"reader {number}")
            for number in range(readers)
        ]

    @property
    def path(self) -> str:
        return self._base + notes(self._app)

    def goto(self, url: str) -> None:
        """Write to the server that took the place of the former."""
        self._base = url

    def counts(self, answer: httpx.Response, wanted: int) -> bool:
        """Count an answer; a 503 has to say when to come back, or to look first, else it is odd."""
        with self._lock:
            self.answers[answer.status_code] += 1
        if answer.status_code == wanted:
            return True
        self._look_at(answer)
        return False

    def _look_at(self, answer: httpx.Response, *, sure: bool = False) -> None:
        again = int(answer.headers.get("retry-after", 0)) > 0
        unsure = "the change may have been made" in answer.text and not sure
        polite = answer.status_code == 503 and again != unsure
        if not polite or list(answer.json()) != ["error"]:
            self.odd.append(f"{answer.status_code} {answer.text}")
        self.over.wait(0.02)

    def _read(self) -> None:
        with Client(timeout=60, headers=self.headers) as client:
            while not self.over.is_set():
                try:
                    answer = client.get(self.path, params={"limit": 5})
                except httpx.TransportError as error:
                    self.failures[type(error).__name__] += 1
                    self.over.wait(0.02)
                    continue
                with self._lock:
                    self.reads[answer.status_code] += 1
                if answer.status_code != 200:
                    self._look_at(answer, sure=True)

    def __enter__(self) -> Self:
        for thread in (*self._writers, *self._readers):
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        for thread in (*self._writers, *self._readers):
            thread.join(70)
            assert not thread.is_alive(), f"{thread.name} got no answer"

    @property
    def acknowledged(self) -> int:
        """How many records were acknowledged so far."""
        return sum(len(writer.acknowledged) for writer in self._writers)

    def more(self, count: int = 20, seconds: float = 30) -> None:
        """Wait until that many more records were acknowledged."""
        goal = self.acknowledged + count
        eventually(lambda: self.acknowledged >= goal, seconds, lambda: (self.answers, self.odd[:3]))

    def check(self, sql: Callable[..., list[tuple[Any, ...]]]) -> None:
        """Compare what was answered, the rows and the audit trail."""
        assert not self.odd, self.odd[:5]
        rows = sql(f"select name, id::text, revision from {self._app}.notes")
        found = {name: record for name, record, _ in rows}
        assert len(found) == len(rows), "something was written twice"
        revisions = {record: revision for _, record, revision in rows}
        for writer in self._writers:
            lost = writer.acknowledged.items() - found.items()
            assert not lost, f"acknowledged and lost: {sorted(lost)[:5]}"
            for names in writer.bulks:
                assert names & found.keys() in (set(), names), "half of a bulk is there"
            if writer.record:
                done, tried = writer.revisions
                assert done <= revisions[writer.record] <= tried
        assert found.keys() <= set().union(*(writer.sent for writer in self._writers))
        self._check_trail(sql, set(found.values()), revisions)

    def _check_trail(
        self, sql: Callable[..., Any], ids: set[str], revisions: Mapping[str, float]
    ) -> None:
        trail = sql(
            "select operation, record_id, (new_record ->> 'revision')::float"
            " from caudex_audit.log where table_schema = %s and table_name = 'notes' order by id",
            self._app,
        )
        made = Counter(record for operation, record, _ in trail if operation == "INSERT")
        assert made == Counter(ids), "rows and audit rows are not the same"
        last = {record: revision for operation, record, revision in trail if operation == "UPDATE"}
        for record, revision in last.items():
            assert revisions[record] == revision, "a change and its audit row are not the same"


class DurablePostgres:
    """A PostgreSQL that can be stopped, killed and started, and keeps what it acknowledged."""

    def __init__(self, folder: Path) -> None:
        self._server = EmbeddedServer(folder / "postgres-data", PostgresConfig(port=0))

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()

    @property
    def admin(self) -> str:
        return self._server.dsn()

    def create(self) -> str:
        """Make a database and return its DSN."""
        name = f"faults_{next(_count)}"
        ask(self.admin, f"create database {name}")
        return make_conninfo(self.admin, dbname=name)

    @property
    def pid(self) -> int:
        assert self._server.pid is not None
        return self._server.pid

    def signal(self, number: int) -> None:
        """Send the postmaster a signal and wait until it is gone."""
        os.kill(self.pid, number)
        eventually(lambda: "ended" in (self._server.watch() or ""), 30, "PostgreSQL did not end")

    def bring_back(self) -> None:
        """Start it again where it was, and wait until it takes connections."""
        eventually(lambda: self._server.watch() == "PostgreSQL is back", 60, "PostgreSQL is away")


@contextmanager
def in_background(work: Callable[[threading.Event], None]) -> Generator[None]:
    """Repeat something that ends when the event is set; what it raised is raised here."""
    over, raised = threading.Event(), list[BaseException]()

    def run() -> None:
        try:
            work(over)
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(60)
    if raised:
        raise raised[0]


def no_traceback(*servers: Served) -> None:
    """Nothing that happens to a server is a fault of its own."""
    for server in servers:
        lines = server.err.splitlines()
        faults = [line for line in lines if "Traceback" in line or '"exception"' in line]
        assert not faults, faults[0]
        assert not [line for line in lines if '"critical"' in line]


def pause(least: float, most: float) -> None:
    """Let a random time pass: what is hurt should be hurt anywhere."""
    time.sleep(random.uniform(least, most))
