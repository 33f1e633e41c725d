"""Jobs that belong to a plugin, and not to an app."""

from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from kernel.public import JOBS
from kernel.testing import MakeServer, Server
from tests.kernel.here import caudex_here
from tests.kernel.processes import environment
from tests.plugins.jobs.support import QUICK
from tests.waiting import eventually

MAILER = Path(__file__).with_name("mailer.py")
CONFIG = {"plugins": {"workers": {"enabled": False}, "jobs": QUICK}}


def mailer(server: Server) -> Any:
    return next(plugin for plugin in server.kernel.instances if plugin.name == "mailer")


def mail(server: Server, to: str) -> str:
    return server.http.post("/api/v1/mail", json={"to": to}).raise_for_status().json()["id"]


def status(server: Server, job_id: str) -> str:
    [(found,)] = server.sql("select status from caudex_jobs.jobs where id = %s", job_id)
    return found


@pytest.mark.slow
def test_a_job_of_a_plugin_survives_a_restart(make_server: MakeServer, tmp_path: Path):
    server = make_server(CONFIG, plugins=[MAILER], data_dir=tmp_path)
    began, waits = mail(server, "ada"), mail(server, "bob")
    eventually(lambda: status(server, began) == "running", 10)
    server.stop()
    later = make_server(CONFIG, plugins=[MAILER], dsn=server.dsn, data_dir=tmp_path)
    assert status(later, waits) in ("pending", "running")
    later.run(set_works, later)
    eventually(lambda: status(later, began) == status(later, waits) == "completed", 10)
    assert sorted(mailer(later).sent) == ["ada", "bob"]
    assert mailer(server).sent == []


async def set_works(server: Server) -> None:
    mailer(server).works.set()


def test_a_failure_is_logged_with_the_plugin_and_where_it_was_raised(make_server: MakeServer):
    server = make_server(CONFIG, plugins=[MAILER])
    with capture_logs() as logs:
        job_id = mail(server, "nowhere")
        eventually(lambda: status(server, job_id) == "failed")
    [line] = [line for line in logs if line["event"] == "a job of a plugin failed"]
    assert (line["plugin"], line["job"]) == ("mailer", job_id)
    assert line["exc_info"].__traceback__.tb_next.tb_frame.f_code.co_filename == str(MAILER)
    [(error,)] = server.sql("select error from caudex_jobs.jobs where id = %s", job_id)
    assert error == "ValueError: there is no such address"


def test_the_log_of_a_job_has_nothing_of_the_job_before(make_server: MakeServer):
    server = make_server(CONFIG, plugins=[MAILER])
    server.run(set_works, server)
    for to in ("ada", "bob"):
        job_id = mail(server, to)
        eventually(lambda job_id=job_id: status(server, job_id) == "completed")
        assert mailer(server).logged[-1] == {"request_id": job_id}


@pytest.mark.slow
def test_core_admins_see_the_jobs_of_a_plugin(make_server: MakeServer):
    server = make_server(CONFIG, plugins=[MAILER])
    waiting, failed = mail(server, "ada"), mail(server, "nowhere")
    eventually(lambda: status(server, failed) == "failed", 10)
    path = "/api/v1/plugins/mailer/jobs"
    assert [job["id"] for job in server.admin.get(path).json()] == [failed, waiting]
    [job] = server.admin.get(path, params={"status": "failed"}).json()
    assert (job["id"], job["app_id"]) == (failed, "plugin:mailer")
    assert job["error"] == "ValueError: there is no such address"
    assert server.admin.get(path, params={"before": failed, "limit": 1}).json()[0]["id"] == waiting
    assert server.admin.get(path, params={"state": "failed"}).status_code == 400
    assert server.user().get(path).status_code == 403
    assert server.http.get(path).status_code == 401
    absent = server.admin.get("/api/v1/plugins/absent/jobs")
    assert (absent.status_code, absent.json()) == (404, {"error": "plugin 'absent' is not on"})


def test_jobs_of_a_plugin_are_none_of_an_app(make_server: MakeServer):
    server = make_server(CONFIG, plugins=[MAILER])
    job_id = mail(server, "ada")
    path = "/api/v1/apps/plugin:mailer/jobs"
    assert server.admin.get(path).status_code == 404
    assert server.admin.get(f"{path}/{job_id}").status_code == 404
    assert server.admin.post(path, json={"payload": {"to": "eve"}}).status_code == 404
    assert server.admin.get("/api/v1/apps").json() == []


def test_a_plugin_handles_its_jobs_once(make_server: MakeServer):
    server = make_server(CONFIG, plugins=[MAILER])
    again = server.services.get(JOBS).handling("mailer", mailer(server).send)
    with pytest.raises(RuntimeError, match="the plugin mailer handles its jobs already"):
        server.run(again.__aenter__)


@pytest.mark.slow
def test_a_purge_drops_the_jobs_of_a_plugin(make_server: MakeServer, tmp_path: Path):
    server = make_server(CONFIG, plugins=[MAILER], data_dir=tmp_path / "data")
    mail(server, "ada")
    server.stop()
    env = environment() | {
        "CAUDEX_DATABASE__URL": server.dsn, "CAUDEX_DATA_DIR": str(tmp_path / "data"),
    }  # fmt: skip
    ended = caudex_here("plugins", "purge", "mailer", "--yes", env=env)
    assert (ended.status, ended.out) == (0, "dropped: jobs of plugin:mailer\n")
    assert server.sql("select count(*) from caudex_jobs.jobs") == [(0,)]
    assert caudex_here("plugins", "purge", "mailer", "--yes", env=env).out == (
        "plugin mailer has left nothing\n"
    )
