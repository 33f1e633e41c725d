"""Requests of the last hour: counted by the kernel, shared by processes, shown to core admins."""

from collections import Counter

import pytest

from kernel.public import Route, TrafficMinute
from kernel.testing import MakeServer
from kernel.web.arrivals import traffic as traffic_module
from kernel.web.arrivals.traffic import MAX_ROUTES, TrafficCounter
from plugins.system.traffic.figures import MAX_FAILED, add_up, find_quantile

TRAFFIC = "/api/v1/traffic"
BROKEN = """
from kernel.public import ANY_USER, PUBLIC, Plugin, Route, hookimpl

class Broken(Plugin):
    name = "broken"

    @hookimpl
    def register_routes(self, services):
        return [Route("GET", "/api/v1/broken/{id}", self.fail, PUBLIC)]

    async def fail(self, request):
        raise ValueError("it broke")
"""


def route(path: str) -> Route:
    return Route("GET", path, handler=None, needs=None)  # type: ignore[arg-type]


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 6000.0
        monkeypatch.setattr(traffic_module, "perf_counter", lambda: self.now)


def row(view, path, method="GET"):
    [figures] = [row for row in view["routes"] if (row["method"], row["route"]) == (method, path)]
    return figures


def test_requests_are_counted_by_route_and_errors_named(make_server: MakeServer, tmp_path):
    (tmp_path / "broken.py").write_text(BROKEN)
    server = make_server({"server": {"plugins_dir": str(tmp_path)}})
    for _ in range(3):
        assert server.admin.get("/api/v1/auth/me").status_code == 200
    assert server.http.get("/api/v1/auth/me").status_code == 401
    assert server.http.get("/api/v1/nothing/secret-name").status_code == 404
    server.http.get("/health")
    failed = server.http.get("/api/v1/broken/secret-id")
    assert failed.status_code == 500

    answer = server.admin.get(TRAFFIC)
    assert answer.status_code == 200
    assert "secret" not in answer.text
    view = answer.json()
    me = row(view, "/api/v1/auth/me")
    assert (me["requests"], me["refusals"], me["errors"]) == (4, 1, 0)
    assert 0 < me["p50_ms"] <= me["p95_ms"]
    assert row(view, "none", "")["refusals"] == 1
    assert row(view, "/api/v1/broken/{id}")["errors"] == 1
    [named] = view["failed"]
    assert named["request_id"] == failed.headers["x-request-id"]
    assert (named["route"], named["status"]) == ("/api/v1/broken/{id}", 500)
    assert not [figures for figures in view["routes"] if figures["route"] == "/health"]
    assert view["processes"] == 1
    assert view["total"]["requests"] == sum(minute["requests"] for minute in view["minutes"])


def test_only_core_admins_see_them(make_server: MakeServer):
    server = make_server()
    assert server.user().get(TRAFFIC).status_code == 403
    assert server.http.get(TRAFFIC).status_code == 401


def test_two_processes_of_a_database_are_added_up(make_server: MakeServer, tmp_path):
    first = make_server(data_dir=tmp_path)
    second = make_server(dsn=first.dsn, data_dir=tmp_path)
    for server, count in ((first, 4), (second, 3)):
        for _ in range(count):
            server.http.get("/api/v1/auth/mode")

    # A minute ends for the second one.
    counter = second.kernel.traffic
    counter._turn(counter._minute + 1)
    counter._minute -= 1
    assert first.admin
    reports = next(plugin for plugin in second.kernel.instances if plugin.name == "system")
    second.run(reports._traffic.share)
    view = first.login("admin").get(TRAFFIC).json()
    assert view["processes"] == 2
    assert row(view, "/api/v1/auth/mode")["requests"] == 7


