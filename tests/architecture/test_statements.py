"""The page of statements is what PostgreSQL gets, and PostgreSQL takes each of them."""

import re
from pathlib import Path

import psycopg
import pytest

from docs import statements
from docs.pages.sql import WIDTH, break_lines
from docs.statements import fixed_statements
from kernel.testing import Postgres
from tests.kernel.databases import sql

PLANNED = ("select", "insert", "update", "delete", "with")


@pytest.fixture(scope="module")
def log(postgres: Postgres) -> Path:
    """What the PostgreSQL of this run writes down."""
    [(folder,)] = sql(postgres.url, "select current_setting('data_directory')")
    path = Path(folder).parent / "postgres.log"
    if not path.is_file():
        pytest.skip("this PostgreSQL is not the embedded one: its log is elsewhere")
    return path


def test_the_page_is_what_postgresql_gets(
    postgres: Postgres, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CAUDEX_TEST_STATEMENTS", raising=False)
    page = statements.page(statements.recorded(postgres, log))
    assert page == statements.PAGE.read_text("utf-8"), "run `make docs`"


def test_postgresql_plans_each_fixed_statement(migrated: str) -> None:
    """Its tables, columns and functions exist, and its types fit."""
    refused = dict[str, str]()
    count = 0
    with psycopg.connect(migrated, autocommit=True) as connection:
        for statement in fixed_statements():
            if not statement.text.startswith(PLANNED) or re.search(
                r"\{\w*\}|%[sb]", statement.text
            ):
                continue
            count += 1
            try:
                connection.execute(f"prepare one as {statement.text}")  # type: ignore[arg-type]
                connection.execute("deallocate one")
            except psycopg.Error as error:
                refused[f"{statement.plugin} {statement.name}"] = str(error)
    assert refused == {}
    assert count > 200


def test_long_lines_are_broken_and_nothing_else() -> None:
    names = ", ".join(f"t.column_{number}" for number in range(30))
    text = (
        f"select {names} from (select {names} from x where a = 'b, c from d' and ({names}) = b) t"
    )
    broken = break_lines(text)
    assert max(map(len, broken.split("\n"))) <= WIDTH
    assert "".join(broken.split()) == "".join(text.split())
    assert "a = 'b, c from d'" in broken
    assert break_lines("select 1,\n    2") == "select 1,\n    2"
