"""Two servers on one database: each runs its own replica, and both want the same."""

import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Generator
from pathlib import Path

import pytest

from kernel.testing import Client, Postgres, Server, running_server
from tests.plugins.workers.support import (
    PYTHON,
    QUICK,
    deploy,
    deployed,
    folder_of,
    install,
    processes_of,
    result,
    rpc,
    status,
    supervisor_of,
)
from tests.waiting import eventually

Pair = tuple[Server, Server]
SOON = 30.0
"""Seconds for news and the start of a process, also on a busy machine."""


@pytest.fixture(scope="module")
def pair(postgres: Postgres) -> Generator[Pair]:
    """Servers with data folders of their own, but for the keys: as on two machines."""
    settings = {"plugins": {"workers": dict(QUICK)}}
    with running_server(postgres, settings) as one:
        folder = Path(tempfile.mkdtemp(prefix="caudex-second-"))
        shutil.copytree(one.kernel.context.data_dir / "config", folder / "config")
        try:
            with running_server(postgres, settings, dsn=one.dsn, data_dir=folder) as two:
                yield one, two
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def at(server: Server, client: Client) -> Client:
    """The same user at another server."""
    other = Client(base_url=server.url, headers=dict(client.headers), timeout=30)
    server._clients.append(other)
    return other


@pytest.mark.slow
def test_what_is_deployed_at_one_runs_at_the_other(pair: Pair):
    one, two = pair
    app, there = deployed(one), at(two, one.admin)
    eventually(lambda: rpc(there, app, "pid").status_code == 200, SOON)
    assert result(there, app, "pid") != result(one.admin, app, "pid")

    def both_run(client: Client) -> bool:
        found = status(client, app)  # another server first reports a start, then the rest
        return (found["replicas"], found["status"]) == (2, "running")

    for client in (one.admin, there):
        eventually(lambda client=client: both_run(client), SOON)
    old = (
        "from caudex_worker import Worker\nw = Worker()\n@w.rpc\ndef new(p, c): return 2\nw.run()\n"
    )
    assert deploy(there, app, {"worker.py": old}).status_code == 200
    eventually(lambda: rpc(one.admin, app, "new").status_code == 200, SOON)


@pytest.mark.slow
def test_an_earlier_version_is_put_back_everywhere(pair: Pair):
    one, two = pair
    app, there = deployed(one), at(two, one.admin)
    path = f"/api/v1/apps/{app}/worker"
    new = (
        "from caudex_worker import Worker\nw = Worker()\n@w.rpc\ndef new(p, c): return 2\nw.run()\n"
    )
    assert deploy(there, app, {"worker.py": new}).status_code == 200
    newest, first = one.admin.get(f"{path}/versions").json()
    assert (newest["version"], newest["in_service"], first["in_service"]) == (2, True, False)
    assert first["by"] == one.admin.id
    assert len(first["sha256"]) == 64
    answer = one.admin.post(f"{path}/rollback", json={"version": 1})
    assert answer.json() == {"message": f"version 1 of worker '{app}' started"}
    for client in (one.admin, there):
        eventually(lambda client=client: rpc(client, app, "echo").status_code == 200, SOON)
    found = there.get(f"{path}/replicas").json()
    assert len({each["server_id"] for each in found}) == 2
    assert {each["version"] for each in found} == {1}
    assert deploy(there, app, {"worker.py": new}).status_code == 200
    assert one.admin.get(f"{path}/versions").json()[0]["version"] == 3
    assert one.admin.post(f"{path}/rollback", json={"version": 9}).status_code == 404
    reader = one.user(permissions={app: []}, roles={})
    assert reader.post(f"{path}/rollback", json={"version": 1}).status_code == 403


@pytest.mark.slow
def test_a_stop_and_a_start_are_in_force_at_the_other_soon(pair: Pair):
    one, two = pair
    app, there = deployed(one), at(two, one.admin)
    eventually(lambda: rpc(there, app, "echo").status_code == 200, SOON)
    assert there.post(f"/api/v1/apps/{app}/worker/stop").status_code == 200
    eventually(lambda: rpc(one.admin, app, "echo").status_code == 503, SOON)
    eventually(lambda: status(one.admin, app)["status"] == "stopped", SOON)
    assert one.admin.post(f"/api/v1/apps/{app}/worker/start").status_code == 200
    eventually(lambda: rpc(there, app, "echo").status_code == 200, SOON)


