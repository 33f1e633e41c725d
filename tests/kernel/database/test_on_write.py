"""A pool reports each write to its listeners of its process, whichever driver carries it."""

from __future__ import annotations

import pytest

from kernel.public import POOL, STATEMENTS, server_actor
from kernel.testing import MakeServer


@pytest.mark.parametrize("driver", ["kernel", "pipeline"])
def test_each_write_is_noted_and_no_read_is(make_server: MakeServer, driver: str) -> None:
    server = make_server({"services": {"statements": driver}})
    statements = server.services.get(STATEMENTS)
    notes: list[str] = []
    server.run(statements.execute, "create table public.noted (n int)")
    server.services.get(POOL).on_write(lambda: notes.append("noted"))

    server.run(statements.fetch, "select count(*)::text from public.noted")
    before = len(notes)
    insert = "insert into public.noted (n) values (1)"
    server.run(statements.execute, insert)
    assert len(notes) > before

    before = len(notes)
    server.run(statements.execute_grouped, "", insert)
    assert len(notes) > before

    before = len(notes)
    server.run(statements.run, server_actor(), lambda tx: tx.execute(insert))
    assert len(notes) > before
