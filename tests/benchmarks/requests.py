"""The everyday requests: ours, the statements alone, the same by hand, PocketBase."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from typing import Any, Protocol, cast

import msgspec

from .figures import Case, Contender, Measured
from .load import WRK, first_body, load, request
from .peers.bare import Bare
from .peers.pocketbase import PocketBase, batch
from .peers.program import Peer
from .stage import Stage, crm_manifest
from .statements import Pgbench, logged, sent

ROWS = 10_000
IDS = 16
BULK = 1000
HTTP_CONNECTIONS = 32
BULK_CONNECTIONS = 4
DATABASE_CONNECTIONS = 10
"""As many as a server that is alone has for statements."""

COLLECTION = "/api/v1/apps/crm/collections/deals"
STAGES = ("Lead", "Qualified", "Proposal", "Negotiation", "Closed Won", "Closed Lost")
INDUSTRIES = ("Technology", "Retail", "Finance", "Education")
FILL = f"""
insert into crm.companies (name, industry)
select 'Company ' || n, (array{list(INDUSTRIES)})[1 + n % 4] from generate_series(1, 200) as n;
insert into crm.deals (title, value, stage, company_id, close_date, notes, created_at, updated_at)
select 'Deal ' || n, n % 9000, (array{list(STAGES)})[1 + n % 6],
    (select id from crm.companies order by name offset n % 200 limit 1),
    date '2025-01-01' + n % 365, 'Met at the fair; wants an offer for ' || n % 50 || ' seats.',
    now() - n * interval '1 second', now() - n * interval '1 second'
