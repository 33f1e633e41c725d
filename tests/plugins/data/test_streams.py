"""Complete lists of any size in bounded memory, and pages that an index serves."""

from __future__ import annotations

import json
import threading
import tracemalloc
import uuid
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import anyio
import httpx
import msgspec
import pytest

from kernel.public import (
    ACCESS,
    APPS,
    HOOKS,
    POOL,
    RECORDS,
    STATEMENTS,
    Grant,
    Page,
    StreamedReply,
    Target,
    View,
    server_actor,
)
from kernel.testing import Client, Server
from plugins.data.assembly import Dependencies, build_records
from plugins.data.columns.columns import Columns
from plugins.data.filters.conditions import Conditions
from plugins.data.rendering import id_of
from plugins.data.statements.entity import LastSeen, Order
from plugins.data.statements.entity_table import Table
from tests.plugins.data.support import SAMPLES, clear, installed, refused

SAMPLES_OF_LAB = Target(server_actor(), Grant(), "lab", "samples")

MANY = 50_000


@pytest.fixture(scope="module")
def crowd(server: Server) -> Generator[Server]:
    """A table of many rows, of about 600 bytes each."""
    installed(server)
    server.sql(
        """
        insert into lab.samples (name, amount, created_at, scan)
        select 'n' || i, case when mod(i, 5) > 0 then mod(i, 1000) end,
               '2024-01-01Z'::timestamptz + i * interval '1 s', repeat('x', 250)
        from generate_series(1, %s) i""",
        MANY,
    )
    server.sql("analyze lab.samples")
    yield server
    clear(server)


@pytest.mark.slow
def test_a_long_list_is_complete(crowd: Server):
    with crowd.admin.stream("GET", SAMPLES) as answer:
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["transfer-encoding"] == "chunked"
        body = answer.read()
    records = json.loads(body)
    assert [record["name"] for record in records] == [f"n{i}" for i in range(MANY, 0, -1)]
    assert all(record["created_at"].endswith("Z") for record in records)
    assert all(record["updated_at"].endswith("Z") for record in records)


@pytest.mark.slow
def test_a_long_list_takes_little_memory(crowd: Server):
    async def read() -> tuple[int, int]:
        records = crowd.services.get(RECORDS)
        size = 0
        tracemalloc.start()
        try:
            async with records.stream(SAMPLES_OF_LAB, Page()) as pieces:
                async for piece in pieces:
                    size += len(piece)
            return size, tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    size, peak = crowd.run(read)
    assert size > 25_000_000
    assert peak < 6_000_000


def test_a_fifth_stream_has_to_wait(crowd: Server):
    other, third = (reader(crowd) for _ in range(2))
    with paused_streams(crowd, 2), paused_streams(crowd, 2, other):
        answer = third.get(SAMPLES)
        assert "too many" in refused(answer, 503)
        assert answer.headers["retry-after"]
        assert third.get(SAMPLES, params={"limit": 1}).status_code == 200
    for _ in range(50):  # the server sees that the readers went away
        if crowd.admin.get(SAMPLES, params={"offset": MANY - 1}).status_code == 200:
            return
        anyio.run(anyio.sleep, 0.1)
    raise AssertionError("streams without a reader are not given up")


def test_one_user_reads_two_lists_at_once_and_others_wait_for_none_of_them(
    crowd: Server, monkeypatch: pytest.MonkeyPatch
):
    few = {"offset": MANY - 1}
    other = reader(crowd)
    with paused_streams(crowd, 2):
        shares = crowd.services.get(POOL).shares  # type: ignore[attr-defined]
        monkeypatch.setattr(shares, "_seconds", 0.3)
        answer = crowd.admin.get(SAMPLES, params=few)
        assert "for this user" in refused(answer, 503)
        assert answer.headers["retry-after"] == "5"
        assert other.get(SAMPLES, params=few).status_code == 200


def reader(server: Server) -> Client:
    """Another user who may read all samples."""
    return server.user(permissions={"lab": ["samples.read"]})


@contextmanager
def paused_streams(server: Server, number: int, reader: Client | None = None) -> Iterator[None]:
    """Open streams and read nothing but their beginning."""
    headers = (reader or server.admin).headers
    opened: list[tuple[httpx.Client, httpx.Response, Iterator[bytes]]] = []
    try:
        for _ in range(number):
            client = Client(headers=headers)
            answer = client.send(client.build_request("GET", server.url + SAMPLES), stream=True)
            assert answer.status_code == 200
            pieces = answer.iter_raw(100)
            opened.append((client, answer, pieces))
            next(pieces)
        yield
    finally:
        for client, answer, _ in opened:
            answer.close()
            client.close()


