"""`/metrics` of a running server."""

from __future__ import annotations

import os
import sys
import time

import prometheus_client
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_open
from prometheus_client.parser import text_string_to_metric_families as read_plain

from kernel.config.settings import load_config
from kernel.errors import BootError
from kernel.loading.loader import load
from kernel.public import JOBS, Measure
from kernel.testing import running_server
from tests.plugins.jobs.support import become, ended, enqueue, install, install_with, overrides
from tests.waiting import eventually

TOKEN = "a-token-for-the-scraper"


def config(**metrics):
    tree = overrides()
    tree["plugins"]["metrics"] = {"token": TOKEN, "every": 0.1, **metrics}
    return tree


@pytest.fixture(scope="module")
def server(postgres, tmp_path_factory):
    folder = tmp_path_factory.mktemp("metrics")
    with running_server(postgres, config(), data_dir=folder) as running:
        yield running


def page(server, **headers):
    headers = {"authorization": f"Bearer {TOKEN}", **headers}
    answer = server.http.get("/metrics", headers=headers)
    assert answer.status_code == 200, answer.text
    return answer


def numbers(server):
    """Samples by name: a list of (labels without the process, value)."""
    found = {}
    for family in read_plain(page(server).text):
        for sample in family.samples:
            labels = {k: v for k, v in sample.labels.items() if k != "process"}
            found.setdefault(sample.name, []).append((labels, sample.value))
    return found


def value(server, name, **labels):
    """The sum of the samples that have these labels."""
    have = numbers(server).get(name, [])
    return sum(v for own, v in have if labels.items() <= own.items())


def counted(server, method, route, status):
    labels = {"method": method, "route": route, "status": str(status)}
    return value(server, "caudex_http_requests_total", **labels)


@pytest.mark.parametrize(
    ("path", "route", "status"),
    [
        ("/health", "/health", 200),
        ("/api/v1/apps", "/api/v1/apps", 401),
        ("/api/v1/apps/secret-name/jobs/1", "/api/v1/apps/{app_id}/jobs/{job_id}", 401),
        ("/nowhere/at/all", "none", 404),
        ("/health/" + "x" * 3000, "none", 404),
    ],
)
def test_a_request_is_counted_by_the_template_of_its_route(server, path, route, status):
    before = counted(server, "GET", route, status)
    assert server.http.get(path).status_code == status
    assert counted(server, "GET", route, status) == before + 1


def test_what_a_client_writes_is_no_label(server):
    for method in ("PROPFIND", "TRACE"):
        assert server.http.request(method, "/health").status_code == 405
    server.admin.get("/api/v1/apps/a-very-own-name/jobs?status=odd-status")
    text = page(server).text
    assert "PROPFIND" not in text
    assert "very-own" not in text
    assert "odd-status" not in text
    assert counted(server, "other", "none", 405) == 2


def test_durations_are_a_histogram_of_what_was_counted(server):
    labels = {"method": "GET", "route": "/health"}
    before = value(server, "caudex_http_request_duration_seconds_count", **labels)
    for _ in range(5):
        server.http.get("/health")
    name = "caudex_http_request_duration_seconds"
    assert value(server, f"{name}_count", **labels) == before + 5
    assert value(server, f"{name}_bucket", le="+Inf", **labels) == before + 5
    assert 0 < value(server, f"{name}_sum", **labels) < 5 * (before + 5)


@pytest.mark.slow
def test_an_error_of_a_handler_is_a_500_and_a_refusal_its_own_status(make_server, tmp_path):
    path = tmp_path / "broken.py"
    path.write_text(
        '"""Breaks."""\n'
        "from caudex import PUBLIC, Forbidden, Plugin, Route, hookimpl\n\n\n"
        "class BrokenPlugin(Plugin):\n"
        '    name = "broken"\n\n'
        "    @hookimpl\n"
        "    def register_routes(self, services):\n"
        '        return [Route("GET", "/broken", self.broken, PUBLIC),\n'
        '                Route("GET", "/slow", self.slow, PUBLIC)]\n\n'
        "    async def broken(self, request):\n"
        '        raise ValueError("x")\n\n'
        "    async def slow(self, request):\n"
        '        raise Forbidden("not so fast")\n'
    )
    tree = config()
    tree["server"]["plugin_files"].append(str(path))
    server = make_server(tree)
    for route, status in (("/broken", 500), ("/slow", 403)):
        assert server.http.get(route).status_code == status
        assert counted(server, "GET", route, status) == 1
    assert value(server, "caudex_http_requests_active") == 1  # this one


