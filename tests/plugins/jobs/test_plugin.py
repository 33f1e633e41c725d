"""The plugin as an operator switches it: off, without workers, with another engine."""

from tests.plugins.jobs.support import enqueue, install, job_of, overrides

OTHER = '''
"""Jobs that are done before they are asked for."""

from caudex import JOBS, Plugin, hookimpl, provide


class Done:
    async def enqueue(self, actor, app_id, job):
        return "1"

    async def get(self, app_id, job_id, *, user_id=None):
        return b'{"id": "1", "status": "completed"}'


class OtherJobsPlugin(Plugin):
    name = "other_jobs"

    @hookimpl
    def provide_services(self):
        return [provide(JOBS, lambda services: Done())]
'''


def test_switched_off_there_are_no_jobs(make_server):
    server = make_server({"plugins": {"jobs": {"enabled": False}}})
    server.admin.post("/api/v1/apps", json={"appId": "a", "name": "a"}).raise_for_status()
    answer = server.admin.post("/api/v1/apps/a/jobs", json={"payload": 1})
    assert (answer.status_code, answer.json()) == (404, {"error": "there is no such route"})
    server.admin.delete("/api/v1/apps/a").raise_for_status()


def test_without_workers_jobs_are_accepted_and_wait(make_server):
    server = make_server({"plugins": {"workers": {"enabled": False}}})
    server.admin.post("/api/v1/apps", json={"appId": "a", "name": "a"}).raise_for_status()
    answer = server.admin.post("/api/v1/apps/a/jobs", json={"payload": 1}).json()
    job_id = answer["job_id"]
    assert answer["warning"].startswith("no plugin that is on runs workers: jobs wait")
    [plugin] = [each for each in server.kernel.instances if each.name == "jobs"]
    [finding] = plugin.diagnose(lambda *_: None)
    assert (finding.name, finding.state, finding.text) == ("jobs", "warn", answer["warning"])
    assert job_of(server, "a", job_id)["status"] == "pending"
    server.admin.post(f"/api/v1/apps/a/jobs/{job_id}/cancel").raise_for_status()


def test_with_workers_there_is_no_warning(make_server):
    server = make_server()
    server.admin.post("/api/v1/apps", json={"appId": "a", "name": "a"}).raise_for_status()
    answer = server.admin.post("/api/v1/apps/a/jobs", json={"payload": 1}).json()
    assert answer.keys() == {"job_id"}
    [plugin] = [each for each in server.kernel.instances if each.name == "jobs"]
    assert plugin.diagnose(lambda *_: None) == []


def test_another_engine_answers_the_routes(make_server, tmp_path):
    path = tmp_path / "other_jobs.py"
    path.write_text(OTHER)
    config = overrides()
    config["server"]["plugin_files"].append(str(path))
    config["services"] = {"jobs": "other_jobs"}
    server = make_server(config)
    app = install(server)
    assert enqueue(server, app) == "1"
    assert job_of(server, app, "1") == {"id": "1", "status": "completed"}
    server.admin.delete(f"/api/v1/apps/{app}").raise_for_status()