def test_errors_before_the_first_piece_are_ordinary(crowd: Server):
    assert "'colour'" in refused(crowd.admin.get(SAMPLES, params={"colour": "1"}))
    assert "samples.amount" in refused(crowd.admin.get(SAMPLES, params={"amount": "x"}))


def test_the_head_of_a_long_list_is_asked_for_alone(crowd: Server):
    answer = crowd.admin.head(SAMPLES)
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"] == "application/json"
    assert crowd.admin.head(SAMPLES, params={"colour": "1"}).status_code == 400
    assert _pieces_of("HEAD") == (1, b"")
    assert _pieces_of("GET") == (3, b"[1,2]")


def _pieces_of(method: str) -> tuple[int, bytes]:
    """How many pieces a reply takes, and what is sent of them."""
    taken: list[bytes] = []
    sent: list[Any] = []

    async def pieces() -> AsyncIterator[bytes]:
        for piece in (b"[1", b",2", b"]"):
            taken.append(piece)
            yield piece

    @asynccontextmanager
    async def opened() -> AsyncIterator[AsyncIterator[bytes]]:
        yield pieces()

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        await anyio.sleep_forever()

    scope: Any = {"type": "http", "method": method}
    anyio.run(StreamedReply(opened), scope, receive, send)
    assert [message["type"] for message in sent[:1]] == ["http.response.start"]
    assert not sent[-1].get("more_body")
    return len(taken), b"".join(message["body"] for message in sent[1:])


def test_a_failure_on_the_way_aborts_the_connection(crowd: Server):
    done = threading.Event()

    def cut() -> None:
        while not done.wait(0.02):  # later than the first batch, at least once
            crowd.sql(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where query like 'fetch%' and pid <> pg_backend_pid()"
                " and datname = current_database()"
            )

    killer = threading.Thread(target=cut)
    killer.start()
    try:
        with pytest.raises(httpx.RemoteProtocolError):
            _read_whole(crowd, times=200)
    finally:
        done.set()
        killer.join()
    for _ in range(20):
        if crowd.admin.get(SAMPLES, params={"limit": 1}).status_code == 200:
            return
        anyio.run(anyio.sleep, 0.2)
    raise AssertionError("the server does not come back")


def _read_whole(server: Server, times: int) -> None:
    for _ in range(times):
        server.admin.get(SAMPLES)


# Pages: no sort, no walk through the table, however the statement is planned.


def plan(server: Server, query: bytes, params: list[Any]) -> list[dict[str, Any]]:
    """The nodes of a statement's plan, with its values written in."""
    text = query.decode()
    for index in range(len(params), 0, -1):
        text = text.replace(f"${index}::", f"'{params[index - 1]}'::")
    [(found,)] = server.sql(f"explain (analyze, format json) {text}")

    def nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
        yield node
        for inner in node.get("Plans", ()):
            yield from nodes(inner)

    return list(nodes(found[0]["Plan"]))


@pytest.fixture
def table(crowd: Server) -> Table:
    async def entity() -> Table:
        from kernel.public import APPS

        return Table(await crowd.services.get(APPS).entity("lab", "samples"))

    return crowd.run(entity)


def indexed(found: list[dict[str, Any]], rows: int) -> None:
    kinds = {node["Node Type"] for node in found}
    assert "Sort" not in kinds
    assert "Seq Scan" not in kinds
    scans = [node for node in found if "Index" in node["Node Type"]]
    assert scans
    assert all(
        node["Actual Rows"] + node.get("Rows Removed by Filter", 0) <= rows for node in scans
    )


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_a_page_is_read_from_the_index(crowd: Server, table: Table, order: Order):
    rows = Conditions(table.columns)
    created = table.columns.find("created_at")
    texts = table.reads.select_texts(rows, table.order_by(created, order), 20, 0, table.everything)
    for query in (
        table.reads.select_page(texts, created, 20, None),
        table.reads.select_page_carefully(texts, created, None),
    ):
        indexed(plan(crowd, query, rows.params), 20)


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_a_page_beyond_a_cursor_is_read_from_the_index(crowd: Server, table: Table, order: Order):
    [(record_id, value)] = crowd.sql(
        "select id::text, created_at::text from lab.samples where name = 'n25000'"
    )
    created = table.columns.find("created_at")
    rows = Conditions(table.columns)
    table.require_after(rows, created, order, LastSeen(record_id=record_id, value=value))
    query = table.reads.select_page(
        table.reads.select_texts(rows, table.order_by(created, order), 20, 0, table.everything),
        created,
        20,
        None,
    )
    indexed(plan(crowd, query, rows.params), 20)
    place = Conditions(table.columns)
    table.require_record(place, record_id)
    rows = Conditions(table.columns, place.params)
    table.require_after_cursor(rows, created, order)
    query = table.reads.select_page(
        table.reads.select_texts(rows, table.order_by(created, order), 20, 0, table.everything),
        created,
        20,
        place,
    )
    indexed(plan(crowd, query, rows.params), 20)


