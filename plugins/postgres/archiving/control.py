"""What a cluster says about itself in `global/pg_control`, whether its server runs or not."""

import struct
from pathlib import Path
from typing import NamedTuple

from plugins.postgres.config import EmbeddedPostgresError

# The head of ControlFileData, the same since PostgreSQL 11: the identifier, two versions, the
# state, (the time,) the latest checkpoint, (its redo point,) its timeline.
_HEAD = struct.Struct("=Q8xI12xQ8xI")
_SHUT_DOWN = 1


class Control(NamedTuple):
    """The identifier that a cluster and its log share, its timeline, and its latest checkpoint.

    `shut_down` is true where the checkpoint is the last record of the log.
    """

    system: str
    timeline: int
    checkpoint: int
    shut_down: bool


def read_control(pgdata: Path) -> Control:
    """Read the file of a cluster. Raises EmbeddedPostgresError where it is lost or cut off."""
    path = pgdata / "global" / "pg_control"
    try:
        with path.open("rb") as file:
            system, state, checkpoint, timeline = _HEAD.unpack(file.read(_HEAD.size))
    except (OSError, struct.error) as error:
        raise EmbeddedPostgresError(
            f"{path} is damaged ({error}): caudex restore --at TIME restores the cluster"
        ) from None
    return Control(str(system), timeline, checkpoint, state == _SHUT_DOWN)


def find_control(pgdata: Path) -> Control | None:
    """Read the file of a cluster that may be damaged, or not be there."""
    try:
        return read_control(pgdata)
    except EmbeddedPostgresError:
        return None