from generate_series(1, {ROWS}) as n;
vacuum analyze
"""
COMPARED = ("title", "value", "stage", "close_date", "notes")
"""What a record has everywhere."""


class Want(msgspec.Struct, frozen=True, kw_only=True):
    """One request; `{id}` in a path is a record's. `base` is its path at PocketBase.

    Where others do not take the same request, they get a GET: `hand` is its path at FastAPI.
    """

    name: str
    method: str = "GET"
    path: str = ""
    base: str = ""
    hand: str = ""
    body: object = None
    rows: int = 1


NEW = {
    "title": "New deal", "value": 1200.5, "stage": "Proposal", "close_date": "2025-09-30",
    "notes": "Met at the fair; wants an offer for 12 seats.",
}  # fmt: skip
CHANGE = {"value": 4321.5, "notes": "Wants an offer for 13 seats."}
MANY = [
    {"title": f"Bulk deal {n}", "value": n, "stage": STAGES[n % 6], "close_date": "2025-09-30",
     "notes": "From a file."} for n in range(BULK)
]  # fmt: skip
BY_LINK = {
    "where": {"company_id": {"$has": {"industry": "Retail"}}}, "limit": 20, "total": False,
}  # fmt: skip
WITH_TOTAL = {"where": {"stage": "Proposal"}, "limit": 20}
"""FastAPI by hand sends no total."""

NEWEST = "?sort=place&skipTotal=1&perPage="
WANTS = (
    Want(name="GET by id", path="/{id}", base="/{id}"),
    Want(name="list of 20", path="?limit=20", base=f"{NEWEST}20", rows=20),
    Want(name="list of 100", path="?limit=100", base=f"{NEWEST}100", rows=100),
    Want(
        name="filtered list of 20", path="?limit=20&stage=Proposal",
        base=f"{NEWEST}20&filter=(stage='Proposal')", rows=20,
    ),
    Want(
        name="filtered list of 20, total", method="POST", path="/query", body=WITH_TOTAL,
        base=f"{NEWEST}20&filter=(stage='Proposal')".replace("&skipTotal=1", ""),
        hand="?limit=20&stage=Proposal", rows=20,
    ),
    Want(
        name="list of 20, one link", path="?limit=20&expand=company_id",
        base=f"{NEWEST}20&expand=company", rows=20,
    ),
    Want(
        name="list of 20 by a link", method="POST", path="/query", body=BY_LINK,
        base=f"{NEWEST}20&filter=(company.industry='Retail')", hand="?limit=20&industry=Retail",
        rows=20,
    ),
    Want(name="create", method="POST", body=NEW),
    Want(name="update", method="PATCH", path="/{id}", base="/{id}", body=CHANGE),
    Want(name="bulk of 1000", method="POST", path="/bulk", body=MANY, rows=BULK),
)  # fmt: skip


def fill(stage: Stage) -> None:
    """Install the CRM and put rows into it, past the audit trail."""
    stage.sign_in()
    stage.call("POST", "/api/v1/apps", crm_manifest())
    stage.sql("set session_replication_role = replica", *FILL.split(";\n"))


class Server(Protocol):
    """Whose processor time and memory are reported."""

    def cpu(self) -> float:
        """Seconds so far."""
        ...

    def memory(self) -> float:
        """MB."""
        ...


class Http:
    """Requests to one server."""

    def __init__(
        self,
        name: str,
        server: Server,
        url: str,
        requests: Callable[[], Sequence[bytes]],
        *,
        database: Callable[[], float] | None,
        connections: int = HTTP_CONNECTIONS,
        least: float = 0,
    ) -> None:
        self.name = name
        self.requests = requests
        self._server, self._url = server, url
        self._database, self._connections, self._least = database, connections, least

    def body(self) -> bytes:
        """What one of them answers."""
        return first_body(self._url, self.requests()[0])

    def measure(self, seconds: float) -> Measured:
        """Send requests."""
        requests = self.requests()
        used, database = self._server.cpu(), self._database and self._database()
        seconds = max(seconds, self._least)
        wrk = None if self._least else WRK  # it forgets replies that come after its time
        sample = load(self._url, requests, connections=self._connections, seconds=seconds, wrk=wrk)
        return Measured(
            rate=sample.per_second,
            server_cpu=(self._server.cpu() - used) / sample.count or None,
            database_cpu=None
            if self._database is None or database is None
            else (self._database() - database) / sample.count,
            p50=sample.p50,
            p99=sample.p99,
            memory=self._server.memory() or None,
        )


class Statements:
    """What the server says to PostgreSQL, said by pgbench."""

    name = "pgbench, same statements"

    def __init__(self, stage: Stage, pgbench: Pgbench, clients: int) -> None:
        self._stage, self._pgbench, self._clients = stage, pgbench, clients

    def body(self) -> bytes:
        """What they answer."""
        return self._pgbench.body(self._stage)

    def measure(self, seconds: float) -> Measured:
        """Run pgbench."""
        before = self._stage.database_cpu()
        rate, took, count = self._pgbench.run(self._stage, max(1, round(seconds)), self._clients)
        return Measured(
            rate=rate, p50=took, database_cpu=(self._stage.database_cpu() - before) / count
        )


class Contestant(Contender, Protocol):
    """One whose answers are compared first."""

    def body(self) -> bytes:
        """An answer."""
        ...


def cases(
    stages: Sequence[Stage],
    by_hand: Peer,
    pocketbase: PocketBase,
    alone: Bare,
    wanted: Container[str],
) -> list[Case]:
    """Every case that is wanted, its contenders having answered alike."""
    found: list[Case] = []
    for want in WANTS:
        if want.name not in wanted:
            continue
        ours = [ours_of(stage, want) for stage in stages]
        others: list[Contestant] = [
            _statements(stages[0], want, ours[0]),
            _by_hand(stages[0], by_hand, want),
            _pocketbase(pocketbase, want),
            *([_alone(alone, want, ours[0].body())] if want.method == "GET" else ()),
        ]
        same(want.name, want.rows, [*ours, *others])
        found.append(Case(want.name, ours, others))
    return found


def _connections(want: Want) -> int:
    return HTTP_CONNECTIONS if want.rows < BULK else BULK_CONNECTIONS


def want_of(name: str) -> Want:
    """Return the request of a name."""
    [want] = [want for want in WANTS if want.name == name]
    return want


def ids_of(stage: Stage) -> list[str]:
    """Return the ids of the records that requests are about."""
    oldest = stage.call("GET", f"{COLLECTION}?limit={IDS}&order=asc")
    return [record["id"] for record in oldest]


def ours_of(stage: Stage, want: Want) -> Http:
    """Return the requests to our server."""
    ids = ids_of(stage)

    def requests() -> list[bytes]:
        stage.sign_in()  # tokens are good for a quarter of an hour, runs may be longer
        return raw(stage.url, COLLECTION + want.path, want, ids, stage.token)

    count = _connections(want)
    return Http(
        stage.name, stage, stage.url, requests, database=stage.database_cpu, connections=count
    )


def _by_hand(stage: Stage, peer: Peer, want: Want) -> Http:
    ids = [each["id"] for each in stage.call("GET", f"{COLLECTION}?limit={IDS}&order=asc")]
    if want.hand:
        want = msgspec.structs.replace(want, method="GET", path=want.hand, body=None)
    found = raw(peer.url, f"/deals{want.path}", want, ids, "")
    return Http(
        "FastAPI + SQLAlchemy", peer, peer.url, lambda: found,
        database=stage.database_cpu, connections=_connections(want),
    )  # fmt: skip


def _pocketbase(base: PocketBase, want: Want) -> Http:
    path = f"/api/collections/deals/records{want.base}"
    if want.hand:
        want = msgspec.structs.replace(want, method="GET", body=None)
    if want.rows == BULK:
        want = msgspec.structs.replace(want, body=batch(MANY))
        path = "/api/batch"
    found = raw(base.peer.url, path, want, base.ids, base.token)
    return Http(
        "PocketBase", base.peer, base.peer.url, lambda: found,
        database=None, connections=_connections(want),
    )  # fmt: skip


def _alone(alone: Bare, want: Want, body: bytes) -> Http:
    path = alone.answers(want.name.replace(" ", "-"), body)
    found = [request("GET", alone.peer.url, path)]
    return Http("uvicorn alone", alone.peer, alone.peer.url, lambda: found, database=None)


def _statements(stage: Stage, want: Want, ours: Http) -> Statements:
    """Let every connection of the pool prepare the statement, then see what the server sends."""
    clients = min(_connections(want), DATABASE_CONNECTIONS)
    load(stage.url, ours.requests(), connections=clients, seconds=1)
    ids = [each["id"] for each in stage.call("GET", f"{COLLECTION}?limit={IDS}&order=asc")]
    with logged(stage):
        statements = sent(stage, '"deals"', ours.body)
    other: Mapping[str, Sequence[str]] = {ids[0]: ids} if "{id}" in want.path else {}
    name = want.name.replace(" ", "-")
    return Statements(stage, Pgbench(stage.folder, name, statements, other), clients)


def raw(url: str, path: str, want: Want, ids: Sequence[str], token: str) -> list[bytes]:
    """The bytes of a request, once for each record that it can be about."""
    body = None if want.body is None else msgspec.json.encode(want.body)
    paths = [path.replace("{id}", each) for each in ids] if "{id}" in path else [path]
    return [request(want.method, url, each, token, body) for each in paths]


def same(name: str, rows: int, contestants: Sequence[Contestant]) -> None:
    """Check that all answer the same content. Raises ValueError: times of others mean nothing."""
    first, *others = [(each.name, records(each.body())) for each in contestants]
    if len(first[1]) != rows:
        raise ValueError(f"{name}: {first[0]} answers {len(first[1])} records, {rows} are wanted")
    for other, found in others:
        if found != first[1]:
            shown = next(
                (pair for pair in zip(first[1], found, strict=False) if pair[0] != pair[1]), ""
            )
            raise ValueError(f"{name}: {other} answers otherwise than {first[0]}: {shown}")


def records(body: bytes) -> list[dict[str, Any]]:
    """The records of a body, whatever they are wrapped in, by what they have everywhere."""
    return list(_records(msgspec.json.decode(body)))


def _records(found: Any) -> Iterator[dict[str, Any]]:
    if isinstance(found, str):  # a statement's answer that is JSON as text
        found = msgspec.json.decode(found)
    if isinstance(found, list):
        for one in found:
            yield from _records(one)
    elif isinstance(found, dict) and "title" in found:
        date = found.get("close_date") or ""
        shown = {**{name: found.get(name) for name in COMPARED}, "close_date": date[:10]}
        # In a statement's answer the member after a timestamp still has a mark for its name.
        linked = dict(found)
        for name, value in found.items():
            if name == "expand" or (name.startswith("\x01") and isinstance(value, dict)):
                linked |= value
        for company in (linked.get("company_id"), linked.get("company")):
            if isinstance(company, dict):
                shown["company"] = cast("dict[str, Any]", company)["name"]
        yield shown
    elif isinstance(found, dict):
        for name in ("items", "body", "data"):
            yield from _records(found.get(name, []))
