"""What every process of an app is started with."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from kernel.public import Unavailable
from plugins.workers.child.process import Bounds
from plugins.workers.isolation.orphans import REPLICA_VARIABLE
from plugins.workers.machine import Machine
from plugins.workers.models import Release

SYSTEM_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def make_environment(machine: Machine, release: Release, program: str) -> dict[str, str]:
    """Return the environment of a process of an app; it has nothing of the server's."""
    path = SYSTEM_PATH
    folder = str(Path(program).parent)
    if folder not in SYSTEM_PATH.split(":"):
        path = f"{folder}:{SYSTEM_PATH}"
    return {
        "PATH": path,
        "HOME": str(machine.folders.locate_home(release.app)),
        "TMPDIR": str(machine.folders.locate_tmp(release.app)),
        "LANG": "C.UTF-8",
        "CAUDEX_APP_ID": release.app_id,
        REPLICA_VARIABLE: machine.server_name,
    }


def make_bounds(machine: Machine, release: Release, uid: int | None) -> Bounds:
    """Make what finds the processes of an app. Blocking. Raises Unavailable."""
    owner = str(release.app)
    cgroup = ""
    if machine.cgroups is not None:
        try:
            cgroup = machine.cgroups.make(owner)
        except OSError as error:
            raise Unavailable(f"no cgroup can be made: {error.strerror}") from None
    return Bounds(uid=uid, cgroup=cgroup, servers=machine.folders.servers, owner=owner)
