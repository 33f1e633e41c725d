"""The page of statements: `docs/reference/statements.md`, as PostgreSQL gets them.

A plugin's fixed statements are read from the code. What is made for an entity is recorded: a server
is sent requests, and PostgreSQL logs what it gets. `python -m docs.database` writes the page.
"""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterable, Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final, NamedTuple

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from docs.pages.sql import break_lines
from docs.story import API, SALES, UUID
from kernel.testing import Client, Postgres, Server, running_server

ROOT: Final = Path(__file__).parents[1]
PAGE: Final = ROOT / "docs/reference/statements.md"
HEAD: Final = """<!-- Made by `python -m docs.database`: change the code, not this page. -->

# Statements

What the server sends to PostgreSQL. Values are parameters, `$1` and so on, so the text of a
statement is the same for all of them. The server fills in a word in braces. Lines that are too
long for this page are broken.
[Upgrade](../howto/upgrade.md#what-the-schema-is-now) leads to the tables.
"""
RECORDED_HEAD: Final = """## Records

The plugins `apps`, `data` and `audit` make statements for the entities of a manifest. These are of
an app `sales` with companies, which have a unique name and a search, and deals, which link to a
company. Each request shows the statements that no request before it has sent.
"""
STATIC_HEAD: Final = """## {plugin}
"""

_SQL: Final = re.compile(
    r"\s*(select|insert|update|delete|with|lock|create|alter|drop|revoke|table)\b"
)
_OF_PLUGINS: Final = ("plugins", "contrib")
_RECORDED_ONLY: Final = "plugins/data"
"""It composes each statement for an entity."""
_HIDDEN: Final = {"template", "testing", "sdk"}


class Statement(NamedTuple):
    """A fixed statement: where it is, and what the code says about it."""

    plugin: str
    module: str
    name: str
    text: str
    remark: str


def fixed_statements() -> Iterator[Statement]:
    """Yield the statements that are constants of modules, in the order of the files."""
    for home in ("kernel", *_OF_PLUGINS):
        for path in sorted((ROOT / home).rglob("*.py")):
            place = path.relative_to(ROOT).with_suffix("")
            if not _HIDDEN.intersection(place.parts) and _RECORDED_ONLY not in place.as_posix():
                yield from _statements_of(path, place)


def _statements_of(path: Path, place: Path) -> Iterator[Statement]:
    lines = path.read_text("utf-8").splitlines()
    body = ast.parse("\n".join(lines)).body
    parts_of_others = _only_parts(body)
    for node, following in zip_longest(body, body[1:]):
        name = _constant_name(node)
        if not name or name in parts_of_others:
            continue
        parts = place.parts[:-1] if place.name == "__init__" else place.parts
        value = getattr(importlib.import_module(".".join(parts)), name)
        text = _text_of(value)
        if not _SQL.match(text) or text.count("(") != text.count(")"):  # a part of one
            continue
        plugin = parts[1] if parts[0] in _OF_PLUGINS else "kernel"
        within = parts[2:] if parts[0] in _OF_PLUGINS else parts[1:]
        remark = _comment_above(lines, node.lineno) or _docstring(following)
        yield Statement(plugin, "/".join(within), name, text.strip(), remark)


def _only_parts(body: list[ast.stmt]) -> set[str]:
    """Return the constants that other constants consist of, and that nothing else uses."""
    within_constants, elsewhere = set[str](), set[str]()
    for node in body:
        names = within_constants if _constant_name(node) else elsewhere
        value = node.value if isinstance(node, (ast.Assign, ast.AnnAssign)) else node
        if value is not None:
            names |= {each.id for each in ast.walk(value) if isinstance(each, ast.Name)}
    return within_constants - elsewhere


def _constant_name(node: ast.stmt) -> str:
    match node:
        case ast.AnnAssign(target=ast.Name(id=name)) | ast.Assign(targets=[ast.Name(id=name)]):
            return name if name.strip("_").isupper() else ""
        case _:
            return ""


