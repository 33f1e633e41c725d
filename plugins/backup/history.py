"""The ages of the last backup and of the last verification, for `caudex doctor`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from kernel.public import Finding


class Last(msgspec.Struct, frozen=True):
    """The newest backup and verification of all folders; None where there was none."""

    file: str | None = None
    made_at: datetime | None = None
    verified_at: datetime | None = None
    verified_file: str | None = None


def report_ages(last: Last, max_age: timedelta) -> Finding:
    """Report the ages; a backup older than `max_age` is a warning."""
    if last.made_at is None:
        text = "none was made yet: caudex backup FILE, or set [plugins.backup] folder"
        return Finding(state="warn", name="backup", text=text)

    now = datetime.now(UTC)
    age = now - last.made_at
    text = f"the last one is {_write_age(age)} old: {last.file}"
    if last.verified_at is None:
        text += "; none was verified yet: caudex backup verify FILE"
    else:
        verified_age = _write_age(now - last.verified_at)
        text += f"; {last.verified_file} was verified {verified_age} ago"
    if age > max_age:
        return Finding(state="warn", name="backup", text=text)
    return Finding(state="ok", name="backup", text=text)


def folder_findings(folder: str) -> Iterator[Finding]:
    """Report a folder of scheduled backups that is not there, such as a disk that is not mounted.

    A schedule does not make it: the backups would fill another disk.
    """
    if folder and not Path(folder).is_dir():
        text = f"there is no folder {folder}; make it, or correct [plugins.backup] folder"
        yield Finding(name="backup folder", text=text, state="fail")


def _write_age(age: timedelta) -> str:
    hours = int(age.total_seconds() // 3600)
    if age.days > 1:
        return f"{age.days} days"
    if hours:
        return f"{hours} hours"
    return "less than an hour"
