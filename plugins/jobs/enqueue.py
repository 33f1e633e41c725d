"""Accept new jobs: validate them, and insert those of the same moment in one statement."""

from __future__ import annotations

import os
import re
import time
import uuid
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import anyio
import msgspec
import structlog
from anyio.lowlevel import checkpoint

from kernel.public import Actor, BadRequest, NewJob, Unavailable

from .models import NewRow
from .store import JobsStore

_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")

log = structlog.get_logger("caudex.jobs")


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
        payload=_payload(job.payload),
        run_at=None if job.run_at is None else _run_at(job.run_at).isoformat(),
        max_attempts=job.max_attempts,
        timeout_s=job.timeout_s,
        priority=job.priority,
        user_id=actor.user_id,
        key=job.key,
        delegation_ends=None if actor.delegation is None else actor.delegation.ends,
        delegation_epoch="" if actor.delegation is None else actor.delegation.epoch,
    )


def _payload(raw: msgspec.Raw) -> str:
    if len(raw) > 1024 * 1024:
        raise BadRequest("payload must be at most 1 MB of JSON")
    try:
        return bytes(raw).decode()
    except UnicodeDecodeError:
        raise BadRequest("payload must be JSON in UTF-8") from None


def _run_at(text: str) -> datetime:
    at = parse_time(text)
    if at - datetime.now(UTC) > timedelta(days=3660):
        raise BadRequest("run_at must be at most 10 years ahead")
    return at


def parse_time(text: str) -> datetime:
    """Parse an RFC 3339 time; without an offset it is in UTC. Raises BadRequest."""
    try:
        found = msgspec.convert(text, datetime)
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
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
    return str(uuid.UUID(int=value | 0b10 << 62 | int.from_bytes(os.urandom(8)) >> 2))


def check_id(job_id: str, name: str = "job id") -> str:
    """Return an id that is a UUID. Raises BadRequest."""
    if _UUID.fullmatch(job_id) is None:
        shown = job_id if len(job_id) <= 40 else f"{job_id[:37]}..."
        raise BadRequest(f"{name}: a UUID is wanted, not {shown!r}")
    return job_id


class _Waiting:
    __slots__ = ("done", "error", "row")

    def __init__(self, row: NewRow) -> None:
        self.row = row
        self.done = anyio.Event()
        self.error: Exception | None = None

    def settle(self, error: Exception | None) -> None:
        self.error = error
        self.done.set()


class EnqueueBatcher:
    """While one statement runs, the jobs of the next one gather."""

    def __init__(self, store: JobsStore) -> None:
        self._store = store
        self._waiting: deque[_Waiting] = deque()
        self._filled = anyio.Event()
        self._open = False

    async def put(self, row: NewRow) -> None:
        """Store a job. Raises BadRequest, Unavailable."""
        if not self._open or len(self._waiting) >= 10_000:
            raise Unavailable("too many jobs are being enqueued")
        waiting = _Waiting(row)
        self._waiting.append(waiting)
        self._filled.set()
        await waiting.done.wait()
        if waiting.error is not None:
            raise waiting.error

    async def run(self) -> None:
        """Store new jobs until the server stops."""
        self._open = True
        try:
            while True:
                await self._filled.wait()
                await checkpoint()  # more jobs may arrive in this turn of the event loop
                await self._store_some(self._take())
        finally:
            self._open = False
            while self._waiting:
                self._waiting.popleft().settle(Unavailable("the server stops"))

    def _take(self) -> list[_Waiting]:
        taken, size = list[_Waiting](), 0
        while self._waiting and len(taken) < 500 and size < 4_000_000:
            taken.append(one := self._waiting.popleft())
            size += len(one.row.payload)
        if not self._waiting:
            self._filled = anyio.Event()
        return taken

    async def _store_some(self, taken: Sequence[_Waiting]) -> None:
        try:
            error = await self._insert(taken)
            if isinstance(error, BadRequest) and len(taken) > 1:  # one of them is invalid
                for one in taken:
                    one.settle(await self._insert([one]))
            else:
                for one in taken:
                    one.settle(error)
        finally:
            for one in taken:
                if not one.done.is_set():  # the row may be committed
                    one.settle(Unavailable("the server stops", retry_after=None))

    async def _insert(self, taken: Sequence[_Waiting]) -> Exception | None:
        try:
            await self._store.insert([one.row for one in taken])
        except Exception as error:
            if not isinstance(error, BadRequest | Unavailable):
                log.error("jobs could not be stored", count=len(taken), exc_info=error)
            return error
        return None
