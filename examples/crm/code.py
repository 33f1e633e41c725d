"""The app's own code at work: deployed, called, given a job, and followed by its log."""

from __future__ import annotations

import io
import secrets
import tarfile
import threading
import time
from pathlib import Path
from typing import Any

from .client import ApiError, Client
from .show import blocks, dim, say, table

APP = "/api/v1/apps/crm"
FOLDERS = {"python": "worker", "javascript": "worker_js"}
JOB_LIMIT = 60.0
"""Seconds that the demo waits for its job."""
LOG_LIMIT = 10.0
"""Seconds that it waits for the last line of the log: lines go another way than the job's end."""
LOG_REST = 0.3
"""Seconds to wait for the log of a failed job: no line is marked as the last."""


class AppCode:
    """Shows what the worker of an app does, as its admin."""

    def __init__(self, admin: Client, language: str = "python") -> None:
        self._admin = admin
        self._folder = Path(__file__).with_name(FOLDERS[language])

    def deploy(self) -> None:
        """Give the app a secret and its code."""
        secret = {"key": "REPORT_KEY", "value": secrets.token_urlsafe(24)}
        say(self._admin.post(f"{APP}/secrets", secret)["message"])
        archive = _packed(self._folder)
        say(self._admin.upload(f"{APP}/deploy", "archive", archive)["message"])
        status = self._admin.get(f"{APP}/worker/status")
        say(dim(f"It is {status['status']}; active: {_shown(status.get('sandbox', {}))}"))

    def call(self, who: Client, deal: dict[str, Any]) -> None:
        """Call its methods: each sees what the caller may see."""
        say()
        rows = [
            (f"pipeline as {client.user['username']}", _tried(client, "pipeline", {}))
            for client in (self._admin, who)
        ]
        rows.append(
            ("follow_up as admin", _tried(self._admin, "follow_up", {"deal_id": deal["id"]}))
        )
        rows.append(("noSuchMethod", _tried(self._admin, "noSuchMethod", {})))
        table(("RPC", "Answer"), rows)

    def work(self, stages: list[str]) -> None:
        """Give it a job and follow both the job and the log until the result is there."""
        say()
        with _Log(self._admin, f"{stages[-1]}:") as log:
            payload = {"type": "report", "stages": stages, "pause": 0.15}
            job_id = self._admin.post(f"{APP}/jobs", {"payload": payload})["job_id"]
            job = self._followed(job_id)
            log.wait(LOG_LIMIT if job["status"] == "completed" else LOG_REST)
        if job["status"] != "completed":
            say(f"The job is {job['status']}: {job['error']}")
            return
        say()
        rows = [(r["stage"], str(r["deals"]), f"{r['value']:,.0f}") for r in job["result"]["rows"]]
        table(("The job's report", "Deals", "Value"), rows, right=[1, 2])
        say(dim(f"signed with the secret: {job['result']['signature'][:24]}…"))

    def _followed(self, job_id: str) -> dict[str, Any]:
        deadline, shown = time.monotonic() + JOB_LIMIT, None
        while True:
            job = self._admin.get(f"{APP}/jobs/{job_id}")
            if (state := (job["status"], job["progress"])) != shown:
                shown = state
                say(f"{dim('job │')} {job['status']:<10}{blocks(job['progress'] or 0)}")
            if job["status"] in ("completed", "failed", "cancelled"):
                return job
            if time.monotonic() > deadline:
                return {**job, "status": "late", "error": f"it took over {JOB_LIMIT:.0f} s"}
            time.sleep(0.05)


class _Log:
    """Prints an app's live log, on a connection of its own, while the block runs.

    Its last line begins with `last`.
    """

    def __init__(self, client: Client, last: str) -> None:
        self._lines = client.events(f"{APP}/logs?tail=0")
        self._thread = threading.Thread(target=self._print, daemon=True)
        self._last = last
        self._ended = threading.Event()

    def __enter__(self) -> _Log:
        self._lines.open()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.close()
        self._thread.join(2)

    def wait(self, seconds: float) -> None:
        """Let the last line come."""
        self._ended.wait(seconds)

    def _print(self) -> None:
        for line in self._lines:
            say(f"{dim('log │')} {line['level']:<7}{line['message']}")
            if line["message"].startswith(self._last):
                self._ended.set()


def _packed(folder: Path) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                tar.add(path, str(path.relative_to(folder)))
    return packed.getvalue()


def _tried(client: Client, method: str, params: dict[str, Any]) -> str:
    try:
        answer = client.post(f"{APP}/rpc", {"method": method, "params": params})
    except ApiError as error:
        return f"{error.status} {error}"
    kept = {key: value for key, value in answer.items() if key in ("deals", "value", "subject")}
    return _shown(kept)


def _shown(values: dict[str, Any]) -> str:
    return ", ".join(f"{name}: {value}" for name, value in values.items())
