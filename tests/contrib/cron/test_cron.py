"""Crons on a running server."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta

import anyio
import psycopg
import pytest

from kernel.config.settings import load_config
from kernel.errors import BootError
from kernel.loading.loader import load
from kernel.public import APPS, JOBS, NotFound, Unavailable
from kernel.testing import running_server
from tests.plugins.jobs.support import become, ended, fake
from tests.waiting import eventually

from .support import app_with, config, fired, jobs, make_due, path, runs, states

REPORT = {"name": "report", "method": "send", "payload": {"to": "all"}}


@pytest.fixture(scope="module")
def server(postgres, tmp_path_factory):
    with running_server(postgres, config(), data_dir=tmp_path_factory.mktemp("cron")) as running:
        yield running


def shown(server, app, name):
    answer = server.admin.get(path(app))
    assert answer.status_code == 200, answer.text
    [cron] = [cron for cron in answer.json() if cron["name"] == name]
    return cron


def hold(server):
    """Let jobs run until the gate is opened."""
    gate = anyio.Event()

    async def handler(job):
        await gate.wait()

    async def set_handler():
        fake(server).handler = handler

    async def open_gate():
        gate.set()

    server.run(set_handler)
    return lambda: server.run(open_gate)


def test_a_due_time_enqueues_the_job_once_and_is_logged(server):
    app = app_with(server, REPORT, running=(server,))
    make_due(server, app)
    [run] = fired(server, app, "report")
    assert (run["state"], run["missed"], run["triggered_by"]) == ("fired", 0, None)
    job = ended(server, app, run["job_id"])
    assert job["payload"] == {
        "type": "send", "to": "all", "method": "send",
        "cron": {"name": "report", "due": run["due"]},
    }  # fmt: skip
    cron = shown(server, app, "report")
    assert cron["last_run"] == run
    assert cron["next_due"] == f"{datetime.now(UTC).year + 1}-01-01T00:00:00Z"
    assert len(jobs(server, app)) == 1


def test_a_cron_of_every_minute_is_due_at_the_next_full_one(server):
    began = datetime.now(UTC)
    app = app_with(server, {"name": "tick", "schedule": "* * * * *"})
    due = datetime.fromisoformat(shown(server, app, "tick")["next_due"])
    # Also where the minute ended meanwhile, whether or not it has fired by now.
    assert began < due <= datetime.now(UTC) + timedelta(seconds=61)
    assert due.second == 0


def test_the_list_shows_what_the_manifest_declares_in_its_order(server):
    zoned = {"name": "a", "timezone": "Europe/Paris", "overlap": "queue", "enabled": False}
    app = app_with(server, {"name": "z"}, zoned)
    first, second = server.admin.get(path(app)).json()
    assert (first["name"], second["name"]) == ("z", "a")
    assert second == {
        "name": "a", "schedule": "0 0 1 1 *", "timezone": "Europe/Paris", "overlap": "queue",
        "payload": {}, "enabled": False, "next_due": None, "last_run": None,
    }  # fmt: skip


def test_the_next_five_due_times_are_shown(server):
    off = {"name": "off", "enabled": False}
    app = app_with(server, {"name": "tick", "schedule": "59 * * * MON-FRI"}, off, {"name": "year"})
    due = server.admin.get(f"{path(app)}/tick/upcoming").json()["due"]
    assert due[0] == shown(server, app, "tick")["next_due"]
    assert due == sorted(set(due))
    times = [datetime.fromisoformat(each) for each in due]
    assert [(each.minute, each.weekday() < 5) for each in times] == [(59, True)] * 5
    assert server.admin.get(f"{path(app)}/off/upcoming").json() == {"due": []}
    years = server.admin.get(f"{path(app)}/year/upcoming").json()["due"]
    assert [int(each[:4]) - int(years[0][:4]) for each in years] == list(range(5))
    assert server.admin.get(f"{path(app)}/absent/upcoming").status_code == 404


def test_a_bad_section_is_a_400_and_nothing_is_installed(server):
    body = {"appId": "badcron", "name": "x", "crons": [{"name": "a", "schedule": "0 25 * * *"}]}
    answer = server.admin.post("/api/v1/apps", json=body)
    assert answer.status_code == 400
    assert answer.json() == {"error": "crons[0].schedule: bad hour in '0 25 * * *'"}
    assert server.admin.get(path("badcron")).status_code == 404


def test_what_was_missed_is_made_up_for_by_one_run(server):
    app = app_with(server, {"name": "hourly", "schedule": "0 * * * *"})
    make_due(server, app, ago=5 * 3600)
    [run] = fired(server, app, "hourly")
    assert run["state"] == "fired"
    assert run["missed"] in (4, 5)
    assert datetime.now(UTC) - datetime.fromisoformat(run["due"]) < timedelta(hours=1, seconds=30)
    assert len(jobs(server, app)) == 1


def test_what_was_missed_for_too_long_is_logged_and_not_made_up_for(server):
    app = app_with(server, {"name": "yearly"})
    make_due(server, app, ago=3 * 86_400)
    [run] = fired(server, app, "yearly")
    assert (run["state"], run["job_id"]) == ("missed", None)
    assert jobs(server, app) == []


def test_skip_leaves_a_run_out_while_the_job_before_has_not_ended(server):
    app = app_with(server, {"name": "c", "overlap": "skip"})
    for count in (1, 2, 3):
        make_due(server, app, ago=60 - count)
        fired(server, app, "c", count)
    assert states(server, app, "c") == ["fired", "skipped", "skipped"]
    [job] = jobs(server, app)
    become(server, app, "running")
    ended(server, app, job["id"])
    make_due(server, app)
    assert fired(server, app, "c", 4)[-1]["state"] == "fired"
    assert len(jobs(server, app)) == 2


def test_queue_lets_a_run_wait_for_the_job_before_and_two_never_run_at_once(server):
    app = app_with(server, {"name": "c", "overlap": "queue"}, running=(server,))
    release = hold(server)
    try:
        for count in (1, 2, 3):
            make_due(server, app, ago=10 - count)
            fired(server, app, "c", count)
        assert states(server, app, "c") == ["fired", "waiting", "waiting"]
        assert len(jobs(server, app)) == 1
    finally:
        release()
    eventually(lambda: states(server, app, "c") == ["fired"] * 3, 20)
    done = [ended(server, app, run["job_id"]) for run in fired(server, app, "c", 3)]
    assert len({job["id"] for job in done}) == 3
    due_times = [job["payload"]["cron"]["due"] for job in done]
    assert due_times == sorted(due_times)


@pytest.mark.slow
def test_so_many_runs_wait_and_no_more(make_server):
    server = make_server(config(max_waiting=2))
    app = app_with(server, {"name": "c", "overlap": "queue"})
    for count in range(1, 6):
        make_due(server, app, ago=20 - count)
        fired(server, app, "c", count)
    assert states(server, app, "c") == ["fired", "waiting", "waiting", "skipped", "skipped"]
    assert runs(server, app, "c")[0]["detail"] == "2 runs wait already"


def test_allow_runs_both(server):
    app = app_with(server, {"name": "c", "overlap": "allow"})
    for count in (1, 2):
        make_due(server, app, ago=10 - count)
        fired(server, app, "c", count)
    assert states(server, app, "c") == ["fired", "fired"]
    assert [job["status"] for job in jobs(server, app)] == ["pending", "pending"]


def test_a_key_of_anothers_job_keeps_no_cron_from_firing(server):
    app = app_with(server, {"name": "c"})
    for key in ("c", "cron:c", f"cron:{app}/c"):
        body = {"payload": 1, "key": key}
        assert server.admin.post(f"/api/v1/apps/{app}/jobs", json=body).status_code == 201
    make_due(server, app)
    assert fired(server, app, "c")[0]["state"] == "fired"


def test_the_run_log_is_bounded_and_read_in_pages(make_server):
    server = make_server(config(keep_runs=5))
    app = app_with(server, {"name": "c", "overlap": "allow"})
    for _ in range(8):
        assert server.admin.post(path(app, "c", "trigger")).status_code == 201
    log = runs(server, app, "c")
    assert len(log) == 5
    first = runs(server, app, "c", limit=2)
    rest = runs(server, app, "c", before=first[-1]["id"])
    assert [*first, *rest] == log
    for bad in ("limit=0", "limit=x", "before=x", "before=-1", "after=1", "limit=1&limit=2"):
        assert server.admin.get(f"{path(app, 'c', 'runs')}?{bad}").status_code == 400, bad


def test_trigger_runs_it_now_with_the_apps_own_rights_and_says_by_whom(server):
    app = app_with(server, REPORT, running=(server,))
    callers = []

    async def handler(job):
        callers.append(job.caller)

    async def set_handler():
        fake(server).handler = handler

    server.run(set_handler)
    answer = server.admin.post(path(app, "report", "trigger"))
    assert answer.status_code == 201
    run = answer.json()
    assert (run["state"], run["triggered_by"]) == ("fired", server.admin.id)
    ended(server, app, run["job_id"])
    assert callers == [None]
    trail = server.admin.get("/api/v1/audit?app_id=core&operation=CRON_TRIGGERED").json()
    assert trail[0]["record_id"] == f"{app}/report"
    assert trail[0]["actor_id"] == server.admin.id


def test_trigger_keeps_to_the_overlap_policy(server):
    app = app_with(server, {"name": "c"})
    answers = [server.admin.post(path(app, "c", "trigger")).json() for _ in range(2)]
    assert [run["state"] for run in answers] == ["fired", "skipped"]
    assert answers[1]["detail"] == "the job of the run before has not ended"


def test_a_cron_that_is_switched_off_is_not_due_and_misses_nothing(server):
    app = app_with(server, {"name": "c"})
    off = server.admin.patch(path(app, "c"), json={"enabled": False})
    assert off.status_code == 200
    assert (off.json()["enabled"], off.json()["next_due"]) == (False, None)
    make_due(server, app, ago=3600)
    other = app_with(server, {"name": "d"})
    make_due(server, other)
    fired(server, other, "d")
    assert runs(server, app, "c") == []
    on = server.admin.patch(path(app, "c"), json={"enabled": True}).json()
    assert on["next_due"] > datetime.now(UTC).isoformat()
    again = server.admin.patch(path(app, "c"), json={"enabled": True}).json()
    assert again == on
    assert runs(server, app, "c") == []
    trail = server.admin.get("/api/v1/audit?app_id=core&entity=crons").json()
    mine = [row["operation"] for row in trail if row["record_id"] == f"{app}/c"]
    assert mine == ["CRON_ENABLED", "CRON_DISABLED"]


def test_a_cron_of_a_time_zone_that_went_away_is_switched_off_and_not_on(server):
    app = app_with(server, {"name": "c"})
    server.sql("update caudex_cron.crons set timezone = 'Moon/Sea' where app_id = %s", app)
    assert server.admin.patch(path(app, "c"), json={"enabled": False}).status_code == 200
    answer = server.admin.patch(path(app, "c"), json={"enabled": True})
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("timezone: 'Moon/Sea' is no time zone")
    assert shown(server, app, "c")["enabled"] is False


@pytest.mark.parametrize("body", [{}, {"enabled": "x"}, {"enabled": True, "schedule": "x"}, []])
def test_a_switch_takes_nothing_else(server, body):
    app = app_with(server, {"name": "c"})
    assert server.admin.patch(path(app, "c"), json=body).status_code == 400


def test_permissions_of_each_route(server):
    app = app_with(server, {"name": "c"})
    stranger, member = server.user(), server.user()
    role = {"name": "reader", "permissions": []}
    server.admin.post(f"/api/v1/apps/{app}/roles", json=role).raise_for_status()
    body = {"userId": member.id, "role": "reader"}
    server.admin.post(f"/api/v1/apps/{app}/roles/assign", json=body).raise_for_status()
    wanted = {
        ("GET", path(app)): (403, 200),
        ("GET", path(app, "c", "runs")): (403, 200),
        ("POST", path(app, "c", "trigger")): (403, 403),
        ("PATCH", path(app, "c")): (403, 403),
    }
    for (method, url), (refused, other) in wanted.items():
        assert stranger.request(method, url, json={"enabled": True}).status_code == refused
        assert member.request(method, url, json={"enabled": True}).status_code == other
        assert server.http.request(method, url).status_code == 401


def test_an_unknown_cron_is_404(server):
    app = app_with(server, {"name": "c"})
    for method, what in (("GET", "runs"), ("POST", "trigger"), ("PATCH", "")):
        answer = server.admin.request(method, path(app, "d", what), json={"enabled": True})
        assert answer.status_code == 404
        assert answer.json() == {"error": "cron 'd' not found"}


def update(server, app, *crons):
    body = {"appId": app, "name": "x", "crons": list(crons)}
    answer = server.admin.post("/api/v1/apps", json=body)
    assert answer.status_code == 200, answer.text


def test_an_update_of_the_app_keeps_times_and_switches_unless_the_manifest_changes_them(server):
    yearly = {"name": "c", "schedule": "0 3 1 1 *"}
    app = app_with(server, yearly)
    soon = f"{datetime.now(UTC) + timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}"
    server.sql("update caudex_cron.crons set next_due = %s where app_id = %s", soon, app)
    update(server, app, {**yearly, "payload": {"x": 1}})
    cron = shown(server, app, "c")
    assert (cron["next_due"], cron["payload"]) == (soon, {"x": 1})
    update(server, app, {**yearly, "timezone": "Asia/Tokyo"})
    assert shown(server, app, "c")["next_due"] > soon
    server.admin.patch(path(app, "c"), json={"enabled": False}).raise_for_status()
    update(server, app, yearly)
    assert shown(server, app, "c")["enabled"] is False
    update(server, app, {**yearly, "enabled": False})
    update(server, app, {**yearly, "enabled": True})
    assert shown(server, app, "c")["enabled"] is True


def test_a_cron_that_is_gone_from_the_manifest_goes_with_its_log(server):
    app = app_with(server, {"name": "c"}, {"name": "d"})
    server.admin.post(path(app, "c", "trigger")).raise_for_status()
    update(server, app, {"name": "d", "schedule": "0 3 * * *"})
    assert [cron["name"] for cron in server.admin.get(path(app)).json()] == ["d"]
    left = server.sql("select count(*) from caudex_cron.crons where app_id = %s", app)
    assert left == [(1,)]
    assert len(jobs(server, app)) == 1


def test_an_uninstall_takes_the_crons_and_a_new_app_of_the_name_begins_again(server):
    app = app_with(server, {"name": "c"})
    server.admin.post(path(app, "c", "trigger")).raise_for_status()
    server.admin.delete(f"/api/v1/apps/{app}").raise_for_status()
    assert server.sql("select count(*) from caudex_cron.apps where app_id = %s", app) == [(0,)]
    update(server, app, {"name": "c", "schedule": "0 3 * * *"})
    assert runs(server, app, "c") == []


@pytest.mark.slow
def test_a_firing_that_breaks_off_leaves_nothing_and_comes_again(server):
    app = app_with(server, {"name": "c", "overlap": "allow"})
    service = server.services.get(JOBS)
    tries = []

    async def breaking(actor, app_id, job, tx=None):
        job_id = await type(service).enqueue(service, actor, app_id, job, tx)
        if app_id == app and len(tries) < 2:
            tries.append(job_id)
            raise Unavailable("the server dies here")
        return job_id

    service.enqueue = breaking
    try:
        make_due(server, app)
        [run] = fired(server, app, "c")
    finally:
        del service.enqueue
    assert len(tries) == 2
    [job] = jobs(server, app)
    assert job["id"] == run["job_id"] not in tries


def test_a_job_that_is_refused_is_logged_and_does_not_hold_up_the_others(server):
    app, other = app_with(server, {"name": "c"}), app_with(server, {"name": "d"})
    service = server.services.get(JOBS)

    async def refusing(actor, app_id, job, tx=None):
        if app_id == app:
            await tx.execute("select 1/0")
        return await type(service).enqueue(service, actor, app_id, job, tx)

    service.enqueue = refusing
    try:
        make_due(server, app, ago=5)
        make_due(server, other)
        [failed] = fired(server, app, "c")
        [run] = fired(server, other, "d")
    finally:
        del service.enqueue
    assert (failed["state"], failed["job_id"]) == ("failed", None)
    assert failed["detail"]
    assert run["state"] == "fired"


def test_a_schedule_that_this_server_cannot_read_is_logged_and_looked_at_later(server):
    app = app_with(server, {"name": "c"})
    server.sql("update caudex_cron.crons set timezone = 'Moon/Sea' where app_id = %s", app)
    make_due(server, app)
    [run] = fired(server, app, "c")
    assert run["state"] == "failed"
    assert run["detail"].startswith("timezone: 'Moon/Sea' is no time zone")


def test_a_server_that_has_not_heard_of_the_install_fires_all_the_same(server, monkeypatch):
    app, apps = app_with(server, {"name": "c"}), server.services.get(APPS)
    find, refresh, known = apps.app, apps.refresh, []

    async def find_what_is_known(app_id):
        if app_id == app and not known:
            raise NotFound("app not found")
        return await find(app_id)

    async def refresh_and_know():
        known.append(app)
        await refresh()

    monkeypatch.setattr(apps, "app", find_what_is_known)
    monkeypatch.setattr(apps, "refresh", refresh_and_know)
    make_due(server, app)
    eventually(lambda: server.sql("select state from caudex_cron.runs as r join caudex_cron.crons"
                                  " as c on c.id = r.cron_id where app_id = %s", app))  # fmt: skip
    assert known
    assert fired(server, app, "c")[0]["state"] == "fired"


def test_crons_of_an_app_that_is_gone_are_let_go(server):
    app = app_with(server, {"name": "c"})
    server.sql("update caudex_cron.apps set app_id = app_id where app_id = %s", app)
    server.sql(
        "insert into caudex_kernel.apps (app_id) values ('ghost');"
        "with a as (insert into caudex_cron.apps values ('ghost', 1) returning app_id)"
        " insert into caudex_cron.crons (app_id, name, place, schedule, timezone, overlap, payload,"
        " enabled, declared, next_due) select app_id, 'c', 0, '* * * * *', 'UTC', 'skip', '{}',"
        " true, true, now() from a"
    )
    gone = "select count(*) from caudex_cron.apps where app_id = 'ghost'"
    eventually(lambda: server.sql(gone) == [(0,)])
    assert len(server.admin.get(path(app)).json()) == 1


@pytest.mark.slow
def test_switched_off_the_section_is_ignored_and_switched_on_again_it_is_taken_up(
    make_server, tmp_path
):
    one = make_server(config(), data_dir=tmp_path)
    kept = app_with(one, {"name": "kept"})
    changed, removed = app_with(one, {"name": "old"}), app_with(one, {"name": "gone"})
    admin = one.admin.username
    one.stop()
    tree = config()
    del tree["plugins"]["cron"]
    off = make_server(tree, dsn=one.dsn, data_dir=tmp_path)
    client = off.login(admin)
    body = {"appId": changed, "name": "x", "crons": [{"name": "new", "schedule": "0 4 * * *"}]}
    answer = client.post("/api/v1/apps", json=body)
    assert answer.json() == {"message": f"app '{changed}' installed", "ignored": ["crons"]}
    odd = {"appId": "odd", "name": "x", "crons": "never"}
    assert client.post("/api/v1/apps", json=odd).status_code == 200
    assert client.get(path(changed)).status_code == 404
    client.delete(f"/api/v1/apps/{removed}").raise_for_status()
    off.stop()
    two = make_server(config(), dsn=one.dsn, data_dir=tmp_path)
    client = two.login(admin)
    for app, names in ((kept, ["kept"]), (changed, ["new"]), ("odd", [])):
        assert [cron["name"] for cron in client.get(path(app)).json()] == names
    assert two.sql("select count(*) from caudex_cron.crons where name = 'gone'") == [(0,)]


@pytest.mark.slow
def test_what_came_due_while_no_server_ran_is_made_up_for_after_the_start(make_server, tmp_path):
    one = make_server(config(), data_dir=tmp_path)
    app = app_with(one, {"name": "c", "overlap": "allow"})
    admin = one.admin.username
    one.stop()
    make_due(one, app, ago=120)
    two = make_server(config(), dsn=one.dsn, data_dir=tmp_path)
    client = two.login(admin)
    [run] = eventually(lambda: client.get(path(app, "c", "runs")).json())
    assert run["state"] == "fired"


def test_a_change_wakes_the_loop_before_its_next_look(make_server):
    server = make_server(config(poll_interval=3600))
    app = app_with(server, {"name": "c"})
    make_due(server, app)
    other = app_with(server, {"name": "d"})  # a notification wakes the loop
    assert fired(server, app, "c")[0]["state"] == "fired"
    assert runs(server, other, "d") == []


def test_without_the_package_the_start_says_what_to_install(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("contrib.cron")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "cronsim", None)
    with pytest.raises(BootError) as found:
        load(load_config(None, environ={}, overrides={"plugins.cron": {}}))
    assert str(found.value) == (
        "plugin cron: the package cronsim is not installed; pip install 'cronsim>=2.6'"
    )


def test_without_jobs_the_start_says_what_is_missing():
    overrides = {"plugins.cron": {}, "plugins.jobs": {"enabled": False}}
    with pytest.raises(BootError, match="plugin cron: needs the service 'jobs'"):
        load(load_config(None, environ={}, overrides=overrides))


def test_it_is_off_unless_the_configuration_names_it():
    kernel = load(load_config(None, environ={}))
    assert "cron" not in [plugin.name for plugin in kernel.instances]


def test_an_engine_of_jobs_that_breaks_does_not_end_the_server(server):
    app = app_with(server, {"name": "c"})
    service = server.services.get(JOBS)
    broken = []

    async def breaking(actor, app_id, job, tx=None):
        if app_id == app and not broken:
            broken.append(1)
            raise ValueError("a fault")
        return await type(service).enqueue(service, actor, app_id, job, tx)

    service.enqueue = breaking
    try:
        make_due(server, app)
        [run] = fired(server, app, "c")
    finally:
        del service.enqueue
    assert broken
    assert run["state"] == "fired"
    assert server.http.get("/health").status_code == 200


@pytest.mark.slow
def test_an_app_that_came_again_while_the_plugin_was_off_has_nothing_of_the_former_ones(
    make_server, tmp_path
):
    one = make_server(config(), data_dir=tmp_path)
    app = app_with(one, {"name": "c"})
    one.admin.post(path(app, "c", "trigger")).raise_for_status()
    one.admin.patch(path(app, "c"), json={"enabled": False}).raise_for_status()
    admin = one.admin.username
    one.stop()
    tree = config()
    del tree["plugins"]["cron"]
    off = make_server(tree, dsn=one.dsn, data_dir=tmp_path)
    client = off.login(admin)
    client.delete(f"/api/v1/apps/{app}").raise_for_status()
    body = {"appId": app, "name": "x", "crons": [{"name": "c", "schedule": "0 0 1 1 *"}]}
    client.post("/api/v1/apps", json=body).raise_for_status()
    off.stop()
    two = make_server(config(), dsn=one.dsn, data_dir=tmp_path)
    two._admin = two.login(admin)
    [cron] = two.admin.get(path(app)).json()
    assert (cron["enabled"], cron["last_run"]) == (True, None)
    assert runs(two, app, "c") == []


FAR = "update caudex_cron.crons set next_due = now() + interval '4 years' where app_id = %s"


def test_a_due_time_from_a_clock_that_was_ahead_is_set_back(server):
    summer = {"name": "summer", "schedule": "0 0 1 7 *"}
    app = app_with(server, summer, {"name": "winter"})

    def due():
        return [shown(server, app, name)["next_due"] for name in ("summer", "winter")]

    before = due()
    server.sql(FAR, app)
    eventually(lambda: due() == before)
    assert (runs(server, app, "summer"), runs(server, app, "winter")) == ([], [])


def test_a_due_time_that_is_far_and_cannot_be_computed_is_looked_at_later(server):
    app = app_with(server, {"name": "c"})
    server.sql("update caudex_cron.crons set timezone = 'Moon/Sea' where app_id = %s", app)
    server.sql(FAR, app)
    near = (
        "select next_due < now() + interval '1 hour 5 s' from caudex_cron.crons where app_id = %s"
    )
    eventually(lambda: server.sql(near, app) == [(True,)])


def hold_up(server, app):
    """Lock the jobs of an app, as its removal does; return the connection."""
    connection = psycopg.connect(server.dsn)
    connection.execute("delete from caudex_jobs.jobs where app_id = %s", [app])
    return connection


@pytest.mark.slow
@pytest.mark.parametrize("overlap", ["skip", "queue"])
def test_an_app_whose_jobs_someone_is_at_holds_up_no_other(make_server, overlap):
    server = make_server({**config(), "database": {"lock_timeout": 1.0}})
    held = app_with(server, *({"name": f"c{n}", "overlap": overlap} for n in range(10)))
    make_due(server, held, ago=60)
    for number in range(10):
        fired(server, held, f"c{number}")
    other = app_with(server, {"name": "d", "overlap": overlap}, running=(server,))
    with hold_up(server, held) as connection:
        make_due(server, held, ago=30)
        make_due(server, other)
        [run] = fired(server, other, "d")
        assert run["state"] == "fired"
        connection.rollback()
    later = {"queue": "waiting", "skip": "skipped"}[overlap]
    for number in range(10):
        fired(server, held, f"c{number}", 2)
        assert states(server, held, f"c{number}") == ["fired", later]


@pytest.mark.slow
def test_runs_that_wait_in_an_app_that_is_held_up_hold_up_no_other(make_server):
    server = make_server({**config(), "database": {"lock_timeout": 1.0}})
    apps = [app_with(server, {"name": "c", "overlap": "queue"}) for _ in range(2)]
    for app in apps:
        for count in (1, 2):
            make_due(server, app, ago=60 - count)
            fired(server, app, "c", count)
        assert states(server, app, "c") == ["fired", "waiting"]
    [(first,)] = server.sql("select app_id from caudex_cron.crons order by id limit 1")
    [other] = set(apps) - {first}
    for app in apps:  # the jobs before have ended, and another has the key of the first one's
        server.sql("update caudex_jobs.jobs set status = 'completed', ended_at = now(), due = false"
                   " where app_id = %s and %s <> app_id", app, first)  # fmt: skip
    server.sql("update caudex_cron.crons set last_job = null where app_id = %s", first)
    with hold_up(server, first) as connection:
        eventually(lambda: states(server, other, "c") == ["fired", "fired"], 20)
        connection.rollback()
