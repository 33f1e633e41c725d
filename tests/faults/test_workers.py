"""Workers that die, cling or are replaced: no orphan, no zombie, no gap."""

import itertools
import os
import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress

import httpx
import pytest

from kernel.testing import Client
from tests.faults.at_work import (
    WORKER,
    Jobs,
    call,
    deploy,
    kill,
    open_files,
    runs,
    settles,
    state,
    working,
    zombies,
)
from tests.faults.support import ROUNDS, Site, User, in_background, no_traceback, pause
from tests.kernel.processes import Served, alive, descendants
from tests.waiting import eventually

pytestmark = pytest.mark.slow

QUICK = {"plugins__workers": {"backoff": 0.02}}


def test_workers_end_with_a_server_that_is_killed(site: Site) -> None:
    with site.serve() as server:
        user = site.user(server)
        apps = [working(user) for _ in range(3)]
        pids = {call(user, app, "pid") for app in apps}
        assert len(pids) == 3
        assert pids <= descendants(server.process.pid)
        below = kill(server)
        eventually(lambda: not alive(below | pids), 5, lambda: f"left over: {alive(below)}")


def test_a_worker_that_does_not_listen_ends_with_its_children(site: Site) -> None:
    with site.serve() as server:
        user = site.user(server)
        app = working(user)
        pids = {call(user, app, "pid"), call(user, app, "cling")}
        below = kill(server)
        eventually(lambda: not alive(below | pids), 5, lambda: f"left over: {alive(below | pids)}")


DAEMONS = f"""
import subprocess, sys
daemon = subprocess.Popen(
    [sys.executable, "-c", "import time; time.sleep(120)"], start_new_session=True)
{WORKER.replace("return os.getpid()", "return [os.getpid(), daemon.pid]")}"""


def test_a_start_ends_daemons_of_the_server_that_was_killed_and_no_others(
    make_site: Callable[..., Site],
) -> None:
    """The others live: on the same database and data folder, or on the same database alone."""
    site = make_site()
    elsewhere = make_site(site.dsn)
    with ExitStack() as stack:
        killed, beside = (stack.enter_context(site.serve()) for _ in range(2))
        shutil.copytree(site.folder / "data" / "config", elsewhere.folder / "data" / "config")
        apart = stack.enter_context(elsewhere.serve())
        user = site.user(killed)
        app = working(user, DAEMONS)
        pids = {server: _pids_at(user, app, server) for server in (killed, beside, apart)}
        others = pids[beside] | pids[apart]
        assert len(pids[killed] | others) == 6

        kill(killed)
        eventually(lambda: len(alive(pids[killed])) < 2, 5, "the worker itself lives")
        [left] = alive(pids[killed])
        stack.callback(end, left)
        stack.enter_context(elsewhere.serve())
        assert alive({left}), "it is a matter of those with the same data folder"
        after = stack.enter_context(site.serve())
        assert not alive({left})
        assert alive(others) == others
        assert {server: _pids_at(user, app, server) for server in (beside, apart)} == {
            beside: pids[beside],
            apart: pids[apart],
        }
        assert "processes of a server that was killed were ended" in after.err


def _pids_at(user: User, app_id: str, server: Served) -> set[int]:
    """The processes of a server's replica: the worker and its daemon."""
    user.goto(server.url)
    body = {"method": "pid"}
    eventually(
        lambda: user.post(f"/api/v1/apps/{app_id}/rpc", json=body).status_code == 200, 20, app_id
    )
    return set(call(user, app_id, "pid"))


