"""Several processes on one database, real ones: what is done at one holds at every one."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Generator
from contextlib import ExitStack
from statistics import median
from typing import Any

import httpx
import pytest

from kernel.testing import Client
from tests.faults.at_work import WORKER, Jobs, deploy
from tests.faults.support import PASSWORD, Site, User, no_traceback, notes

pytestmark = pytest.mark.slow

SOON = 3.0
"""Seconds until a change is active everywhere, on a busy machine."""

PROMISED = 1.0
TRIES = 5
"""In the middle of so many a change takes no longer than is promised."""

SETTLE = 0.5
"""Changed secrets gather for so long, then the worker restarts."""

FRESH = 16
"""Connections of their own: with two processes behind one port, all but never to the same one."""


class Place:
    """The addresses at which the system answers."""

    def __init__(self, urls: list[str]) -> None:
        self.urls = urls

    def everywhere(
        self, token: str, method: str, path: str, body: Any = None
    ) -> list[tuple[float, httpx.Response]]:
        """The answers of every process to the same request, and when each was asked."""
        headers = {"authorization": f"Bearer {token}"}
        answers: list[tuple[float, httpx.Response]] = []
        for number in range(FRESH):
            with Client(timeout=60, headers=headers) as client:
                url = self.urls[number % len(self.urls)] + path
                asked = time.monotonic()
                answers.append((asked, client.request(method, url, json=body)))
        return answers

    def agrees(
        self, holds: Callable[[httpx.Response], bool], *request: Any, seconds: float = SOON
    ) -> float:
        """Check that the reply is soon the same everywhere.

        Returns the seconds after which the last different reply came.
        """
        began, late = time.monotonic(), 0.0
        while old := [one for one in self.everywhere(*request) if not holds(one[1])]:
            said = [(each.status_code, each.text[:100]) for _, each in old]
            late = old[-1][0] - began
            assert late < seconds, said
        return late


@pytest.fixture(params=["two servers", "two processes of one server"])
def place(request: pytest.FixtureRequest, site: Site) -> Generator[Place]:
    with ExitStack() as stack:
        if request.param == "two servers":
            servers = [stack.enter_context(site.serve()) for _ in range(2)]
        else:
            servers = [stack.enter_context(site.serve("--workers", "2"))]
        yield Place([server.url for server in servers])
    no_traceback(*servers)


def is_status(status: int) -> Callable[[httpx.Response], bool]:
    return lambda answer: answer.status_code == status


def is_result(value: Any) -> Callable[[httpx.Response], bool]:
    return lambda answer: answer.status_code == 200 and answer.json() == value


def knows_the_secret(value: str) -> Callable[[httpx.Response], bool]:
    return lambda answer: answer.status_code == 200 and answer.json().get("SENT") == value


def test_a_change_at_one_process_is_in_force_at_every_other_within_a_second(place: Place) -> None:
    admin, reader = User(place.urls[0]), User(place.urls[-1], "reader")
    token, theirs = (client.headers["authorization"].split()[1] for client in (admin, reader))
    app = admin.install()
    assert deploy(admin, app, WORKER).status_code == 200
    roles = f"/api/v1/apps/{app}/roles"
    admin.post(roles, json={"name": "r", "permissions": ["notes.read"]}).raise_for_status()
    rpc = ("POST", f"/api/v1/apps/{app}/rpc", {"method": "version"})
    login = {"username": "reader", "password": PASSWORD}
    late, starts = defaultdict[str, list[float]](list), list[float]()
    for number in range(TRIES):
        for action, status in (("assign", 200), ("revoke", 403)):
            body = {"userId": reader.id, "role": "r"}
            admin.post(f"{roles}/{action}", json=body).raise_for_status()
            late[action].append(place.agrees(is_status(status), theirs, "GET", notes(app)))

        added = {"name": f"added{number}", "type": "text"}
        admin.install(app, entities=[{"entityName": "notes", "fields": [added]}])
        record = {added["name"]: "x"}
        late["install"].append(place.agrees(is_status(201), token, "POST", notes(app), record))

        session = reader.post("/api/v1/auth/login", json=login).json()
        me = (session["accessToken"], "GET", "/api/v1/auth/me")
        place.agrees(is_status(200), *me)
        out = {"refreshToken": session["refreshToken"]}
        admin.post("/api/v1/auth/logout", json=out).raise_for_status()
        late["logout"].append(place.agrees(is_status(401), *me))

        version = WORKER.replace("VERSION = 1", f"VERSION = {number + 2}")
        assert deploy(admin, app, version).status_code == 200
        runs = is_result(number + 2)
        late["deploy"].append(place.agrees(runs, token, *rpc, seconds=20))

        secret = {"key": "SENT", "value": f"{number}"}
        admin.post(f"/api/v1/apps/{app}/secrets", json=secret).raise_for_status()
        reported = (knows_the_secret(f"{number}"), token, "POST", rpc[1], {"method": "environment"})
        late["secret"].append(place.agrees(*reported, seconds=20))

        admin.post(f"/api/v1/apps/{app}/worker/stop").raise_for_status()
        late["stop"].append(place.agrees(is_status(503), token, *rpc))
        began = time.monotonic()
        admin.post(f"/api/v1/apps/{app}/worker/start").raise_for_status()
        starts.append(time.monotonic() - began)
        late["start"].append(place.agrees(runs, token, *rpc, seconds=20))
    admin.close()
    reader.close()
    # A worker has to start at the other process first, as fast as the machine lets it just now.
    start = median(starts)
    assert median(late.pop("secret")) < SETTLE + start + PROMISED, (late, starts)
    assert median(late.pop("deploy")) < start + PROMISED, (late, starts)
    assert max(map(median, late.values())) < PROMISED, late


def test_what_is_done_at_one_process_holds_at_every_other(place: Place, site: Site) -> None:
    admin = User(place.urls[0])
    reader = User(place.urls[-1], "reader")  # registered at another process than the admin
    token, theirs = (client.headers["authorization"].split()[1] for client in (admin, reader))
    app = admin.install()
    place.agrees(is_status(200), token, "GET", notes(app))

    roles = f"/api/v1/apps/{app}/roles"
    admin.post(roles, json={"name": "r", "permissions": ["notes.read"]}).raise_for_status()
    for action, status in (("assign", 200), ("revoke", 403)):
        admin.post(f"{roles}/{action}", json={"userId": reader.id, "role": "r"}).raise_for_status()
        place.agrees(is_status(status), theirs, "GET", notes(app))

    wider = {
        "entityName": "notes",
        "fields": [
            {"name": name, "type": kind}
            for name, kind in (("name", "text"), ("revision", "number"), ("added", "text"))
        ],
    }
    admin.install(app, entities=[wider])
    place.agrees(is_status(201), token, "POST", notes(app), {"added": "later"})

    assert deploy(admin, app, WORKER).status_code == 200
    rpc, status = f"/api/v1/apps/{app}/rpc", f"/api/v1/apps/{app}/worker/status"
    place.agrees(is_result(1), token, "POST", rpc, {"method": "version"}, seconds=20)
    place.agrees(lambda a: a.json() | {"replicas": 2} == a.json(), token, "GET", status)
    assert deploy(admin, app, WORKER.replace("VERSION = 1", "VERSION = 2")).status_code == 200
    place.agrees(is_result(2), token, "POST", rpc, {"method": "version"}, seconds=20)

    secret = {"key": "SENT", "value": "to all"}
    admin.post(f"/api/v1/apps/{app}/secrets", json=secret).raise_for_status()
    place.agrees(
        knows_the_secret(secret["value"]), token, "POST", rpc, {"method": "environment"}, seconds=20
    )

    jobs = Jobs(site, app)
    jobs.put(admin, 30)
    jobs.all_end()
    assert set(jobs.rows().values()) == {("completed", 1)}
    ran = jobs.executions()
    assert {ran[name] for name in jobs.names.values()} == {1}

    for url in place.urls:  # lines of both replicas are in the log that each process shows
        with httpx.stream(
            "GET", f"{url}/api/v1/apps/{app}/logs?tail=1000", headers=admin.headers, timeout=30
        ) as stream:
            lines = stream.iter_lines()
            found = 0
            while found < 2:
                found += "version 2 runs" in next(lines)

    admin.post(f"/api/v1/apps/{app}/worker/stop").raise_for_status()
    place.agrees(lambda a: a.json()["status"] == "stopped", token, "GET", status, seconds=20)
    place.agrees(is_status(503), token, "POST", rpc, {"method": "version"})
    admin.post(f"/api/v1/apps/{app}/worker/start").raise_for_status()
    place.agrees(is_result(2), token, "POST", rpc, {"method": "version"}, seconds=20)

    login = {"username": "reader", "password": PASSWORD}
    refresh = reader.post("/api/v1/auth/login", json=login).json()
    place.agrees(is_status(200), refresh["accessToken"], "GET", "/api/v1/auth/me")
    out = {"refreshToken": refresh["refreshToken"]}
    admin.post("/api/v1/auth/logout", json=out).raise_for_status()
    place.agrees(is_status(401), refresh["accessToken"], "GET", "/api/v1/auth/me")

    admin.delete(f"/api/v1/apps/{app}").raise_for_status()
    place.agrees(is_status(404), token, "GET", status)
    admin.close()
    reader.close()