def _text_of(value: object) -> str:
    if isinstance(value, sql.Composable):
        return value.as_string(None)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value if isinstance(value, str) else ""


def _comment_above(lines: list[str], number: int) -> str:
    """Return the comment that ends right above a line."""
    words = list[str]()
    for line in reversed(lines[: number - 1]):
        if not line.startswith("# "):
            break
        words.insert(0, line.removeprefix("# "))
    return " ".join(words)


def _docstring(node: ast.stmt | None) -> str:
    match node:
        case ast.Expr(value=ast.Constant(value=str(text))):
            return " ".join(text.split())
        case _:
            return ""


# --- what is recorded ----------------------------------------------------------------------------

_ENTRY: Final = re.compile(
    r"^\d{4}-\d\d-\d\d [^\n]*? LOG:  (?:execute [^\n]*?|statement): (.*(?:\n\t.*)*)", re.MULTILINE
)
_OF_ENTITY: Final = re.compile(r"\bsales\"?\.\"?(?:companies|deals)\b")


class Recorder:
    """Sends requests to a server, and reads from PostgreSQL's log what they led to."""

    def __init__(self, server: Server, log: Path) -> None:
        self._server = server
        self._log = log
        self._offset = log.stat().st_size
        self._known = set[str]()
        self.parts = list[str]()

    def ask(self, client: Client, title: str, method: str, path: str, **more: Any) -> Any:
        """Send a request, and keep its statements about entities that are new."""
        self._new_statements()
        answer = client.request(method, f"{API}/apps{path}", **more)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        statements = [text for text in self._new_statements() if text not in self._known]
        self._known.update(statements)
        if statements:
            shown = UUID.sub("{id}", f"{API}/apps{path}")
            self.parts.append(f"### {title}\n\n`{method} {shown}`")
            self.parts += [_fenced(text) for text in dict.fromkeys(statements)]
        return answer.json() if "json" in answer.headers.get("content-type", "") else None

    def _new_statements(self) -> list[str]:
        with self._log.open("rb") as file:
            file.seek(self._offset)
            written = file.read()
        self._offset += len(written)
        texts = (match[1] for match in _ENTRY.finditer(written.decode("utf-8", "replace")))
        return [text.replace("\n\t", "\n").strip() for text in texts if _OF_ENTITY.search(text)]


def recorded(postgres: Postgres, log: Path) -> list[str]:
    """Run a server on a new database that logs its statements, and return parts of the page."""
    dsn = postgres.create()
    name = conninfo_to_dict(dsn)["dbname"]
    with psycopg.connect(dsn, autocommit=True) as connection:
        command = sql.SQL("alter database {} set log_statement = 'all'")
        connection.execute(command.format(sql.Identifier(str(name))))
    try:
        with running_server(postgres, dsn=dsn) as server:
            recorder = Recorder(server, log)
            _play(server, recorder)
            return recorder.parts
    finally:
        postgres.drop(dsn)


