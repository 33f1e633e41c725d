"""What the parts of the plugin share in one server process."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
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
    TRACES,
    Context,
    LogLevel,
    Logs,
    Services,
    Traces,
    WorkerState,
)

from .config import WorkersConfig
from .machine import Machine
from .ports import PortRules
from .store import WorkersStore

OnChange = Callable[[str, WorkerState], Awaitable[None]]
log = structlog.get_logger("caudex.workers")


class Host:
    """Configuration, machine, tables, logs and background tasks of the workers.

    It knows none of the parts that use it. They subscribe to changes of state with `states`.
    """

    def __init__(self, services: Services, config: WorkersConfig, context: Context) -> None:
        self.services = services
        self.config = config
        self.machine = Machine(config, context)
        self.store = WorkersStore(services.get(STATEMENTS))
        self.logins = services.find(APP_LOGINS)
        embedded_port = services.get(REGISTRY).config.database.embedded_port or 0
        server_ports = {context.port, embedded_port}
        self.ports = PortRules(services.get(APPS), services.get(STATEMENTS), server_ports)
        self.logs = AppLogs(services)
        self.background = Background()
        self.states = StateListeners()
        self.clock: Callable[[], float] = anyio.current_time

    @cached_property
    def traces(self) -> Traces | None:
        """What remembers calls, if the server has it."""
        return self.services.find(TRACES)


class AppLogs:
    """The logs of apps, if the server keeps any."""

    def __init__(self, services: Services) -> None:
        self._services = services

    @cached_property
    def _logs(self) -> Logs | None:
        return self._services.find(LOGS)

    def write(self, app_id: str, level: LogLevel, message: str, request_id: str = "") -> None:
        """Write a line into an app's log, for a request or job where that is known."""
        if self._logs is not None and request_id:
            self._logs.write(app_id, level, message, request_id)
        elif self._logs is not None:
            self._logs.write(app_id, level, message)
        else:
            log.debug("line of a worker", app_id=app_id, kind=level, message=message[:1000])


class Background:
    """Runs work in the background while the server is up."""

    def __init__(self) -> None:
        self.tasks: TaskGroup | None = None
        """None while the server is not up."""

    def spawn(self, work: Callable[..., Awaitable[Any]], *arguments: Any) -> None:
        """Run `work`; an exception is logged. Does nothing while the server is not up."""
        if self.tasks is not None:
            self.tasks.start_soon(_run_guarded, work, arguments)


class StateListeners:
    """Those that want to know when the state of a worker changes."""

    def __init__(self) -> None:
        self._callbacks: list[OnChange] = []

    def add(self, callback: OnChange) -> None:
        """Call this from now on."""
        self._callbacks.append(callback)

    def remove(self, callback: OnChange) -> None:
        """Call this no more."""
        self._callbacks.remove(callback)

    async def announce(self, app_id: str, state: WorkerState) -> None:
        """Report a change of state to each listener, which has five seconds."""
        for callback in self._callbacks:
            try:
                with anyio.fail_after(5):
                    await callback(app_id, state)
            except Exception as error:
                log.error("a listener failed", app_id=app_id, exc_info=error)


async def _run_guarded(work: Callable[..., Awaitable[Any]], arguments: tuple[Any, ...]) -> None:
    try:
        await work(*arguments)
    except Exception as error:
        log.error("a task of the workers failed", exc_info=error)
