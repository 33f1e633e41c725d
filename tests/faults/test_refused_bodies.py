"""Bodies that PostgreSQL refuses: none of them stays in the memory of the server."""

from collections.abc import Callable
from typing import Any

import httpx
import msgspec
import pytest

from tests.faults import hooked
from tests.faults.support import Site, User, no_traceback
from tests.faults.test_memory import resident
from tests.waiting import eventually

pytestmark = pytest.mark.slow

MISSING = "00000000-0000-4000-8000-000000000000"
ROWS: dict[str, Any] = {
    "entityName": "rows",
    "fields": [
        {"name": "name", "type": "text"},
        {"name": "note", "type": "text"},
        {"name": "twin", "type": "entity_link", "references": {"entity": "rows"}},
    ],
    "indexes": [{"columns": ["name"], "unique": True}],
}


def refusals(user: User, app: str) -> list[Callable[[], httpx.Response]]:
    """Writes of 1 MB whose name is taken, by each way to write."""
    path, text = f"/api/v1/apps/{app}/collections/rows", "x" * 1_000_000
    assert user.post(path, json={"name": "taken"}).status_code == 201
    other = user.post(path, json={"name": "other"}).json()["id"]
    row = {"name": "taken", "note": text}
    operation = {"op": "create", "entity": "rows", "data": row}
    kind = {"content-type": "text/csv"}
    return [
        lambda: user.post(path, json=row),
        lambda: user.post(f"{path}/bulk", json=[{"name": "new"}, row]),
        lambda: user.patch(f"{path}/{other}", json=row),
        lambda: user.post(f"/api/v1/apps/{app}/batch", json={"operations": [operation]}),
        lambda: user.post(f"{path}/import", content=f"name,note\ntaken,{text}\n", headers=kind),
    ]


@pytest.mark.parametrize("words", [[], ["--plugin", hooked.__file__]], ids=["plain", "hooks"])
@pytest.mark.parametrize("driver", ["pipeline", "kernel"])
def test_refused_bodies_do_not_stay(
    make_site: Callable[..., Site], driver: str, words: list[str]
) -> None:
    """Each stayed until the garbage collector ran, which 300 of them did not bring about."""
    site = make_site(services={"statements": driver})
    with site.serve(*words) as server:
        user = site.user(server)
        ways = refusals(user, user.install(entities=[ROWS]))
        for way in ways:
            assert "already taken" in way().text
        pid = server.process.pid
        before = resident(pid)
        for number in range(300):
            assert "already taken" in ways[number % len(ways)]().text
        eventually(lambda: resident(pid) <= before + 20, 10, lambda: (before, resident(pid)))
    no_traceback(server)


def test_the_largest_bodies_that_postgresql_refuses_do_not_stay(site: Site) -> None:
    with site.serve() as server:
        user = site.user(server)
        path = f"/api/v1/apps/{user.install(entities=[ROWS])}/collections/rows"
        body = msgspec.json.encode({"note": "x" * 49_000_000, "twin": MISSING})
        json = {"content-type": "application/json"}

        def refuse() -> None:
            said = user.post(path, content=body, headers=json)
            assert said.status_code == 400
            assert "no such rows record" in said.text

        refuse()
        pid = server.process.pid
        before = resident(pid)
        for _ in range(12):
            refuse()
        eventually(lambda: resident(pid) <= before + 20, 10, lambda: (before, resident(pid)))
    no_traceback(server)
