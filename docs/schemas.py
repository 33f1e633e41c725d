"""Write `schema.sql` of the kernel and of each plugin, from a database with all migrations.

`python -m docs.database` writes them; a test compares. A page shows what is there now, with the
comments of the database: a migration says `comment on`, and nothing is written twice.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import psycopg

from kernel.contracts.server import Migration
from kernel.database.migrations import find_migrations

ROOT: Final = Path(__file__).parents[1]
WIDTH: Final = 120
NOTE: Final = """-- The schema caudex_{name} as it is now. `make docs` writes it from a database
-- with all migrations: a new migration changes it.
"""
SEARCH: Final = """create text search configuration caudex_{name}.<language>
    (copy = pg_catalog.<language>);  -- one for each language of PostgreSQL
"""

_QUOTED: Final = re.compile(r"""('(?:[^']|'')*'|"[^"]*")""")
_CAPITALS: Final = re.compile(r"\b[A-Z]{2,}\b")
_BREAK: Final = re.compile(
    r" (?=(?:when|then|else|from|where|and|for each|execute|partition by)\b)"
)

_TABLES: Final = """
select c.oid, c.relname, c.relkind, c.relpersistence, c.relispartition, c.reloptions,
    pg_get_partkeydef(c.oid), pg_get_expr(c.relpartbound, c.oid), p.inhparent::regclass::text,
    obj_description(c.oid, 'pg_class'),
    array(select right_name from unnest(array['select', 'insert', 'update', 'delete', 'truncate'])
        as right_name where c.relacl is not null and right_name <> all(
        array(select lower(privilege_type) from aclexplode(c.relacl) where grantee = c.relowner)))
from pg_class as c left join pg_inherits as p on p.inhrelid = c.oid
where c.relnamespace = %s::regnamespace and c.relkind in ('r', 'p', 'S')
    and not (c.relispartition and c.relname ~ '_[0-9]{4}_[0-9]{2}$')  -- a server makes months
    and not exists (select from pg_depend as d where d.objid = c.oid and d.deptype = 'i'
        and c.relkind = 'S')
order by c.oid"""
_COLUMNS: Final = """
select a.attname,
    replace(format_type(a.atttypid, a.atttypmod), 'timestamp with time zone', 'timestamptz'),
    a.attnotnull, a.attidentity,
    a.attgenerated, pg_get_expr(d.adbin, d.adrelid),
    case when a.attcollation <> t.typcollation then a.attcollation::regcollation::text end,
    case when a.attstorage <> t.typstorage then a.attstorage end,
    col_description(a.attrelid, a.attnum)
from pg_attribute as a join pg_type as t on t.oid = a.atttypid
left join pg_attrdef as d on (d.adrelid, d.adnum) = (a.attrelid, a.attnum)
where a.attrelid = %s and a.attnum > 0 and not a.attisdropped order by a.attnum"""
_CONSTRAINTS: Final = """
select pg_get_constraintdef(oid) from pg_constraint
where conrelid = %s and contype in ('p', 'u', 'c', 'f')
order by array_position(array['p', 'u', 'c', 'f']::"char"[], contype), conname"""
_INDEXES: Final = """
select pg_get_indexdef(i.indexrelid), obj_description(i.indexrelid, 'pg_class')
from pg_index as i where i.indrelid = %s
    and not exists (select from pg_constraint as k where k.conindid = i.indexrelid)
order by i.indexrelid"""
_TRIGGERS: Final = """
select pg_get_triggerdef(oid), tgenabled, tgname from pg_trigger
where tgrelid = %s and not tgisinternal order by tgname"""
_FUNCTIONS: Final = """
select pg_get_functiondef(p.oid), obj_description(p.oid, 'pg_proc'), exists (
    select from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) where grantee = 0)
from pg_proc as p where p.pronamespace = %s::regnamespace order by p.oid"""
_HAS_SEARCH: Final = "select from pg_ts_config where cfgnamespace = %s::regnamespace limit 1"


def folders() -> list[Path]:
    """Return the folders of plugins that have a schema."""
    homes = (ROOT / "plugins", ROOT / "contrib")
    return sorted(path.parent for home in homes for path in home.glob("*/migrations"))


def migrations() -> list[Migration]:
    """Return the migrations of all plugins."""
    return [
        each for folder in folders() for each in find_migrations(folder.name, folder / "migrations")
    ]


def pages(dsn: str) -> dict[Path, str]:
    """Return what each `schema.sql` should say, from a database with all migrations."""
    homes = {"kernel": ROOT / "kernel/database"} | {folder.name: folder for folder in folders()}
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("set search_path = ''")
        return {
            folder / "schema.sql": "\n".join(_page(connection, name))
            for name, folder in homes.items()
        }


def _page(connection: psycopg.Connection[Any], name: str) -> Iterator[str]:
    schema = f"caudex_{name}"
    yield NOTE.format(name=name)
    for table in connection.execute(_TABLES, [schema]).fetchall():
        yield "\n".join(_table(connection, schema, table)) + "\n"
    if connection.execute(_HAS_SEARCH, [schema]).fetchone() is not None:
        yield SEARCH.format(name=name)
    functions = connection.execute(_FUNCTIONS, [schema]).fetchall()
    for definition, comment, _ in functions:
        yield "\n".join([*_comment(comment), _function(definition)]) + "\n"
    if functions and not any(public for *_, public in functions):
        yield f"revoke execute on all functions in schema {schema} from public;\n"