def _play(server: Server, recorder: Recorder) -> None:
    admin, companies, deals = (
        server.admin,
        "/sales/collections/companies",
        "/sales/collections/deals",
    )
    recorder.ask(admin, "Install an app", "POST", "", json=SALES)
    acme = recorder.ask(
        admin, "Create a record", "POST", companies, json={"name": "Acme", "industry": "Technology"}
    )
    deal = {"title": "Robots", "value": 4000, "stage": "Won", "company_id": acme["id"]}
    recorder.ask(admin, "Create a record with a link", "POST", deals, json=deal)
    recorder.ask(admin, "Read a record", "GET", f"{companies}/{acme['id']}")
    for title, query in {
        "List records": "",
        "List with a filter and an order": "?industry=Technology&sort=name&order=asc&limit=10",
        "List what comes after a record": f"?after={acme['id']}&limit=10",
    }.items():
        recorder.ask(admin, title, "GET", companies + query)
    for title, path, body in _QUERIES:
        recorder.ask(admin, title, "POST", f"/sales/collections/{path}/query", json=body)
    clerk = server.user("clerk", permissions={"sales": ["companies.read.own"]})
    recorder.ask(clerk, "List own records, with a permission .own", "GET", companies)
    one = f"{companies}/{acme['id']}"
    recorder.ask(admin, "Change a record", "PATCH", one, json={"industry": "Machines"})
    recorder.ask(
        admin, "Change a record that is still the same", "PATCH", one,
        json={"industry": "Robotics"}, headers={"if-match": _etag(admin, one)},
    )  # fmt: skip
    rows = [{"name": "Bolt"}, {"name": "Cog"}]
    recorder.ask(admin, "Create many records", "POST", f"{companies}/bulk", json=rows)
    recorder.ask(admin, "Create or change", "POST", f"{companies}/bulk?on=name", json=rows)
    operations = [
        {"op": "create", "entity": "companies", "as": "dent", "data": {"name": "Dent"}},
        {
            "op": "create",
            "entity": "deals",
            "data": {"company_id": {"$ref": "dent.id"}, "title": "x"},
        },
    ]
    recorder.ask(admin, "A batch", "POST", "/sales/batch", json={"operations": operations})
    headers = {"content-type": "text/csv"}
    recorder.ask(
        admin,
        "Import a file",
        "POST",
        f"{companies}/import",
        content="name\nEdge\n",
        headers=headers,
    )
    where = {"where": {"stage": "Won"}, "set": {"stage": "Lost"}, "expect": 1}
    recorder.ask(admin, "Change by a filter", "POST", f"{deals}/update-where", json=where)
    where = {"where": {"stage": "Lost"}, "max": 1}
    recorder.ask(admin, "Delete by a filter", "POST", f"{deals}/delete-where", json=where)
    [bolt] = admin.get(f"{API}/apps{companies}?name=Bolt").json()
    recorder.ask(admin, "Delete a record", "DELETE", f"{companies}/{bolt['id']}")


def _etag(client: Client, path: str) -> str:
    return client.get(f"{API}/apps{path}").headers["etag"]


_QUERIES: Final[list[tuple[str, str, dict[str, Any]]]] = [
    (
        "Query with fields and a linked record", "deals",
        {"fields": ["label"], "expand": ["company_id"]},
    ),
    (
        "Query by linked records", "companies",
        {
            "where": {"deals_via_company_id": {"$some": {"value": {"$gt": 1000}}}},
            "fields": ["name"],
        },
    ),
    (
        "Query with $or and $not", "companies",
        {"where": {"$or": [{"name": {"$like": "A%"}}, {"$not": {"industry": "Toys"}}]}, "limit": 1},
    ),
    (
        "Groups", "deals",
        {
            "groupBy": ["stage", {"$month": "closed_on"}],
            "aggregate": {"n": {"$count": "*"}, "sum": {"$sum": "value"}},
        },
    ),
    ("Search", "companies", {"search": "technology ac", "fields": ["name"]}),
]  # fmt: skip


def _fenced(text: str) -> str:
    return f"```postgresql\n{break_lines(text)}\n```"


def page(records: Iterable[str]) -> str:
    """Return the whole page."""
    parts = [HEAD, RECORDED_HEAD, *records]
    return "\n\n".join(part.strip() for part in parts) + "\n\n" + _fixed_part()


def with_fixed_part(text: str) -> str:
    """Return a page with the fixed statements as the code has them; what is recorded stays."""
    return text.partition(_FIRST_FIXED)[0] + _fixed_part()


_FIRST_FIXED: Final = STATIC_HEAD.format(plugin="kernel")


def _fixed_part() -> str:
    parts = list[str]()
    plugin = ""
    for statement in fixed_statements():
        if statement.plugin != plugin:
            plugin = statement.plugin
            parts.append(STATIC_HEAD.format(plugin=plugin))
        remark = f": {statement.remark}" if statement.remark else ""
        parts.append(f"`{statement.name}` of `{statement.module}`{remark}")
        parts.append(_fenced(statement.text))
    return "\n\n".join(part.strip() for part in parts) + "\n"
