"""The data API beyond single records: linked records, reports, searches, batches, files."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Callable, Sequence

import httpx
import msgspec
import psycopg

from .figures import Measured, Ratio, ratio
from .load import Sample, load, measure, request, run
from .stage import Stage

REPORT_ROWS = 100_000
IMPORT_ROWS = 100_000
BATCH = 100
BASE = "/api/v1/apps/beyond"
FIELDS = (
    {"name": "title", "type": "text", "required": True},
    {"name": "value", "type": "number"},
    {"name": "stage", "type": "text"},
    {"name": "closed_on", "type": "date"},
    {"name": "notes", "type": "text"},
)
NAMES = ("title", "value", "stage", "closed_on", "notes")
LINK = {"name": "company_id", "type": "entity_link", "references": {"entity": "companies"}}
COMPANY = ("name", "industry", "website", "notes")
MANIFEST = {
    "appId": "beyond",
    "name": "Beyond",
    "dataContract": [
        {"entityName": "companies", "fields": [{"name": n, "type": "text"} for n in COMPANY]},
        {"entityName": "deals", "fields": [*FIELDS, LINK]},
        {"entityName": "files", "fields": FIELDS},
        {
            "entityName": "docs",
            "fields": [{"name": "title", "type": "text"}, {"name": "body", "type": "text"}],
            "search": {"fields": ["title", "body"], "language": "english"},
        },
    ],
}
FILL = f"""
insert into beyond.companies (name, industry, website, notes)
select 'Company ' || n, 'Technology', 'https://example.com/' || n, 'Met at the fair.'
from generate_series(1, 2000) as n;
with known as (select id, row_number() over (order by name) as place from beyond.companies)
insert into beyond.deals (title, value, stage, closed_on, notes, company_id, created_at)
select 'Deal ' || n, n % 9000 + 0.25, (array['Lead', 'Won', 'Lost', 'Open'])[1 + n % 4],
    date '2024-01-01' + n % 700, 'Wants an offer for ' || n % 50 || ' seats.', known.id,
    now() - n * interval '1 second'
