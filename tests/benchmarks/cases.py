"""The everyday requests, each measured beside pgbench and the peer in the same seconds."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from statistics import median

import msgspec

from .load import Sample, measure, request
from .stage import Stage
from .statements import Pgbench, logged, sent

ROWS = 10_000
IDS = 16
BULK = 1000
HTTP_CONNECTIONS = 32
DATABASE_CONNECTIONS = 10
"""As many as the server's pool has."""

COLLECTION = "/api/v1/apps/crm/collections/deals"
STAGES = ("Lead", "Qualified", "Proposal", "Negotiation", "Closed Won", "Closed Lost")
FILL = f"""
insert into crm.companies (name, industry)
select 'Company ' || n, 'Technology' from generate_series(1, 200) as n;
insert into crm.deals (title, value, stage, company_id, close_date, notes, created_at, updated_at)
select 'Deal ' || n, n % 9000, (array{list(STAGES)})[1 + n % 6],
    (select id from crm.companies order by name offset n % 200 limit 1),
    date '2025-01-01' + n % 365, 'Met at the fair; wants an offer for ' || n % 50 || ' seats.',
    now() - n * interval '1 second', now() - n * interval '1 second'
from generate_series(1, {ROWS}) as n;
vacuum analyze
"""


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One request in several variants; `{id}` in the path is a record's."""

    name: str
    method: str = "GET"
    path: str = ""
    body: object = None
    rows: int = 1


CASES = (
    Case(name="GET by id", path="/{id}"),
    Case(name="list of 20", path="?limit=20", rows=20),
    Case(name="list of 100", path="?limit=100", rows=100),
    Case(name="filtered list of 20", path="?limit=20&stage=Proposal", rows=20),
    Case(name="create", method="POST", body={
        "title": "New deal", "value": 1200.5, "stage": "Proposal", "close_date": "2025-09-30",
        "notes": "Met at the fair; wants an offer for 12 seats.",
    }),
    Case(name="bulk of 1000", method="POST", path="/bulk", rows=BULK, body=[
        {"title": f"Bulk deal {n}", "value": n, "stage": STAGES[n % 6]} for n in range(BULK)
    ]),
)  # fmt: skip


class Figures(msgspec.Struct):
    """What the rounds gave: requests a second, and the server's processor time for a request."""

    server: list[Sample] = []
    cpu: list[float] = []
    pgbench: list[float] = []
    peer: list[float] = []

    @property
    def of_pgbench(self) -> float:
        """The server's throughput as a share of what the bare statements allow."""
        return self.rate / median(self.pgbench)

    @property
    def of_peer(self) -> float | None:
        """The server's throughput as a multiple of the peer's."""
        return self.rate / median(self.peer) if self.peer else None

    @property
    def rate(self) -> float:
        """Requests a second."""
        return median(sample.per_second for sample in self.server)

    @property
    def spread(self) -> float:
        """How much longer the slowest hundredth takes than the middle."""
        return median(sample.p99 / sample.p50 for sample in self.server)


def fill(stage: Stage) -> None:
    """Put rows into the CRM, past the audit trail."""
    stage.sql("set session_replication_role = replica", *FILL.split(";\n"))


class Bare:
    """A reply without login and database: what HTTP alone costs, the measure of the rest."""

    def __init__(
        self, stage: Stage, name: str, requests: Sequence[bytes], connections: int
    ) -> None:
        self.name = name
        self.figures = Figures()
        self._stage, self._requests, self._connections = stage, requests, connections

    def round(self, seconds: int) -> None:
        """Measure each contender once, one after the other."""
        before = self._stage.cpu()
        sample = self._http(self._stage.url, self._requests, seconds)
        used = self._stage.cpu() - before
        self.figures.server.append(sample)
        self.figures.cpu.append(used / sample.count)

    def _http(self, url: str, raw: Sequence[bytes], seconds: float) -> Sample:
        return asyncio.run(measure(url, raw, connections=self._connections, seconds=seconds))


class Contest(Bare):
    """One case and its contenders."""

    def __init__(self, stage: Stage, case: Case, peer: str | None, ids: Sequence[str]) -> None:
        raw = _requests(stage.url + COLLECTION, case, ids, stage.token)
        super().__init__(stage, case.name, raw, HTTP_CONNECTIONS if case.rows < BULK else 4)
        self._case, self._ids, self._peer = case, ids, peer
        self._peer_requests = _requests(f"{peer}/deals", case, ids, "") if peer else []
        self._clients = min(self._connections, DATABASE_CONNECTIONS)
        self._pgbench: Pgbench | None = None

    def warm_up(self) -> None:
        """Let every connection of the pool prepare the statement."""
        url, count = self._stage.url, 12 * self._clients
        asyncio.run(
            measure(url, self._requests, connections=self._clients, seconds=20, count=count)
        )

    def watch(self) -> None:
        """See which statements the server sends; they have to be `logged`."""
        first, ids = self._requests[:1], self._ids

        def send() -> None:
            asyncio.run(measure(self._stage.url, first, connections=1, seconds=20, count=1))

        other: Mapping[str, Sequence[str]] = {ids[0]: ids} if "{id}" in self._case.path else {}
        found = sent(self._stage, '"deals"', send)
        self._pgbench = Pgbench(self._stage.folder, self.name.replace(" ", "-"), found, other)

    def round(self, seconds: int) -> None:
        """Measure each contender once, one after the other."""
        super().round(seconds)
        assert self._pgbench is not None
        self.figures.pgbench.append(self._pgbench.run(self._stage, seconds, self._clients))
        if self._peer:
            sample = self._http(self._peer, self._peer_requests, seconds)
            self.figures.peer.append(sample.per_second)


def bare(stage: Stage) -> Bare:
    """The server's cheapest reply."""
    return Bare(stage, "bare", [request("GET", stage.url, "/health")], HTTP_CONNECTIONS)


def contests(stage: Stage, peer: str | None) -> list[Contest]:
    """Every case, ready to be measured."""
    ids = [each["id"] for each in stage.call("GET", f"{COLLECTION}?limit={IDS}&order=asc")]
    found = [Contest(stage, case, peer, ids) for case in CASES]
    for contest in found:
        contest.warm_up()
    with logged(stage):
        for contest in found:
            contest.watch()
    return found


def _requests(base: str, case: Case, ids: Sequence[str], token: str) -> list[bytes]:
    body = None if case.body is None else msgspec.json.encode(case.body)
    path = "/" + base.split("/", 3)[3] + case.path
    paths = [path.format(id=each) for each in ids] if "{id}" in path else [path]
    return [request(case.method, base, each, token, body) for each in paths]