def test_hooks_are_counted_with_their_refusals(server):
    labels = {"plugin": "auth", "hook": "authenticate"}
    before = {
        what: value(server, f"caudex_hook_{what}_total", **labels)
        for what in ("calls", "refusals", "seconds")
    }
    bad = {"authorization": "Bearer nonsense"}
    assert server.http.get("/api/v1/apps", headers=bad).status_code == 401
    after = {what: value(server, f"caudex_hook_{what}_total", **labels) for what in before}
    assert after["calls"] == before["calls"] + 1
    assert after["refusals"] == before["refusals"] + 1
    assert after["seconds"] > before["seconds"]


def test_the_pool_is_measured(server):
    found = numbers(server)
    states = {labels["state"]: v for labels, v in found["caudex_pool_connections"]}
    assert set(states) == {"idle", "used"}
    assert 1 <= sum(states.values()) <= server.kernel.config.database.pool_size
    assert found["caudex_pool_waiting"] == [({}, 0)]
    asked = value(server, "caudex_pool_requests_total")
    tickets = {"entityName": "tickets", "fields": [{"name": "title", "type": "text"}]}
    app_id = install_with(server, {"dataContract": [tickets]}, running=())
    every = f"/api/v1/apps/{app_id}/collections/tickets"
    assert server.admin.get(every).json() == []  # a stream
    assert value(server, "caudex_pool_requests_total") > asked


def test_the_lanes_are_measured(server):
    if os.environ.get("CAUDEX_TEST_STATEMENTS") == "kernel":
        assert "caudex_pipeline_connections" not in numbers(server)
        return
    groups = ("reads", "filters", "writes")
    for group in groups:
        assert value(server, "caudex_pipeline_connections", group=group) >= 1
    name = "caudex_pipeline_statements_total"
    before = value(server, name, group="writes")
    install(server)
    eventually(lambda: value(server, name, group="writes") > before)
    assert value(server, "caudex_pipeline_left_total", group="filters") >= 0


def test_jobs_are_counted_by_state_and_by_what_became_of_them(server):
    app = install(server, running=())
    waiting = value(server, "caudex_jobs", state="pending")
    later = value(server, "caudex_jobs", state="scheduled")
    done = value(server, "caudex_jobs_runs_total", status="completed")
    job = enqueue(server, app, 1)
    enqueue(server, app, 2, run_at=f"{time.gmtime().tm_year + 1}-12-31T00:00:00Z")
    eventually(lambda: value(server, "caudex_jobs", state="pending") == waiting + 1)
    eventually(lambda: value(server, "caudex_jobs", state="scheduled") == later + 1)
    become(server, app, "running")
    ended(server, app, job)
    eventually(lambda: value(server, "caudex_jobs", state="pending") == waiting)
    eventually(lambda: value(server, "caudex_jobs_runs_total", status="completed") == done + 1)


def test_workers_are_counted_by_state(make_server):
    server = make_server({"plugins": {"metrics": {"token": TOKEN}}})
    states = {labels["state"] for labels, _ in numbers(server)["caudex_workers"]}
    assert states == {"starting", "running", "stopping", "stopped", "crashed"}
    assert value(server, "caudex_workers") == 0


@pytest.mark.skipif(sys.platform != "linux", reason="read from /proc")
def test_the_process_is_measured(server):
    assert 20e6 < value(server, "process_resident_memory_bytes") < 4e9
    assert value(server, "process_cpu_seconds_total") > 0
    assert value(server, "process_open_fds") > 0


def test_the_version_is_reported(server):
    [(labels, one)] = numbers(server)["caudex_info"]
    assert (list(labels), one) == (["version"], 1)


# Who may read


