"""What `caudex doctor` says of full-text searches."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from kernel.testing import Postgres, Server, running_server
from plugins.apps.diagnosis import findings

MANIFEST: dict[str, Any] = {
    "appId": "searched",
    "name": "Searched",
    "dataContract": [
        {
            "entityName": "notes",
            "fields": [{"name": "title", "type": "text"}, {"name": "body", "type": "text"}],
            "search": {"fields": [{"name": "title", "weight": "A"}, "body"]},
        }
    ],
}


def query(server: Server, statement: str, *arguments: str) -> str | None:
    rows = server.sql(statement.replace("$1::text", "%s"), *arguments)
    return None if not rows or rows[0][0] is None else str(rows[0][0])


@pytest.fixture(scope="module")
def server(postgres: Postgres) -> Any:
    with running_server(postgres) as running:
        yield running


def test_it_says_what_searches_lack(server: Server):
    reported = partial(query, server)
    assert findings(reported) == []  # no app searches
    server.install(MANIFEST)
    [fine] = findings(reported)
    assert (fine.state, fine.text) == ("ok", "with an index in searched")
    indexes = server.sql(
        "select indexname from pg_indexes"
        " where schemaname = 'searched' and indexdef ~ 'gin .*_search'"
    )
    for (index,) in indexes:
        server.sql(f'drop index searched."{index}"')
    [bad] = findings(reported)
    assert bad.state == "warn"
    assert "searched.notes" in bad.text
    server.sql("drop extension pg_trgm cascade")
    texts = [finding.text for finding in findings(reported)]
    assert len(texts) == 2
    assert "no extension pg_trgm" in texts[0]
    refused = [finding.text for finding in findings(lambda *asked: None if asked[1:] else "crm")]
    assert "no extension unaccent" in refused[0]
    assert findings(lambda *_: None) == []  # the database does not answer
