"""A standby answers the reads that may be old, and no others."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from plugins.postgres.processes import postgres_processes
from tests.faults.replicas import DATABASE, Pair
from tests.faults.support import Site, User, ask, frozen, no_traceback, notes
from tests.waiting import eventually

pytestmark = pytest.mark.slow

OLD = {"prefer": "respond-async, freshness=any"}
LAG = 10.0


class Place(NamedTuple):
    pair: Pair
    site: Site
    user: User
    app: str

    def create(self, name: str) -> str:
        """Create a record and return the position in the reply."""
        answer = self.user.post(notes(self.app), json={"name": name})
        assert answer.status_code == 201, answer.text
        return answer.headers["caudex-position"]

    def pause(self) -> None:
        """Let the standby receive, and replay nothing more."""
        ask(self.pair.standby(), "select pg_wal_replay_pause()")
        state = "select pg_get_wal_replay_pause_state()"
        eventually(lambda: ask(self.pair.standby(), state) == [("paused",)], 10)

    def resume(self) -> None:
        ask(self.pair.standby(), "select pg_wal_replay_resume()")

    def names(self, **headers: str) -> set[str]:
        """The names in a complete list."""
        answer = self.user.get(notes(self.app), headers=headers)
        assert answer.status_code == 200, answer.text
        return {record["name"] for record in answer.json()}

    def query(self, body: dict[str, object], **headers: str) -> httpx.Response:
        answer = self.user.post(f"{notes(self.app)}/query", json=body, headers=headers)
        assert answer.status_code == 200, answer.text
        return answer

    def counted(self, **headers: str) -> int:
        return self.query({"aggregate": {"n": {"$count": "*"}}}, **headers).json()["data"][0]["n"]


@pytest.fixture
def place(folders: Callable[[], Path]) -> Generator[Place]:
    with Pair(folders(), synchronous=False) as pair:
        database = {"url": pair.dsn, "replica_url": pair.standby(DATABASE)}
        site = Site(folders(), pair.dsn, database=database, plugins__replica={"max_lag": LAG})
        with site, site.serve() as server:
            user = site.user(server)
            yield Place(pair, site, user, user.install())
        no_traceback(server)


def test_reads_that_may_be_old_are_answered_by_the_standby(place: Place) -> None:
    user, path = place.user, notes(place.app)
    early = place.create("early")
    assert place.names(**{"caudex-position": early}) == {"early"}
    reader = place.site.user_at(str(user.base_url), "reader")
    roles = f"/api/v1/apps/{place.app}/roles"
    user.post(roles, json={"name": "r", "permissions": ["notes.read"]}).raise_for_status()
    assign = {"userId": reader.id, "role": "r"}
    user.post(f"{roles}/assign", json=assign).raise_for_status()
    eventually(lambda: place.counted(**{"caudex-position": early}) == 1)

    place.pause()
    late = place.create("late")
    seen = {"caudex-position": late}
    # The standby does not have it yet, which shows which of the two answers.
    assert place.names() == {"early"}
    assert place.counted() == 1
    assert "late" not in user.get(path, headers={"accept": "text/csv"}).text
    trail = {"app_id": place.app, "entity": "notes"}
    assert len(user.get("/api/v1/audit", params=trail).json()) == 1
    page = {"limit": 5}
    assert len(user.get(path, params=page, headers=OLD).json()) == 1
    # Pages and single records come from the database itself.
    assert len(user.get(path, params=page).json()) == 2
    assert place.query({}).json()["total"] == 2
    # What decides about access does, too.
    assert reader.get(path, headers=OLD).status_code == 200
    user.post(f"{roles}/revoke", json=assign).raise_for_status()
    assert reader.get(path, headers=OLD).status_code == 403

    # A request that names a position waits for a second, and gets what it wrote in any case.
    began = time.monotonic()
    assert place.names(**seen) == {"early", "late"}
    assert 0.9 < time.monotonic() - began < 5
    assert place.counted(**seen) == 2
    place.resume()
    assert place.names(**seen) == {"early", "late"}
    refused = user.get(path, headers={"caudex-position": "yesterday"})
    assert (refused.status_code, list(refused.json())) == (400, ["error"])


def test_a_standby_that_cannot_answer_is_left_out(place: Place) -> None:
    first = place.create("first")
    assert place.names(**{"caudex-position": first}) == {"first"}
    place.pause()
    place.create("second")
    assert place.names() == {"first"}
    # It does not know the table as it is now.
    field = {"name": "added", "type": "text"}
    entity = {"entityName": "notes", "fields": [{"name": "name", "type": "text"}, field]}
    place.user.install(place.app, entities=[entity])
    assert place.names() == {"first", "second"}
    place.resume()
    eventually(lambda: place.names() == {"first", "second"}, 10)

    place.pause()
    place.create("third")
    eventually(lambda: len(place.names()) == 3, 3 * LAG)  # it is too far behind by now
    place.resume()
    place.pair.lose_standby()
    began = time.monotonic()
    assert len(place.names()) == 3
    assert place.counted(**{"caudex-position": place.create("fourth")}) == 4
    assert time.monotonic() - began < 10


def test_own_writes_are_seen_across_a_failover(folders: Callable[[], Path]) -> None:
    with Pair(folders()) as pair:
        replica = pair.dsn.replace("read-write", "prefer-standby")
        site = Site(folders(), pair.dsn, database={"url": pair.dsn, "replica_url": replica})
        with site, site.serve() as server:
            user = site.user(server)
            path, written = notes(user.install()), set[str]()

            def write(name: str) -> bool:
                """Whether a record was written, and read in a complete list that must have it."""
                with suppress(httpx.TransportError):
                    answer = user.post(path, json={"name": name})
                    if answer.status_code == 201:
                        written.add(name)
                        seen = {"caudex-position": answer.headers["caudex-position"]}
                        answer = user.get(path, headers=seen)
                        if answer.status_code == 200:
                            assert written <= {record["name"] for record in answer.json()}
                            return True
                    assert answer.status_code == 503, answer.text
                return False

            assert all(write(f"before {number}") for number in range(20))
            pair.lose_primary()
            takeover = threading.Thread(target=pair.promote)
            takeover.start()
            names = (f"after {number}" for number in itertools.count())
            for _ in range(20):
                eventually(lambda: write(next(names)), 30)
            takeover.join()
        no_traceback(server)


def test_a_frozen_standby_takes_no_list_away(place: Place) -> None:
    """The primary answers what waits for a first row, and the places of streams are free again."""
    user, path = place.user, notes(place.app)
    seen = {"caudex-position": place.create("kept")}
    eventually(lambda: place.names() == {"kept"}, 10)
    with frozen(*postgres_processes(place.pair.standby_data)), ThreadPoolExecutor(2) as pool:
        # At once, while the standby counts as fresh: they hang there.
        waiting = pool.submit(place.names)
        exporting = pool.submit(user.get, path, headers={"accept": "text/csv"})
        assert waiting.result(LAG + 30) == {"kept"}
        export = exporting.result(LAG + 30)
        assert (export.status_code, "kept" in export.text) == (200, True)
        assert [place.names() for _ in range(8)] == [{"kept"}] * 8
    eventually(lambda: place.names(**seen) == {"kept"}, 10)
