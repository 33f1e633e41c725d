"""Workers: code of apps, deployed, supervised and called."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

from anyio import to_thread

from kernel.public import (
    ACCESS,
    APP_LOGINS,
    APPS,
    CALLER_SQL,
    CHANGES,
    HOOKS,
    IDENTITY,
    LOGS,
    NOTIFICATIONS,
    RECORDS,
    REGISTRY,
    STATEMENTS,
    TRACES,
    WATCHES,
    WORKERS,
    App,
    DatabaseQuery,
    Finding,
    Health,
    InstallPlan,
    ManifestSection,
    Measure,
    Plugin,
    Provider,
    Route,
    Runtime,
    Services,
    Transaction,
    hookimpl,
    hookspecs,
    provide,
)

from . import ports
from .config import WorkersConfig
from .host import Host
from .isolation.diagnosis import diagnose_crashed, diagnose_machine
from .machine import end_leftovers
from .releases.folders import PRELUDE, Folders
from .replica.callers import CALLERS, Callers
from .replica.followed import rename_readers
from .routes import WorkersRoutes
from .runtimes import JavaScriptRuntime, PythonRuntime, Runtimes
from .service import SERVICE, WorkersService
from .store import CRASHED, PORTS_TOPIC, TOPIC


class WorkersPlugin(Plugin):
    """Provides WORKERS. Languages come from the hook `register_runtimes`, which it implements."""

    name = "workers"
    Config = WorkersConfig
    requires = (STATEMENTS, NOTIFICATIONS, HOOKS, REGISTRY, APPS, ACCESS, IDENTITY)
    uses = (APP_LOGINS,)
    finds = (CALLER_SQL, CHANGES, LOGS, RECORDS, TRACES, WATCHES)
    config: WorkersConfig
    _service: WorkersService | None = None

    @hookimpl
    def provide_services(self) -> Sequence[Provider]:
        """Provide WORKERS, and two services for the routes."""
        return [
            provide(SERVICE, self._open),
            provide(WORKERS, lambda services: services.get(SERVICE)),
            provide(CALLERS, self._callers),
        ]

    def _callers(self, services: Services) -> Callers:
        return Callers(services.get(IDENTITY), services.get(NOTIFICATIONS), self.config.rpc_timeout)

    @asynccontextmanager
    async def _open(self, services: Services) -> AsyncGenerator[WorkersService]:
        host = Host(services, self.config, self.context)
        machine = host.machine
        self._machine = machine
        await to_thread.run_sync(machine.prepare)
        runtimes = list[Runtime]()
        for _, registered in services.get(HOOKS).collect(hookspecs.register_runtimes):
            runtimes += registered
        machine.runtimes = Runtimes(runtimes)
        with machine.mark_processes():
            service = WorkersService(host)
            self._service = service
            notifications = services.get(NOTIFICATIONS)
            notifications.subscribe(TOPIC, service.reconciler.on_notification)
            notifications.subscribe(PORTS_TOPIC, service.on_ports)
            yield service

    @hookimpl
    def address_binding(self) -> None:
        """End workers of servers that were killed: one of them may have the address."""
        end_leftovers(self.config, Folders(self.context.data_dir))

    @hookimpl
    def register_runtimes(self) -> Sequence[Runtime]:
        """Add Python and JavaScript."""
        config = self.config
        sdk = self._machine.folders.sdk
        is_usable = self._machine.sandbox.can_run
        return [
            PythonRuntime(config.python, sdk, is_usable),
            JavaScriptRuntime(config.bun, config.node, sdk / PRELUDE, is_usable),
        ]

    @hookimpl
    def register_manifest_section(self) -> ManifestSection:
        """Accept `worker`, which names the ports of an app."""
        return ManifestSection(ports.KEY, ports.SCHEMA)

    @hookimpl
    async def app_installing(self, tx: Transaction, plan: InstallPlan) -> None:
        """Have a running worker restarted whose ports changed; its readers follow new names."""
        await rename_readers(tx, plan)
        if not plan.first:
            await tx.publish(PORTS_TOPIC, plan.app.id)

    @hookimpl
    def register_routes(self, services: Services) -> Sequence[Route]:
        """Declare the routes of workers."""
        return WorkersRoutes(services).routes()

    @hookimpl
    def diagnose(self, query: DatabaseQuery) -> Sequence[Finding]:
        """Report what would confine workers here, what would run them, and which ones crashed."""
        return [
            *diagnose_machine(self.config, self.context.data_dir, self.context.config_file),
            *diagnose_crashed(query(CRASHED)),
        ]

    @hookimpl
    @asynccontextmanager
    async def lifespan(self, services: Services) -> AsyncGenerator[None]:
        """Run the workers, unless another plugin provides WORKERS."""
        service = services.get(SERVICE)
        if services.get(WORKERS) is not service:
            yield
            return
        async with service.run_workers():
            self.tasks.every(0, service.reconciler.step, "reconciler")
            self.tasks.every(10, service.quota.step, "disk quota")
            self.tasks.every(1, service.memory.step, "memory watch")
            yield

    @hookimpl
    async def app_removing(self, tx: Transaction, app: App) -> None:
        """End the worker of an app that is uninstalled."""
        if self._service is not None:
            await self._service.reconciler.app_removing(tx, app)

    @hookimpl(optionalhook=True)
    async def measure(self) -> Sequence[Measure]:
        """Count the workers of this process."""
        if self._service is None:
            return []
        return self._service.reports.measure()

    @hookimpl
    async def health(self) -> Health:
        """Report how many workers run here, what confines them, and which ones crashed."""
        if self._service is None:
            return Health(name="workers")
        reports = self._service.reports
        detail: dict[str, object] = {
            "running": len(self._service.running()),
            "sandbox": reports.describe_confinement(),
        }
        crashed = reports.list_crashed()
        if not crashed:
            return Health(name="workers", detail=detail)
        problem = f"crashed too often and tried again with growing pauses: {len(crashed)}"
        detail["crashed"] = crashed
        return Health(name="workers", detail=detail, problems=(problem,))
