"""Accept new jobs: validate them, and notify every server process of pending ones."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Final

import anyio
import msgspec

from kernel.public import (
    Actor,
    BadRequest,
    Batcher,
    BatchLimits,
    KernelError,
    NewJob,
    Notifications,
    Statements,
)

from .models import NewRow

_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")

TOPIC: Final = "jobs"
PENDING: Final = "due:"
"""Prefix of the names of apps with pending jobs; without names it means any app."""

CANCEL: Final = "cancel:"
"""Prefix of the id of a job that was cancelled while it ran."""

REMOVED: Final = "gone:"
"""Prefix of the id of an app that is being removed."""


def validate(actor: Actor, app_id: str, job: NewJob) -> NewRow:
    """Return the row of a new job. Raises BadRequest that names the field."""
    if not 1 <= job.max_attempts <= 1000:
        raise BadRequest("max_attempts must be from 1 to 1000")
    if not 0 < job.timeout_s <= 604_800:
        raise BadRequest("timeout_s must be above 0 and at most 604800 seconds")
    if abs(job.priority) >= 2**31:
        raise BadRequest(f"priority must be from -{2**31 - 1} to {2**31 - 1}")
    if job.key is not None and not 1 <= len(job.key) <= 200:
        raise BadRequest("key must have 1 to 200 characters")
    return NewRow(
        id=new_id(),
        app_id=app_id,
        payload=_read_payload(job.payload),
        run_at=None if job.run_at is None else _read_run_at(job.run_at).isoformat(),
        max_attempts=job.max_attempts,
        timeout_s=job.timeout_s,
        priority=job.priority,
        user_id=actor.user_id,
        key=job.key,
        delegation_ends=None if actor.delegation is None else actor.delegation.ends,
        delegation_epoch="" if actor.delegation is None else actor.delegation.epoch,
        limits=actor.limits,
        request_id=actor.request_id or None,
    )


def _read_payload(raw: msgspec.Raw) -> str:
    if len(raw) > 1024 * 1024:
        raise BadRequest("payload must be at most 1 MB of JSON")
    try:
        return bytes(raw).decode()
    except UnicodeDecodeError:
        raise BadRequest("payload must be JSON in UTF-8") from None


def _read_run_at(text: str) -> datetime:
    at = parse_time(text)
    if at - datetime.now(UTC) > timedelta(days=3660):
        raise BadRequest("run_at must be at most 10 years ahead")
    return at


def parse_time(text: str) -> datetime:
    """Parse an RFC 3339 time; without an offset it is in UTC. Raises BadRequest."""
    try:
        moment = msgspec.convert(text, datetime)
        if moment.tzinfo is None:
            return moment.replace(tzinfo=UTC)
        return moment.astimezone(UTC)
    except (msgspec.ValidationError, OverflowError):
        shown = text if len(text) <= 40 else f"{text[:37]}..."
        raise BadRequest(f"run_at: an RFC 3339 time is wanted, not {shown!r}") from None


def new_id() -> str:
    """Return a UUID version 7, so that new rows are neighbours in the index.

    Ids of one process increase (RFC 9562, 6.2, method 3: a finer clock).
    """
    milliseconds, rest = divmod(time.time_ns(), 1_000_000)
    fine = rest * 4096 // 1_000_000
    value = milliseconds << 80 | 0x7 << 76 | fine << 64
    text = f"{value | 0b10 << 62 | int.from_bytes(os.urandom(8)) >> 2:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def check_id(job_id: str, name: str = "job id") -> str:
    """Return an id that is a UUID. Raises BadRequest."""
    if _UUID.fullmatch(job_id) is None:
        shown = job_id if len(job_id) <= 40 else f"{job_id[:37]}..."
        raise BadRequest(f"{name}: a UUID is wanted, not {shown!r}")
    return job_id


class NewJobs:
    """Inserts new jobs: those of one moment together, a lone one without the batcher's task.

    lone ──(a batch of several)──> together
    together ──(a batch of one)──> lone
    """

    def __init__(self, insert: Callable[[Sequence[NewRow]], Awaitable[None]]) -> None:
        self._insert = insert
        self._batcher = Batcher[NewRow, None](
            self._insert_batch,
            BatchLimits(full="too many jobs are being enqueued"),
            size=lambda row: len(row.payload),
        )
        self.running = self._batcher.running
        self._is_lone = True
        """Whether the next job, if none is being inserted, waits for no others."""
        self._is_inserting = False

    async def insert(self, row: NewRow) -> None:
        """Insert a job. Raises Unavailable."""
        if self._is_inserting or not self._is_lone:
            await self._batcher.submit(row)
            return
        self._is_inserting = True
        try:
            await self._insert([row])
        finally:
            self._is_inserting = False

    async def _insert_batch(self, rows: Sequence[NewRow]) -> None:
        self._is_lone = len(rows) == 1
        await self._insert(rows)


class PendingNotifier:
    """Notify every server process of pending jobs, at most 20 times a second.

    A lost notification only delays a job until the next poll, so none is sent again.
    """

    def __init__(self, notifications: Notifications, statements: Statements) -> None:
        self._notifications = notifications
        self._statements = statements
        self._apps: set[str] = set()
        self._batcher = Batcher[str, None](self._publish, linger=0.05)
        self.running = self._batcher.running

    def notify_pending(self, app_id: str) -> None:
        """Note that an app has a pending job."""
        if app_id not in self._apps:
            self._apps.add(app_id)
            self._batcher.add(app_id)

    async def _publish(self, app_ids: Sequence[str]) -> None:
        self._apps.difference_update(app_ids)
        names = ",".join(sorted(app_ids))
        payload = PENDING + names if len(names) <= 3000 else PENDING
        with anyio.CancelScope(shield=True), suppress(KernelError):
            await self._notifications.announce(self._statements, TOPIC, payload)