@pytest.mark.slow
def test_the_status_is_the_worst_of_the_replicas(pair: Pair):
    one, two = pair
    app, there = deployed(one), at(two, one.admin)
    eventually(lambda: rpc(there, app, "echo").status_code == 200, SOON)

    def crashed_here() -> bool:
        rpc(there, app, "die")
        return two.run(state, two, app) == "crashed"

    async def state(server: Server, app_id: str) -> str:
        return supervisor_of(server, app_id).state

    eventually(crashed_here, 20)
    for client in (one.admin, there):
        eventually(lambda client=client: status(client, app)["status"] == "crashed", SOON)
        assert status(client, app)["replicas"] == 2
    assert rpc(one.admin, app, "echo").status_code == 200, "the replica at hand answers"
    assert one.admin.post(f"/api/v1/apps/{app}/worker/start").status_code == 200
    eventually(lambda: status(one.admin, app)["status"] == "running")
    eventually(lambda: rpc(there, app, "echo").status_code == 200, SOON)


def test_an_app_that_is_removed_is_gone_everywhere(pair: Pair):
    one, two = pair
    app, there = deployed(one), at(two, one.admin)
    eventually(lambda: rpc(there, app, "echo").status_code == 200, SOON)
    pids = [result(client, app, "pid") for client in (one.admin, there)]
    assert there.delete(f"/api/v1/apps/{app}").status_code == 200
    for server in pair:
        folder = folder_of(server.kernel.context.data_dir, app)
        eventually(lambda folder=folder: not folder.exists())
    eventually(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids))


