"""The server process: launch, end, and restart after a crash."""

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
from .config import LOOPBACK, EmbeddedPostgresError
from .layout import Layout, complaint, rotate_log
from .processes import spawn

LOG_LIMIT = 10_000_000
# For any status. A server with the status `starting` is not ended: it replays its log after a
# crash, and would begin again.
START_TIMEOUT = 300.0


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
        """Return the command line of the server."""
        endpoints = {
            "listen_addresses": LOOPBACK,
            "port": str(self.port),
            "unix_socket_directories": f'"{self.socket_dir}"',
            "unix_socket_permissions": "0700",
        }
        command = [str(self.binaries.program("postgres")), "-D", str(self.layout.pgdata)]
        settings = {**self.settings, **endpoints}  # the endpoints come last: they win
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        return command


class Postmaster:
    """A PostgreSQL server as a child of ours, shut down by the system if we die."""

    def __init__(self, plan: Plan) -> None:
        """Launch the server and return at once; `ready` is true once it takes connections."""
        self._layout = plan.layout
        rotate_log(plan.layout.log, LOG_LIMIT)
        descriptor = os.open(plan.layout.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "ab") as log:
            log.write(f"caudex: {plan.binaries} starts as {plan.account.name}\n".encode())
            log.flush()
            self._log_start = log.tell()
            self._process = spawn(
                plan.command(), plan.account, death_signal=signal.SIGINT, cwd=Path("/"), output=log
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
        """The server's own status, such as `starting` or `ready`; "" before its first."""
        with contextlib.suppress(OSError, ValueError, IndexError):
            lines = (self._layout.pgdata / "postmaster.pid").read_text().splitlines()
            if int(lines[0]) == self.pid:
                return lines[7].strip()
        return ""

    def end(self) -> str | None:
        """Return how it ended; None while it runs."""
        code = self._process.poll()
        if code is None:
            return None
        if code == 0:
            return "it was shut down"
        if code < 0:
            return f"signal {-code}"
        return complaint(self._layout.log, self._log_start)

    def wait_ready(self, report: Callable[[str], None], interval: float = 60.0) -> None:
        """Wait until it takes connections. Raises EmbeddedPostgresError where it does not start.

        `report` takes a line for each `interval` (in seconds) that a recovery takes.
        """
        began = time.monotonic()
        reported = began
        while True:
            status = self.status
            if status == "ready":
                return
            end = self.end()
            if end:
                raise EmbeddedPostgresError(
                    f"PostgreSQL did not start ({end}): see {self._layout.log}"
                )
            now = time.monotonic()
            if status != "starting" and now > began + START_TIMEOUT:
                raise EmbeddedPostgresError(
                    f"PostgreSQL is not ready after {START_TIMEOUT:.0f} s: see {self._layout.log}"
                )
            if now > reported + interval:
                reported = now
                report(f"PostgreSQL is {status or 'silent'} for {now - began:.0f} s now")
            time.sleep(0.01)

    def stop(self, timeout: float = 30.0) -> None:
        """Shut it down: fast, then immediately, then by SIGKILL."""
        steps = ((signal.SIGINT, timeout), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 10.0))
        for number, seconds in steps:
            if self._process.poll() is not None:
                return
            self._process.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(seconds)

    def tidy_log(self) -> None:
        """Keep the log of a long run from filling the disk."""
        rotate_log(self._layout.log, LOG_LIMIT)


# The first attempt is immediate: most ends are one backend's crash or a kill by hand.
DELAYS = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)


class Keeper:
    """Watches one server; each `step` returns at once, with a line for the operator or None."""

    def __init__(
        self,
        postmaster: Postmaster,
        relaunch: Callable[[], Postmaster | None],
        announce: Callable[[Postmaster], None],
    ) -> None:
        """`relaunch` returns None while processes of the old server still end."""
        self.postmaster: Postmaster | None = postmaster
        self.ready = True
        self._relaunch = relaunch
        self._announce = announce
        self._failures = 0
        self._retry_at = 0.0
        self._ready_since = time.monotonic()

    def step(self) -> str | None:
        """Look after the server once."""
        if self.postmaster is None:
            return self._try_again()
        end = self.postmaster.end()
        if end:
            return self._note_failure(f"PostgreSQL ended ({end})")
        if not self.ready and self.postmaster.ready:
            return self._note_return(self.postmaster)
        self.postmaster.tidy_log()
        return None

    def _note_failure(self, news: str) -> str:
        now = time.monotonic()
        was_steady = self.ready and now - self._ready_since > 60.0
        if was_steady:
            self._failures = 0
        delay = DELAYS[min(self._failures, len(DELAYS) - 1)]
        self._failures += 1
        self.postmaster = None
        self.ready = False
        self._retry_at = now + delay
        if not delay:
            return f"{news}; starting it again"
        return f"{news}; starting it again in {delay:g} s"

    def _try_again(self) -> str | None:
        if time.monotonic() < self._retry_at:
            return None
        try:
            self.postmaster = self._relaunch()
        except (EmbeddedPostgresError, OSError) as error:
            return self._note_failure(f"PostgreSQL cannot be started ({error})")
        return None

    def _note_return(self, postmaster: Postmaster) -> str:
        self._announce(postmaster)
        self.ready = True
        self._ready_since = time.monotonic()
        return "PostgreSQL is back"
