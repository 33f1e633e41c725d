"""What the archive of a worker may hold."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from kernel.public import ArchiveRules, unpack_tar

OURS: Final = ".caudex"
"""A folder at the top where the server keeps what it adds."""

RULES: Final = ArchiveRules(reserved=frozenset({OURS}))


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a tar.gz into a new, empty folder. Raises BadRequest."""
    unpack_tar(archive, folder, RULES)