@pytest.mark.slow
def test_deploys_at_both_at_once_end_in_one_version(pair: Pair):
    one, two = pair
    app, there, codes = deployed(one), at(two, one.admin), []
    clients = [one.admin, there]
    for client in clients:
        eventually(lambda client=client: rpc(client, app, "pid").status_code == 200, 5)

    def go(client: Client) -> None:
        codes.append(deploy(client, app, {"worker.py": PYTHON}).status_code)

    threads = [threading.Thread(target=go, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # Where the earlier one comes up last it is reported that the later one is in service.
    assert sorted(codes) in ([200, 200], [200, 400])

    def agreed() -> bool:
        replicas = one.sql(
            "select version, state from caudex_workers.replicas where app_id = %s", app
        )
        return replicas == [(3, "running")] * 2 and status(one.admin, app)["version"] == 3

    ends = time.monotonic() + 20
    while not agreed():
        assert time.monotonic() < ends
        for client in clients:
            assert result(client, app, "echo", 1) == 1


def test_a_server_that_vanishes_no_longer_counts(pair: Pair):
    one, _ = pair
    app = deployed(one)
    eventually(lambda: status(one.admin, app)["replicas"] == 2, SOON)
    one.sql(
        "insert into caudex_workers.replicas values (gen_random_uuid(), %s, 'crashed', 1, now())",
        app,
    )

    def heard_of(age: int) -> str:
        """The status where a sign of life of the one that crashed is so many seconds old."""
        one.sql(
            "update caudex_workers.replicas set heartbeat = now() - make_interval(secs => %s)"
            " where app_id = %s and state = 'crashed'",
            age, app,
        )  # fmt: skip
        return status(one.admin, app)["status"]

    eventually(lambda: heard_of(14) == "crashed")  # at once, unless the machine takes a second
    eventually(lambda: heard_of(15) == "running")


@pytest.mark.slow
def test_workers_that_ran_run_again_at_boot_and_those_that_were_stopped_do_not(
    postgres: Postgres, tmp_path: Path
):
    settings = {"plugins": {"workers": dict(QUICK)}}
    dsn = postgres.create()
    try:
        with running_server(postgres, settings, dsn=dsn, data_dir=tmp_path) as first:
            running, stopped = deployed(first), deployed(first)
            never = install(first)
            assert first.admin.post(f"/api/v1/apps/{stopped}/worker/stop").status_code == 200
            pid, password = result(first.admin, running, "pid"), first.admin.password
        assert not os.path.exists(f"/proc/{pid}")
        with running_server(postgres, settings, dsn=dsn, data_dir=tmp_path) as second:
            client = second.login("admin", password)
            eventually(lambda: rpc(client, running, "echo").status_code == 200)
            assert status(client, stopped)["status"] == "stopped"
            assert status(client, never)["status"] == "stopped"
    finally:
        postgres.drop(dsn)


@pytest.mark.slow
def test_a_server_that_ends_lets_calls_end_first(postgres: Postgres):
    answers: list[int] = []
    with running_server(postgres, {"plugins": {"workers": dict(QUICK)}}) as server:
        app = deployed(server)
        # A client of its own: the server's are closed before it ends.
        client = Client(base_url=server.url, headers=dict(server.admin.headers), timeout=30)
        waiting = threading.Thread(
            target=lambda: answers.append(rpc(client, app, "sleep", {"seconds": 1}).status_code)
        )
        pid = result(server.admin, app, "pid")
        replica = supervisor_of(server, app).replica
        waiting.start()
        eventually(lambda: replica._calls._pending)
    waiting.join()
    client.close()
    assert answers == [200]
    assert not os.path.exists(f"/proc/{pid}")


def code_at(server: Server, app: str) -> set[int]:
    """Versions of the app's code in this folder."""
    folder = folder_of(server.kernel.context.data_dir, app)
    names = [path.name for path in folder.iterdir()] if folder.exists() else []
    return {int(name.partition("-")[0]) for name in names if name[0].isdigit()}


def runs_at(server: Server, client: Client, app: str, version: int) -> bool:
    """Whether a version answers there."""
    answer = rpc(at(server, client), app, "version")
    return answer.status_code == 200 and answer.json() == version


@pytest.mark.slow
def test_what_is_deployed_at_one_is_kept_at_the_other_for_as_many_versions(pair: Pair):
    one, two = pair
    app, seen = install(one), 0
    for version in range(1, 9):
        reported = f"@worker.rpc\ndef version(params, ctx): return {version}\nworker.run()\n"
        code = PYTHON.replace("worker.run()\n", reported)
        assert deploy(one.admin, app, {"worker.py": code}).status_code == 200
        eventually(lambda version=version: runs_at(two, one.admin, app, version), 30)
        seen = max(seen, len(code_at(two, app)))
    eventually(lambda: code_at(two, app) == code_at(one, app) == {4, 5, 6, 7, 8}, 30)
    assert seen >= 5, "it had the code of each version"
    assert runs_at(two, one.admin, app, 8)


@pytest.mark.slow
def test_code_of_others_that_does_not_come_up_here_does_not_pile_up(pair: Pair):
    one, two = pair
    app, there = install(one), two.kernel.context.data_dir
    broken = f"import os\nif {str(there)!r} in os.getcwd(): raise SystemExit(1)\n"
    for version in range(1, 9):
        code = f"{broken}version = {version}\n{PYTHON}"
        assert deploy(one.admin, app, {"worker.py": code}).status_code == 200
        eventually(lambda version=version: version in code_at(two, app), 30)
    eventually(lambda: code_at(two, app) == {4, 5, 6, 7, 8}, 30)


@pytest.mark.slow
def test_an_archive_that_is_not_whole_is_not_run(pair: Pair):
    one, two = pair
    app, there = deployed(one), at(two, one.admin)
    eventually(lambda: rpc(there, app, "pid").status_code == 200, SOON)
    assert one.admin.post(f"/api/v1/apps/{app}/worker/stop").status_code == 200
    one.sql("update caudex_workers.chunks set data = data || 'x' where app_id = %s", app)
    shutil.rmtree(folder_of(two.kernel.context.data_dir, app))
    eventually(lambda: status(one.admin, app)["status"] == "stopped")
    assert one.admin.post(f"/api/v1/apps/{app}/worker/start").status_code == 200
    time.sleep(0.5)
    assert rpc(there, app, "echo").status_code == 503
    assert rpc(one.admin, app, "echo").status_code == 200


@pytest.mark.slow
def test_a_kill_at_one_server_is_repaired_there_alone(pair: Pair):
    one, two = pair
    app, there = deployed(one), at(two, one.admin)
    eventually(lambda: rpc(there, app, "pid").status_code == 200, SOON)
    here, pid = result(one.admin, app, "pid"), result(there, app, "pid")
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: rpc(there, app, "pid").status_code == 200, 5)
    assert result(there, app, "pid") != pid
    assert result(one.admin, app, "pid") == here


@pytest.mark.slow
def test_a_server_that_ends_leaves_no_process_of_versions_that_were_on_their_way_out(
    postgres: Postgres,
):
    stubborn = (
        "import signal, time\nfrom caudex_worker import Worker\nworker = Worker()\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "@worker.on_shutdown\nasync def never(): time.sleep(60)\nworker.run()\n"
    )
    settings = {**QUICK, "shutdown_wait": 30, "term_wait": 30}  # so that the first is still there
    with running_server(postgres, {"plugins": {"workers": settings}}) as server:
        app = deployed(server, stubborn)
        for _ in range(2):
            assert deploy(server.admin, app, {"worker.py": stubborn}).status_code == 200
        assert len(processes_of(server, app)) == 3
    assert not processes_of(server, app)  # its port may be another server's by now