def test_a_minute_that_is_over_is_taken_once(monkeypatch):
    clock = Clock(monkeypatch)
    counter = TrafficCounter()
    counter.count(route("/a"), 200, clock.now - 0.010, clock.now)
    counter.count(route("/a"), 404, clock.now - 0.010, clock.now)
    counter.count(None, 503, clock.now - 0.010, clock.now)
    assert counter.take_minutes() == []
    clock.now += 60
    counter.count(route("/b"), 200, clock.now - 0.001, clock.now)
    [minute] = counter.take_minutes()
    assert {(one.route, one.refusals, one.errors) for one in minute.routes} == {
        ("/a", 1, 0), ("none", 0, 1),
    }  # fmt: skip
    assert counter.take_minutes() == []
    present = counter.read_present()
    assert present is not None
    assert [one.route for one in present.routes] == ["/b"]


def test_it_takes_no_more_memory_than_an_hour_of_routes(monkeypatch):
    clock = Clock(monkeypatch)
    counter = TrafficCounter()
    for number in range(MAX_ROUTES + 10):
        counter.count(route(f"/{number}"), 200, clock.now, clock.now)
        counter.note_failure(str(number), None, 500)
    present = counter.read_present()
    assert present is not None
    assert len(present.routes) == MAX_ROUTES + 1
    assert len(present.failed) == 20
    for _ in range(100):
        clock.now += 60
        counter.count(None, 200, clock.now, clock.now)
    clock.now += 60
    assert len(counter.take_minutes()) == 60


@pytest.mark.parametrize("seconds", [0.0, 1e-7, 0.0003, 0.02, 0.5, 3.0, 40.0, 100_000.0, -0.001])
def test_a_duration_is_found_again_within_a_fifth(monkeypatch, seconds):
    clock = Clock(monkeypatch)
    counter = TrafficCounter()
    counter.count(route("/a"), 200, clock.now - seconds, clock.now)
    present = counter.read_present()
    assert present is not None
    found = find_quantile(Counter(present.routes[0].durations), 0.5)
    assert found is not None
    if 0.0001 < seconds < 100:
        assert abs(found / 1000 - seconds) < seconds * 0.2


def test_quantiles_are_those_of_all_requests():
    durations = Counter({10: 90, 20: 10})
    assert find_quantile(durations, 0.5) == find_quantile(Counter({10: 1}), 0.5)
    assert find_quantile(durations, 0.95) == find_quantile(Counter({20: 1}), 0.5)
    assert find_quantile(Counter(), 0.5) is None
    assert add_up([], 1).total.p95_ms is None
    assert add_up([TrafficMinute(at=0, routes=[], failed=[])] * MAX_FAILED, 1).failed == []


def test_rows_older_than_an_hour_are_deleted(make_server: MakeServer):
    server = make_server()
    server.sql(
        "insert into caudex_system.traffic values"
        " ('gone', now() - interval '2 hours', '{\"at\": 1, \"routes\": [], \"failed\": []}')"
    )
    assert server.admin.get(TRAFFIC).json()["processes"] == 1
    counter = server.kernel.traffic
    counter._turn(counter._minute + 1)
    server.admin.get(TRAFFIC)
    assert server.sql("select count(*) from caudex_system.traffic where process = 'gone'") == [(0,)]


# --- hints


def test_a_package_or_migration_that_is_newer_is_named(make_server: MakeServer, monkeypatch):
    server = make_server()
    assert server.admin.get("/api/v1/updates").json() == []
    assert server.user().get("/api/v1/updates").status_code == 403
    from plugins.system.examination import updates

    monkeypatch.setattr(updates.metadata, "version", lambda name: "9.9.9")
    server.sql(
        "insert into caudex_kernel.migrations (plugin, name, checksum)"
        " values ('auth', '9999_later.sql', 'x')"
    )
    hints = server.admin.get("/api/v1/updates").json()
    assert {(hint["action"], hint["name"]) for hint in hints} == {
        ("restart", "caudex-core"), ("upgrade", "auth/9999_later.sql"),
    }  # fmt: skip
