"""Makes an app from CSV files: one entity for each file, with the types of its columns."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from kernel.public import BadRequest

from .columns import Column
from .names import clean_name, name_of_file, title_of

MAX_COLUMNS: Final = 500
RECORD_COLUMNS: Final = frozenset({"id", "created_at", "updated_at"})
"""Columns of every record, which a manifest does not declare."""
EMPTY: Final[list[str]] = []
LONGEST_VALUE: Final = 1_000_000


class Table:
    """One file and the entity that it becomes."""

    def __init__(self, path: Path, columns: Sequence[Column], rows: int) -> None:
        self.path = path
        self.entity = name_of_file(path)
        self.columns = columns
        self.rows = rows

    def contract(self) -> dict[str, Any]:
        """Return the entity of a manifest."""
        fields = [column.field() for column in self.columns if column.name not in RECORD_COLUMNS]
        return {"entityName": self.entity, "fields": fields}


class CsvApp:
    """The app that some files become."""

    def __init__(self, name: str, tables: Sequence[Table]) -> None:
        self.tables = tables
        self.manifest: dict[str, Any] = {
            "appId": name,
            "name": title_of(name),
            "version": "0.1.0",
            "dataContract": [table.contract() for table in tables],
        }

    def files(self) -> Mapping[str, bytes]:
        """Return what takes the place of files of the template."""
        entities = [table.entity for table in self.tables]
        files = {
            "manifest.json": _encode(self.manifest),
            "roles.json": _encode(_roles_for(entities)),
            "worker.py": WORKER.encode(),
            "tests/test_app.py": TESTS.replace("ENTITY", entities[0]).replace(
                "APP", self.manifest["appId"]).encode(),
        }  # fmt: skip
        for table in self.tables:
            files[f"data/{table.entity}.csv"] = _clean_copy(table)
        return files

    def summary(self) -> Iterator[str]:
        """Yield sentences that say what was made of the files."""
        for table in self.tables:
            yield f"{table.entity} ({table.rows} rows of {table.path.name})"
            for column in table.columns:
                if column.name in RECORD_COLUMNS:
                    yield f"  {column.name}: every record has it, so the column is left out"
                    continue
                heading = ""
                if column.heading != column.name:
                    heading = f" (from {column.heading!r})"
                yield f"  {column.name}{heading}: {column.describe()}"


def read_app(name: str, paths: Sequence[Path]) -> CsvApp:
    """Read the files. Raises BadRequest."""
    tables = [read_table(path) for path in paths]
    entities = [table.entity for table in tables]
    for entity in entities:
        if entities.count(entity) > 1:
            raise BadRequest(f"two files give the entity {entity!r}: rename one")
    return CsvApp(name, tables)


def read_table(path: Path) -> Table:
    """Read all rows of a file (RFC 4180, UTF-8), and find the types. Raises BadRequest."""
    rows = 0
    columns: list[Column] = []
    csv.field_size_limit(LONGEST_VALUE)
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, _dialect(stream.readline()), strict=True)
            stream.seek(0)
            columns = _read_header(path, next(reader, EMPTY))
            for row in reader:
                if not row:
                    continue
                rows += 1
                if len(row) != len(columns):
                    raise BadRequest(
                        f"{path.name}, line {reader.line_num}: {len(row)} values, the header has "
                        f"{len(columns)}"
                    )
                for column, value in zip(columns, row, strict=True):
                    column.add(value)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise BadRequest(f"{path}: {reason.lower()}") from None
    return Table(path, columns, rows)


def _dialect(header: str) -> type[csv.Dialect]:
    """Return the dialect with the delimiter that the header has most of."""

    class Found(csv.excel):
        delimiter = max(",;\t", key=header.count)

    return Found


def _read_header(path: Path, headings: Sequence[str]) -> list[Column]:
    if not headings or not any(heading.strip() for heading in headings):
        raise BadRequest(f"{path.name} has no header")
    if len(headings) > MAX_COLUMNS:
        raise BadRequest(f"{path.name} has {len(headings)} columns, at most {MAX_COLUMNS} are used")
    columns: list[Column] = []
    names = set[str]()
    for number, heading in enumerate(headings, 1):
        name = clean_name(heading) or f"column_{number}"
        if name in names:
            name = f"{name[:58]}_{number}"
        names.add(name)
        columns.append(Column(heading.strip(), name))
    return columns


def _clean_copy(table: Table) -> bytes:
    """Return the rows under the names of the fields, as `caudex data import` takes them."""
    lines: list[str] = []
    with table.path.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.reader(stream, _dialect(stream.readline()), strict=True)
        stream.seek(0)
        next(reader)
        lines.append(_line([column.name for column in table.columns]))
        for row in reader:
            if row:
                pairs = zip(table.columns, row, strict=True)
                lines.append(_line([column.clean(value) for column, value in pairs]))
    return "".join(lines).encode()


def _line(values: Sequence[str]) -> str:
    return ",".join(map(_quote, values)) + "\r\n"


def _quote(value: str) -> str:
    if any(sign in value for sign in ',"\r\n'):
        escaped = value.replace('"', '""')
        return f'"{escaped}"'
    return value


def _roles_for(entities: Sequence[str]) -> list[dict[str, Any]]:
    actions = ("read", "create", "update", "delete")
    permissions = [f"{entity}.{action}" for entity in entities for action in actions]
    return [
        {"name": "member", "description": "Reads and writes records", "permissions": permissions}
    ]


def _encode(value: object) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()


WORKER: Final = '''"""The code of the app. The server runs it as a process of its own."""

from caudex_worker import Worker

worker = Worker()


@worker.rpc
async def count(params, ctx):
    """Count the records of an entity that the caller may see."""
    page = await ctx.collection(params["entity"]).query({}, limit=1)
    return {"records": page["total"]}


worker.run()
'''
TESTS: Final = '''"""A member works with the records, and others are refused."""

RECORDS = "/api/v1/apps/APP/collections/ENTITY"


def test_a_member_reads_the_records(app):
    member = app.user(roles={"APP": ["member"]})
    assert member.get(RECORDS).json() == []
    call = {"method": "count", "params": {"entity": "ENTITY"}}
    answer = member.post("/api/v1/apps/APP/rpc", json=call)
    assert answer.json() == {"records": 0}


def test_others_are_refused(app):
    assert app.user().get(RECORDS).status_code == 403
'''
