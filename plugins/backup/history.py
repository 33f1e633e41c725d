"""When the last backup was made, for `caudex doctor`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec

from kernel.public import Finding, write_file

FILE: Final = "last-backup.json"
OLD: Final = timedelta(days=7)


class LastBackup(msgspec.Struct, frozen=True):
    """Where the last backup was written, and when (RFC 3339)."""

    file: str
    made_at: datetime


def remember(data_dir: Path, file: Path, made_at: str) -> None:
    """Note a backup in the data directory, in one step."""
    data_dir.mkdir(parents=True, exist_ok=True)
    write_file(data_dir / FILE, msgspec.json.encode({"file": str(file), "made_at": made_at}))


def last_made(data_dir: Path) -> str | None:
    """Return the time of the last backup (RFC 3339), None where there is none to be read."""
    try:
        last = msgspec.json.decode((data_dir / FILE).read_bytes(), type=LastBackup)
    except (OSError, msgspec.MsgspecError):
        return None
    return last.made_at.isoformat()


def remark(data_dir: Path) -> Finding:
    """Tell the age of the last backup."""
    recent = False
    try:
        last = msgspec.json.decode((data_dir / FILE).read_bytes(), type=LastBackup)
        age = datetime.now(UTC) - last.made_at
        recent, text = age < OLD, f"the last one is {_words(age)} old: {last.file}"
    except FileNotFoundError:
        text = "none was made yet: caudex backup FILE"
    except (OSError, msgspec.MsgspecError) as error:
        text = f"{data_dir / FILE} is not readable: {error}"
    return Finding(state="ok" if recent else "warn", name="backup", text=text)


def _words(age: timedelta) -> str:
    hours = int(age.total_seconds() // 3600)
    return (
        f"{age.days} days" if age.days > 1 else f"{hours} hours" if hours else "less than an hour"
    )
