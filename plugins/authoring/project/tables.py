"""Makes an app from CSV files: one entity for each file, with the types of its columns."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from kernel.public import BadRequest, Sheet, dialect_of, is_separator_line, read_sheet, title_of

RECORD_COLUMNS: Final = frozenset({"id", "created_at", "updated_at"})
"""Columns of every record, which a manifest does not declare."""


class Table:
    """One file and the entity that it becomes."""

    def __init__(self, path: Path, sheet: Sheet) -> None:
        self.path = path
        self.entity = sheet.entity
        self.columns = sheet.columns
        self.rows = sheet.rows

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

    def list_imports(self) -> list[str]:
        """Return the commands that send the rows to a server."""
        return [
            f"caudex data import {table.entity} data/{table.entity}.csv" for table in self.tables
        ]

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
    """Read all rows of a file, and find the types. Raises BadRequest."""
    try:
        with path.open("rb") as stream:
            return Table(path, read_sheet(stream, path.name))
    except OSError as error:
        raise BadRequest(f"{path}: {(error.strerror or str(error)).lower()}") from None


def _clean_copy(table: Table) -> bytes:
    """Return the rows under the names of the fields, as `caudex data import` takes them."""
    lines: list[str] = []
    with table.path.open(encoding="utf-8-sig", newline="") as stream:
        first_line = stream.readline()
        reader = csv.reader(stream, dialect_of(first_line), strict=True)
        if not is_separator_line(first_line):
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
