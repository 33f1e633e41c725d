"""Asks every subsystem for its state, each with a time limit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import anyio
import structlog

from kernel.public import (
    HOOKS,
    POOL,
    REGISTRY,
    STATEMENTS,
    VERSION,
    Health,
    Held,
    Implementation,
    KernelError,
    Services,
    failure,
)

from .blocking import LoopWatch
from .flooding import TableWatch

LIMIT: Final = 2.0
"""Seconds that a subsystem may take to answer."""

log = structlog.get_logger("caudex.system")


class SystemService:
    """State of the server, its database, and the plugins that implement the hook `health`."""

    def __init__(self, services: Services, watch: LoopWatch, floods: TableWatch) -> None:
        self._services = services
        self._watch = watch
        self._floods = floods
        self._lock = anyio.Lock()
        self._began = float("-inf")
        self._answer: tuple[str, list[Health]] = ("Offline", [])
        self._failing = set[str]()

    async def readiness(self) -> tuple[list[str], list[str]]:
        """Return the names of what keeps the server from its work, and problems that do not.

        Both are sorted; a problem begins with the name of its subsystem.
        """
        database, subsystems = await self._ask()
        missing = {health.name for health in subsystems if not health.ready}
        missing |= self._failing_plugins() - set(self.degraded())
        if database != "Online":
            missing.add("postgres")

        problems = [f"{health.name}: {text}" for health in subsystems for text in health.problems]
        problems += [f"{plugin}: its code blocks the event loop" for plugin in self._blocking()]
        problems += [f"{plugin}: it floods its tables" for plugin in self._floods.flooding()]
        return sorted(missing), sorted(problems)

    def degraded(self) -> list[str]:
        """Names of plugins that were left out, or fail and may, or whose observers are skipped."""
        registry = self._services.get(REGISTRY)
        implementations = self._services.get(HOOKS).all_implementations()
        skipped = {
            implementation.plugin for implementation in implementations if implementation.is_open
        }
        left_out = {info.name for info in registry.plugins if info.state == "degraded"}
        tables = registry.config.plugins
        may_fail = {name for name, table in tables.items() if table.get("on_failure") == "degrade"}
        return sorted(skipped | left_out | (self._failing_plugins() & may_fail))

    def _failing_plugins(self) -> set[str]:
        """Names of plugins whose lifespan or service has failed while the server runs."""
        return set(self._services.get(REGISTRY).failing)

    def _blocking(self) -> dict[str, str]:
        """Where each plugin that does not come with Caudex held the event loop."""
        plugins = self._services.get(REGISTRY).plugins
        delivered = {info.name for info in plugins if not info.is_foreign}
        places = self._watch.blocked()
        return {plugin: place for plugin, place in places.items() if plugin not in delivered}

    async def status(self) -> dict[str, Any]:
        """The states of the contract, then those of the subsystems by name."""
        database, subsystems = await self._ask()
        port = self._services.get(REGISTRY).config.database.embedded_port
        status: dict[str, Any] = {
            "runtime": {"version": VERSION, "state": "Online"},
            "postgres": {"state": database, "port": port},
            "forge": {"state": "Offline", "port": None},
        }
        pool = self._services.find(POOL)
        if pool is not None:
            status["pool"] = _describe_pool(pool.statistics(), pool.held())
        for health in sorted(subsystems, key=lambda health: health.name):
            status.setdefault(health.name, _describe(health))
        for name in self.degraded():
            status.setdefault(name, {"state": "Error", "degraded": True})
        self._add_faults(status)
        return status

    def _add_faults(self, status: dict[str, Any]) -> None:
        """Add what this process has noticed of plugins to what they say themselves."""
        registry = self._services.get(REGISTRY)
        for name, tasks in registry.tasks.items():
            failing = {task.name: task.state for task in tasks if task.failures}
            if failing:
                state: dict[str, Any] = {"state": "Online", **status.get(name, {})}
                if "failed" in failing.values():
                    state["state"] = "Error"
                state["tasks"] = failing
                status[name] = state
        for name, fault in registry.failing.items():
            status[name] = {**status.get(name, {}), "state": "Error", "failing": fault}
        for name, place in self._blocking().items():
            status[name] = {"state": "Online", **status.get(name, {}), "blocks": place}
        for name, rows in self._floods.flooding().items():
            status[name] = {"state": "Online", **status.get(name, {}), "rows_per_second": rows}

    async def _ask(self) -> tuple[str, list[Health]]:
        """Ask all subsystems. Requests that come meanwhile share the next round, since any client
        may call and must not keep the database busy."""
        arrived = anyio.current_time()
        async with self._lock:
            if self._began < arrived:
                self._began = anyio.current_time()
                self._answer = await self._ask_all()
            return self._answer

    async def _ask_all(self) -> tuple[str, list[Health]]:
        """Ask the database and the subsystems at the same time."""
        bus = self._services.get(HOOKS)
        answers: list[Health] = []
        states: list[str] = []
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._ask_database, states)
            for implementation in bus.implementations("health"):
                tasks.start_soon(self._ask_one, implementation, answers)
        return states[0], answers

    async def _ask_database(self, states: list[str]) -> None:
        state = "Offline"
        with anyio.move_on_after(LIMIT):
            with suppress(KernelError):
                await self._services.get(STATEMENTS).fetch("select 1")
                state = "Online"
        states.append(state)

    async def _ask_one(self, implementation: Implementation, answers: list[Health]) -> None:
        """Ask one plugin; a timeout or an exception is an answer too, logged once."""
        failed: Exception = TimeoutError(f"it took more than {LIMIT:g} seconds")
        answer: Health | None = None
        with anyio.move_on_after(LIMIT) as scope:
            try:
                answer = await implementation.attempt({})
            except Exception as error:  # a fault of one plugin does not hide the others
                failed = error
        if scope.cancelled_caught:  # it could not count this itself
            implementation.note_failure(failed)
        plugin = implementation.plugin
        if answer is not None:
            self._failing.discard(plugin)
        elif plugin not in self._failing:
            self._failing.add(plugin)
            log.error("a plugin does not report its health", plugin=plugin, **failure(failed))
        # One that keeps failing says nothing: the server is degraded, and ready for others.
        answers.append(answer or Health(name=plugin, state="Error", ready=implementation.is_open))


def _describe(health: Health) -> dict[str, Any]:
    state = {"state": health.state, **health.detail}
    if health.problems:
        state["problems"] = health.problems
    return state


def _describe_pool(statistics: Mapping[str, int], holders: Sequence[Held]) -> dict[str, Any]:
    """Connections of the pool: all, free ones, requests that wait for one, and what holds some."""
    return {
        "state": "Online",
        "connections": statistics.get("pool_size", 0),
        "free": statistics.get("pool_available", 0),
        "waiting": statistics.get("requests_waiting", 0),
        "held": holders,
    }
