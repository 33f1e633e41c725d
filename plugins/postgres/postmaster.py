"""One run of the server: from its launch to its end."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from .account import Account
from .binaries import Binaries
from .errors import EmbeddedPostgresError
from .files import complaint, rotate_log
from .layout import Layout
from .processes import spawn
from .settings import command_line

LOG_LIMIT = 10_000_000
# For a sign of life. A server that says `starting` has all the time it wants: it replays its log
# after a crash, and ending it then only starts that anew.
START_PATIENCE = 300.0
STOP_PATIENCE = 30.0
TOLD_EVERY = 60.0


@dataclass(frozen=True)
class Plan:
    """Everything that a launch needs, so that a relaunch is the same again."""

    layout: Layout
    binaries: Binaries
    account: Account
    port: int
    socket_dir: Path
    settings: Mapping[str, str]

    def command(self) -> list[str]:
        """The command line of the server."""
        endpoints = command_line(self.settings, port=self.port, socket_dir=self.socket_dir)
        program = str(self.binaries.program("postgres"))
        return [program, "-D", str(self.layout.pgdata), *endpoints]


class Postmaster:
    """A PostgreSQL server as a child of ours, shut down by the system if we die."""

    def __init__(self, plan: Plan) -> None:
        """LaunchSpec the server and return at once; `ready` tells when it takes connections."""
        self._layout = plan.layout
        rotate_log(plan.layout.log, LOG_LIMIT)
        descriptor = os.open(plan.layout.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "ab") as log:
            log.write(f"caudex: {plan.binaries} starts as {plan.account.name}\n".encode())
            log.flush()
            self._log_start = log.tell()
            self._process = spawn(
                plan.command(),
                plan.account,
                death_signal=signal.SIGINT,
                cwd=Path("/"),
                output=log,
            )

    @property
    def pid(self) -> int:
        """Its process id, which the launcher hands on to the server."""
        return self._process.pid

    @property
    def ready(self) -> bool:
        """Whether this very server (not one that left its lock file) takes connections."""
        return self.status == "ready"

    @property
    def status(self) -> str:
        """What this very server says of itself, such as `starting` or `ready`; "" before that."""
        with contextlib.suppress(OSError, ValueError, IndexError):
            lines = (self._layout.pgdata / "postmaster.pid").read_text().splitlines()
            return lines[7].strip() if int(lines[0]) == self.pid else ""
        return ""

    def end(self) -> str | None:
        """How it ended, in words; None while it runs."""
        code = self._process.poll()
        if code is None:
            return None
        if code == 0:
            return "somebody shut it down"
        return f"signal {-code}" if code < 0 else complaint(self._layout.log, self._log_start)

    def wait_ready(self, tell: Callable[[str], None]) -> None:
        """Wait for the first moment it takes connections; raise when that does not come.

        `tell` takes a line for each minute that a recovery takes.
        """
        began = told = time.monotonic()
        while (status := self.status) != "ready":
            if end := self.end():
                raise EmbeddedPostgresError(
                    f"PostgreSQL did not start ({end}): see {self._layout.log}"
                )
            now = time.monotonic()
            if status != "starting" and now > began + START_PATIENCE:
                raise EmbeddedPostgresError(
                    f"PostgreSQL is not ready after {START_PATIENCE:.0f} s: see {self._layout.log}"
                )
            if now > told + TOLD_EVERY:
                told = now
                tell(f"PostgreSQL is {status or 'silent'} for {now - began:.0f} s now")
            time.sleep(0.01)

    def stop(self, patience: float = STOP_PATIENCE) -> None:
        """Shut it down: quickly but in order, then without order, then by force."""
        steps = ((signal.SIGINT, patience), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 10.0))
        for number, seconds in steps:
            if self._process.poll() is not None:
                return
            self._process.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(seconds)

    def tidy_log(self) -> None:
        """Keep the log of a long run from filling the disk."""
        rotate_log(self._layout.log, LOG_LIMIT)