def test_nothing_is_public(server):
    for headers in (
        {},
        {"authorization": "Bearer"},
        {"authorization": f"Bearer {TOKEN}x"},
        {"authorization": f"Bearer {TOKEN[:-1]}"},
        {"authorization": f"Basic {TOKEN}"},
        {"authorization": TOKEN},
        {"x-forwarded-for": "127.0.0.1"},
    ):
        answer = server.http.get("/metrics", headers=headers)
        assert answer.status_code == 401, headers
        assert list(answer.json()) == ["error"]
    odd = {b"authorization": "Bearer é".encode()}
    assert server.http.get("/metrics", headers=odd).status_code == 401


def test_core_admins_may_read_and_other_users_may_not(server):
    assert server.admin.get("/metrics").status_code == 200
    answer = server.user().get("/metrics")
    assert (answer.status_code, list(answer.json())) == (403, ["error"])


def test_without_a_token_only_core_admins_may_read(make_server):
    server = make_server(config(token=""))
    assert server.admin.get("/metrics").status_code == 200
    for given in ("", "Bearer", f"Bearer {TOKEN}"):
        answer = server.http.get("/metrics", headers={"authorization": given})
        assert answer.status_code == 401


def test_without_accounts_and_a_token_no_one_may_read(make_server):
    # No plugin is left that could identify the caller.
    names = ("auth", "rbac", "apps", "data", "files", "frontends", "jobs", "workers", "logs",
             "vault", "audit", "backup", "undo", "trace", "exports")  # fmt: skip
    off = {name: {"enabled": False} for name in names}
    server = make_server({"plugins": {**off, "metrics": {}}})
    assert server.http.get("/metrics").status_code == 401


@pytest.mark.parametrize("token", ["short", "x" * 15, "with a blank in it", "é" * 20, "x" * 1001])
def test_a_token_is_long_and_plain(token):
    said = r"\[plugins\.metrics\]: token: expected 16 characters or more, [^\[]*$"
    with pytest.raises(BootError, match=said):
        load(load_config(None, environ={}, overrides={"plugins.metrics": {"token": token}}))


# How it is written


@pytest.mark.parametrize(
    ("accept", "kind", "read"),
    [
        ("", "text/plain; version=0.0.4; charset=utf-8", read_plain),
        ("*/*", "text/plain; version=0.0.4; charset=utf-8", read_plain),
        ("text/plain;version=nonsense", "text/plain; version=0.0.4; charset=utf-8", read_plain),
        (
            "application/openmetrics-text;version=1.0.0,text/plain;q=0.5",
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
            read_open,
        ),
        (
            "application/openmetrics-text;version=x",
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
            read_open,
        ),
        (
            "application/openmetrics-text;q=0.1,text/plain",
            "text/plain; version=0.0.4; charset=utf-8",
            read_plain,
        ),
        (
            "application/openmetrics-text;q=0",
            "text/plain; version=0.0.4; charset=utf-8",
            read_plain,
        ),
    ],
)
def test_a_scraper_gets_the_form_that_it_asks_for(server, accept, kind, read):
    answer = page(server, accept=accept)
    assert answer.headers["content-type"] == kind
    [reported] = [route.openapi for _, route in server.kernel.routes if route.path == "/metrics"]
    assert kind.partition(";")[0] in reported["responses"]["200"]["content"]
    wanted = {"caudex_http_requests", "caudex_hook_calls", "caudex_jobs"}
    assert wanted - {"caudex_jobs"} <= {family.name for family in read(answer.text)}
    # A count of jobs that takes too long is left out of a page, and is in a later one.
    eventually(lambda: wanted <= {each.name for each in read(page(server, accept=accept).text)})


def test_the_global_registry_of_the_library_is_left_alone(server):
    names = {family.name for family in prometheus_client.REGISTRY.collect()}
    assert not any(name.startswith("caudex") for name in names)
    gauge = prometheus_client.Gauge("another_plugins", "x")
    try:
        assert "another_plugins" not in page(server).text
    finally:
        prometheus_client.REGISTRY.unregister(gauge)


# Several processes


def test_any_process_answers_for_all(make_server, tmp_path):
    one = make_server(config(), data_dir=tmp_path)
    two = make_server(config(), dsn=one.dsn, data_dir=tmp_path)
    for _ in range(3):
        one.http.get("/health")
        two.http.get("/health")

    def by_process(server):
        found = {}
        for family in read_plain(page(server).text):
            for sample in family.samples:
                is_total = sample.name == "caudex_http_requests_total"
                if is_total and sample.labels["route"] == "/health":
                    found[sample.labels["process"]] = sample.value
        return found

    eventually(lambda: sorted(by_process(one).values()) == [3, 3])
    eventually(lambda: sorted(by_process(two).values()) == [3, 3])
    # A count that takes too long is left out of a page, and is in a later one.
    found = eventually(lambda: numbers(one).get("caudex_jobs"))
    assert len(found) == 3  # once, as it is the deployment's
    two.stop()
    assert list(by_process(one).values()) == [3]


