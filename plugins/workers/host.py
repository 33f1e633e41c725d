"""What the parts of the plugin share in one server process."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Generator
from contextlib import ExitStack, contextmanager, suppress
from functools import cached_property
from typing import Any

import anyio
import structlog
from anyio.abc import TaskGroup

from kernel.public import (
    APP_LOGINS,
    APPS,
    LOGS,
    REGISTRY,
    STATEMENTS,
    Context,
    LogLevel,
    Logs,
    Services,
    WorkerState,
)

from .config import WorkersConfig
from .isolation.accounts import end_account_leftovers, holding, remove_shared
from .isolation.cgroups import Cgroups
from .isolation.orphans import kill_orphans_of_dead_servers, server_name
from .isolation.sandbox import Sandbox
from .ports import PortRules
from .releases.disk import DiskUse
from .releases.folders import Folders
from .runtimes import Runtimes
from .store import WorkersStore

OnChange = Callable[[str, WorkerState], Awaitable[None]]
log = structlog.get_logger("caudex.workers")


class Host:
    """Configuration, folders, sandbox, tables and background tasks of the workers.

    It knows none of the parts that use it. They subscribe to changes of state with `on_change`.
    """

    def __init__(self, services: Services, config: WorkersConfig, context: Context) -> None:
        self.services = services
        self.config = config
        self.folders = Folders(context.data_dir)
        self.disk = DiskUse(config.max_disk_mb)
        self.sandbox = Sandbox(config, context.data_dir, context.config_file)
        self.cgroups: Cgroups | None = None
        """None where no cgroup is delegated to the server, or none is open yet."""
        self.statements = services.get(STATEMENTS)
        self.store = WorkersStore(self.statements)
        self.logins = services.find(APP_LOGINS)
        own_ports = {context.port, services.get(REGISTRY).config.database.embedded_port or 0}
        self.ports = PortRules(services.get(APPS), self.statements, own_ports)
        self.runtimes = Runtimes(())
        self.runtime_url = config.runtime_url or _api_url(context)
        self.server_name = ""
        """The name that marks the processes of this server (see `isolation/orphans.py`)."""
        self.clock: Callable[[], float] = anyio.current_time
        self.builds = anyio.CapacityLimiter(4)
        self.starts = anyio.CapacityLimiter(8)
        self.tasks: TaskGroup | None = None
        """Runs background tasks; None while the server is not up."""
        self.listeners: list[OnChange] = []

    @cached_property
    def _logs(self) -> Logs | None:
        return self.services.find(LOGS)

    def prepare(self) -> None:
        """Make the folders, end orphaned processes and probe the sandbox. Blocking."""
        self.folders.prepare()
        end_leftovers(self.config, self.folders)
        self.sandbox.prepare()

    @contextmanager
    def marked(self) -> Generator[None]:
        """Mark what this server process starts for as long as this lasts. Raises BootError."""
        with ExitStack() as held:
            names = self.folders.servers, self.folders.upload()
            self.server_name = held.enter_context(server_name(*names))
            accounts = holding(self.config.accounts, self.server_name)
            if self.sandbox.switches and not held.enter_context(accounts):
                log.warning("other servers of this machine may end workers of this one")
            groups = Cgroups(self.config)
            if groups.open(self.server_name):
                self.cgroups = groups
                self.sandbox.group_memory = "memory" in groups.controllers
                held.callback(groups.close)
                with suppress(OSError), (names[0] / self.server_name).open("rb+") as file:
                    file.write(os.fsencode(groups.path))
            yield

    def tidy_memory(self, app_id: str, key: int) -> None:
        """Remove what workers of an app left in memory, where they have no own. Blocking."""
        uid = self.folders.owner(app_id, key)
        if uid is not None and uid in self.config.accounts and not self.sandbox.private:
            remove_shared({uid})

    def remove_app(self, app_id: str, key: int) -> None:
        """Remove what is left of an app that is uninstalled. Blocking."""
        if self.cgroups is not None:
            self.cgroups.end_app(f"{app_id}.{key}")
        self.tidy_memory(app_id, key)
        self.folders.remove(app_id, key)

    def spawn(self, work: Callable[..., Awaitable[Any]], *arguments: Any) -> None:
        """Run `work` in the background; an exception is logged."""
        if self.tasks is not None:
            self.tasks.start_soon(_guarded, work, arguments)

    def write_log(self, app_id: str, level: LogLevel, message: str) -> None:
        """Write a line into an app's log, if the server keeps one."""
        if self._logs is not None:
            self._logs.write(app_id, level, message)
        else:
            log.debug("line of a worker", app_id=app_id, kind=level, message=message[:1000])

    async def announce(self, app_id: str, state: WorkerState) -> None:
        """Report a change of state to each listener, which has five seconds."""
        for listener in self.listeners:
            try:
                with anyio.fail_after(5):
                    await listener(app_id, state)
            except Exception as error:
                log.error("a listener failed", app_id=app_id, exc_info=error)


def end_leftovers(config: WorkersConfig, folders: Folders) -> None:
    """End what servers left that were killed. Blocking."""
    try:
        killed = kill_orphans_of_dead_servers(folders.servers)
    except FileNotFoundError:  # the first start
        return
    if os.geteuid() == 0 and config.sandbox != "off":
        used = {uid for uid in folders.owners() if uid in config.accounts}
        killed += end_account_leftovers(config.accounts, used)
    if killed:
        log.warning("processes of a server that was killed were ended", count=killed)


async def _guarded(work: Callable[..., Awaitable[Any]], arguments: tuple[Any, ...]) -> None:
    try:
        await work(*arguments)
    except Exception as error:
        log.error("a task of the workers failed", exc_info=error)


def _api_url(context: Context) -> str:
    """Return where workers of this machine reach the API."""
    any_address = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}
    host = any_address.get(context.host, context.host)
    return f"http://{f'[{host}]' if ':' in host else host}:{context.port}"
