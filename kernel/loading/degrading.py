"""Plugins that fail: which a server can start without, and what fails while it runs."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Final

import structlog

from kernel.config.settings import Config
from kernel.contracts.hookspecs import NAMESPACE
from kernel.errors import BootError, BootErrors, remedy_of
from kernel.hooks.fault_finder import errors_in_group
from kernel.hooks.plugin import Plugin
from kernel.loading.kernel import Kernel

PROTECTING_HOOKS: Final = (
    "app_of_host",
    "register_middleware",
    "session_settings",
    "record_scope",
    "record_writing",
    "event_recorded",
)
"""Hooks without which a request could be allowed that should not be: a plugin that implements one
is never left out."""

log = structlog.get_logger("caudex.loader")


def may_fail(config: Config, plugin: str) -> bool:
    """Whether the operator allows a start without the plugin."""
    table = config.plugins.get(plugin, {})
    return table.get("on_failure", "stop") == "degrade"


def protecting_hooks(cls: type[Plugin] | None) -> str:
    """Name the protecting hooks that a class implements; none for a class that was not imported."""
    marked = f"{NAMESPACE}_impl"
    return ", ".join(name for name in PROTECTING_HOOKS if hasattr(getattr(cls, name, None), marked))


@contextmanager
def starting_plugin(kernel: Kernel, plugin: str, place: str = "") -> Generator[None]:
    """Continue without a plugin that fails to start and may be left out.

    `place` is where its code is defined. Raises BootError where it may not be left out, or where
    other plugins need it.
    """
    try:
        with kernel.starts.timing(plugin, place):
            yield
    except BootError as error:
        if not may_fail(kernel.config, plugin):
            raise
        reasons = list(_reasons_to_keep(kernel, plugin))
        if reasons:
            problem = f"cannot be left out: {'; '.join(reasons)}"
            needed = BootError(f"plugin {plugin}", problem, "fix it, or disable these too")
            raise BootErrors([error, needed]) from error
        _leave_out(kernel, plugin, error)


def _leave_out(kernel: Kernel, plugin: str, error: BootError) -> None:
    """Remove what a plugin contributed; its routes stay and answer 503."""
    log.error("a plugin is left out", plugin=plugin, error=str(error))
    kernel.bus.drop(plugin)
    kernel.table.close(plugin)
    kernel.services.forget(plugin)
    kernel.contributions.remove_sections(plugin)
    kernel.plugin_set.mark_left_out(plugin, error)


def _reasons_to_keep(kernel: Kernel, plugin: str) -> Iterator[str]:
    """Yield the reasons why the server cannot run without a loaded plugin."""
    for user, service in _needs_of_others(kernel, plugin):
        if kernel.services.provider(service) == plugin:
            yield f"{user} {service!r}"
    for service in kernel.services.wrapped_by(plugin):
        yield f"it wraps {service!r}"
    instance = kernel.plugin_set.find(plugin)
    guards = protecting_hooks(None if instance is None else type(instance))
    if guards:
        yield f"its hooks protect requests ({guards})"


def _needs_of_others(kernel: Kernel, plugin: str) -> Iterator[tuple[str, str]]:
    """Yield what other plugins need: who in words, and the service."""
    services = kernel.services
    users = [instance for instance in kernel.instances if instance.name != plugin]
    for user in users:
        for key in user.requires:
            yield f"{user.name} needs", key.name
    for user in users:
        for service in services.wrapped_by(user.name):
            yield f"{user.name} wraps", service
    # A plugin that provides the same service does not require it, but its routes need the
    # chosen engine.
    with_routes = {owner for owner, _ in kernel.routes}
    for user in users:
        if user.name in with_routes:
            for service in services.offered_by(user.name):
                yield f"routes of {user.name} need", service
    asking = {owner for owner, route in kernel.routes if route.needs.kind not in ("public", "user")}
    for owner in sorted(asking - {plugin}):
        yield f"routes of {owner} need", "access"


class PluginReporter:
    """Reports a lifespan or a service that fails while the server runs.

    See `hosts.ContextReporter`.
    """

    def __init__(self, kernel: Kernel, plugin: str, place: str) -> None:
        """`place` is where the contexts of the plugin are defined."""
        self._kernel = kernel
        self._plugin = plugin
        self._place = place

    def report_failure(self, error: BaseException, pause: float | None) -> None:
        """Name the plugin, and end its background tasks, which its next lifespan starts again."""
        fields = self._blame(error)
        first = next(errors_in_group(error))
        plugins = self._kernel.plugin_set
        plugins.failing[self._plugin] = f"{type(first).__name__} at {fields['where']}"
        if pause is None:
            log.error("a plugin failed while it runs", **fields, exc_info=error)
            return
        log.error("a plugin failed while it runs", **fields, restart_in=pause, exc_info=error)
        instance = plugins.find(self._plugin)
        if instance is not None:
            instance.tasks.end()

    def report_recovery(self) -> None:
        """Report that the plugin works again."""
        self._kernel.plugin_set.failing.pop(self._plugin, None)
        log.warning("a plugin works again", plugin=self._plugin)

    def report_failed_close(self, error: BaseException) -> None:
        """Name the plugin that failed at its end; the error ends the server, which ends anyhow."""
        log.error("a plugin failed to end", **self._blame(error), exc_info=error)

    def _blame(self, error: BaseException) -> dict[str, str]:
        """Return the plugin, the place and the remedy; of an error of its own the place of it."""
        fields = {"plugin": self._plugin, "where": self._place, "remedy": remedy_of(error)}
        return fields | self._kernel.fault_finder.blame(error, self._plugin)
