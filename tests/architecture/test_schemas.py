"""What tables are made of is written once: in migrations, which never change once released."""

import hashlib
import sys
from pathlib import Path

import pytest

from docs.schemas import ROOT, folders, pages, stale
from tests.kernel.databases import sql

RELEASED = Path(__file__).with_name("released_migrations.txt")
MAJOR_VERSION = 18
"""Of the PostgreSQL that comes with the packages; others write some expressions otherwise."""
_OURS = """
from pg_class as c join pg_namespace as n on n.oid = c.relnamespace
where starts_with(n.nspname, 'caudex_') and c.relkind in ('r', 'p') and not c.relispartition"""
WITHOUT_COMMENT = {
    "tables": f"""
        select c.oid::regclass::text {_OURS} and obj_description(c.oid, 'pg_class') is null""",
    "columns": f"""
        select format('%s.%s', a.attrelid::regclass, a.attname) from pg_attribute as a
        where attnum > 0 and not attisdropped and col_description(attrelid, attnum) is null
        and attrelid in (select c.oid {_OURS})""",
}


def test_each_schema_has_a_page_that_is_true(migrated: str) -> None:
    [(version,)] = sql(migrated, "select current_setting('server_version_num')::int / 10000")
    if version != MAJOR_VERSION:
        pytest.skip(f"the pages are made with PostgreSQL {MAJOR_VERSION}")
    wrong = [str(path.relative_to(ROOT)) for path in stale(pages(migrated))]
    assert not wrong, "run `make docs`"


@pytest.mark.parametrize("kind", WITHOUT_COMMENT)
def test_tables_and_columns_have_comments(migrated: str, kind: str) -> None:
    bare = [name for (name,) in sql(migrated, WITHOUT_COMMENT[kind])]
    assert not bare, "say in the migration what it is for: comment on …"


def written() -> dict[str, str]:
    """The hash of each migration, by its path."""
    return {
        path.relative_to(ROOT).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for folder in folders()
        for path in sorted((folder / "migrations").glob("*.sql"))
    }


def released() -> dict[str, str]:
    """The hash of each migration that was released, by its path."""
    lines = RELEASED.read_text("utf-8").splitlines()
    return {path: checksum for checksum, path in (line.split("  ") for line in lines)}


def changed(before: dict[str, str], now: dict[str, str]) -> list[str]:
    """Name the released files that have changed or are gone."""
    return [path for path, checksum in before.items() if now.get(path) != checksum]


def test_released_migrations_never_change() -> None:
    before, now = released(), written()
    assert not changed(before, now), "restore them, and write what is new into the next file"
    assert not now.keys() - before.keys(), "run `python -m tests.architecture.test_schemas`"


def test_a_released_file_that_changed_or_is_gone_is_named() -> None:
    assert changed({"a": "1", "b": "2", "c": "3"}, {"a": "1", "b": "4", "d": "5"}) == ["b", "c"]


def main() -> int:
    """Add new files to the list. Those on it stay: a released file that changed is refused."""
    before, now = released(), written()
    if paths := changed(before, now):
        print(f"released files changed: {', '.join(paths)}", file=sys.stderr)
        return 1
    lines = [f"{checksum}  {path}\n" for path, checksum in now.items()]
    RELEASED.write_text("".join(lines), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