def end(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def test_no_child_of_a_worker_outlives_a_server_that_ends(site: Site) -> None:
    with site.serve() as server:
        user = site.user(server)
        app = working(user)
        pids = {call(user, app, "pid"), call(user, app, "cling")}
        status, seconds = server.end()
        assert (status, alive(pids)) == (0, set())
        assert seconds < 30
    no_traceback(server)


def test_crashes_leave_no_zombie_and_no_file_open(make_site: Callable[..., Site]) -> None:
    site = make_site(**QUICK)
    with site.serve() as server:
        user = site.user(server)
        app, pid = working(user), server.process.pid
        _crash(user, app, 8)
        _works(user, app)
        before = settles(lambda: (open_files(pid), len(descendants(pid))))
        _crash(user, app, 32 * ROUNDS)
        _works(user, app)
        after = settles(lambda: (open_files(pid), len(descendants(pid))))
        assert zombies(pid) == 0
        assert after[1] == before[1]
        # The pool may have grown or shrunk meanwhile; each crash that left a file would add one.
        assert after[0] - before[0] <= 15, "files of workers that are gone stay open"
        assert server.end()[0] == 0
    no_traceback(server)


def _crash(user: User, app_id: str, count: int) -> None:
    """Let the worker die that often; where the server has given it up, start it."""
    for _ in range(count):
        _works(user, app_id)
        answer = user.post(f"/api/v1/apps/{app_id}/rpc", json={"method": "die"})
        assert answer.status_code == 503, answer.text


def _works(user: User, app_id: str) -> None:
    """Check that the worker runs, after a start if it crashed."""
    eventually(lambda: state(user, app_id) in ("running", "crashed"), 30, "it hangs")
    if state(user, app_id) == "crashed":
        assert user.post(f"/api/v1/apps/{app_id}/worker/start").status_code == 200


def test_a_deploy_costs_callers_no_more_than_the_swap(site: Site) -> None:
    with site.serve() as server:
        user = site.user(server)
        app = working(user)
        path, headers = f"{server.url}/api/v1/apps/{app}/rpc", dict(user.headers)
        answers: Counter[int] = Counter()
        gaps, versions = [0.0], list[int]()

        def ask(over: threading.Event) -> None:
            with Client(headers=headers, timeout=60) as client:
                good = time.monotonic()
                while not over.is_set():
                    answer = client.post(path, json={"method": "version"})
                    answers[answer.status_code] += 1
                    if answer.status_code == 200:
                        gaps.append(time.monotonic() - good)
                        good = time.monotonic()
                        versions.append(answer.json())
                    else:
                        assert answer.status_code == 503, answer.text

        with in_background(ask), ThreadPoolExecutor(1) as pool:
            for number in range(2, 2 + 3 * ROUNDS):
                slow = pool.submit(_timed, user, app, {"seconds": 3})
                time.sleep(0.2)  # the slow call is on its way
                new = WORKER.replace("VERSION = 1", f"VERSION = {number}")
                assert deploy(user, app, new).status_code == 200
                assert call(user, app, "version") == number
                status, seconds = slow.result()
                assert status in (200, 503)
                assert seconds < 30
        assert answers[200] > 50
        assert max(gaps) < 5
        assert versions == sorted(versions), "an old version answered after a new one"
        assert set(versions) == set(range(1, 2 + 3 * ROUNDS))
        assert server.end()[0] == 0
    no_traceback(server)


def _timed(user: User, app_id: str, params: object) -> tuple[int, float]:
    started = time.monotonic()
    body = {"method": "version", "params": params}
    status = user.post(f"/api/v1/apps/{app_id}/rpc", json=body).status_code
    return status, time.monotonic() - started


def test_a_secret_that_does_not_open_stops_its_worker_and_costs_no_other(site: Site) -> None:
    with site.serve() as server:
        user = site.user(server)
        apps = [working(user), working(user)]
        for app, key in itertools.product(apps, ("GOOD", "BAD")):
            secret = {"key": key, "value": f"hush {app} {key}"}
            user.post(f"/api/v1/apps/{app}/secrets", json=secret).raise_for_status()
        assert server.end()[0] == 0
    site.sql(
        "update caudex_vault.secrets set sealed = set_byte(sealed, 40, get_byte(sealed, 40) # 1)"
        " where app_id = %s and key = 'BAD'",
        apps[0],
    )
    with site.serve() as server:
        user.goto(server.url)
        broken, whole = apps
        runs(user, whole)
        found = call(user, whole, "environment")
        assert all(found[key] == f"hush {whole} {key}" for key in ("GOOD", "BAD"))
        refused = user.post(f"/api/v1/apps/{broken}/worker/start")
        assert refused.status_code == 503
        assert "set them again: BAD" in refused.text
        secret = {"key": "BAD", "value": f"hush {broken} BAD"}
        user.post(f"/api/v1/apps/{broken}/secrets", json=secret).raise_for_status()
        user.post(f"/api/v1/apps/{broken}/worker/start").raise_for_status()
        runs(user, broken)
        assert call(user, broken, "environment")["BAD"] == f"hush {broken} BAD"
        reported = [line for line in server.err.splitlines() if "cannot be opened" in line]
        assert reported
        assert all("BAD" in line and broken in line for line in reported), reported
        assert "hush" not in server.err
        assert os.path.exists(f"/proc/{server.process.pid}")
        assert server.end()[0] == 0
    no_traceback(server)


def test_news_that_are_lost_keep_no_secret_stop_or_job_from_the_other_server(site: Site) -> None:
    """The rows are the truth: any caller that lost the word of a change looks for it."""
    cut = (
        "select count(pg_terminate_backend(pid)) from pg_stat_activity"
        " where application_name = 'caudex notifications' and datname = current_database()"
    )
    with site.serve() as one, site.serve() as two:
        user = site.user(one)
        app, there = working(user), site.user(two)
        status = f"/api/v1/apps/{app}/worker/status"
        eventually(lambda: there.get(status).status_code == 200, 20, "it has not heard of the app")
        runs(there, app)
        jobs = Jobs(site, app)
        with in_background(lambda _: (pause(0, 0.1), site.sql(cut))):
            for number in range(4 * ROUNDS):
                secret = {"key": "NEWEST", "value": f"value {number}"}
                user.post(f"/api/v1/apps/{app}/secrets", json=secret).raise_for_status()
                for client in (user, there):
                    eventually(
                        lambda c=client, n=number: _newest(c, app) == f"value {n}", 20, two.err
                    )
            jobs.put(user, 10)
            jobs.all_end(30)
            user.post(f"/api/v1/apps/{app}/worker/stop").raise_for_status()
            eventually(lambda: state(there, app) == "stopped", 20, lambda: state(there, app))
        assert set(jobs.rows().values()) == {("completed", 1)}
    no_traceback(one, two)


def _newest(user: User, app_id: str) -> str | None:
    answer = user.post(f"/api/v1/apps/{app_id}/rpc", json={"method": "environment"})
    return answer.json().get("NEWEST") if answer.status_code == 200 else None


def test_calls_during_restarts_of_the_server_get_no_503(make_site: Callable[..., Site]) -> None:
    """With a wait that fits any machine; its default is 2 s."""
    site = make_site(plugins__workers={"backoff": 0.02, "start_wait": 30})
    with site.serve() as server:
        user = site.user(server)
        app = working(user)
        port = server.url.rpartition(":")[2]
        headers = {"authorization": user.headers["authorization"]}
    answers = Counter[int]()

    def call_always(over: threading.Event) -> None:
        path = f"http://127.0.0.1:{port}/api/v1/apps/{app}/rpc"
        with Client(timeout=60, headers=headers) as client:
            while not over.is_set():
                try:
                    answer = client.post(path, json={"method": "version"})
                except httpx.TransportError:  # no server has the port
                    over.wait(0.01)
                else:
                    answers[answer.status_code] += 1

    with ExitStack() as callers:
        for _ in range(4):
            callers.enter_context(in_background(call_always))
        for _ in range(3):
            before = answers.total()
            with site.serve("--port", port) as server:
                eventually(lambda before=before: answers.total() > before + 50, 60, lambda: answers)
    assert set(answers) == {200}, answers
