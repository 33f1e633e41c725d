"""Files of records in and out, beside PostgreSQL's own COPY. Ratios of one run, nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import httpx
import msgspec
import psycopg

from .beyond import FIELDS, NAMES
from .stage import Stage

ROWS = 200_000
APP = "exchange"
COLLECTIONS = f"/api/v1/apps/{APP}/collections"
TABLE = f"{COLLECTIONS}/files"
KEYED = f"{COLLECTIONS}/keyed"
MANIFEST = {
    "appId": APP,
    "name": "Exchange",
    "dataContract": [
        {"entityName": "files", "fields": FIELDS},
        {
            "entityName": "keyed",
            "fields": FIELDS,
            "indexes": [{"columns": ["title"], "unique": True}],
        },
    ],
}
CHUNK = 1 << 20
ROUNDS = 5


class Used(msgspec.Struct, frozen=True):
    """Seconds on the clock, and of processor time of the server and PostgreSQL together."""

    wall: float
    cpu: float


class Exchange(msgspec.Struct):
    """How files compare; each figure is a ratio."""

    import_of_copy: float
    """The clock of an import by that of COPY, with the triggers of the table."""
    dry_run_of_import: float
    """The clock of a dry run by that of the import."""
    keyed_dry_run_of_import: float
    """The same of a file with `on`, of whose rows every second one changes a record."""
    csv_of_json: float
    """The processor time of CSV by that of the same list as JSON."""
    csv_of_copy: float
    """The clock of CSV by that of COPY TO."""


def compare(stage: Stage, rows: int = ROWS) -> Exchange:
    """Move as many rows in and out in each way."""
    stage.call("POST", "/api/v1/apps", MANIFEST)
    content = _make_csv(rows)
    names = ", ".join(NAMES)
    copied = _measure(stage, lambda: _copy_in(stage, f"{APP}.files ({names})", content))
    _empty(stage)
    dry = _measure(stage, lambda: _send(stage, content, rows, dry_run=True))
    _empty(stage)
    imported = _measure(stage, lambda: _send(stage, content, rows))
    keyed_dry, keyed_imported = _compare_keyed(stage, content, rows)
    stage.sql(f"vacuum analyze {APP}.files")
    _read(stage, "json")  # everything is in memory then
    as_json, as_csv, copied_out = _measure_in_turns(
        stage,
        lambda: _read(stage, "json"),
        lambda: _read(stage, "csv"),
        lambda: _copy_out(stage, f"{APP}.files"),
    )
    return Exchange(
        import_of_copy=imported.wall / copied.wall,
        dry_run_of_import=dry.wall / imported.wall,
        keyed_dry_run_of_import=keyed_dry.wall / keyed_imported.wall,
        csv_of_json=as_csv.cpu / as_json.cpu,
        csv_of_copy=as_csv.wall / copied_out.wall,
    )


def _compare_keyed(stage: Stage, content: bytes, rows: int) -> tuple[Used, Used]:
    """Measure the dry run and the import of a file whose rows meet records by `title`."""
    half = _make_csv(rows, step=2, note="From another file.")
    _send(stage, half, rows // 2, path=KEYED, on="title")
    stage.sql(f"vacuum analyze {APP}.keyed")
    created = rows - rows // 2
    send = partial(_send, stage, content, created, path=KEYED, on="title")
    dry = _measure(stage, partial(send, dry_run=True))
    return dry, _measure(stage, send)


def _make_csv(rows: int, step: int = 1, note: str = "From a file.") -> bytes:
    lines = [",".join(NAMES)]
    lines += [
        f"Deal {number},{number + 0.5},Won,2025-01-{1 + number % 28:02},{note}"
        for number in range(0, rows, step)
    ]
    return ("\r\n".join(lines) + "\r\n").encode()


def _measure(stage: Stage, work: Callable[[], None]) -> Used:
    time.sleep(1.0)  # what the last one left to do is done
    cpu = stage.cpu() + stage.database_cpu()
    began = time.perf_counter()
    work()
    wall = time.perf_counter() - began
    time.sleep(0.2)  # what ended last is counted
    return Used(wall, stage.cpu() + stage.database_cpu() - cpu)


def _measure_in_turns(stage: Stage, *works: Callable[[], None]) -> list[Used]:
    """Measure what changes nothing several times; the least of each counts, by clock and by CPU."""
    rounds = [[_measure(stage, work) for work in works] for _ in range(ROUNDS)]
    return [
        Used(min(used.wall for used in turns), min(used.cpu for used in turns))
        for turns in zip(*rounds, strict=True)
    ]


def _empty(stage: Stage) -> None:
    stage.sql("set session_replication_role = replica", f"truncate {APP}.files")


def _send(
    stage: Stage,
    content: bytes,
    created: int,
    *,
    dry_run: bool = False,
    path: str = TABLE,
    on: str | None = None,
) -> None:
    """Import a file, of which so many records are created."""
    params = {"dryRun": str(dry_run).lower()}
    if on is not None:
        params["on"] = on
    answer = httpx.post(
        f"{stage.url}{path}/import",
        content=content,
        params=params,
        headers={"authorization": f"Bearer {stage.token}", "content-type": "text/csv"},
        timeout=None,
    )
    if answer.json().get("created") != created:
        raise RuntimeError(answer.text)


def _read(stage: Stage, file_format: str) -> None:
    headers = {"authorization": f"Bearer {stage.token}", "accept-encoding": "identity"}
    url = f"{stage.url}{TABLE}?format={file_format}"
    with httpx.stream("GET", url, headers=headers, timeout=None) as answer:
        answer.raise_for_status()
        for _ in answer.iter_raw(CHUNK):
            pass


def _copy_in(stage: Stage, table: str, content: bytes) -> None:
    with (
        psycopg.connect(stage.dsn, autocommit=True) as connection,
        connection.cursor() as cursor,
        cursor.copy(f"copy {table} from stdin csv header") as copy,  # type: ignore[arg-type]
    ):
        copy.write(content)


def _copy_out(stage: Stage, table: str) -> None:
    with (
        psycopg.connect(stage.dsn, autocommit=True) as connection,
        connection.cursor() as cursor,
        cursor.copy(f"copy {table} to stdout csv header") as copy,  # type: ignore[arg-type]
    ):
        for _ in copy:
            pass
