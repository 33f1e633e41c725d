"""Memory of the database sessions of apps, where PostgreSQL runs on this machine.

A session sets its own `work_mem`, so PostgreSQL has no bound on it. Linux says what each process
has. The title of a process names its login: `postgres: caudex_16384_w7 postgres 127.0.0.1(5) idle`.
"""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import Final

PROC: Final = Path("/proc")
OOM_SCORE: Final = 500
"""As for workers: the system ends these sessions before the server, if memory runs out."""
_NAMED: Final = "postgres: "
"""With what a title begins once the process knows what it is: its login stays the same then."""
_TITLE: Final = re.compile(r"^postgres: (?:.*?: )?(caudex_\d+_[qrw]\d+) ")
_HELPER: Final = re.compile(r"^postgres: (?:.*?: )?parallel worker for PID (\d+)")
# The other parts are shared: buffers, and the program itself.
_UNSHARED: Final = re.compile(r"^(?:RssAnon|VmSwap):\s+(\d+) kB", re.MULTILINE)
_PARENT: Final = re.compile(r"^PPid:\s+(\d+)", re.MULTILINE)


class SessionMemory:
    """Measures the sessions of the logins of one database."""

    def __init__(self) -> None:
        self._prefix = ""
        self._children: Path | None = None
        self._unrelated = set[int]()
        """Processes whose titles name no login of an app, and never will."""
        self._yielding = set[int]()
        """Sessions that the system ends first."""

    def attach(self, backend: int, database: int) -> bool:
        """Find the server of a session, which is a process of the database with an object id.

        Returns False where the server is on another machine, or is not visible here.
        """
        self._prefix = f"caudex_{database}_"
        self._children = None
        self._unrelated = set[int]()
        if not _read(backend, "cmdline").startswith(_NAMED):
            return False
        parent = _PARENT.search(_read(backend, "status"))
        if parent is None:
            return False
        children = PROC / parent[1] / "task" / parent[1] / "children"
        if not children.exists():
            return False
        self._children = children
        return True

    def by_login(self) -> dict[str, int]:
        """Return the bytes that the sessions of each login have, with those of their helpers."""
        roles = self._find_roles()
        self._give_way(set(roles))
        sizes: dict[str, int] = {}
        for pid, role in roles.items():
            kilobytes = sum(map(int, _UNSHARED.findall(_read(pid, "status"))))
            sizes[role] = sizes.get(role, 0) + kilobytes * 1024
        return sizes

    def _find_roles(self) -> dict[int, str]:
        """Return the logins of this database by the processes of their sessions."""
        pids = self._sessions()
        self._unrelated.intersection_update(pids)
        titles = {pid: _read(pid, "cmdline") for pid in pids if pid not in self._unrelated}
        roles: dict[int, str] = {}
        helpers: dict[int, int] = {}
        for pid, title in titles.items():
            session = _TITLE.match(title)
            helper = _HELPER.match(title)
            if session is not None:
                roles[pid] = session[1]
            elif helper is not None:
                helpers[pid] = int(helper[1])
            elif title.startswith(_NAMED):
                self._unrelated.add(pid)

        # A parallel worker names the process of the session that it works for.
        for pid, leader in helpers.items():
            if leader in roles:
                roles[pid] = roles[leader]

        return {pid: role for pid, role in roles.items() if role.startswith(self._prefix)}

    def _sessions(self) -> list[int]:
        if self._children is None:
            return []
        with suppress(OSError):
            return [int(pid) for pid in self._children.read_text().split()]
        return []

    def _give_way(self, sessions: set[int]) -> None:
        """Have the system end new sessions of apps first. Another account may not do that."""
        for pid in sessions - self._yielding:
            with suppress(OSError):
                (PROC / str(pid) / "oom_score_adj").write_text(str(OOM_SCORE))
        self._yielding = sessions


def _read(pid: int, name: str) -> str:
    """Read a file of a process; empty where it is gone."""
    try:
        return (PROC / str(pid) / name).read_text("utf-8", "replace").rstrip("\0")
    except OSError:
        return ""
