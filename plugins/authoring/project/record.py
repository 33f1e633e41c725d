"""What was deployed from a project: the files of each version, and what the last deploy changed.

It is a note beside the project, in `.caudex/deployed.json`. A version is compared with the server
before it counts, so a note that is old or lost costs one more upload and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from kernel.public import read_small_file, write_file
from plugins.authoring.server.access import DEVELOPMENT_FOLDER


class SentVersion(msgspec.Struct, frozen=True, kw_only=True):
    """A version of a worker or frontend that was sent from here. `at` is the server's time."""

    version: int
    at: str
    digests: dict[str, str]


class Undo(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What was in service before the last deploy, of the parts that it changed."""

    manifest: int | None = None
    worker: int | None = None
    frontend: int | None = None


class Deployed(msgspec.Struct, kw_only=True):
    """What one server got."""

    worker: SentVersion | None = None
    frontend: SentVersion | None = None
    undo: Undo | None = None


class DeployRecord:
    """The note of one project about one server."""

    def __init__(self, root: Path, url: str) -> None:
        self._path = root / DEVELOPMENT_FOLDER / "deployed.json"
        self._url = url
        self._servers = _read(self._path)
        self.deployed = self._servers.get(url) or Deployed()

    def save(self) -> None:
        """Write the note; a folder that cannot be written has none."""
        self._servers[self._url] = self.deployed
        try:
            self._path.parent.mkdir(mode=0o711, exist_ok=True)
            write_file(self._path, msgspec.json.encode(self._servers))
        except OSError:
            return


def files_of(sent: SentVersion | None, version: int | None, at: str) -> Mapping[str, str] | None:
    """Return the digests of a version's files, if it is the one that was sent from here."""
    if sent is None or sent.version != version or sent.at != at:
        return None
    return sent.digests


def _read(path: Path) -> dict[str, Deployed]:
    try:
        return msgspec.json.decode(read_small_file(path, 20_000_000), type=dict[str, Deployed])
    except (OSError, msgspec.MsgspecError):
        return {}