from generate_series(1, {REPORT_ROWS}) as n join known on place = 1 + n % 2000;
insert into beyond.docs (title, body)
select 'Document ' || n, 'Some text with token' || n % 2000 || ' and filler' || n % 7
from generate_series(1, {{rows}}) as n;
vacuum analyze
"""
REPORT = {
    "groupBy": ["stage", {"$month": "closed_on"}],
    "aggregate": {"n": {"$count": "*"}, "sum": {"$sum": "value"}, "mean": {"$avg": "value"}},
    "limit": 1000,
}
BY_LINK = {"aggregate": REPORT["aggregate"], "groupBy": ["company_id"], "limit": 1000}
BY_LINKED_FIELD = {**BY_LINK, "groupBy": ["company_id.name"]}
BY_HAND = """
select json_agg(row_to_json(g)) from (
    select stage, to_char(closed_on, 'YYYY-MM') as closed_on, count(*) as n,
        sum(value::text::numeric) as sum, avg(value::text::numeric) as mean
    from beyond.deals group by 1, 2 order by 1, 2 limit 1000) as g"""
NEW = {"title": "Deal", "value": 1, "stage": "Won", "closed_on": "2025-01-01", "notes": "x"}


class Found(msgspec.Struct):
    """What is not a ratio of requests: seconds of processor time, and MB."""

    search_database_seconds: float
    search_hits: int
    export_memory: float
    import_memory: float
    import_of_copy: float


def prepare(stage: Stage, rows: int) -> None:
    """Install an app and fill it, past the audit trail; `rows` documents are searched."""
    stage.call("POST", "/api/v1/apps", MANIFEST)
    fill = FILL.format(rows=rows)
    stage.sql("set session_replication_role = replica", *fill.split(";\n"))


def ratios(stage: Stage, rounds: int) -> list[Ratio]:
    """Compare expanded lists with plain ones, reports with SQL, batches with single requests."""
    deals, batch = f"{BASE}/collections/deals", f"{BASE}/batch"
    many = [{"op": "create", "entity": "files", "data": NEW}] * BATCH
    plain, expanded, report, by_link, by_linked_field, single, whole = (
        request(method, stage.url, path, stage.token, body and msgspec.json.encode(body))
        for method, path, body in (
            ("GET", f"{deals}?limit=20", None),
            ("GET", f"{deals}?limit=20&expand=company_id", None),
            ("POST", f"{deals}/query", REPORT),
            ("POST", f"{deals}/query", BY_LINK),
            ("POST", f"{deals}/query", BY_LINKED_FIELD),
            ("POST", f"{BASE}/collections/files", NEW),
            ("POST", batch, {"operations": many}),
        )
    )
    pairs: list[tuple[str, Sequence[tuple[str, Callable[[], Measured]]]]] = [
        ("list of 20, one link", [
            ("expanded", lambda: _sent(stage, expanded, 2000)),
            ("plain", lambda: _sent(stage, plain, 2000)),
        ]),
        (f"report of {REPORT_ROWS:,} rows", [
            ("caudex", lambda: _sent(stage, report, 12)),
            ("SQL by hand", lambda: _asked(stage, 12)),
        ]),
        ("groups by a link", [
            ("by a field behind it", lambda: _sent(stage, by_linked_field, 12)),
            ("by the link", lambda: _sent(stage, by_link, 12)),
        ]),
        (f"{BATCH} creates", [
            ("a batch", lambda: kept_busy(stage, whole)),
            ("single requests", lambda: _times(kept_busy(stage, single), BATCH)),
        ]),
    ]  # fmt: skip
    found: list[Ratio] = []
    for name, contenders in pairs:
        samples: dict[str, list[Measured]] = {who: [] for who, _ in contenders}
        for _ in range(3 * rounds):  # short ones, as the machine changes its speed meanwhile
            for who, act in contenders:
                samples[who].append(act())
        (ours, mine), (theirs, others) = samples.items()
        found.append(ratio(name, ours, mine, theirs, others))
    return found


def files_and_searches(stage: Stage) -> Found:
    """Search, read and write many records, and watch the memory."""
    docs, body = f"{BASE}/collections/docs", {"search": "token77", "total": False, "limit": 20}
    raw = request("POST", stage.url, f"{docs}/query", stage.token, msgspec.json.encode(body))
    hits = stage.call("POST", f"{docs}/query", {"search": "token77", "limit": 1})["total"]
    searched = _sent(stage, raw, 20, 1).database_cpu or 0.0
    headers = {"authorization": f"Bearer {stage.token}"}
    before = stage.memory()
    peak = before
    with httpx.stream(
        "GET", stage.url + docs, headers={**headers, "accept": "text/csv"}, timeout=None
    ) as answer:
        for number, _ in enumerate(answer.iter_raw(1 << 20)):
            peak = max(peak, stage.memory()) if number % 16 == 0 else peak
    content, path = _csv(), f"{BASE}/collections/files/import"
    copied = _copied(stage, content)
    memory, used = stage.memory(), stage.cpu() + stage.database_cpu()
    answer = httpx.post(
        stage.url + path, content=content, headers={**headers, "content-type": "text/csv"},
        timeout=None,
    )  # fmt: skip
    if answer.json().get("created") != IMPORT_ROWS:
        raise RuntimeError(answer.text)
    imported = stage.cpu() + stage.database_cpu() - used
    return Found(searched, hits, peak - before, stage.memory() - memory, copied / imported)


def _sent(stage: Stage, raw: bytes, count: int, connections: int = 8) -> Measured:
    run(measure(stage.url, [raw], connections=connections, seconds=60, count=connections))
    return _measured(
        stage,
        lambda: run(measure(stage.url, [raw], connections=connections, seconds=120, count=count)),
    )


def kept_busy(stage: Stage, raw: bytes, seconds: float = 1.0) -> Measured:
    """One connection that sends a request again as soon as it is answered."""
    return _measured(stage, lambda: load(stage.url, [raw], connections=1, seconds=seconds))


def _measured(stage: Stage, act: Callable[[], Sample]) -> Measured:
    server, database = stage.cpu(), stage.database_cpu()
    sample = act()
    time.sleep(0.2)  # what ended last is counted
    return Measured(
        rate=sample.per_second,
        server_cpu=(stage.cpu() - server) / sample.count,
        database_cpu=(stage.database_cpu() - database) / sample.count,
        p50=sample.p50,
        p99=sample.p99,
    )


def _times(one: Measured, count: int) -> Measured:
    """What so many of them take, one after the other."""
    scaled = {
        name: None if (value := getattr(one, name)) is None else value * count
        for name in ("server_cpu", "database_cpu", "p50", "p99")
    }
    return msgspec.structs.replace(one, rate=one.rate / count, **scaled)


def _asked(stage: Stage, count: int) -> Measured:
    with psycopg.connect(stage.dsn, autocommit=True) as connection:
        used, began = stage.database_cpu(), time.perf_counter()
        for _ in range(count):
            connection.execute(BY_HAND).fetchone()
        took = (time.perf_counter() - began) / count
    time.sleep(0.2)
    return Measured(
        rate=1 / took, database_cpu=(stage.database_cpu() - used) / count, p50=took, p99=took
    )


def _csv() -> bytes:
    written = io.StringIO(newline="")
    lines = csv.writer(written)
    lines.writerow(NAMES)
    for n in range(IMPORT_ROWS):
        lines.writerow([f"Deal {n}", n + 0.5, "Won", f"2025-01-{1 + n % 28:02}", "From a file."])
    return written.getvalue().encode()


def _copied(stage: Stage, content: bytes) -> float:
    """COPY the file with the triggers of the table; return seconds of processor time."""
    used = stage.database_cpu()
    names = ", ".join(NAMES)
    with (
        psycopg.connect(stage.dsn, autocommit=True) as connection,
        connection.cursor() as cursor,
        cursor.copy(f"copy beyond.files ({names}) from stdin csv header") as copy,  # type: ignore[arg-type]
    ):
        copy.write(content)
    time.sleep(0.2)
    return stage.database_cpu() - used
