"""Servers with workers that are coroutines of the test."""

import uuid
from pathlib import Path
from typing import Any

import anyio

import plugins
from kernel.public import WORKERS
from kernel.testing import Server
from tests.waiting import eventually

FAKE = Path(__file__).parent / "fake_workers.py"
QUICK = {"poll_interval": 0.2, "lease": 6.0, "cancel_grace": 0.3, "drain": 1.0}


def overrides(**jobs: Any) -> dict[str, Any]:
    """A configuration with fake workers, and short times."""
    switched: dict[str, Any] = {"jobs": {**QUICK, **jobs}}
    if (Path(plugins.__path__[0]) / "workers" / "__init__.py").exists():
        switched["workers"] = {"enabled": False}
    return {"server": {"plugin_files": [str(FAKE)]}, "plugins": switched}


def fake(server: Server) -> Any:
    """The fake workers of a server."""
    return server.services.get(WORKERS)


def install(server: Server, *, running: tuple[Server, ...] | None = None) -> str:
    """Install an app and start its worker on the given servers."""
    return install_with(server, {}, running=(server,) if running is None else running)


def install_with(server: Server, manifest: dict[str, Any], running: tuple[Server, ...]) -> str:
    """Install an app whose manifest says more."""
    app_id = f"jobs{uuid.uuid4().hex[:8]}"
    answer = server.admin.post("/api/v1/apps", json={"appId": app_id, "name": "x", **manifest})
    assert answer.status_code == 200, answer.text
    for one in running:
        become(one, app_id, "running")
    return app_id


def become(server: Server, app_id: str, state: str) -> None:
    """Let a worker change its state."""
    server.run(fake(server).become, app_id, state)


def enqueue(server: Server, app_id: str, payload: Any = None, **more: Any) -> str:
    """Enqueue a job and return its id."""
    answer = server.admin.post(f"/api/v1/apps/{app_id}/jobs", json={"payload": payload, **more})
    assert answer.status_code == 201, answer.text
    return answer.json()["job_id"]


def job_of(server: Server, app_id: str, job_id: str) -> dict[str, Any]:
    """Look at a job."""
    answer = server.admin.get(f"/api/v1/apps/{app_id}/jobs/{job_id}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def row_of(server: Server, job_id: str, *columns: str) -> tuple[Any, ...]:
    """Columns of a job's row."""
    [row] = server.sql(f"select {', '.join(columns)} from caudex_jobs.jobs where id = %s", job_id)
    return row


def ended(server: Server, app_id: str, job_id: str, seconds: float = 10) -> dict[str, Any]:
    """Wait until a job has ended and return it."""
    done = ("completed", "failed", "cancelled")
    return eventually(
        lambda: (job := job_of(server, app_id, job_id))["status"] in done and job, seconds
    )


def all_ended(server: Server, app_id: str, seconds: float = 30) -> None:
    """Wait until no job of an app is pending or running."""
    query = (
        "select count(*) from caudex_jobs.jobs"
        " where app_id = %s and status in ('pending', 'running')"
    )
    eventually(lambda: server.sql(query, app_id)[0][0] == 0, seconds)


async def forever(job: Any) -> None:
    """A handler that hangs."""
    await anyio.sleep_forever()
