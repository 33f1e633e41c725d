"""Jobs, from a request to a stored outcome, dispatch to a worker included."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import tarfile
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import psycopg

from .figures import Case, Contender, Measured
from .load import measure, request, run
from .peers.by_hand import database
from .peers.program import ROOT, program
from .requests import DATABASE_CONNECTIONS, HTTP_CONNECTIONS, Http, Statements
from .stage import Stage
from .statements import Pgbench, logged, sent

APP = "bench"
SCRIPTED, QUEUE = f"{APP}_js", f"{APP}_queue"
"""The same app in JavaScript, and one without a worker."""

SCRIPT = b"""
const begun = {};
serve({
  rpc: { echo: async (params) => params, begun: async () => begun },
  onStart() {
    const { user, system } = process.cpuUsage();
    Object.assign(begun, { at: Date.now() / 1000, cpu: (user + system) / 1e6 });
  },
  onJob: async (payload) => ({ n: payload.n }),
});
"""
CONCURRENCY = 10
"""Of a worker, as the server's configuration has it."""

PRODUCERS = 32
PER_SECOND, WAITING_PER_SECOND = 2000, 6000
"""Jobs of a round for each of its seconds: enqueued meanwhile, and such as wait already."""

SLOWER = 5
"""The share of them that procrastinate has, which would take minutes for all."""

COPY = """
insert into caudex_jobs.jobs (id, app_id, due, priority, max_attempts, timeout_s, user_id, run_at,
    payload)
select gen_random_uuid(), j.app_id, j.due, j.priority, j.max_attempts, j.timeout_s, j.user_id,
    j.run_at, j.payload
from caudex_jobs.jobs as j, generate_series(2, {}) as n
"""
PORTION = 100

LEFT = """
select exists (select from caudex_jobs.jobs where status = 'running') or exists (
    select from caudex_jobs.jobs where app_id = %s and status = 'pending' and due)
"""
"""Read from small indexes: to count all jobs all the time would be a load of its own."""

DEADLINE = 120.0
GLANCE = 0.01


WORKER = Path(__file__).with_name("worker.py")


def install(
    stage: Stage, app: str = APP, file: str = WORKER.name, code: bytes | None = None
) -> None:
    """Install an app with a worker, which runs then."""
    manifest = {"appId": app, "name": "Bench", "dataContract": []}
    stage.call("POST", "/api/v1/apps", manifest)
    stage.upload(f"/api/v1/apps/{app}/deploy", archive(file, code or WORKER.read_bytes()))


def install_scripted(stages: Sequence[Stage]) -> bool:
    """Install the app in JavaScript, where there is Node.js."""
    if shutil.which("node") is None:
        return False
    for stage in stages:
        install(stage, SCRIPTED, "index.js", SCRIPT)
    return True