@pytest.mark.slow
def test_a_process_that_died_is_forgotten(make_server, tmp_path):
    server = make_server(config(), data_dir=tmp_path)
    folder = tmp_path / "metrics"
    [own] = eventually(lambda: list(folder.glob("*.json")))
    dead, odd = folder / "1-dead.json", folder / "2-odd.json"
    dead.write_bytes(own.read_bytes().replace(own.stem.encode(), b"1-dead"))
    odd.write_bytes(b"{")
    ahead = time.time() + 60
    os.utime(dead, (ahead, ahead))  # it lives, however long we take to ask
    assert 'process="1-dead"' in page(server).text
    os.utime(dead)  # from now on no one renews it
    eventually(lambda: 'process="1-dead"' not in page(server).text)
    eventually(lambda: page(server) and list(folder.glob("*.json")) == [own])
    server.stop()
    assert list(folder.iterdir()) == []


# Numbers of other plugins

OTHER = '''
"""Measures tea."""

import asyncio

from caudex import Measure, Plugin, hookimpl


class TeaPlugin(Plugin):
    name = "tea"

    @hookimpl(optionalhook=True)
    async def measure(self):
        return {numbers}
'''


@pytest.mark.slow
@pytest.mark.parametrize(
    ("numbers_", "has"),
    [
        ("[Measure(name='caudex_tea_cups', help='Cups.', value=3, labels={'of': 'oolong'})]", True),
        ("[Measure(name='caudex_tea_cups', help='Cups.', value=3, kind='counter')]", True),
        ("[Measure(name='tea', help='x', value=3)]", False),
        ("[Measure(name='caudex_tea_cups', help='x', value=3, labels={'process': '1'})]", False),
        ("[Measure(name='caudex_tea_cups', help='x', value=3, labels={'a b': '1'})]", False),
        ("1 / 0", False),
        ("5", False),
        ("[5]", False),
        ("[Measure(name='caudex_tea_cups', help='x', value='many')]", False),
        ("await asyncio.sleep(60)", False),
    ],
)
def test_another_plugin_is_measured_and_its_faults_are_its_own(
    make_server, tmp_path, numbers_, has
):
    path = tmp_path / "tea.py"
    path.write_text(OTHER.format(numbers=numbers_))
    tree = config()
    tree["server"]["plugin_files"].append(str(path))
    server = make_server(tree)
    began = time.monotonic()
    text = page(server).text
    assert time.monotonic() - began < 10
    assert ("tea_cups" in text) is has
    eventually(lambda: "caudex_jobs" in page(server).text)


def test_a_hook_of_this_plugin_is_no_mistake_while_it_is_off(make_server, tmp_path):
    path = tmp_path / "tea.py"
    path.write_text(OTHER.format(numbers="[]"))
    server = make_server({"server": {"plugin_files": [str(path)]}})
    assert server.http.get("/metrics").status_code == 404


def test_a_count_of_jobs_asks_once_for_all_who_come_meanwhile(make_server):
    server = make_server(config(every=60))
    service, asked = server.services.get(JOBS), []

    async def measured():
        asked.append(1)
        return [Measure(name="caudex_jobs", help="x", value=1, shared=True)]

    page(server)
    service.measured = measured
    for _ in range(5):
        page(server)
    assert asked == []


def test_without_the_package_the_start_says_what_to_install(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("contrib.metrics")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(BootError) as found:
        load(load_config(None, environ={}, overrides={"plugins.metrics": {}}))
    assert str(found.value) == (
        "plugin metrics: the package prometheus-client is not installed; "
        "pip install 'prometheus-client>=0.22'"
    )


def test_it_is_off_unless_the_configuration_names_it():
    kernel = load(load_config(None, environ={}))
    assert "metrics" not in [plugin.name for plugin in kernel.instances]
