"""What `caudex doctor` reports about workers before anything was started."""

import os
from pathlib import Path

import pytest

from kernel.testing import Server
from plugins.workers.config import WorkersConfig
from plugins.workers.isolation.diagnosis import diagnose_crashed, diagnose_machine
from plugins.workers.isolation.sandbox import landlock_version
from plugins.workers.store import CRASHED


def reported(config: WorkersConfig, folder: Path) -> dict[str, bool]:
    found = diagnose_machine(config, folder)
    assert {remark.name for remark in found} == {"workers"}
    return {remark.text: remark.state == "ok" for remark in found}


def test_it_reports_what_confines_and_what_runs_workers(tmp_path: Path):
    found = reported(WorkersConfig(), tmp_path / "data")
    account = "an account of its own" if os.geteuid() == 0 else "the server's account"
    landlock = f", within Landlock {landlock_version()}" if landlock_version() else ""
    assert found[f"each app runs under {account}{landlock}"]
    assert any(text.startswith("python is run by /") for text in found)
    assert not (tmp_path / "data").exists()


def test_it_names_the_apps_whose_worker_crashed(server: Server):
    insert = "insert into caudex_workers.replicas values (gen_random_uuid(), %s, %s, 1, now())"
    for app, state in (("crm", "crashed"), ("erp", "running"), ("crm", "crashed")):
        server.sql(insert, app, state)
    [(apps,)] = server.sql(CRASHED)
    [finding] = diagnose_crashed(apps)
    assert finding.state == "warn"
    assert finding.text.startswith("crashed too often and tried again with growing pauses: crm;")
    server.sql("delete from caudex_workers.replicas where app_id in ('crm', 'erp')")
    assert not diagnose_crashed(server.sql(CRASHED)[0][0])


NO_CGROUP = (
    "CPU is not limited, and memory of an app is measured once a second: no cgroup v2 is"
    " delegated to the server (Delegate=yes in its systemd unit)"
)
NOT_ENDED = (
    "a process that leaves its worker and clears its environment is not ended: this needs a"
    " delegated cgroup v2, or a server that runs as root"
)
PORT_TAKEN = (
    "a worker that goes on after a server was killed can take its port: this needs Linux"
    " 6.7 with Landlock"
)
NO_FILTER = (
    "workers can listen at ports that they may not serve at: this needs seccomp, on x86-64 or ARM64"
)


def test_it_reports_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("plugins.workers.isolation.sandbox.landlock_version", lambda: 0)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr("plugins.workers.isolation.sandbox._succeeds", lambda _: False)
    config = WorkersConfig(bun="/nonexistent/bun", node="/nonexistent/node", python="/nonexistent")
    need = "; install one if apps need it"
    assert reported(config, tmp_path) == dict.fromkeys(
        [
            "each app runs under the server's account",
            "this kernel has no Landlock: files that others may read, workers read too",
            "nothing limits how many processes a worker starts",
            NO_CGROUP,
            NOT_ENDED,
            PORT_TAKEN,
            NO_FILTER,
            "System V memory of a worker outlives it",
            f"this server has no Python that workers could run with{need}",
            f"this server has neither bun nor node to run JavaScript with{need}",
        ],
        False,
    )
    [(text, good)] = reported(WorkersConfig(sandbox="required"), tmp_path).items()
    assert not good
    assert "[plugins.workers] sandbox: this machine can neither" in text
    off = reported(WorkersConfig(sandbox="off"), tmp_path)
    assert off['nothing confines them: sandbox = "off" in [plugins.workers]'] is False


@pytest.mark.skipif(os.geteuid() != 0, reason="accounts are changed as root only")
def test_a_data_folder_that_workers_could_not_enter_is_reported_once_a_server_has_made_it(
    tmp_path: Path,
):
    said = "workers run with the server's own account: theirs cannot enter the data folder"
    data = tmp_path / "private" / "data"
    data.mkdir(parents=True)
    data.parent.chmod(0o700)
    assert said not in reported(WorkersConfig(), data)
    (data / "workers").mkdir()
    assert reported(WorkersConfig(), data)[said] is False
