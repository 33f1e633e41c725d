"""Which life of an app it is of which a plugin keeps something, on a real database."""

from collections.abc import AsyncGenerator, Generator
from functools import partial

import pytest

from kernel.contracts.apps import App
from kernel.contracts.statements import Statements, Transaction
from kernel.testing import FakeApps, Postgres
from kernel.toolkit.lives import Lives
from tests.kernel.databases import ACTOR, opened, sql


@pytest.fixture
def dsn(postgres: Postgres) -> Generator[str]:
    """A database with the tables of a plugin that keeps notes of apps."""
    url = postgres.create()
    sql(url, "create schema caudex_notes")
    sql(url, "create table caudex_notes.lives (app_id text primary key, born bigint not null)")
    sql(url, "create table caudex_notes.notes (app_id text)")
    yield url
    postgres.drop(url)


@pytest.fixture
async def statements(dsn: str) -> AsyncGenerator[Statements]:
    """The pool on that database."""
    async with opened(dsn) as db:
        yield db


async def forget(tx: Transaction, app_id: str) -> None:
    await tx.execute("delete from caudex_notes.notes where app_id = $1::text", app_id)


LIVES = Lives("notes", forget)


def keep(dsn: str, app_id: str, born: int | None) -> None:
    """Keep a note of an app; with `born` None the plugin has never heard of the app."""
    sql(dsn, "insert into caudex_notes.notes values (%s)", app_id)
    if born is not None:
        sql(dsn, "insert into caudex_notes.lives values (%s, %s)", app_id, born)


def kept(dsn: str) -> list[str]:
    return [app_id for (app_id,) in sql(dsn, "select app_id from caudex_notes.notes")]


def known(dsn: str) -> dict[str, int]:
    return dict(sql(dsn, "select app_id, born from caudex_notes.lives"))


def installed(**born: int) -> FakeApps:
    apps = FakeApps()
    for app_id, when in born.items():
        apps.put(App(id=app_id, name=app_id, version="1", version_stamp=1, born=when, entities={}))
    return apps


@pytest.mark.parametrize(
    ("before", "now", "stays"),
    [
        pytest.param(7, 7, True, id="the same"),
        pytest.param(7, 8, False, id="a later one of its name"),
        pytest.param(0, 8, False, id="a later one than the table of lives"),
        pytest.param(0, 0, True, id="as old as that"),
        pytest.param(None, 8, False, id="one whose install was missed"),
        pytest.param(9, 8, True, id="this process knows a former one yet"),
    ],
)
async def test_a_start_forgets_what_is_a_former_apps(
    statements: Statements, dsn: str, before: int | None, now: int, stays: bool
):
    keep(dsn, "crm", before)
    await LIVES.catch_up(statements, installed(crm=now))
    assert kept(dsn) == (["crm"] if stays else [])
    assert known(dsn) == {"crm": max(before or 0, now)}


async def test_a_start_forgets_apps_that_went(statements: Statements, dsn: str):
    keep(dsn, "gone", 7)
    keep(dsn, "old", 0)
    keep(dsn, "crm", 8)
    await LIVES.catch_up(statements, installed(crm=8))
    assert (kept(dsn), known(dsn)) == (["crm"], {"crm": 8})


@pytest.mark.parametrize(
    ("before", "now", "first", "stays"),
    [
        pytest.param(7, 7, False, True, id="again"),
        pytest.param(7, 8, True, False, id="later"),
        pytest.param(0, 0, True, False, id="first, births not noted"),
        pytest.param(None, 8, False, False, id="unknown"),
    ],
)
async def test_an_install_keeps_nothing_of_a_former_app(
    statements: Statements, dsn: str, before: int | None, now: int, first: bool, stays: bool
):
    keep(dsn, "crm", before)
    keep(dsn, "other", 1)
    await statements.run(ACTOR, partial(LIVES.begin, app_id="crm", born=now, first=first))
    assert kept(dsn) == (["crm", "other"] if stays else ["other"])
    assert known(dsn) == {"crm": now, "other": 1}


@pytest.mark.parametrize(
    ("born", "stays"),
    [
        pytest.param(None, False, id="whichever"),
        pytest.param(8, False, id="this one"),
        pytest.param(7, True, id="a former one"),
    ],
)
async def test_a_removal_forgets(statements: Statements, dsn: str, born: int | None, stays: bool):
    keep(dsn, "crm", 8)
    await statements.run(ACTOR, partial(LIVES.end, app_id="crm", born=born))
    assert kept(dsn) == (["crm"] if stays else [])
    assert known(dsn) == ({"crm": 8} if stays else {})


async def test_what_cannot_be_forgotten_is_of_the_former_app_still(
    statements: Statements, dsn: str
):
    """Both or neither, so that the next start tries again."""

    async def fail(tx: Transaction, app_id: str) -> None:
        raise RuntimeError(app_id)

    keep(dsn, "crm", 7)
    with pytest.raises(RuntimeError, match="crm"):
        await Lives("notes", fail).catch_up(statements, installed(crm=8))
    assert (kept(dsn), known(dsn)) == (["crm"], {"crm": 7})