@pytest.fixture
def owner(crowd: Server) -> Iterator[str]:
    """The owner of a few scattered records."""
    user = str(uuid.uuid4())
    crowd.sql("update lab.samples set _owner = %s::uuid where amount in (1, 501)", user)
    crowd.sql("analyze lab.samples")
    yield user
    crowd.sql("update lab.samples set _owner = null where _owner = %s::uuid", user)


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_the_records_of_an_owner_are_read_from_the_index(
    crowd: Server, table: Table, owner: str, order: Order
):
    created = table.columns.find("created_at")
    rows = Conditions(table.columns)
    table.require_owner(rows, owner)
    query = table.reads.select_page(
        table.reads.select_texts(rows, table.order_by(created, order), 20, 0, table.everything),
        created,
        20,
        None,
    )
    indexed(plan(crowd, query, rows.params), 20)
    indexed(
        plan(
            crowd,
            table.reads.select_every(rows, table.order_by(created, order), 0, table.everything),
            rows.params,
        ),
        100,
    )


def test_the_records_of_an_owner_are_counted_by_the_index(crowd: Server, table: Table, owner: str):
    rows = Conditions(table.columns)
    table.require_owner(rows, owner)
    found = plan(crowd, table.reads.count_statement(rows), rows.params)
    kinds = [node["Node Type"] for node in found]
    assert "Seq Scan" not in kinds
    assert all(node["Actual Rows"] <= 100 for node in found)


def test_one_record_is_read_from_the_index(crowd: Server, table: Table):
    [(record_id,)] = crowd.sql("select id::text from lab.samples limit 1")
    rows = Conditions(table.columns)
    table.require_record(rows, record_id)
    indexed(plan(crowd, table.select_one(rows), rows.params), 1)


class Recorder:
    """Statements that remember whether a plan of its own was wanted, or a statement may be slow."""

    def __init__(self, statements: Any) -> None:
        self.kinds: list[str] = []
        self._statements = statements

    async def fetch(
        self, query: bytes, *params: Any, custom_plan: bool = False, quick: bool = True
    ) -> bytes | None:
        kind = "quick" if quick else "slow"
        self.kinds.append("custom" if custom_plan else kind)
        return await self._statements.fetch(query, *params, custom_plan=custom_plan, quick=quick)


def test_statements_have_the_kind_that_they_need(crowd: Server):
    """After five executions PostgreSQL may settle on one plan for every value, the slow one too."""

    async def asked() -> dict[str, list[str]]:
        recorder: Any = Recorder(crowd.services.get(STATEMENTS))
        get = crowd.services.get
        service = build_records(Dependencies(recorder, get(APPS), get(HOOKS), lambda: get(ACCESS)))
        target = SAMPLES_OF_LAB
        own = msgspec.structs.replace(target, grant=Grant(own_only=True))
        found: dict[str, list[str]] = {}
        record = id_of(await service.page(target, Page(limit=1)), 1)
        found["page"] = recorder.kinds
        linked = View(expand=["parent"])
        calls: dict[str, Any] = {
            "get": lambda: service.get(target, record or ""),
            "filter": lambda: service.page(target, Page(where={"amount": -5})),
            "own": lambda: service.page(own, Page()),
            "count": lambda: service.count(target, {"amount": -5}),
            "after": lambda: service.page(target, Page(after=record)),
            "by id": lambda: service.page(target, Page(order_by="id")),
            "sorted": lambda: service.page(target, Page(order_by="amount")),
            "sorted after": lambda: service.page(target, Page(order_by="state", after=record)),
            "skipping": lambda: service.page(target, Page(offset=10_000)),
            "skipping many": lambda: service.page(target, Page(offset=10_001)),
            "linked": lambda: service.page(target, Page(view=linked)),
            "one linked": lambda: service.get(target, record or "", linked),
        }
        for name, call in calls.items():
            recorder.kinds = found[name] = []
            await call()
        return found

    assert crowd.run(asked) == {
        "page": ["quick"], "get": ["quick"], "filter": ["custom"], "own": ["custom"],
        "count": ["custom"], "after": ["quick"], "by id": ["quick"], "sorted": ["slow"],
        "sorted after": ["slow"], "skipping": ["quick"], "skipping many": ["slow"],
        "linked": ["slow"], "one linked": ["slow"],
    }  # fmt: skip


def test_the_columns_of_a_table_have_an_order(table: Table):
    names = [column.name for column in Columns(table.entity)]
    assert (names[0], names[-2:]) == ("id", ["created_at", "updated_at"])
