"""What a job may be, and when it is tried again."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from kernel.public import Actor, BadRequest, NewJob

from .ids import new_id
from .models import NewRow

MAX_PAYLOAD: Final = 1024 * 1024
MAX_ATTEMPTS: Final = 1000
MAX_TIMEOUT: Final = 7 * 86_400.0
MAX_KEY: Final = 200
MAX_YEARS: Final = 10
"""Years until a job runs: what is kept for ever is no job."""
MAX_PRIORITY: Final = 2**31 - 1
MAX_BACKOFF: Final = 900.0
MAX_ERROR: Final = 64 * 1024


def accepted(actor: Actor, app_id: str, job: NewJob) -> NewRow:
    """Turn what is asked for into a row. Raises BadRequest that names the field."""
    if not 1 <= job.max_attempts <= MAX_ATTEMPTS:
        raise BadRequest(f"max_attempts must be from 1 to {MAX_ATTEMPTS}")
    if not 0 < job.timeout_s <= MAX_TIMEOUT:
        raise BadRequest(f"timeout_s must be above 0 and at most {MAX_TIMEOUT:.0f} seconds")
    if abs(job.priority) > MAX_PRIORITY:
        raise BadRequest(f"priority must be from -{MAX_PRIORITY} to {MAX_PRIORITY}")
    if job.key is not None and not 1 <= len(job.key) <= MAX_KEY:
        raise BadRequest(f"key must have 1 to {MAX_KEY} characters")
    return NewRow(
        id=new_id(),
        app_id=app_id,
        payload=_payload(job.payload),
        run_at=None if job.run_at is None else _time(job.run_at).isoformat(),
        max_attempts=job.max_attempts,
        timeout_s=job.timeout_s,
        priority=job.priority,
        user_id=actor.user_id,
        key=job.key,
        until=None if actor.delegation is None else actor.delegation.ends,
        mark="" if actor.delegation is None else actor.delegation.mark,
    )


def _payload(raw: msgspec.Raw) -> str:
    if len(raw) > MAX_PAYLOAD:
        raise BadRequest(f"payload must be at most {MAX_PAYLOAD // 2**20} MB of JSON")
    try:
        return bytes(raw).decode()
    except UnicodeDecodeError:
        raise BadRequest("payload must be JSON in UTF-8") from None


def _time(text: str) -> datetime:
    at = moment(text)
    if at - datetime.now(UTC) > timedelta(days=366 * MAX_YEARS):
        raise BadRequest(f"run_at must be at most {MAX_YEARS} years ahead")
    return at


def moment(text: str) -> datetime:
    """Read a time; without an offset it is in UTC. Raises BadRequest."""
    try:
        found = msgspec.convert(text, datetime)
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (msgspec.ValidationError, OverflowError):
        shown = text if len(text) <= 40 else f"{text[:37]}..."
        raise BadRequest(f"run_at: an RFC 3339 time is wanted, not {shown!r}") from None


def backoff(failures: int) -> float:
    """Seconds until a job is tried again that failed so many times: up to 2^n, at most 15 min.

    A quarter of it is chance, so that those that failed together do not come back together.
    """
    return min(2.0 ** min(failures, 30), MAX_BACKOFF) * random.uniform(0.75, 1)


def said(error: str) -> str:
    """An error's text as it can be stored."""
    return error[:MAX_ERROR].replace("\0", "\ufffd").encode(errors="replace").decode()