def archive(file: str, code: bytes) -> bytes:
    """The worker's code as it is deployed."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        entry = tarfile.TarInfo(file)
        entry.size = len(code)
        tar.addfile(entry, io.BytesIO(code))
    return packed.getvalue()


def wait_for_worker(stage: Stage, app: str = APP) -> None:
    """Wait until calls are answered."""
    deadline = time.monotonic() + DEADLINE
    while stage.call("GET", f"/api/v1/apps/{app}/worker/status")["status"] != "running":
        if time.monotonic() > deadline:
            raise RuntimeError("the worker does not run")
        time.sleep(0.05)


def enqueue(stage: Stage, app: str) -> bytes:
    """The request that enqueues a job."""
    body = msgspec.json.encode({"payload": {"type": "nothing", "n": 1}})
    return request("POST", stage.url, f"/api/v1/apps/{app}/jobs", stage.token, body)


class Ours:
    """Enqueued by requests, run in a worker process."""

    def __init__(self, stage: Stage, *, waiting: bool, app: str = APP) -> None:
        self.name = stage.name
        self._stage, self._waiting, self._app = stage, waiting, app

    def measure(self, seconds: float) -> Measured:
        """Enqueue jobs and wait for all of them to be completed."""
        self._stage.sign_in()
        return self._work_off(seconds) if self._waiting else self._together(seconds)

    def _together(self, seconds: float) -> Measured:
        stage, count = self._stage, int(seconds * PER_SECOND)
        wait_for_worker(stage, self._app)
        stage.sql("truncate caudex_jobs.jobs")
        self._enqueue(PORTION)  # what a first job costs, is not measured for others either
        self._wait()
        stage.sql("truncate caudex_jobs.jobs")
        began, used = time.perf_counter(), (stage.cpu(), stage.database_cpu())
        self._enqueue(count)
        self._wait()
        return self._measured(count, time.perf_counter() - began, *used)

    def _work_off(self, seconds: float) -> Measured:
        stage, count = self._stage, int(seconds * WAITING_PER_SECOND / PORTION) * PORTION
        stage.call("POST", f"/api/v1/apps/{self._app}/worker/stop", {})
        stage.sql("truncate caudex_jobs.jobs")
        self._enqueue(PORTION)
        stage.sql(COPY.format(count // PORTION), "vacuum analyze caudex_jobs.jobs")
        used = stage.cpu(), stage.database_cpu()
        stage.call("POST", f"/api/v1/apps/{self._app}/worker/start", {})
        self._wait()
        ended = time.time()
        # Others have started when their time begins, so ours is up too: the first job has not come.
        call = {"method": "begun", "params": {}}
        begun = stage.call("POST", f"/api/v1/apps/{self._app}/rpc", call)
        begun = begun.get("result", begun)
        return self._measured(count, ended - begun["at"], used[0] + begun["cpu"], used[1])

    def _measured(self, count: int, took: float, used: float, database: float) -> Measured:
        stage = self._stage
        done = int(stage.ask("select count(*) from caudex_jobs.jobs where status = 'completed'"))
        if done != count:
            raise RuntimeError(f"{done} of {count} jobs were completed")
        return Measured(
            rate=count / took,
            server_cpu=(stage.cpu() - used) / count,
            database_cpu=(stage.database_cpu() - database) / count,
            memory=stage.memory(),
        )

    def _enqueue(self, count: int) -> None:
        stage = self._stage
        raw = enqueue(stage, self._app)
        run(measure(stage.url, [raw], connections=PRODUCERS, seconds=DEADLINE, count=count))

    def _wait(self) -> None:
        deadline = time.monotonic() + DEADLINE
        with psycopg.connect(self._stage.dsn, autocommit=True) as connection:
            while connection.execute(LEFT, [self._app]).fetchone() == (True,):
                if time.monotonic() > deadline:
                    raise RuntimeError("jobs do not come to an end")
                time.sleep(GLANCE)


class Theirs:
    """A library that enqueues and runs jobs in one process, with functions for handlers."""

    def __init__(self, stage: Stage, library: str, batch: int, *, waiting: bool) -> None:
        self.name = library if library == "procrastinate" else f"{library}, batch {batch}"
        self._stage, self._library, self._batch = stage, library, batch
        self._how = "waiting" if waiting else "together"
        self._per_second = WAITING_PER_SECOND if waiting else PER_SECOND
        if library == "procrastinate":
            self._per_second //= SLOWER

    def measure(self, seconds: float) -> Measured:
        """Run the program."""
        count = int(seconds * self._per_second)
        done = subprocess.run(
            [
                program("python"), "-m", f"tests.benchmarks.peers.{self._library}_jobs",
                json.dumps(database(self._stage)), str(count), str(self._batch), self._how,
                str(self._stage.postmaster),
            ],
            cwd=ROOT, check=False, capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"{self.name} failed: {done.stderr[-1000:]}")
        reported = json.loads(done.stdout.splitlines()[-1])
        return Measured(
            rate=reported["jobs"] / reported["seconds"],
            server_cpu=reported["cpu"] / reported["jobs"],
            database_cpu=reported["database_cpu"] / reported["jobs"],
        )


def cases(stages: list[Stage]) -> list[Case]:
    """Jobs that wait already, and jobs that come while others run."""
    found: list[Case] = []
    for name, waiting in (("jobs: enqueue to done", False), ("jobs: work off a queue", True)):
        others: list[Contender] = [
            Theirs(stages[0], "pgqueuer", 10, waiting=waiting),
            Theirs(stages[0], "pgqueuer", 100, waiting=waiting),
            Theirs(stages[0], "procrastinate", CONCURRENCY, waiting=waiting),
        ]
        found.append(Case(name, [Ours(each, waiting=waiting) for each in stages], others))
        if install_scripted(stages):
            ours = [Ours(each, waiting=waiting, app=SCRIPTED) for each in stages]
            found.append(Case(f"{name}, JavaScript worker", ours, [others[1]]))
    return found


def enqueuer(stage: Stage, callers: int = HTTP_CONNECTIONS) -> Http:
    """Return requests that enqueue jobs, which no worker runs."""
    stage.call("POST", "/api/v1/apps", {"appId": QUEUE, "name": "Queue", "dataContract": []})

    def requests() -> list[bytes]:
        stage.sign_in()
        return [enqueue(stage, QUEUE)]

    return Http(
        stage.name, stage, stage.url, requests, database=stage.database_cpu, connections=callers
    )


def enqueueing(stages: Sequence[Stage]) -> Case:
    """Jobs that no worker runs, against the same statements."""
    ours = [enqueuer(stage) for stage in stages]
    one = stages[0]
    with logged(one):
        found = sent(one, "insert into caudex_jobs.jobs", ours[0].body)
    pgbench = Pgbench(one.folder, "enqueue", found)
    return Case("enqueue", ours, [Statements(one, pgbench, DATABASE_CONNECTIONS)])
