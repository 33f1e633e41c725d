"""What an implementation of JOBS must do."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kernel.contracts.jobs import JOBS, plugin_jobs
from kernel.contracts.workers import WORKERS
from kernel.errors import BadRequest, NotFound
from kernel.testing import MoreOptions, Server
from kernel.testing.conformance.kit import (
    Conformance,
    at_once,
    body_of,
    eventually,
    install,
    refused,
    remove,
    unique,
)
from kernel.testing.conformance.scripted_jobs import AppJobs, PluginJobs, ScriptedWorkers, workers

FIELDS = {"id", "app_id", "status", "payload", "result", "error", "attempts",
          "created_at", "updated_at", "run_at", "progress"}  # fmt: skip
BAD_BODIES: list[Any] = [
    {}, [], {"payload": 1, "max_attempts": "x"}, {"payload": 1, "run_at": 5},
]  # fmt: skip
BAD: list[dict[str, Any]] = [
    {"run_at": "tomorrow"}, {"run_at": "2030-13-01T00:00:00Z"}, {"max_attempts": 0},
    {"max_attempts": -1}, {"timeout_s": 0}, {"timeout_s": -1}, {"timeout_s": float("inf")},
    {"priority": 2**31}, {"key": ""},
]  # fmt: skip


class JobsConformance(Conformance):
    """Background jobs: no job is lost, every job ends, in the requested order."""

    key = JOBS
    needs = {"plugins": {"workers": {"enabled": False}}}  # noqa: RUF012 - a ClassVar of the base

    @classmethod
    def options(cls) -> MoreOptions:
        """Workers that are coroutines of the kit."""
        return {"services": {WORKERS: ScriptedWorkers()}}

    @pytest.fixture
    def idle(self, server: Server) -> AppJobs:
        """An app whose worker does not run."""
        return AppJobs(server)

    @pytest.fixture
    def jobs_of_plugin(self, server: Server) -> PluginJobs:
        """Jobs of a plugin, which nothing handles."""
        return PluginJobs(server)

    @pytest.fixture
    def app(self, idle: AppJobs) -> AppJobs:
        """An app whose worker runs."""
        idle.start()
        return idle

    # Outcomes

    @pytest.mark.parametrize("value", [None, True, 0.5, "€", [1, {"a": None}], {"sent": True}])
    def test_what_the_handler_returns_is_the_result(self, app: AppJobs, value: Any) -> None:
        job_id = app.enqueue("return", value)
        job = app.wait_ended(job_id)
        assert (job["status"], job["result"], job["error"]) == ("completed", value, None)
        assert (job["id"], job["app_id"], job["attempts"]) == (job_id, app.id, 1)
        assert job["payload"] == {"do": "return", "value": value}
        assert job.keys() >= FIELDS

    def test_an_error_of_the_handler_fails_the_job_with_its_message(self, app: AppJobs) -> None:
        job = app.wait_ended(app.enqueue("fail", "no such customer"))
        assert (job["status"], job["error"], job["result"]) == ("failed", "no such customer", None)
        assert job["attempts"] == 1

    def test_a_failed_job_is_retried_up_to_max_attempts(self, app: AppJobs) -> None:
        once = app.enqueue("fail once", "busy", max_attempts=3)
        always = app.enqueue("fail", "never", max_attempts=2)
        job = app.wait_ended(once, 30)
        assert (job["status"], job["attempts"]) == ("completed", 2)
        job = app.wait_ended(always, 30)
        assert (job["status"], job["attempts"], job["error"]) == ("failed", 2, "never")

    def test_a_crash_of_the_worker_is_not_a_failure(self, app: AppJobs) -> None:
        job = app.wait_ended(app.enqueue("die once", max_attempts=1), 30)
        assert (job["status"], job["attempts"]) == ("completed", 2)

    def test_a_job_waits_for_its_worker(self, idle: AppJobs) -> None:
        job_id = idle.enqueue("return", 1)
        time.sleep(1)  # in which nothing may happen
        job = idle.look(job_id)
        assert (job["status"], job["attempts"]) == ("pending", 0)
        idle.start()
        assert idle.wait_ended(job_id)["status"] == "completed"

    def test_many_jobs_all_end_and_each_runs_once(self, server: Server, app: AppJobs) -> None:
        ids = at_once(lambda text: app.enqueue("return", text), [str(n) for n in range(60)])
        assert len(set(ids)) == 60
        for job_id in ids:
            assert app.wait_ended(job_id, 30)["status"] == "completed"
        assert all(workers(server).started.count(job_id) == 1 for job_id in ids)

    def test_the_handler_receives_the_caller(self, server: Server, app: AppJobs) -> None:
        user = server.user(roles={app.id: ["admin"]})
        path = f"/api/v1/apps/{app.id}/jobs"
        eventually(lambda: user.get(path).status_code == 200)
        job_id = body_of(user.post(path, json={"payload": None}), 201)["job_id"]
        app.wait_ended(job_id)
        caller = workers(server).callers[job_id]
        assert caller is not None
        assert (caller.user_id, caller.username) == (user.id, user.username)

    def test_progress_is_shown_while_the_job_runs(self, app: AppJobs) -> None:
        job_id = app.enqueue("progress", {"done": 0.4})
        eventually(lambda: app.look(job_id)["progress"] == {"done": 0.4})
        assert app.look(job_id)["status"] == "running"
        app.cancel(job_id)
        app.wait_ended(job_id, 30)

    # When it runs

    def test_a_job_does_not_begin_before_its_time(self, app: AppJobs) -> None:
        at = datetime.now(UTC) + timedelta(seconds=3)
        job_id = app.enqueue("return", 1, run_at=at.isoformat())
        early = app.look(job_id)["status"]
        assert early == "pending" or datetime.now(UTC) >= at
        job = app.wait_ended(job_id, 30)
        assert datetime.now(UTC) >= at
        assert (job["status"], job["attempts"]) == ("completed", 1)

    def test_a_time_that_is_past_is_now(self, app: AppJobs) -> None:
        job_id = app.enqueue("return", 1, run_at="2001-01-01T00:00:00Z")
        assert app.wait_ended(job_id)["status"] == "completed"

    def test_jobs_start_in_the_order_of_priority(self, server: Server, idle: AppJobs) -> None:
        ids = {
            priority: idle.enqueue("return", priority, priority=priority)
            for priority in (0, -5, 10, 3)
        }
        idle.start()
        for job_id in ids.values():
            idle.wait_ended(job_id)
        order = [job_id for job_id in workers(server).started if job_id in ids.values()]
        assert order == [ids[10], ids[3], ids[0], ids[-5]]

    def test_a_job_that_hangs_ends_with_its_time_and_the_worker_goes_on(self, app: AppJobs) -> None:
        for kind in ("hang", "hang and ignore cancel"):
            job = app.wait_ended(app.enqueue(kind, timeout_s=0.5), 40)
            assert job["status"] == "failed"
            assert job["error"]
        assert app.wait_ended(app.enqueue("return", 1))["status"] == "completed"

    # Once

    def test_a_key_identifies_one_job_until_it_has_ended(
        self, server: Server, idle: AppJobs
    ) -> None:
        other = AppJobs(server)
        first = idle.enqueue("return", 1, key="nightly")
        assert idle.enqueue("return", 2, key="nightly") == first
        assert idle.enqueue("return", 2, key="hourly") != first
        assert other.enqueue("return", 2, key="nightly") != first
        idle.start()
        assert idle.wait_ended(first)["result"] == 1
        assert idle.enqueue("return", 3, key="nightly") != first

    def test_a_key_holds_while_the_job_runs(self, app: AppJobs) -> None:
        job_id = app.enqueue("hang", key="long")
        eventually(lambda: app.look(job_id)["status"] == "running")
        assert app.enqueue("hang", key="long") == job_id
        app.cancel(job_id)
        app.wait_ended(job_id, 30)

    def test_concurrent_jobs_with_one_key_are_one_job(self, idle: AppJobs) -> None:
        ids = at_once(lambda _: idle.enqueue("return", 1, key="same"), ["x"] * 16)
        assert len(set(ids)) == 1

    # Cancel

    def test_a_waiting_job_that_is_cancelled_never_begins(
        self, server: Server, idle: AppJobs
    ) -> None:
        job_id = idle.enqueue("return", 1)
        other = idle.enqueue("return", 2)
        idle.cancel(job_id)
        assert idle.look(job_id)["status"] == "cancelled"
        idle.start()
        idle.wait_ended(other)
        assert job_id not in workers(server).started

    @pytest.mark.parametrize("kind", ["hang", "hang and ignore cancel"])
    def test_a_running_job_that_is_cancelled_is_asked_to_end_and_ends(
        self, server: Server, app: AppJobs, kind: str
    ) -> None:
        job_id = app.enqueue(kind, max_attempts=5)
        eventually(lambda: app.look(job_id)["status"] == "running")
        app.cancel(job_id)
        eventually(lambda: job_id in workers(server).cancelled)
        assert app.wait_ended(job_id, 40)["status"] == "cancelled"

    def test_what_has_ended_cannot_be_cancelled(self, app: AppJobs) -> None:
        job_id = app.enqueue("return", 1)
        app.wait_ended(job_id)
        with pytest.raises(BadRequest):
            app.cancel(job_id)
        assert app.look(job_id)["status"] == "completed"

    # Isolation of apps

    def test_an_unknown_job_is_not_found(self, idle: AppJobs) -> None:
        for request in (idle.look, idle.cancel):
            with pytest.raises(NotFound):
                request("00000000-0000-4000-8000-000000000000")
            with pytest.raises(BadRequest):
                request("nonsense")

    def test_a_job_is_reached_through_its_own_app_only(self, server: Server, idle: AppJobs) -> None:
        other = AppJobs(server)
        job_id = idle.enqueue("return", 1)
        for request in (other.look, other.cancel):
            with pytest.raises(NotFound):
                request(job_id)
        assert job_id not in other.list_ids()
        assert idle.look(job_id)["status"] == "pending"

    def test_jobs_go_with_their_app_and_do_not_come_back(
        self, server: Server, idle: AppJobs
    ) -> None:
        job_id = idle.enqueue("return", 1)
        remove(server, idle.id)
        install(server.admin, idle.id)
        assert idle.list_ids() == []
        with pytest.raises(NotFound):
            idle.look(job_id)

    def test_a_job_runs_where_the_worker_is(
        self, server: Server, second: Server, idle: AppJobs
    ) -> None:
        job_id = idle.enqueue("return", 1)
        AppJobs(second, idle.id).start()
        assert idle.wait_ended(job_id, 30)["status"] == "completed"
        assert job_id in workers(second).started
        assert job_id not in workers(server).started

    # Jobs of plugins

    def test_a_plugin_runs_jobs_of_its_own(
        self, server: Server, jobs_of_plugin: PluginJobs
    ) -> None:
        before = jobs_of_plugin.enqueue({"n": 1})
        assert jobs_of_plugin.look(before)["status"] == "pending"
        with jobs_of_plugin.handled():
            after = jobs_of_plugin.enqueue({"n": 2})
            for job_id, number in ((before, 1), (after, 2)):
                job = jobs_of_plugin.wait_ended(job_id)
                assert (job["status"], job["result"]) == ("completed", {"n": number})
                assert (job["app_id"], job["attempts"]) == (jobs_of_plugin.id, 1)
        unhandled = jobs_of_plugin.enqueue({"n": 3})
        # A search for jobs that is under way may still claim it, and gives it back.
        eventually(lambda: jobs_of_plugin.look(unhandled)["status"] == "pending")
        assert {"n": 3} not in jobs_of_plugin.seen
        jobs_of_plugin.cancel(unhandled)

    def test_a_job_of_a_plugin_is_retried_as_others_are(self, jobs_of_plugin: PluginJobs) -> None:
        with jobs_of_plugin.handled():
            fails = jobs_of_plugin.enqueue({"fails": "no such address"}, max_attempts=2)
            away = jobs_of_plugin.enqueue({"away": "no answer"})
            job = jobs_of_plugin.wait_ended(fails)
            assert (job["status"], job["attempts"]) == ("failed", 2)
            assert "no such address" in job["error"]
            job = jobs_of_plugin.wait_ended(away)
            assert (job["status"], job["result"], job["attempts"]) == ("completed", "later", 2)

    def test_a_job_of_a_plugin_is_cancelled_at_the_end_of_its_time(
        self, jobs_of_plugin: PluginJobs
    ) -> None:
        with jobs_of_plugin.handled():
            job = jobs_of_plugin.wait_ended(jobs_of_plugin.enqueue({"hangs": True}, timeout_s=0.5))
            assert (job["status"], "timed out" in job["error"]) == ("failed", True)
            assert jobs_of_plugin.cancelled == [job["payload"]]

    def test_a_job_of_a_plugin_runs_where_the_plugin_handles_it(
        self, server: Server, second: Server, jobs_of_plugin: PluginJobs
    ) -> None:
        job_id = jobs_of_plugin.enqueue({"n": 1})
        elsewhere = PluginJobs(second)
        with elsewhere.handled():
            assert jobs_of_plugin.wait_ended(job_id)["status"] == "completed"
        assert (len(elsewhere.seen), jobs_of_plugin.seen) == (1, [])

    def test_no_job_is_accepted_for_a_plugin_that_is_off(self, jobs_of_plugin: PluginJobs) -> None:
        jobs_of_plugin.id = plugin_jobs("no_such_plugin")
        with pytest.raises(NotFound):
            jobs_of_plugin.enqueue({"n": 1})

    # Lists

    def test_jobs_are_listed_newest_first_page_by_page(self, idle: AppJobs) -> None:
        ids = [idle.enqueue("return", n) for n in range(5)][::-1]
        assert idle.list_ids() == ids
        assert idle.list_ids(limit=2) == ids[:2]
        assert idle.list_ids(limit=2, before=ids[1]) == ids[2:4]
        assert idle.list_ids(before=ids[4]) == []

    def test_a_list_can_be_of_one_status(self, idle: AppJobs) -> None:
        gone = idle.enqueue("return", 1)
        waiting = idle.enqueue("return", 2)
        idle.cancel(gone)
        assert idle.list_ids(status="pending") == [waiting]
        assert idle.list_ids(status="cancelled") == [gone]
        assert idle.list_ids(status="failed") == []

    # Input

    @pytest.mark.parametrize("bad", BAD, ids=[str(bad) for bad in BAD])
    def test_a_bad_job_is_refused(self, idle: AppJobs, bad: dict[str, Any]) -> None:
        with pytest.raises(BadRequest):
            idle.enqueue("return", 1, **bad)
        assert idle.list_ids() == []

    def test_jobs_over_http(self, server: Server, idle: AppJobs) -> None:
        path = f"/api/v1/apps/{idle.id}/jobs"
        admin = server.admin
        created = body_of(admin.post(path, json={"payload": {"type": "x"}, "priority": 2}), 201)
        assert list(created) == ["job_id"]
        job_path = f"{path}/{created['job_id']}"
        job = body_of(admin.get(job_path))
        assert (job["status"], job["payload"]) == ("pending", {"type": "x"})
        assert all(job[field].endswith("Z") for field in ("created_at", "updated_at", "run_at"))
        assert [job["id"] for job in body_of(admin.get(path))] == [created["job_id"]]
        message = f"job '{created['job_id']}' cancelled"
        assert body_of(admin.post(f"{job_path}/cancel")) == {"message": message}
        refused(admin.post(f"{job_path}/cancel"), 400)
        for bad in BAD_BODIES:
            refused(admin.post(path, json=bad), 400)
        refused(admin.get(path, params={"status": "lost"}), 400)
        refused(admin.get(path, params={"limit": "0"}), 400)

    def test_a_user_without_a_role_reaches_no_jobs(self, server: Server, idle: AppJobs) -> None:
        path = f"/api/v1/apps/{idle.id}/jobs"
        user = server.user(unique("user"))
        job_id = idle.enqueue("return", 1)
        refused(user.get(path), 403)
        refused(user.get(f"{path}/{job_id}"), 403)
        refused(user.post(path, json={"payload": 1}), 403)
        refused(user.post(f"{path}/{job_id}/cancel"), 403)
        refused(server.http.get(path), 401)