def _table(connection: psycopg.Connection[Any], schema: str, row: tuple[Any, ...]) -> Iterator[str]:
    oid, name, kind, persistence, is_partition, options, key, bound, parent, comment, refused = row
    title = f"{schema}.{name}"
    yield from _comment(comment)
    if kind == "S":
        yield f"create sequence {title};"
        return
    unlogged = "unlogged " if persistence == "u" else ""
    if is_partition:
        yield f"create table {title} partition of {parent} {_lower(bound)};"
    else:
        tail = f" partition by {_lower(key)}" if key else ""
        if options:
            tail += f" with ({', '.join(options)})"
        constraints = [_lower(text) for (text,) in connection.execute(_CONSTRAINTS, [oid])]
        columns = connection.execute(_COLUMNS, [oid]).fetchall()
        lines = list(_members(columns, constraints))
        yield f"create {unlogged}table {title} (" + ("" if lines else f"){tail};")
        yield from lines
        if lines:
            yield f"){tail};"
        yield from _indexes(connection, oid)
    for definition, enabled, trigger in connection.execute(_TRIGGERS, [oid]):
        yield f"{_broken(_lower(definition))};"
        if enabled == "A":
            yield f"alter table {title} enable always trigger {trigger};"
    if refused:
        yield f"revoke {', '.join(refused)} on {title} from current_user;"


def _members(columns: list[tuple[Any, ...]], constraints: list[str]) -> Iterator[str]:
    """Yield the columns with their comments, beside them where they fit, then the constraints."""
    last = len(columns) + len(constraints) - 1
    for place, (*definition, comment) in enumerate(columns):
        text = f"    {_column(*definition)}" + ("," if place < last else "")
        beside = f"{text}  -- {comment}"
        if comment and len(beside) <= WIDTH and "\n" not in comment:
            yield beside
        else:
            yield from (f"    {line}" for line in _comment(comment, WIDTH - 4))
            yield text
    for place, text in enumerate(constraints, len(columns)):
        yield f"    {text}" + ("," if place < last else "")


def _column(
    name: str, type_name: str, required: bool, identity: str, generated: str, value: str | None,
    collation: str | None, storage: str | None,
) -> str:  # fmt: skip
    words = [name, type_name]
    if collation:
        words.append(f"collate {collation}")
    if storage:
        words.append(f"storage {'external' if storage == 'e' else storage}")
    if identity:
        words.append(f"generated {'always' if identity == 'a' else 'by default'} as identity")
    elif required:
        words.append("not null")
    if generated:
        words.append(f"generated always as ({_lower(value or '')}) stored")
    elif value is not None:
        words.append(f"default {_lower(value)}")
    return " ".join(words)


def _indexes(connection: psycopg.Connection[Any], oid: int) -> Iterator[str]:
    for definition, comment in connection.execute(_INDEXES, [oid]):
        yield from _comment(comment)
        text = _lower(definition).replace(" using btree", "").replace(" on only ", " on ")
        yield f"{_broken(text)};"


def _comment(text: str | None, width: int = WIDTH) -> Iterator[str]:
    """Yield lines of a comment: its own lines, and those that are too long in several."""
    for line in (text or "").splitlines():
        drawn = line.startswith(" ")
        wrapped = [line] if drawn else textwrap.wrap(line, width - 3, break_long_words=False)
        yield from (f"-- {part}".rstrip() for part in wrapped or [""])


def _function(definition: str) -> str:
    """Write the head of a function in small letters; its body stays as it is."""
    head, quote, body = definition.partition("$function$")
    text = _lower(head).replace("create or replace function", "create function")
    if not quote:  # the body is an expression, which PostgreSQL writes in one line
        return "\n".join(_broken(line) for line in text.strip().splitlines()) + ";"
    code = body.rstrip().removesuffix("$function$").strip("\n").rstrip()
    return f"{text}$$\n{code}\n$$;"


def _lower(text: str) -> str:
    """Write keywords in small letters and types by their short names; what is quoted stays."""
    plain = re.sub(r"('(?:[^']|'')*')::text\b(?!\[)", r"\1", text)
    parts = _QUOTED.split(plain)
    parts[::2] = [_CAPITALS.sub(lambda word: word[0].lower(), part) for part in parts[::2]]
    return "".join(parts).replace("timestamp with time zone", "timestamptz")


def _broken(text: str) -> str:
    """Break a line that is too long before words that begin a part of it, outside of quotes."""
    pieces = [""]
    for place, part in enumerate(_QUOTED.split(text)):
        first, *others = [part] if place % 2 else _BREAK.split(part)
        pieces[-1] += first
        pieces += others
    lines = [pieces[0]]
    for piece in pieces[1:]:
        if len(lines[-1]) + len(piece) < WIDTH:
            lines[-1] += f" {piece}"
        else:
            lines.append(f"    {piece}")
    return "\n".join(lines)


def stale(expected: dict[Path, str]) -> Iterable[Path]:
    """Yield the pages that say something else, and those of plugins without a schema."""
    for path, text in expected.items():
        if not path.is_file() or path.read_text("utf-8") != text:
            yield path
    for home in ("kernel", "plugins", "contrib"):
        yield from set((ROOT / home).rglob("schema.sql")) - expected.keys()
