"""Full-text search: what it finds, in which order, and for whom."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from kernel.public import APPS
from kernel.testing import Client, Postgres, Server, running_server
from plugins.data.filters.conditions import Conditions
from plugins.data.reads.search_terms import Matching, read_terms
from plugins.data.statements.entity_table import Table
from tests.plugins.data.conftest import overrides
from tests.plugins.data.support import refused

BASE = "/api/v1/apps/library/collections"
BOOKS, PAPERS = f"{BASE}/books", f"{BASE}/papers"
MANIFEST: dict[str, Any] = {
    "appId": "library",
    "name": "Library",
    "dataContract": [
        {
            "entityName": "books",
            "fields": [
                {"name": "title", "type": "text"},
                {"name": "blurb", "type": "text"},
                {"name": "shelf", "type": "text"},
                {"name": "secret", "type": "text", "access": {"read": "keeper"}},
            ],
            "search": {
                "fields": [{"name": "title", "weight": "A"}, "blurb", "secret"],
                "language": "english",
            },
        },
        {"entityName": "papers", "fields": [{"name": "title", "type": "text"}]},
    ],
}


@pytest.fixture(scope="module")
def library(server: Server) -> Server:
    server.install(MANIFEST)
    return server


@pytest.fixture
def admin(library: Server) -> Client:
    library.sql("truncate library.books")
    rows = [
        {"title": "Ada Bell", "blurb": "a running engine", "shelf": "a"},
        {"title": "Ada Byron", "blurb": "the first program", "shelf": "a"},
        {"title": "Belfast", "blurb": "Ada was never here; the café was", "shelf": "b"},
        {"title": "Chess", "blurb": "for two", "shelf": "b", "secret": "poison"},
    ]
    assert library.admin.post(f"{BOOKS}/bulk", json=rows).status_code == 201
    return library.admin


def found(client: Client, search: str, **more: Any) -> list[str]:
    answer = client.post(f"{BOOKS}/query", json={"search": search, **more})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    if "limit" not in more and "offset" not in more:
        assert body["total"] == len(body["data"])
    return [record["title"] for record in body["data"]]


def test_every_word_is_wanted_and_the_last_may_be_a_beginning(admin: Client):
    assert found(admin, "ada bel") == ["Ada Bell", "Belfast"]
    assert sorted(found(admin, "ada")) == ["Ada Bell", "Ada Byron", "Belfast"]
    assert found(admin, "engine bel") == ["Ada Bell"]
    assert found(admin, "ada ") == found(admin, "ada")
    assert sorted(found(admin, "chess or byron")) == ["Ada Byron", "Chess"]
    assert sorted(found(admin, "chess or byr")) == ["Ada Byron", "Chess"]
    assert sorted(found(admin, "ada -byron")) == ["Ada Bell", "Belfast"]
    assert found(admin, '"first program"') == ["Ada Byron"]
    assert found(admin, '"program first"') == []


def test_stems_and_accents_are_ignored(admin: Client):
    assert found(admin, "runs engines") == ["Ada Bell"]
    assert found(admin, "cafe") == ["Belfast"]
    assert found(admin, "CAFÉ") == ["Belfast"]


def test_weight_decides_the_order_unless_another_is_wanted(admin: Client):
    assert found(admin, "ada")[-1] == "Belfast"
    assert found(admin, "ada", orderBy="title", order="asc") == ["Ada Bell", "Ada Byron", "Belfast"]
    assert found(admin, "ada", limit=1, offset=1) == found(admin, "ada")[1:2]
    assert found(admin, "ada", where={"shelf": "a"}, orderBy="title", order="asc") == [
        "Ada Bell",
        "Ada Byron",
    ]
    answer = admin.post(
        f"{BOOKS}/query",
        json={"search": "ada", "groupBy": ["shelf"], "aggregate": {"n": {"$count": "*"}}},
    )
    assert answer.json()["data"] == [{"shelf": "a", "n": 2}, {"shelf": "b", "n": 1}]


def test_similar_words_count_where_nothing_has_the_words(admin: Client):
    assert found(admin, "belfst") == ["Belfast"]
    assert found(admin, "byronn ada") == ["Ada Byron"]
    assert found(admin, "belfst", where={"shelf": "a"}) == []
    assert found(admin, "belfst", offset=1) == []
    body = {"search": "belfst", "aggregate": {"n": {"$count": "*"}}}
    assert admin.post(f"{BOOKS}/query", json=body).json()["data"] == [{"n": 1}]


@pytest.mark.parametrize("typed", ["belfst", "befast", "bellfast", "belfats", "bwlfast", "belfasz"])
def test_one_slip_of_the_hand_is_similar(admin: Client, typed: str):
    """A letter that is missing, doubled, wrong or beside its place."""
    assert found(admin, typed)[0] == "Belfast"
    assert found(admin, "robots") == []


def test_an_index_serves_similar_words(library: Server, admin: Client):
    library.sql(
        "insert into library.books (title) select 'book ' || md5(n::text)"
        " from generate_series(1, 5000) as n"
    )
    with psycopg.connect(library.dsn, autocommit=True) as connection:
        connection.execute("vacuum analyze library.books")
        [row] = connection.execute(
            "select extnamespace::regnamespace::text from pg_extension where extname = 'pg_trgm'"
        )
    table = Table(library.run(library.services.get(APPS).entity, "library", "books"))
    rows = Conditions(table.columns, ())
    Matching(table, row[0]).require_similar(rows, read_terms("belfats"))
    plan = planned(library, table.reads.count_statement(rows).decode(), rows)
    assert "Bitmap Index Scan" in plan, plan
    assert "Seq Scan" not in plan, plan
    assert found(admin, "belfats") == ["Belfast"]


def planned(library: Server, query: str, rows: Conditions) -> str:
    for place in reversed(range(len(rows.params))):
        query = query.replace(f"${place + 1}", f"'{rows.params[place]!s}'")
    return "\n".join(line for (line,) in library.sql("explain " + query))


@pytest.mark.parametrize(
    "text",
    [
        "https://example.org/a/b?x=1&y=2",
        "http://www.example.org",
        "https://example.org/",
        "https://user:pw@example.org:8080/x?y=%20z#part",
        "https://example.org/Foo-Bar_baz",
        "example.org:8080/x",
        "ftp://example.org/y",
        "foo-bar",
        "Foo-Bar",
        "to-do",
        "state-of-the-art",
        "foo-bar-baz",
        "AB-1234",
        "2026-01-31",
        "ada@example.org",
        "O'Brien",
        "10:30",
    ],
)
def test_a_text_with_signs_is_found_by_itself(library: Server, admin: Client, text: str):
    """In a field without similar words, which find a title anyhow."""
    library.sql("truncate library.books")
    for title, blurb in (
        ("itself", text), ("within", f"see {text} today"), ("foo", "the foo of a bar"),
        ("example", "example"),
    ):  # fmt: skip
        admin.post(BOOKS, json={"title": title, "blurb": blurb})
    assert sorted(found(admin, text)) == ["itself", "within"]
    assert sorted(found(admin, f"{text} ")) == ["itself", "within"]
    assert found(admin, f"today {text}") == ["within"]
    assert found(admin, f"{text} today") == ["within"]
    assert sorted(found(admin, f"{text} or nothing")) == ["itself", "within"]
    assert sorted(found(admin, f"nothing or {text}")) == ["itself", "within"]
    assert found(admin, f"example -{text}") == ["example"]


def test_words_that_a_hyphen_joins_are_found_as_they_are_typed(library: Server, admin: Client):
    library.sql("truncate library.books")
    for title, blurb in (
        ("whole", "the foo-bar of it"), ("longer", "a foo-bar-baz"), ("parts", "a foo bar"),
        ("apart", "bar and foo"), ("url", "https://example.org/long/way"),
    ):  # fmt: skip
        admin.post(BOOKS, json={"title": title, "blurb": blurb})
    for typed in ("foo-bar", "foo-ba", "foo-b", "Foo-Bar", "foo-bar "):
        assert sorted(found(admin, typed)) == ["longer", "parts", "whole"], typed
    assert sorted(found(admin, "bar-baz")) == ["longer"]
    for typed in ("https://example.org/long/wa", "https://example.org/lo", "https://examp"):
        assert found(admin, typed) == ["url"], typed
    assert found(admin, "https://example.com/long/way") == []


@pytest.mark.parametrize("text", ['"', "-", "--", '-"', ":", "-:", "a-", "-a-b", "'", "\\", "::--"])
def test_signs_alone_are_no_error(admin: Client, text: str):
    for search in (text, f"ada {text}", f"{text} ada", f"ada or {text}"):
        assert admin.post(f"{BOOKS}/query", json={"search": search}).status_code == 200


def test_similar_words_never_undo_an_exclusion_or_a_phrase(admin: Client):
    assert found(admin, "belfst -ada") == []
    assert found(admin, 'byronn "first program"') == ["Ada Byron"]
    assert found(admin, 'byronn "program first"') == []


def test_nothing_is_searched_for_an_empty_text(admin: Client):
    assert len(found(admin, "")) == 4
    assert len(found(admin, "  ")) == 4
    for search in ("the", "-", '"', "or", "!&|():*<->'\\", "a" * 500, "ada '", "ada:*", "é"):
        found(admin, search)
    assert "500 characters" in refused(admin.post(f"{BOOKS}/query", json={"search": "a" * 501}))
    refused(admin.post(f"{BOOKS}/query", json={"search": 5}))
    said = refused(admin.post(f"{PAPERS}/query", json={"search": "a"}))
    assert said == "papers has no search: its manifest names no fields"
    body = {"search": "ada", "after": "00000000-0000-4000-8000-000000000000"}
    assert "after" in refused(admin.post(f"{BOOKS}/query", json=body))


def test_own_records_only_are_found(library: Server, admin: Client):
    user = library.user()
    body: dict[str, Any] = {
        "name": "owner", "permissions": ["books.read.own", "books.create.own"]
    }  # fmt: skip
    admin.post("/api/v1/apps/library/roles", json=body)
    admin.post("/api/v1/apps/library/roles/assign", json={"userId": user.id, "role": "owner"})
    assert user.post(BOOKS, json={"title": "Ada's own"}).status_code == 201
    assert found(user, "ada") == ["Ada's own"]
    assert found(user, "belfst") == []


def test_without_trigrams_plain_words_are_found(postgres: Postgres):
    with running_server(postgres, overrides()) as server:
        server.sql("drop extension if exists pg_trgm cascade")
        server.install(MANIFEST)
        server.admin.post(BOOKS, json={"title": "Belfast"})
        assert found(server.admin, "belf") == ["Belfast"]
        assert found(server.admin, "belfst") == []


def test_several_classes_of_rights_use_the_indexes(library: Server, admin: Client):
    """An admin reads every field: each word is looked up in all of the vectors."""
    library.sql(
        "insert into library.books (title, blurb, secret)"
        " select 'book ' || n, 'blurb' || n, 'secret' || n from generate_series(1, 3000) as n"
    )
    with psycopg.connect(library.dsn, autocommit=True) as connection:
        connection.execute("vacuum analyze library.books")
    assert found(admin, "book secret1234") == ["book 1234"]
    assert found(admin, "secret1234 blurb1234 boo") == ["book 1234"]
    assert found(admin, "the secret1234") == ["book 1234"]
    assert found(admin, "secret1234 -book") == []
    assert found(admin, '"book 77" secret7') == ["book 77"]
    assert len(found(admin, "secret1234 or secret1235")) == 2
    table = Table(library.run(library.services.get(APPS).entity, "library", "books"))
    rows = Conditions(table.columns, ())
    Matching(table, None).require_exact(rows, read_terms("book secret123"))
    plan = planned(library, table.reads.count_statement(rows).decode(), rows)
    assert "Bitmap Index Scan" in plan, plan
    assert "Seq Scan" not in plan, plan
