"""When the last backup was made, for `caudex doctor`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec

from kernel.public import Finding

FILE: Final = "last-backup.json"
OLD: Final = timedelta(days=7)


class LastBackup(msgspec.Struct, frozen=True):
    """Where the last backup was written, and when (RFC 3339)."""

    file: str
    made_at: datetime


def remember(data_dir: Path, file: Path, made_at: str) -> None:
    """Note a backup in the data directory, in one step."""
    data_dir.mkdir(parents=True, exist_ok=True)
    aside = data_dir / f"{FILE}.partial"
    aside.write_bytes(msgspec.json.encode({"file": str(file), "made_at": made_at}))
    aside.replace(data_dir / FILE)


def remark(data_dir: Path) -> Finding:
    """Tell the age of the last backup."""
    try:
        last = msgspec.json.decode((data_dir / FILE).read_bytes(), type=LastBackup)
    except FileNotFoundError:
        return Finding(state="warn", name="backup", text="none was made yet: caudex backup FILE")
    except (OSError, msgspec.MsgspecError) as error:
        return Finding(
            state="warn", name="backup", text=f"{data_dir / FILE} is not readable: {error}"
        )
    age = datetime.now(UTC) - last.made_at
    text = f"the last one is {_words(age)} old: {last.file}"
    return Finding(state="ok" if age < OLD else "warn", name="backup", text=text)


def _words(age: timedelta) -> str:
    hours = int(age.total_seconds() // 3600)
    return (
        f"{age.days} days" if age.days > 1 else f"{hours} hours" if hours else "less than an hour"
    )
