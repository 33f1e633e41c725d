"""What this machine gives to workers: folders, confinement, accounts, programs."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress

import anyio
import structlog

from kernel.public import Context

from .config import WorkersConfig
from .isolation.accounts import end_account_leftovers, hold_accounts, remove_shared
from .isolation.cgroups import Cgroups
from .isolation.orphans import hold_server_name, kill_orphans_of_dead_servers
from .isolation.sandbox import Sandbox
from .models import Installation
from .releases.disk import DiskUse
from .releases.folders import Folders
from .runtimes import Runtimes

log = structlog.get_logger("caudex.workers")


class Machine:
    """What the workers of one server process run with."""

    def __init__(self, config: WorkersConfig, context: Context) -> None:
        self._config = config
        self.folders = Folders(context.data_dir)
        self.disk = DiskUse(config.max_disk_mb)
        self.sandbox = Sandbox(config, context.data_dir, context.config_file)
        self.cgroups: Cgroups | None = None
        """None where no cgroup is delegated to the server, or none is open yet."""
        self.server_name = ""
        """The name that marks the processes of this server (see `isolation/orphans.py`)."""
        self.runtimes = Runtimes(())
        self.runtime_url = config.runtime_url or _find_api_url(context)
        self.builds = anyio.CapacityLimiter(4)
        """Builds at once."""
        self.starts = anyio.CapacityLimiter(8)
        """Starts of workers at once."""

    def prepare(self) -> None:
        """Make the folders, end orphaned processes and probe the sandbox. Blocking."""
        self.folders.prepare()
        end_leftovers(self._config, self.folders)
        self.sandbox.prepare()

    @contextmanager
    def mark_processes(self) -> Generator[None]:
        """Mark what this server process starts for as long as this lasts. Raises BootError."""
        servers = self.folders.servers
        with ExitStack() as stack:
            name = hold_server_name(servers, self.folders.locate_upload())
            self.server_name = stack.enter_context(name)
            accounts = hold_accounts(self._config.accounts, self.server_name)
            if self.sandbox.support.switches and not stack.enter_context(accounts):
                log.warning("other servers of this machine may end workers of this one")
            groups = Cgroups(self._config)
            if groups.open(self.server_name):
                self.cgroups = groups
                self.sandbox.support.group_memory = "memory" in groups.controllers
                stack.callback(groups.close)
                # The next server ends what is left in it.
                with suppress(OSError), (servers / self.server_name).open("rb+") as file:
                    file.write(os.fsencode(groups.path))
            yield

    def tidy_memory(self, app: Installation) -> None:
        """Remove what workers of an app left in memory, where they have no own. Blocking."""
        uid = self.folders.find_owner(app)
        if uid is not None and uid in self._config.accounts and not self.sandbox.support.private:
            remove_shared({uid})

    def remove_app(self, app: Installation) -> None:
        """Remove what is left of an app that is uninstalled. Blocking."""
        if self.cgroups is not None:
            self.cgroups.end_app(str(app))
        self.tidy_memory(app)
        self.folders.remove(app)


def end_leftovers(config: WorkersConfig, folders: Folders) -> None:
    """End what servers left that were killed. Blocking."""
    try:
        killed = kill_orphans_of_dead_servers(folders.servers)
    except FileNotFoundError:  # the first start
        return
    if os.geteuid() == 0 and config.sandbox != "off":
        used = {uid for uid in folders.list_owners() if uid in config.accounts}
        killed += end_account_leftovers(config.accounts, used)
    if killed:
        log.warning("processes of a server that was killed were ended", count=killed)


def _find_api_url(context: Context) -> str:
    """Return where workers of this machine reach the API."""
    any_address = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}
    host = any_address.get(context.host, context.host)
    if ":" in host:  # an address of IPv6
        host = f"[{host}]"
    return f"http://{host}:{context.port}"
