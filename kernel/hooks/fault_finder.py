"""Whose code failed: the plugin, the place, and what to do about it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple, cast

from kernel import BUNDLES
from kernel.errors import KernelError, StatementFailed, TransactionFailed, remedy_of
from kernel.errors.source_lines import Step, steps_of

OF_CAUDEX = tuple(f"{package}." for package in BUNDLES)
"""Modules of plugins that come with Caudex."""
ROUTING = "kernel.web.routing"
"""The module that calls the handlers of routes."""


class PluginStep(NamedTuple):
    """A line of a plugin's code; `is_foreign` where the plugin does not come with Caudex."""

    plugin: str
    at: str
    is_foreign: bool


class FaultFinder:
    """Finds the plugin that an error is to be blamed on."""

    def __init__(self, homes: Mapping[str, str], carriers: Collection[str] = ()) -> None:
        """`homes` maps modules and packages to plugins. `carriers` are the plugins that pass on
        the statements of others, whose mistakes are not theirs."""
        self._homes = homes
        self._carriers = carriers

    def owner(self, module: str) -> str:
        """Return the plugin of a module or of one of its packages, or ''."""
        while module and module not in self._homes:
            module = module.rpartition(".")[0]
        return self._homes.get(module, "")

    def blame(self, error: BaseException, called: str | None = None) -> dict[str, str]:
        """Return the log fields `plugin`, `where` and `remedy`, or {}.

        It names the last line of a foreign plugin; without one, the last line of the plugin
        `called`, such as that of a route.
        """
        for part in errors_in_group(error):
            fields = self._blame_part(part, called)
            if fields:
                return {**fields, "remedy": remedy_of(part)}
        return {}

    def find_last_plugin_step(self, steps: Sequence[Step]) -> PluginStep | None:
        """Return the last step that is a plugin's."""
        steps_of_plugins = self._select_of_plugins(steps)
        return steps_of_plugins[-1] if steps_of_plugins else None

    def find_blamed_step(
        self, error: BaseException, called: str | None = None
    ) -> PluginStep | None:
        """Return the step of `blame` where a single error was raised, or None."""
        steps = self._select_of_plugins(_cut_before_route(steps_of(error)))
        if isinstance(error, StatementFailed | TransactionFailed | KernelError):
            steps = [step for step in steps if step.plugin not in self._carriers]
        raised_by = getattr(error, "raised_by", "")
        if raised_by:  # its hook failed
            of_hook = [step for step in steps if step.plugin == raised_by]
            return of_hook[-1] if of_hook else PluginStep(raised_by, "", is_foreign=True)
        return _choose(steps, called)

    def _blame_part(self, error: BaseException, called: str | None) -> dict[str, str]:
        place = getattr(error, "where", "")
        if place:  # its frame has returned
            return {"plugin": called or "", "where": place}
        step = self.find_blamed_step(error, called)
        return {} if step is None else {"plugin": step.plugin, "where": step.at}

    def _select_of_plugins(self, steps: Sequence[Step]) -> list[PluginStep]:
        found_steps = list[PluginStep]()
        for step in steps:
            plugin = self.owner(step.module)
            if plugin:
                is_foreign = not step.module.startswith(OF_CAUDEX)
                found_steps.append(PluginStep(plugin, step.at, is_foreign))
        return found_steps


def _cut_before_route(steps: Sequence[Step]) -> Sequence[Step]:
    """Leave out the steps before the route was found: middleware only passed the call on."""
    begin = next((index for index, step in enumerate(steps) if step.module == ROUTING), 0)
    return steps[begin:]


def _choose(steps: Sequence[PluginStep], called: str | None) -> PluginStep | None:
    foreign = [step for step in steps if step.is_foreign]
    of_called = [step for step in steps if step.plugin == called]
    candidates = foreign or of_called or steps
    return candidates[-1] if candidates else None


def errors_in_group(error: BaseException) -> Iterator[BaseException]:
    """Yield the errors in a group, and the group after them: its frames began the tasks."""
    if isinstance(error, BaseExceptionGroup):
        for part in cast("BaseExceptionGroup[BaseException]", error).exceptions:
            yield from errors_in_group(part)
    yield error


def is_within(module: str, package: str) -> bool:
    """Whether a module is this one, or one of this package."""
    return module == package or module.startswith(f"{package}.")
